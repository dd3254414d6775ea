"""A stored run as a reader sees it: spec, numbers, and one record per scored instance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from evalkit.errors import REMEDY, DamageError, StoreError
from evalkit.execution.journal_index import read_winners, scan_journal
from evalkit.execution.journal_line import Record
from evalkit.response import Response
from evalkit.results.integrity import require_unchanged, require_whole_journal
from evalkit.results.manifest import Manifest
from evalkit.results.run_directory import RunDirectory, read_lines
from evalkit.results.scores import read_stats
from evalkit.results.units import failed_scores
from evalkit.scoring.stat import Stat
from evalkit.specs.run_spec import RunSpec

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, slots=True)
class InstanceRecord:
    """One evaluated instance in one trial: what was asked, what came back, how it scored.

    Attributes:
        references: The right answers.
        prompts: The prompts sent, one per request (one for generation, one per reference for others).
        outputs: The first completion of each request; None where the request failed.
        status: "scored", "failed" (reason says why) or "missing" (not asked yet).
        scores: Metric name to value; empty unless scored.
        failed_scores: The scores that a metric failed to give: name to `reason` and `message`; the others
            count.
        perturbation: Label of the perturbed copy; None for an original.
        detail: Why the scores are what they are, where a metric says so (how a program failed).
    """

    instance_id: str
    trial: int
    sample: int
    split: str
    input: str
    references: tuple[str, ...]
    status: Literal["scored", "failed", "missing"]
    reason: str | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    prompts: tuple[str, ...] = ()
    outputs: tuple[str | None, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    latency_s: float = 0.0
    perturbation: str | None = None
    detail: str | None = None
    failed_scores: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run read back from its directory, whose files are as the run left them.

    Each file is compared with its fingerprint in the manifest, once, before it is read.
    """

    directory: RunDirectory
    run_spec: RunSpec
    manifest: Manifest
    stats: tuple[Stat, ...]
    _checked: set[str] = field(default_factory=set, repr=False, compare=False)

    @classmethod
    def open(cls, path: Path) -> StoredRun:
        """Read spec, manifest and numbers.

        Raises:
            StoreError: There is no run at `path`.
            DamageError: It is damaged; the message says how to repair it.
        """
        directory = RunDirectory(path)
        manifest = directory.manifest()
        if manifest is None:
            lost = DamageError if directory.journal_path.exists() else StoreError
            raise lost(f"{path} is not a run directory: it has no manifest.json; if it lost that, {REMEDY}")
        names = ("run_spec.json", "stats.json")
        require_unchanged(directory, manifest, names)
        return cls(directory, directory.run_spec(), manifest, read_stats(directory), set(names))

    def check(self, *names: str) -> None:
        """Make sure that these files are as the run left them; each is looked at once.

        Raises:
            DamageError: One is missing or was changed; says how to repair it.
        """
        require_unchanged(
            self.directory, self.manifest, (name for name in names if name not in self._checked)
        )
        self._checked.update(names)

    def stat(self, name: str, split: str = "all") -> Stat:
        """The number of a metric.

        Raises:
            StoreError: The run has no such number; lists those it has.
        """
        for stat in self.stats:
            if (stat.name, stat.split, stat.sub_split, stat.perturbation) == (name, split, None, None):
                return stat
        names = ", ".join(sorted({s.name for s in self.stats}))
        raise StoreError(f"{self.directory.path} has no stat '{name}' for split '{split}'; it has {names}")

    def records(self) -> Iterator[InstanceRecord]:
        """One record per instance and trial, in plan order.

        Raises:
            DamageError: Instances, scores or answers are not as the run left them.
        """
        self.check("instances.jsonl", "scores.jsonl")
        answers = self._answers()
        instances = {(i.id, i.perturbation_label): i for i in self.directory.instances()}
        for row in read_lines(self.directory.scores_path):
            perturbation = row.get("perturbation")
            instance = instances[row["instance_id"], perturbation]
            key = (row["instance_id"], perturbation, row.get("trial", 0), row.get("sample", 0))
            found = answers.get(key, [])
            done = [r.outcome for r in found if isinstance(r.outcome, Response)]
            yield InstanceRecord(
                instance_id=row["instance_id"],
                trial=row.get("trial", 0),
                sample=row.get("sample", 0),
                split=instance.split,
                input=instance.input,
                references=tuple(r.text for r in instance.correct_references),
                status=row["status"],
                reason=row.get("reason"),
                scores=row.get("scores", {}),
                prompts=tuple(r.state.request.text for r in found),
                outputs=tuple(_first_text(r) for r in found),
                prompt_tokens=sum(o.usage.prompt_tokens for o in done),
                completion_tokens=sum(o.usage.completion_tokens for o in done),
                latency_s=sum(o.latency_s for o in done),
                perturbation=perturbation,
                detail=row.get("detail"),
                failed_scores=failed_scores(row),
            )

    def dataframe(self) -> pandas.DataFrame:
        """The records as a table, one column per metric.

        Raises:
            ImportError: pandas is not installed; the message has the command.
        """
        try:
            import pandas
        except ImportError:
            raise ImportError("dataframes need pandas: pip install 'evalkit[dataframe]'") from None
        rows = []
        for record in self.records():
            plain = asdict(record)
            scores = plain.pop("scores")
            rows.append({**plain, **scores})
        return pandas.DataFrame(rows)

    def _answers(self) -> dict[tuple[str, str | None, int, int], list[Record]]:
        """The record that counts per request (a response is final), grouped by what is scored together."""
        grouped: dict[tuple[str, str | None, int, int], list[Record]] = {}
        path = self.directory.journal_path
        index = scan_journal(path)
        require_whole_journal(self.directory, self.manifest, index)
        for record in read_winners(path, index):
            state = record.state
            key = (state.instance_id, state.perturbation, state.trial, state.sample)
            grouped.setdefault(key, []).append(record)
        for records in grouped.values():
            records.sort(key=lambda r: (r.state.reference_index or 0, r.state.request_mode or ""))
        return grouped


def _first_text(record: Record) -> str | None:
    if isinstance(record.outcome, Response) and record.outcome.completions:
        return record.outcome.completions[0].text
    return None
