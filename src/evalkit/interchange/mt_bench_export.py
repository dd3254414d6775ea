"""A run of conversations, written as FastChat's files of MT-Bench.

    <out>/<benchmark>/question.jsonl
    <out>/<benchmark>/model_answer/<model>.jsonl           a line per question, with one choice per repetition
    <out>/<benchmark>/model_judgment/<judge>_single.jsonl  a line per judgement; -1 where there is no rating

What FastChat writes at random (answer ids) is made from the content here, so that an export is repeatable.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from evalkit.errors import REMEDY, DamageError, StoreError, UsageError
from evalkit.execution.journal_index import read_winners, scan_journal
from evalkit.instance import Instance
from evalkit.interchange.mt_bench_judged import fastchat_id, judgement_rows
from evalkit.metrics.mt_bench import JUDGEMENTS, NO_RATING, TURNS
from evalkit.response import Response
from evalkit.results.integrity import require_unchanged, require_whole_journal
from evalkit.results.manifest import Manifest
from evalkit.results.run_directory import RunDirectory, read_lines, write_lines
from evalkit.scoring.unit import Answer, Unit
from evalkit.specs.digest import digest
from evalkit.specs.run_spec import RunSpec

_ID_DIGITS = 22
Sample = tuple[str, int]
"""An instance and one of its repetitions."""


@dataclass(frozen=True, slots=True)
class MtBenchExport:
    """What was written for a run.

    Attributes:
        answers: The answer file; written if there is an answer.
        num_questions: Questions with at least one whole conversation.
        num_left_out: Conversations that are not whole: FastChat's files have no failures.
        num_judgements: Lines of judgements.
        num_unrated: Those of them without a rating.
    """

    answers: Path
    num_questions: int
    num_left_out: int
    num_judgements: int
    num_unrated: int


@dataclass(frozen=True, slots=True)
class _Run:
    """A run that is read.

    Attributes:
        whole: The answers of each whole conversation, in the order of the turns.
        ended_at: In Unix seconds.
    """

    spec: RunSpec
    instances: Sequence[Instance]
    whole: Mapping[Sample, Sequence[Answer]]
    ended_at: float

    @property
    def model(self) -> str:
        """As FastChat may name a file: the model's name, without slashes."""
        return self.spec.adapter_spec.model.replace("/", "--")

    @property
    def bench(self) -> str:
        """The name of the benchmark: that of FastChat's folder, where it came from one."""
        return self.spec.scenario_spec.args.get("bench") or self.spec.name.partition(":")[0]

    @property
    def first_choices(self) -> Mapping[str, Unit]:
        """The first conversation about each question, which is the one that FastChat judges."""
        return {
            str(instance.id): Unit(instance, 0, 0, tuple(answers))
            for instance in self.instances
            if (answers := self.whole.get((str(instance.id), 0)))
        }

    @property
    def num_units(self) -> int:
        """Conversations that were to be had."""
        return len(self.instances) * self.spec.adapter_spec.num_trials


def export_mt_bench(directory: RunDirectory, target: Path) -> MtBenchExport:
    """Write a run's questions, answers and judgements; those of other models in the folder stay.

    Args:
        directory: The run.
        target: The folder in which a folder for the benchmark is made.

    Raises:
        DamageError: The run is damaged.
        UsageError: The run has neither a whole conversation nor a judgement.
        StoreError: The target can't be written.
    """
    run = _opened(directory)
    rows = list(_answer_rows(run))
    judgements = [*_given_judgements(run), *judgement_rows(directory, run.spec, run.model, run.first_choices)]
    if not rows and not judgements:
        raise UsageError(f"{directory.path.name} has no whole conversation to export")
    bench = target / run.bench
    path = bench / "model_answer" / f"{run.model}.jsonl"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_lines(bench / "question.jsonl", _question_rows(run.instances))
        if rows:
            write_lines(path, rows)
        _write_judgements(bench / "model_judgment", judgements, run.model)
    except OSError as error:
        raise StoreError(f"can't write {error.filename or bench}: {error.strerror}") from error
    num_unrated = sum(row["score"] == NO_RATING for row in judgements)
    return MtBenchExport(path, len(rows), run.num_units - len(run.whole), len(judgements), num_unrated)


def _opened(directory: RunDirectory) -> _Run:
    manifest = directory.manifest()
    if manifest is None:
        raise DamageError(f"{directory.path} has no manifest.json; {REMEDY}")
    require_unchanged(directory, manifest, ("run_spec.json", "instances.jsonl"))
    index = scan_journal(directory.journal_path)
    require_whole_journal(directory, manifest, index)
    spec = directory.run_spec()
    turns: dict[Sample, list[Answer]] = {}
    for record in read_winners(directory.journal_path, index):
        state = record.state
        is_plain = state.reference_index is None and state.perturbation is None and not state.trial
        if is_plain and isinstance(record.outcome, Response) and record.outcome.completions:
            turns.setdefault((state.instance_id, state.sample), []).append(Answer(state, record.outcome))
    whole = {
        sample: sorted(answers, key=lambda answer: answer.state.turn or 0)
        for sample, answers in turns.items()
        if len(answers) == answers[0].state.unit_size
    }
    instances = [instance for instance in directory.instances() if instance.perturbation is None]
    return _Run(spec, instances, whole, _ended_at(manifest))


def _ended_at(manifest: Manifest) -> float:
    """When the run ended, in Unix seconds; 0 where that is not known."""
    try:
        return datetime.fromisoformat(manifest.finished_at).timestamp()
    except ValueError:
        return 0.0


def _question_rows(instances: Iterable[Instance]) -> Iterator[dict[str, Any]]:
    for instance in instances:
        extra = instance.extra or {}
        turns = extra.get(TURNS) or [instance.input, *extra.get("follow_ups", ())]
        yield {"question_id": fastchat_id(instance), "category": instance.sub_split or "", "turns": turns}


def _answer_rows(run: _Run) -> Iterator[dict[str, Any]]:
    """A row per question, whose choices are numbered by repetition."""
    for instance in run.instances:
        choices = [
            {"index": sample, "turns": [answer.response.completions[0].text for answer in answers]}
            for sample in range(run.spec.adapter_spec.num_trials)
            if (answers := run.whole.get((str(instance.id), sample)))
        ]
        if choices:
            yield {
                "question_id": fastchat_id(instance),
                "answer_id": digest([run.model, instance.id, choices])[:_ID_DIGITS],
                "model_id": run.model,
                "choices": choices,
                "tstamp": run.ended_at,
            }


def _given_judgements(run: _Run) -> Iterator[dict[str, Any]]:
    """The rows of an imported run, as they were."""
    for instance in run.instances:
        for row in (instance.extra or {}).get(JUDGEMENTS, ()):
            yield {"question_id": fastchat_id(instance), "model": run.model, **row}


def _write_judgements(folder: Path, rows: Iterable[dict[str, Any]], model: str) -> None:
    """Write the rows of each judge into its file, in place of those of this model that are there."""
    by_judge: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_judge.setdefault(row["judge"][0].replace("/", "--"), []).append(row)
    for judge, own in by_judge.items():
        path = folder / f"{judge}_single.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        others = [row for row in read_lines(path) if row.get("model") != model] if path.exists() else []
        write_lines(path, [*others, *own])
