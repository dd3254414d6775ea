"""The directory of one run: what is in it, and which directory a run spec gets.

    <output path>/runs/<suite>/<run name>/
        run_spec.json    what was asked, as data
        manifest.json    digest and what it covers, status, counts, versions, times, tokens, cost
        instances.jsonl  the evaluated instances, in plan order
        journal.jsonl    every finished request with its answer or failure, in order of arrival
        scores.jsonl     scores per instance, in plan order (derived from the two above)
        stats.json       the numbers (derived)
        run.lock         held while a process works on the run

A run name is a label; the digest says what a run is. A second spec of one name gets `<name>@<digest8>`.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from evalkit.codec import decode, decode_exact, encode, encode_exact
from evalkit.errors import StoreError, UsageError
from evalkit.folder_names import earlier_folder_of, folder_of, is_hidden
from evalkit.instance import Instance, PerturbationDescription, Reference
from evalkit.specs.digest import RunDigest, differing_fields
from evalkit.specs.run_spec import RunSpec

Read = TypeVar("Read")

FORMAT_VERSION = 1
RunStatus = Literal["running", "complete", "partial", "stopped", "interrupted", "error"]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known of a run at one glance.

    Attributes:
        digest: Identity of the run; `request_digest` leaves the metrics out.
        identity: Everything the digest covers, for telling two runs of one name apart.
        status: `complete` (all answered), `partial` (some failed), `stopped` (budget, wrong key, dead
            server), `interrupted`, `error`, or `running`, also after a kill.
        message: Why it is not complete.
        counts: num_instances, num_requests, num_answered, num_failed; num_blocked where a content filter
            blocked some of the failed ones.
        seconds: Wall time over all starts.
        notes: What evalkit did otherwise than asked, such as a parameter left out that the server refuses.
    """

    name: str
    entry: str
    digest: str
    request_digest: str
    identity: Mapping[str, Any]
    status: RunStatus = "running"
    message: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    usage: Mapping[str, int] = field(default_factory=dict)
    cost_usd: float | None = None
    seconds: float = 0.0
    starts: int = 0
    started_at: str = ""
    finished_at: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    format: int = FORMAT_VERSION


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Paths and files of one run."""

    path: Path

    @property
    def journal_path(self) -> Path:
        """The journal of responses."""
        return self.path / "journal.jsonl"

    @property
    def lock_path(self) -> Path:
        """The lock held while a process works on the run."""
        return self.path / "run.lock"

    @property
    def scores_path(self) -> Path:
        """Scores per instance."""
        return self.path / "scores.jsonl"

    @property
    def instances_path(self) -> Path:
        """The evaluated instances."""
        return self.path / "instances.jsonl"

    @property
    def imported_path(self) -> Path:
        """What came along with a run of another harness; there is none for runs made here."""
        return self.path / "imported"

    def manifest(self) -> Manifest | None:
        """The manifest, or None where there is none yet.

        Raises:
            StoreError: It is damaged, or of a newer format.
        """
        plain = self._read_json("manifest.json")
        if plain is None:
            return None
        if not isinstance(plain, dict):
            raise StoreError(f"{self.path / 'manifest.json'} is no manifest: it holds no JSON object")
        version = plain.get("format", 0)
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise StoreError(f"{self.path} was written by a newer evalkit (format {version}); update evalkit")
        known = {name: plain[name] for name in Manifest.__dataclass_fields__ if name in plain}
        return _checked(_manifest_type(), known, self.path / "manifest.json")

    def write_manifest(self, manifest: Manifest) -> None:
        """Replace the manifest atomically."""
        write_json(self.path / "manifest.json", asdict(manifest))

    def run_spec(self) -> RunSpec:
        """The run spec.

        Raises:
            StoreError: There is none, or it is damaged.
        """
        plain = self._read_json("run_spec.json")
        if plain is None:
            raise StoreError(f"{self.path} is no run directory: it has no run_spec.json")
        return _checked(TypeAdapter(RunSpec), plain, self.path / "run_spec.json")

    def write_run_spec(self, run_spec: RunSpec) -> None:
        """Write the run spec atomically."""
        write_json(self.path / "run_spec.json", run_spec.model_dump(mode="json"))

    def write_instances(self, instances: Sequence[Instance]) -> None:
        """Write the evaluated instances, unless they are there."""
        if not self.instances_path.exists():
            # Exact, so that a metric that looks at `extra` later sees what it saw in the run.
            lines = (encode_exact(_instance_to_json(i), newline=True) for i in instances)
            _replace(self.instances_path, lines)

    def instances(self) -> list[Instance]:
        """The evaluated instances in plan order.

        Raises:
            StoreError: The file is missing or damaged.
        """
        return [_instance_from_json(line) for line in read_lines(self.instances_path)]

    def stats(self) -> list[dict[str, Any]]:
        """The numbers as plain data; empty before the run has any."""
        plain = self._read_json("stats.json")
        if plain is None:
            return []
        if not isinstance(plain, dict) or not isinstance(stats := plain.get("stats"), list):
            raise StoreError(f"{self.path / 'stats.json'} is damaged: it holds no list of 'stats'")
        return stats

    def write_stats(self, stats: Iterable[Mapping[str, Any]]) -> None:
        """Replace the numbers atomically."""
        write_json(self.path / "stats.json", {"stats": list(stats)})

    def _read_json(self, name: str) -> Any:
        path = self.path / name
        try:
            return decode(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise StoreError(f"{path} is damaged: {error}") from None


@dataclass(frozen=True, slots=True)
class DirectoryChoice:
    """Which directory a run gets, and why.

    Attributes:
        exists: It holds a run of this very digest, to be resumed.
        differs: How the run that has the plain name differs from this one, as `field: theirs -> ours`.
        reuse: A run whose requests are the same (it was scored otherwise): its answers can be taken over.
    """

    directory: RunDirectory
    exists: bool
    differs: tuple[str, ...] = ()
    reuse: RunDirectory | None = None


def folder_name(suite_path: Path, name: str, digest: RunDigest | None, taken: Collection[str] = ()) -> str:
    """The name of the directory that a run will have, before it has one.

    Args:
        suite_path: The folder of its suite.
        name: The run's name.
        digest: The run's digest; None where it is not known, so that the run can't be started.
        taken: Directories that other runs are to have first.

    Raises:
        StoreError: A directory of this name is damaged.
    """
    label = folder_of(name)
    if digest is None:
        return label
    if (earlier := _earlier_directory(suite_path, name, digest)) is not None:
        return earlier.path.name
    plain, marked = RunDirectory(suite_path / label), _marked_directory(suite_path, label, digest)
    holder = plain.manifest()
    if holder is not None:
        return label if holder.digest == digest.full else marked.path.name
    is_free = label not in taken and not (plain.path / "run_spec.json").exists()
    return label if is_free and marked.manifest() is None else marked.path.name


def is_marked_name(folder: str, digest: RunDigest) -> bool:
    """Whether a directory stands beside one that has the plain name."""
    return f"@{digest.full[:8]}" in folder


def _marked_directory(suite_path: Path, label: str, digest: RunDigest) -> RunDirectory:
    """The directory beside one that has the plain name; a run that happens to be called so keeps its own."""
    for length in (8, 16):
        directory = RunDirectory(suite_path / f"{label}@{digest.full[:length]}")
        holder = directory.manifest()
        if holder is None or holder.digest == digest.full:
            return directory
    return RunDirectory(suite_path / f"{label}@{digest.full[:32]}")


def _earlier_directory(suite_path: Path, name: str, digest: RunDigest) -> RunDirectory | None:
    """Where an earlier version kept this very run, under a name that is spelled otherwise today."""
    if (label := earlier_folder_of(name)) is None:
        return None
    for path in (suite_path / label, suite_path / f"{label}@{digest.full[:8]}"):
        directory = RunDirectory(path)
        holder = directory.manifest()
        if holder is not None and holder.digest == digest.full:
            return directory
    return None


def choose_directory(
    suite_path: Path, name: str, digest: RunDigest, identity: Mapping[str, Any], *, is_marked: bool = False
) -> DirectoryChoice:
    """The directory for a run: its own if it was started before, else a new one beside its namesakes.

    Args:
        suite_path: The folder of its suite.
        name: The run's name.
        digest: The run's digest.
        identity: What the digest covers.
        is_marked: Leave the plain name to another run, even if that has not come yet.
    """
    if (earlier := _earlier_directory(suite_path, name, digest)) is not None:
        return DirectoryChoice(earlier, exists=True)
    label = folder_of(name)
    plain = RunDirectory(suite_path / label)
    marked = _marked_directory(suite_path, label, digest)
    holder = plain.manifest()
    if holder is not None and holder.digest == digest.full:
        return DirectoryChoice(plain, exists=True)
    if marked.manifest() is not None:
        return DirectoryChoice(marked, exists=True, differs=_differences(holder, identity))
    reuse = _same_requests(suite_path, label, digest)
    is_free = holder is None and not (plain.path / "run_spec.json").exists()
    if is_free and not is_marked:
        return DirectoryChoice(plain, exists=False, reuse=reuse)
    differs = () if is_free else _differences(holder, identity)
    return DirectoryChoice(marked, exists=False, differs=differs, reuse=reuse)


def set_aside(directory: RunDirectory) -> Path | None:
    """Move what a run has to `.replaced/` in its suite, for a fresh start; nothing is deleted."""
    if not directory.path.exists():
        return None
    folder = directory.path.parent / ".replaced"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{directory.path.name}.{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}.{os.getpid()}"
    directory.path.rename(target)
    return target


def adopt_answers(directory: RunDirectory, source: RunDirectory) -> None:
    """Copy the journal of a run with the same requests; a torn or damaged line in it is owed again."""
    if source.journal_path.exists() and not directory.journal_path.exists():
        temporary = directory.journal_path.with_suffix(".part")
        shutil.copyfile(source.journal_path, temporary)
        temporary.rename(directory.journal_path)


def find_runs(path: Path) -> list[RunDirectory]:
    """All runs below `path` (a run, a suite, or an output path), in order of name.

    Raises:
        UsageError: There is none.
    """
    if path.name in ("", "..") or ".." in path.parts:
        path = path.resolve()  # a run has a name, also where its path has none
    found = [
        RunDirectory(manifest.parent)
        for pattern in ("manifest.json", "*/manifest.json", "*/*/manifest.json", "runs/*/*/manifest.json")
        for manifest in path.glob(pattern)
        if manifest.is_file() and not is_hidden(manifest.relative_to(path))
    ]
    if not found:
        raise UsageError(f"no runs in {path}" if path.exists() else f"{path} does not exist")
    return sorted(found, key=lambda run: str(run.path))


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically and durably."""
    _replace(path, iter((encode(value, indent=True, newline=True),)))


def write_lines(path: Path, values: Iterable[Any]) -> None:
    """Write values as JSON lines, atomically and durably, in bounded memory."""
    _replace(path, (encode(value, newline=True) for value in values))


def read_lines(path: Path) -> Iterator[Any]:
    """The values of a file of JSON lines.

    Raises:
        StoreError: The file is missing, or a line is damaged; names the line.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield decode_exact(line)
                except ValueError as error:
                    raise StoreError(f"{path}:{number} is damaged: {error}") from None
    except FileNotFoundError:
        raise StoreError(f"{path} is missing") from None


@cache
def _manifest_type() -> TypeAdapter[Manifest]:
    return TypeAdapter(Manifest)


def _checked(kind: TypeAdapter[Read], plain: Any, path: Path) -> Read:
    """What a file holds, as what it is to be."""
    try:
        return kind.validate_python(plain)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise StoreError(f"{path} is damaged: {place}: {first['msg']}") from None


def _replace(path: Path, chunks: Iterator[bytes]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(f"can't write {path}: {error.strerror}") from error


def _differences(holder: Manifest | None, identity: Mapping[str, Any]) -> tuple[str, ...]:
    if holder is None:
        return ("another program's run has the name",)
    return tuple(differing_fields(holder.identity, identity))


def _same_requests(suite_path: Path, label: str, digest: RunDigest) -> RunDirectory | None:
    for path in (suite_path / label, *sorted(suite_path.glob(f"{_escape(label)}@*"))):
        directory = RunDirectory(path)
        manifest = directory.manifest()
        if manifest is not None and manifest.request_digest == digest.requests:
            return directory
    return None


def _escape(label: str) -> str:
    import glob

    return glob.escape(label)


def _instance_to_json(instance: Instance) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "id": instance.id,
        "split": instance.split,
        "input": instance.input,
        "references": [{"text": r.text, "tags": list(r.tags)} for r in instance.references],
    }
    for name in ("sub_split", "group", "extra"):
        if (value := getattr(instance, name)) is not None:
            plain[name] = value
    if instance.perturbation is not None:
        plain["perturbation"] = asdict(instance.perturbation)
    return plain


def _instance_from_json(plain: Mapping[str, Any]) -> Instance:
    references = tuple(Reference(r["text"], tuple(r["tags"])) for r in plain["references"])
    rest = {name: plain.get(name) for name in ("id", "sub_split", "group", "extra")}
    if (perturbation := plain.get("perturbation")) is not None:
        rest["perturbation"] = PerturbationDescription(**perturbation)
    return Instance(input=plain["input"], references=references, split=plain["split"], **rest)
