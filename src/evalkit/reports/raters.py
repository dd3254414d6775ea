"""Who has judged which answers, and how: judges of runs, metrics, humans.

A verdict belongs to an item: one answer, that is an instance, a perturbed copy, a train trial and a sample.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evalkit.codec import decode_foreign
from evalkit.errors import ConfigError, StoreError, UsageError
from evalkit.execution.journal_index import read_winners, scan_journal
from evalkit.notation.numbers import number_of
from evalkit.response import Response
from evalkit.results.opinions import has_several, stored_opinions
from evalkit.results.run_directory import read_lines
from evalkit.results.stored_run import StoredRun
from evalkit.yaml_text import read_text

Item = tuple[str, str | None, int, int]
"""Instance, perturbed copy, train trial, sample."""

HUMAN = "human"
_ID_NAMES = ("instance_id", "id", "question_id")
_LABEL_NAMES = ("label", "human", "verdict", "score", "rating")


@dataclass(frozen=True, slots=True)
class Rater:
    """One who judges, with a verdict on each item judged.

    Attributes:
        verdicts: Numbers; an item that failed, or stayed unclear, has none.
        is_human: Whether these are human labels.
        is_pooled: Whether it is made from other raters' verdicts.
    """

    name: str
    verdicts: Mapping[Item, float]
    is_human: bool = False
    is_pooled: bool = False


@dataclass(frozen=True, slots=True)
class JudgedAnswers:
    """The answers that several raters have judged.

    Attributes:
        raters: Those who judge.
        clusters: The cluster of each instance: its group, or itself.
        num_other_answers: Items left out, since two runs have different answers there.
        notes: What a reader must know, such as labels of items that are not in the run.
    """

    raters: Sequence[Rater]
    clusters: Mapping[str, str]
    num_other_answers: int = 0
    notes: Sequence[str] = field(default_factory=tuple)


def judged_answers(runs: Sequence[StoredRun], scores: Sequence[str]) -> JudgedAnswers:
    """The verdicts of several runs on the same answers, several scores of one run, or a jury's opinions.

    Of a judge with several opinions each is a rater, besides all of them together.
    Items on which two runs have different answers are left out.

    Raises:
        UsageError: The runs did not ask the same, or have none of the scores.
        StoreError: A run can't be read.
    """
    asked = {run.manifest.request_digest for run in runs}
    if len(asked) > 1:
        names = ", ".join(run.directory.path.name for run in runs)
        raise UsageError(
            f"agreement is about the same answers, but these runs asked differently: {names}; give runs that "
            "differ in their judges only"
        )
    raters: list[Rater] = []
    clusters: dict[str, str] = {}
    answers: dict[Item, str] = {}
    other: set[Item] = set()
    for run in runs:
        for item, text in _answers(run) if len(runs) > 1 else ():
            if answers.setdefault(item, text) != text:
                other.add(item)
        clusters.update(_clusters(run))
        raters += _raters_of(run, scores, with_run=len(runs) > 1)
    kept = [
        replace(rater, verdicts={k: verdict for k, verdict in rater.verdicts.items() if k not in other})
        for rater in raters
    ]
    return JudgedAnswers(kept, clusters, len(other))


def labels_in_field(run: StoredRun, name: str) -> Rater:
    """Human labels that came with the benchmark: a field of each instance's `extra`.

    Raises:
        UsageError: No instance has the field.
    """
    run.check("instances.jsonl")
    verdicts: dict[Item, float] = {}
    fields: set[str] = set()
    for row in read_lines(run.directory.instances_path):
        extra = row.get("extra")
        if not isinstance(extra, dict):
            continue
        fields.update(extra)
        if row.get("perturbation") is None and (value := _number(extra.get(name))) is not None:
            verdicts[str(row["id"]), None, 0, 0] = value
    if not verdicts:
        known = f"they have {', '.join(sorted(map(str, fields)))}" if fields else "they have no extra data"
        raise UsageError(f"no instance of {run.directory.path.name} has a number as '{name}'; {known}")
    return Rater(HUMAN, verdicts, is_human=True)


def labels_in_file(path: Path) -> Rater:
    """Human labels from a file: JSON lines, or CSV by its suffix.

    Each row has `instance_id` (or `id`, `question_id`), `label` (or `human`, `verdict`, `score`, `rating`),
    and perhaps `trial`, `sample` and `perturbation`; by default trial 0, sample 0 of the original.

    Raises:
        ConfigError: A row lacks one of both, its label is not a number, or an item has two; names the line.
    """
    verdicts: dict[Item, float] = {}
    for line, row in _rows(path):
        name = next((name for name in _ID_NAMES if row.get(name) not in (None, "")), None)
        label = next((name for name in _LABEL_NAMES if name in row), None)
        if name is None or label is None:
            lacking = _ID_NAMES if name is None else _LABEL_NAMES
            raise ConfigError(f"{path}, line {line}: it has none of {', '.join(lacking)}")
        if row[label] in (None, ""):
            continue  # not labelled
        value = _number(row[label])
        if value is None:
            raise ConfigError(
                f"{path}, line {line}: the label {row[label]!r} is not a number; write 1 or 0 for yes or no"
            )
        trial, sample = (_count(path, line, row.get(key)) for key in ("trial", "sample"))
        item = (str(row[name]), row.get("perturbation") or None, trial, sample)
        if verdicts.setdefault(item, value) != value:
            raise ConfigError(f"{path}, line {line}: '{item[0]}' has two labels that differ; keep one")
    if not verdicts:
        raise ConfigError(f"{path} has no labels")
    return Rater(HUMAN, verdicts, is_human=True)


def _raters_of(run: StoredRun, scores: Sequence[str], *, with_run: bool) -> Iterator[Rater]:
    run.check("scores.jsonl")
    verdicts: dict[str, dict[Item, float]] = {score: {} for score in scores}
    known: set[str] = set()
    for row in read_lines(run.directory.scores_path):
        item = (row["instance_id"], row.get("perturbation"), row.get("trial", 0), row.get("sample", 0))
        for score, value in row.get("scores", {}).items():
            known.add(score)
            if score in verdicts:
                verdicts[score][item] = value
    for score, found in verdicts.items():
        if score not in known:
            raise StoreError(
                f"{run.directory.path} has no score '{score}'; it has {', '.join(sorted(known)) or 'none'}"
            )
        run_name = run.directory.path.name
        name = score if not with_run else f"{run_name} {score}" if len(scores) > 1 else run_name
        opinions = _opinions(run, score)
        yield Rater(name, found, is_pooled=bool(opinions))
        for who, verdicts_of in opinions.items():
            yield Rater(f"{name}: {who}" if with_run or len(scores) > 1 else who, verdicts_of)


def _opinions(run: StoredRun, score: str) -> dict[str, dict[Item, float]]:
    """The verdicts of each opinion that a score is made from; nothing where there is only one."""
    found: dict[str, dict[Item, float]] = {}
    for judge in filter(has_several, run.run_spec.judge_specs):
        for each in stored_opinions(run, judge):
            if score in each.scores.numbers:
                instance_id, trial, sample, perturbation = each.unit
                verdicts = found.setdefault(each.name, {})
                verdicts[instance_id, perturbation, trial, sample] = each.scores.numbers[score]
    return found


def _answers(run: StoredRun) -> Iterator[tuple[Item, str]]:
    """A checksum of each item's answers."""
    path = run.directory.journal_path
    digests: dict[Item, list[tuple[str, str]]] = {}
    for record in read_winners(path, scan_journal(path)):
        state = record.state
        if isinstance(record.outcome, Response):
            texts = "\0".join(completion.text for completion in record.outcome.completions)
            item = (state.instance_id, state.perturbation, state.trial, state.sample)
            sha = hashlib.sha256(texts.encode("utf-8", "surrogatepass")).hexdigest()
            digests.setdefault(item, []).append((state.key, sha))
    for item, found in digests.items():
        yield item, "".join(sha for _, sha in sorted(found))


def _clusters(run: StoredRun) -> dict[str, str]:
    run.check("instances.jsonl")
    rows = read_lines(run.directory.instances_path)
    return {str(row["id"]): f"group {row['group']}" for row in rows if row.get("group") is not None}


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    text = read_text(path, "utf-8-sig")
    if path.suffix.lower() == ".csv":
        reader = csv.DictReader(io.StringIO(text))
        for row in reader:
            yield reader.line_num, row
        return
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            plain = decode_foreign(line.encode())
        except ValueError as error:
            raise ConfigError(f"{path}, line {number}: not JSON: {error}") from None
        if not isinstance(plain, dict):
            raise ConfigError(f"{path}, line {number}: not a JSON object")
        yield number, plain


def _number(value: object) -> float | None:
    """A label as a number: true and false are 1 and 0; None for what is not one."""
    if isinstance(value, bool | int | float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        found = number_of(value)
        return None if found is None else float(found)
    return None


def _count(path: Path, line: int, value: object) -> int:
    number = 0.0 if value in (None, "") else _number(value)
    if number is None or number < 0 or number != int(number):
        raise ConfigError(f"{path}, line {line}: {value!r} is not the number of a trial or sample, from 0 on")
    return int(number)
