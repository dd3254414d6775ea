"""Scores as answers arrive, in any order, each of them once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, ItemsView, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from evalkit.errors import UsageError
from evalkit.instance import Instance
from evalkit.redaction import one_line
from evalkit.request import RequestState
from evalkit.response import Failure, Outcome, Response
from evalkit.scoring.efficiency import RUN_STATS, UNIT_STATS, Workload
from evalkit.scoring.judged import JUDGE_ERROR, JudgeColumns, JudgedScores, UnitId
from evalkit.scoring.metric import Metric
from evalkit.scoring.run_level import shown_value
from evalkit.scoring.score_table import Column, RunLevelScores, ScoreRow, ScoreTable
from evalkit.scoring.stat import NO_ANSWER, Stat
from evalkit.scoring.unit import Answer, Unit, in_order
from evalkit.scoring.unscored import Unscored

METRIC_ERROR = "metric_error"
_MOST_DETAIL_CHARACTERS = 200
_NO_METRIC = -1

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
    failure. A metric that raises fails with the reason `metric_error` in its own scores of that unit, a
    number that is not finite in that one score; the unit's other scores count. A unit that no metric applies
    to fails as a whole, and so does one whose log-probabilities are not numbers.

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
        num_samples: Repetitions of each request (the adapter spec's `num_trials`, HELM's word).
        is_over: Whether an answer ends its conversation, which may have fewer turns than its `unit_size`;
            None: none ends early.
        judges: The judges whose verdicts will be entered, in the order in which their stats are listed.

    Attributes:
        metrics: As given.

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
        is_over: Callable[[Instance, RequestState, Response], bool] | None = None,
        judges: Sequence[JudgeColumns] = (),
    ) -> None:
        names = [metric.name for metric in metrics]
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise UsageError(f"the same metric is asked for twice: {', '.join(twice)}")
        self.metrics = tuple(metrics)
        self._is_over = is_over
        self._judges = tuple(judges)
        names += [f"judge {judge.stage}" for judge in judges]
        self._table = ScoreTable(instances, num_train_trials, num_samples, names)
        lower_is_better = [each.lower_is_better for each in metrics] + [
            each.lower_is_better for each in judges
        ]
        self._table.lower_is_better = frozenset().union(*lower_is_better)
        shares = [each.shares for each in metrics] + [each.shares for each in judges]
        self._table.shares = frozenset().union(*shares)
        self._table.awaits_judges = bool(judges)
        self._partial: dict[int, _PartialUnit] = {}
        self._num_without = 0  # answered units without any number
        self._unscored: set[int] = set()
        for metric in metrics:
            for instance in instances:
                metric.check(instance)
        self._announced = _announced(metrics, judges)
        announced = [metric.names for metric in metrics] + [judge.names for judge in judges]
        for index, own_names in enumerate(announced):
            for position, name in enumerate(own_names):
                self._table.column(name, "score", (index, position))
        self._corpora = {
            index: RunLevelScores(index, metric.run_level_names, metric.run_level_scores)
            for index, metric in enumerate(metrics)
            if metric.run_level_names
        }
        self._judged_corpora = {
            number: RunLevelScores(len(metrics) + number, judge.run_level.names, judge.run_level.function)
            for number, judge in enumerate(judges)
            if judge.run_level is not None
        }
        self._table.run_level.extend((*self._corpora.values(), *self._judged_corpora.values()))
        self._workload = Workload()
        self._usage: tuple[Column, ...] = tuple(
            self._table.column(name, "usage", (_NO_METRIC, position), is_share)
            for position, (name, is_share) in enumerate(_USAGE_IS_SHARE.items())
        )

    def add(self, state: RequestState, outcome: Outcome) -> None:
        """Take the outcome of one request; scores its unit if that completes it.

        Raises:
            UsageError: The request is not part of this run.
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

    def judge(self, judge: int, unit: UnitId, scores: JudgedScores) -> None:
        """Enter what a judge says of a unit, once; nothing for a unit without its answers.

        Args:
            judge: Which of the judges, by number.
            unit: Instance, train trial, sample and perturbed copy.
            scores: Its numbers, by their names in this run, and why others are missing.

        Raises:
            UsageError: The unit is not part of this run.
        """
        table = self._table
        slot = table.slot(*unit)
        if not table.answered[slot]:
            return
        for name in self._judges[judge].names:
            column = table.columns[name]
            if not column.is_empty(slot):
                continue
            if name in scores.numbers:
                value = scores.numbers[name]
                if _is_number(value):
                    column.set(slot, float(value))
                    continue
                problem = f"gave {shown_value(value)} for '{name}'; scores must be finite numbers"
                problem = f"judge '{self._judges[judge].stage}': {problem}"
                column.failures[slot] = Failure(JUDGE_ERROR, problem)
            elif name in scores.failures:
                column.failures[slot] = scores.failures[name]
            else:
                continue
            self._unscored.add(slot)

    def _enter_judged_rows(self) -> None:
        """Keep what judges need for their numbers over all units, from the scores that they have given."""
        table = self._table
        for number, scores in self._judged_corpora.items():
            judge = self._judges[number]
            assert judge.run_level is not None
            columns = [(name, table.columns[name]) for name in judge.names]
            for slot in range(table.num_slots):
                given = {name: column.values[slot] for name, column in columns if not column.lacks(slot)}
                failure = next(
                    (column.failures[slot] for _, column in columns if slot in column.failures), None
                )
                try:
                    row = judge.run_level.row(table.instance_at(slot), given) if given else None
                except Exception as error:  # noqa: BLE001 - plugin code: what it raises is kept as the reason
                    problem = one_line(f"judge '{judge.stage}': {type(error).__name__}: {error}")
                    row, failure = None, Failure(JUDGE_ERROR, problem)
                    self._unscored.add(slot)
                if row is not None:
                    scores.rows[slot] = row
                    continue
                if failure is not None:
                    scores.failures[slot] = failure

    def stats(self) -> list[Stat]:
        """All stats: scores in the order of the metrics, then usage, then efficiency.

        Each is given over everything, then by split; efficiency of the whole run comes last.
        """
        table = self._table
        self._enter_judged_rows()
        n_unanswered = sum(not table.answered[slot] for slot in table.failures)
        of_run = self._workload.stats(n_unanswered, self.n_total, table.num_train_trials)
        return [*table.stats(), *of_run]

    def remarks(self) -> list[str]:
        """What the metrics remark on the answers, each once; after `stats` also what they could not make."""
        remarks = [remark for metric in self.metrics for remark in metric.remarks()]
        return list(dict.fromkeys((*remarks, *self.run_level_problems)))

    @property
    def run_level_problems(self) -> list[str]:
        """Why numbers over all units are missing, in words; known after `stats`."""
        givers = [f"metric '{metric.name}'" for metric in self.metrics]
        givers += [f"judge '{judge.stage}'" for judge in self._judges]
        return [
            f"{givers[scores.metric]} gave no {name} over all units: {problem}"
            for scores in self._table.run_level
            for name, problem in scores.problems.items()
        ]

    def rows(self) -> Iterator[ScoreRow]:
        """What became of every unit, by train trial, then instance, then sample."""
        self._enter_judged_rows()
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
        """Units without any score so far: they have no answer, or no metric could score it."""
        unanswered = sum(not self._table.answered[slot] for slot in tuple(self._table.failures))
        return unanswered + self._num_without

    @property
    def unscored(self) -> Unscored:
        """Answered units that lack a score since a metric failed; of numbers over all units after `stats`."""
        table = self._table
        failed = table.failed_scores()
        counts = {name: len(failures) for name, failures in failed.items()}
        judged = {name for judge in self._judges for name in judge.all_names}
        by_reason = {
            name: dict(Counter(failure.reason for failure in failures.values()).most_common())
            for name, failures in failed.items()
            if name in judged
        }
        units = set(self._unscored)
        for scores in table.run_level:
            if scores.problems:
                units.update(scores.rows)
                counts |= {name: counts.get(name, 0) + len(scores.rows) for name in scores.problems}
                for name in judged & scores.problems.keys():
                    reasons = by_reason.setdefault(name, {})
                    reasons[JUDGE_ERROR] = reasons.get(JUDGE_ERROR, 0) + len(scores.rows)
        return Unscored(len(units), dict(sorted(counts.items())), by_reason)

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
        """Units with a number so far."""
        return self._table.answered.count(1) - self._num_without

    def _add_part(self, slot: int, state: RequestState, outcome: Outcome) -> None:
        """Keep one of several requests until its unit is whole; the unit is failed while one of them is."""
        part = self._partial.setdefault(slot, _PartialUnit())
        if not isinstance(outcome, Failure):
            part.answers.setdefault(state.key, Answer(state, outcome))
            part.failures.pop(state.key, None)
        elif state.key not in part.answers:
            part.failures[state.key] = outcome
        if len(part.answers) == state.unit_size or self._has_ended(slot, part):
            del self._partial[slot]
            self._complete(slot, state, in_order(part.answers.values()))
        elif part.failures:
            self._table.failures[slot] = part.failures[min(part.failures)]
        else:
            self._table.failures.pop(slot, None)

    def _has_ended(self, slot: int, part: _PartialUnit) -> bool:
        """Whether answers are those of a conversation that has ended early."""
        if self._is_over is None or not part.answers:
            return False
        *_, last = in_order(part.answers.values())
        if last.state.turn != len(part.answers):
            return False
        return self._is_over(self._table.instance_at(slot), last.state, last.response)

    def _complete(self, slot: int, state: RequestState, answers: tuple[Answer, ...]) -> None:
        table = self._table
        table.answered[slot] = 1
        table.failures.pop(slot, None)
        for column, value in zip(self._usage, _usage(answers), strict=True):
            if value is not None:
                column.set(slot, value)
        for name, value in self._workload.add(answers).items():
            rank = (_NO_METRIC, UNIT_STATS.index(name))
            table.column(name, "efficiency", rank, False).set(slot, value)
        self._score(slot, Unit(table.instance_at(slot), state.trial, state.sample, answers))

    def _score(self, slot: int, unit: Unit) -> None:
        """Enter what each metric gives for a unit, or why it gives nothing."""
        table, num_given = self._table, 0
        done: list[Metric] = []
        nonsense = _not_a_number(unit)
        for index, metric in enumerate(self.metrics if nonsense is None else ()):
            try:
                given = metric.score(unit).items()
            except Exception as error:  # noqa: BLE001 - plugin code: what it raises is kept as the reason
                self._fail_metric(slot, index, f"{type(error).__name__}: {error}")
                continue
            if (num_numbers := self._enter(slot, index, given)) is None:
                continue
            num_given += num_numbers
            if metric.run_level_names:
                num_given += self._enter_row(slot, index, unit)
            done.append(metric)
        if not num_given and self.metrics and not self._judges:
            self._num_without += 1
            if slot not in self._unscored:
                message = nonsense or f"no metric applies to instance '{unit.instance.id}'"
                table.failures[slot] = Failure(METRIC_ERROR, message)
                self._unscored.add(slot)
        elif detail := self._detail(unit, done):
            table.details[slot] = detail

    def _enter(self, slot: int, index: int, given: ItemsView[str, float]) -> int | None:
        """Enter what one metric gives; returns how many are numbers, None if it gives another's name."""
        table, entries, num_numbers = self._table, [], 0
        for position, (name, value) in enumerate(given):
            column = table.columns.get(name)
            is_taken = column is not None and not column.is_empty(slot)
            if not is_taken and (column is None or column.rank != (index, position)):
                is_taken = name in _RESERVED or self._announced.get(name, index) != index
                column = None if is_taken else table.column(name, "score", (index, position))
            if is_taken or column is None:
                self._fail_metric(slot, index, f"gave '{name}', which another metric gives too")
                return None
            entries.append((column, name, value))
        for column, name, value in entries:
            if _is_number(value):
                column.set(slot, float(value))
                num_numbers += 1
            else:
                problem = f"gave {shown_value(value)} for '{name}'; scores must be finite numbers"
                self._fail(slot, column.failures, self.metrics[index], problem)
        return num_numbers

    def _enter_row(self, slot: int, index: int, unit: Unit) -> int:
        """Keep what a metric over all units needs of this one; returns the number of rows kept."""
        metric, scores = self.metrics[index], self._corpora[index]
        try:
            row = metric.run_level_row(unit)
        except Exception as error:  # noqa: BLE001 - plugin code, as above
            self._fail(slot, scores.failures, metric, f"{type(error).__name__}: {error}")
            return 0
        if row is None:
            return 0
        scores.rows[slot] = row
        return 1

    def _fail_metric(self, slot: int, index: int, problem: str) -> None:
        """A metric gives nothing for a unit: all its scores of that fail."""
        self._fail(slot, self._table.metric_failures.setdefault(index, {}), self.metrics[index], problem)

    def _fail(self, slot: int, failures: dict[int, Failure], metric: Metric, problem: str) -> None:
        failures[slot] = Failure(METRIC_ERROR, f"metric '{metric.name}': {problem}")
        self._unscored.add(slot)

    @staticmethod
    def _detail(unit: Unit, metrics: Iterable[Metric]) -> str:
        """What metrics say of their scores, each once; one that can't say it takes no score away."""
        details: dict[str, None] = {}
        for metric in metrics:
            try:
                details[metric.detail(unit)] = None
            except Exception as error:  # noqa: BLE001 - plugin code, as above
                details[f"metric '{metric.name}' gave no detail: {type(error).__name__}: {error}"] = None
        return one_line("; ".join(filter(None, details)))[:_MOST_DETAIL_CHARACTERS]


def _is_number(value: object) -> bool:
    try:
        return math.isfinite(value)  # type: ignore[arg-type]  # what a plugin gives may be anything
    except (TypeError, OverflowError):
        return False


def _announced(metrics: Sequence[Metric], judges: Sequence[JudgeColumns] = ()) -> dict[str, int]:
    """The metric or judge that announces each number, by index; judges come after the metrics.

    Raises:
        UsageError: Two announce the same.
    """
    owners: dict[str, int] = {}
    given = [(f"metric '{metric.name}'", (*metric.names, *metric.run_level_names)) for metric in metrics]
    given += [(f"judge '{judge.stage}'", judge.all_names) for judge in judges]
    for index, (giver, names) in enumerate(given):
        for name in names:
            if (owner := owners.setdefault(name, index)) != index:
                raise UsageError(f"{given[owner][0]} and {giver} both give '{name}'; ask for one")
    return owners


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


def _usage(answers: tuple[Answer, ...]) -> tuple[float | None, ...]:
    """The values of the usage stats for one unit, in their order.

    None for tokens that are not reported, and for the time that answers found elsewhere took somewhere else.
    """
    prompt_tokens = completion_tokens = num_train_instances = num_completions = num_cut = num_empty = 0
    latency_s, truncated, is_reported, is_found = 0.0, False, True, False
    for answer in answers:
        state, response = answer.state, answer.response
        prompt_tokens += response.usage.prompt_tokens
        completion_tokens += response.usage.completion_tokens
        is_reported = is_reported and response.usage.is_reported
        latency_s += response.latency_s
        is_found = is_found or response.origin is not None
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
        *(*tokens, None if is_found else latency_s, cut_share),
        *(num_train_instances, truncated, empty_share),
    )
