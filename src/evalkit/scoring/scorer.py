"""Scores as answers arrive, in any order, each of them once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from evalkit.errors import UsageError
from evalkit.instance import Instance
from evalkit.redaction import one_line
from evalkit.request import RequestState
from evalkit.response import Failure, Outcome
from evalkit.scoring.efficiency import RUN_STATS, UNIT_STATS, Workload
from evalkit.scoring.metric import Metric
from evalkit.scoring.run_level import Row
from evalkit.scoring.score_table import Column, Rank, RunLevelScores, ScoreRow, ScoreTable
from evalkit.scoring.stat import NO_ANSWER, Stat
from evalkit.scoring.unit import Answer, Unit

METRIC_ERROR = "metric_error"
_MOST_DETAIL_CHARACTERS = 200

# Usage stat to whether its zeros and ones are noes and yeses.
_USAGE_IS_SHARE = {
    "num_prompt_tokens": False,
    "num_completion_tokens": False,
    "latency_s": False,
    "finish_reason_length": True,
    "num_train_instances": False,
    "prompt_truncated": True,
    NO_ANSWER: True,
}
_RESERVED = frozenset((*_USAGE_IS_SHARE, *UNIT_STATS, *RUN_STATS))


@dataclass(slots=True)
class _PartialUnit:
    """What is there of a unit of several requests, by request key."""

    answers: dict[str, Answer] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)


class Scorer:
    """Takes outcomes one by one and turns them into scores, rows and stats.

    Stats do not depend on the order of the outcomes, nor on their repetition. A response is final: neither a
    failure nor another response displaces it. A failure gives way to a later response, and to a later
    failure. A metric that raises, or gives a number that is not finite, makes its unit a failed one with the
    reason `metric_error`; so does a unit that no metric applies to.

    Besides what the metrics give, every answered unit has the usage stats `num_prompt_tokens`,
    `num_completion_tokens` (both where they are reported) and `latency_s` (sums over its requests),
    `finish_reason_length` (share of the completions that hit the token limit), `num_train_instances`,
    `prompt_truncated` and `no_answer` (share of the completions in which the model never came to an answer).
    Where clients tell how answers came about, efficiency stats follow (see `evalkit.scoring.efficiency`).

    One thread adds; `progress` and the counts may be read from another meanwhile.

    Args:
        metrics: In the order in which their stats are listed.
        instances: The evaluated instances in plan order, with ids.
        num_train_trials: Train trials (the adapter's `num_train_trials`).
        num_samples: Repetitions of each request (the adapter's `num_train_trials`).

    Attributes:
        metrics: As given.
        num_unscored: Answered units that a metric could not score.

    Raises:
        UsageError: Two metrics have the same name; there are no instances, or their ids are not unique.
        DataError: A metric can't score one of the instances.
    """

    def __init__(
        self,
        metrics: Sequence[Metric],
        instances: Sequence[Instance],
        num_train_trials: int = 1,
        num_samples: int = 1,
    ) -> None:
        names = [metric.name for metric in metrics]
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise UsageError(f"the same metric is asked for twice: {', '.join(twice)}")
        self.metrics = tuple(metrics)
        self._table = ScoreTable(instances, num_train_trials, num_samples)
        self._table.lower_is_better = frozenset(n for metric in metrics for n in metric.lower_is_better)
        self._partial: dict[int, _PartialUnit] = {}
        self.num_unscored = 0
        for metric in metrics:
            for instance in instances:
                metric.check(instance)
        _refuse_equal_names(metrics)
        for index, metric in enumerate(metrics):
            for position, name in enumerate(metric.names):
                self._table.column(name, "score", (index, position))
        self._corpora = {
            index: RunLevelScores(metric.run_level_names, metric.run_level_scores)
            for index, metric in enumerate(metrics)
            if metric.run_level_names
        }
        self._table.run_level.extend(self._corpora.values())
        self._workload = Workload()
        self._usage: tuple[Column, ...] = tuple(
            self._table.column(name, "usage", (0, position), is_share)
            for position, (name, is_share) in enumerate(_USAGE_IS_SHARE.items())
        )

    def add(self, state: RequestState, outcome: Outcome) -> None:
        """Take the outcome of one request; scores its unit if that completes it.

        Raises:
            UsageError: The request is no part of this run.
        """
        table = self._table
        slot = table.slot(state.instance_id, state.trial, state.sample, state.perturbation)
        if table.answered[slot]:
            return
        if state.unit_size > 1:
            self._add_part(slot, state, outcome)
        elif isinstance(outcome, Failure):
            table.failures[slot] = outcome
        else:
            self._complete(slot, state, (Answer(state, outcome),))

    def stats(self) -> list[Stat]:
        """All stats: scores in the order of the metrics, then usage, then efficiency.

        Each is given over everything, then by split; efficiency of the whole run comes last.
        """
        table = self._table
        of_run = self._workload.stats(self.n_failed, self.n_total, table.num_train_trials)
        return [*table.stats(), *of_run]

    def remarks(self) -> list[str]:
        """What the metrics remark on the answers, each once."""
        return list(dict.fromkeys(remark for metric in self.metrics for remark in metric.remarks()))

    def rows(self) -> Iterator[ScoreRow]:
        """What became of every unit, by train trial, then instance, then sample."""
        return self._table.rows()

    @property
    def progress(self) -> dict[str, float]:
        """The mean so far of each score that has a value, in the order of the metrics."""
        return self._table.means()

    @property
    def n_total(self) -> int:
        """Units planned."""
        return self._table.num_slots

    @property
    def n_failed(self) -> int:
        """Units that failed so far."""
        return len(self._table.failures)

    @property
    def n_answered(self) -> int:
        """Units with all their answers so far, scored or not."""
        return self._table.answered.count(1)

    @property
    def n_blocked(self) -> int:
        """Units that a content filter blocked so far."""
        return sum(failure.is_blocked for failure in self._table.failures.values())

    @property
    def n_contradictory(self) -> int:
        """Units of several requests that have some answers, no failure, and not all answers."""
        return sum(not part.failures for part in self._partial.values())

    @property
    def n_scored(self) -> int:
        """Units scored so far."""
        return self._table.answered.count(1) - self.num_unscored

    def _add_part(self, slot: int, state: RequestState, outcome: Outcome) -> None:
        """Keep one of several requests until its unit is whole; the unit is failed while one of them is."""
        part = self._partial.setdefault(slot, _PartialUnit())
        if not isinstance(outcome, Failure):
            part.answers.setdefault(state.key, Answer(state, outcome))
            part.failures.pop(state.key, None)
        elif state.key not in part.answers:
            part.failures[state.key] = outcome
        if len(part.answers) == state.unit_size:
            del self._partial[slot]
            self._complete(slot, state, tuple(sorted(part.answers.values(), key=_answer_order)))
        elif part.failures:
            self._table.failures[slot] = part.failures[min(part.failures)]
        else:
            self._table.failures.pop(slot, None)

    def _complete(self, slot: int, state: RequestState, answers: tuple[Answer, ...]) -> None:
        table = self._table
        table.answered[slot] = 1
        table.failures.pop(slot, None)
        for column, value in zip(self._usage, _usage(answers), strict=True):
            if value is not None:
                column.set(slot, value)
        for name, value in self._workload.add(answers).items():
            table.column(name, "efficiency", (0, UNIT_STATS.index(name)), False).set(slot, value)
        unit = Unit(table.instance_at(slot), state.trial, state.sample, answers)
        rows: dict[int, Row] = {}
        scores = self._scores(unit, rows)
        if isinstance(scores, Failure):
            self.num_unscored += 1
            table.failures[slot] = scores
            return
        if detail := self._detail(unit):
            table.details[slot] = detail
        for index, row in rows.items():
            self._corpora[index].rows[slot] = row
        for name, (rank, value) in scores.items():
            table.column(name, "score", rank).set(slot, value)

    def _scores(self, unit: Unit, rows: dict[int, Row]) -> dict[str, tuple[Rank, float]] | Failure:
        """All scores of a unit by name, or why it can't be scored: all metrics count, or none.

        What metrics over all units need of it goes into `rows`, by the metric's index.
        """
        if (nonsense := _not_a_number(unit)) is not None:
            return Failure(METRIC_ERROR, nonsense)
        scores: dict[str, tuple[Rank, float]] = {}
        for index, metric in enumerate(self.metrics):
            try:
                given = metric.score(unit)
                problem = _problem(given, scores)
                if metric.run_level_names and (row := metric.run_level_row(unit)) is not None:
                    rows[index] = row
            except Exception as error:  # noqa: BLE001 - plugin code: what it raises is kept as the reason
                problem = f"{type(error).__name__}: {error}"
            if problem is not None:
                return Failure(METRIC_ERROR, f"metric '{metric.name}': {problem}")
            for position, (name, value) in enumerate(given.items()):
                scores[name] = ((index, position), float(value))
        if self.metrics and not scores and not rows:
            return Failure(METRIC_ERROR, f"no metric applies to instance '{unit.instance.id}'")
        return scores

    def _detail(self, unit: Unit) -> str:
        """What the metrics say of their scores, each once; one that can't say it takes no score away."""
        details: dict[str, None] = {}
        for metric in self.metrics:
            try:
                details[metric.detail(unit)] = None
            except Exception as error:  # noqa: BLE001 - plugin code, as above
                details[f"metric '{metric.name}' gave no detail: {type(error).__name__}: {error}"] = None
        return one_line("; ".join(filter(None, details)))[:_MOST_DETAIL_CHARACTERS]


def _refuse_equal_names(metrics: Sequence[Metric]) -> None:
    """Nothing, if no two metrics announce the same number.

    Raises:
        UsageError: Two do.
    """
    owners: dict[str, str] = {}
    for metric in metrics:
        for name in (*metric.names, *metric.run_level_names):
            if owners.setdefault(name, metric.name) != metric.name:
                raise UsageError(
                    f"metrics '{owners[name]}' and '{metric.name}' both give '{name}'; ask for one"
                )


def _not_a_number(unit: Unit) -> str | None:
    """What is wrong with answers that were made of NaN: their texts are as meaningless as their scores."""
    for answer in unit.answers:
        for completion in answer.response.completions:
            if completion.logprob is not None and not completion.logprob < math.inf:
                return (
                    f"the answer to '{answer.state.key}' has the log-probability {completion.logprob}: "
                    "the model did not compute numbers; try another number format (bfloat16 or float32)"
                )
    return None


def _problem(given: Mapping[str, float], so_far: Mapping[str, object]) -> str | None:
    for name, value in given.items():
        if not math.isfinite(value):
            return f"gave {value} for '{name}'; scores must be finite"
        if name in so_far or name in _RESERVED:
            return f"gave '{name}', which another metric gives too"
    return None


def _answer_order(answer: Answer) -> tuple[int, bool, str]:
    state = answer.state
    return (state.reference_index or 0, state.request_mode == "calibration", state.key)


def _usage(answers: tuple[Answer, ...]) -> tuple[float | None, ...]:
    """The values of the usage stats for one unit, in their order; None for tokens that are not reported."""
    prompt_tokens = completion_tokens = num_train_instances = num_completions = num_cut = num_empty = 0
    latency_s, truncated, is_reported = 0.0, False, True
    for answer in answers:
        state, response = answer.state, answer.response
        prompt_tokens += response.usage.prompt_tokens
        completion_tokens += response.usage.completion_tokens
        is_reported = is_reported and response.usage.is_reported
        latency_s += response.latency_s
        num_completions += len(response.completions)
        for completion in response.completions:
            num_cut += completion.finish_reason == "length"
            num_empty += state.request.max_tokens > 0 and completion.lacks_answer
        # A calibration request has no few-shot examples on purpose; the others say how many there were.
        num_train_instances = max(num_train_instances, state.num_train_instances)
        truncated = truncated or state.prompt_truncated
    cut_share = num_cut / num_completions if num_completions else 0.0
    empty_share = num_empty / num_completions if num_completions else 0.0
    tokens = (prompt_tokens, completion_tokens) if is_reported else (None, None)
    return (
        *(*tokens, latency_s, cut_share),
        *(num_train_instances, truncated, empty_share),
    )
