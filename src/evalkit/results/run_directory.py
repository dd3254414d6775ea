"""The directory of one run: what is in it.

<output path>/runs/<suite>/<run name>/
    run_spec.json    what was asked, as data
    manifest.json    digest and what it covers, status, counts, versions, times, tokens, cost
    instances.jsonl  the evaluated instances, in plan order
    routes.jsonl     of a routed deployment: which member answers each instance
    journal.jsonl    every finished request with its answer or failure, in order of arrival
    judgements/      of a run with judges: a journal for each, with its questions and replies
    scores.jsonl     scores per instance, in plan order (derived from the two above)
    stats.json       the numbers (derived)
    run.lock         held while a process works on the run
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from evalkit.bounded_lines import Unread, bounded_lines
from evalkit.bounded_reads import DATA_BYTES, open_regular, read_bytes
from evalkit.codec import decode, decode_exact, encode, encode_exact
from evalkit.errors import REMEDY, REMEDY_IMPORT, REMEDY_RUN, DamageError, StoreError, UsageError
from evalkit.folder_names import is_hidden
from evalkit.instance import Instance, PerturbationDescription, Reference
from evalkit.results.manifest import Manifest, manifest_from_json, manifest_to_json
from evalkit.specs.run_spec import RunSpec

_FOUND_BY = ("manifest.json", "journal.jsonl")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_ROOM_BYTES = 2048
JUDGEMENTS = "judgements"
"""The folder with the journals of judges."""
FILES = (
    "run_spec.json",
    "manifest.json",
    "instances.jsonl",
    "routes.jsonl",
    "journal.jsonl",
    "scores.jsonl",
    "stats.json",
)


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Paths and files of one run."""

    path: Path

    @property
    def journal_path(self) -> Path:
        """The journal of responses."""
        return self.path / "journal.jsonl"

    @property
    def routes_path(self) -> Path:
        """Who answers which instance; there is no such file where the deployment is not routed."""
        return self.path / "routes.jsonl"

    def judgements_path(self, stage: str) -> Path:
        """The journal of a judge, by what its stage is called."""
        return self.path / JUDGEMENTS / f"{stage}.jsonl"

    @property
    def judgement_files(self) -> list[str]:
        """The journals of judges that there are, named from the run's directory."""
        return [f"{JUDGEMENTS}/{path.name}" for path in sorted((self.path / JUDGEMENTS).glob("*.jsonl"))]

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
            DamageError: It is damaged.
            StoreError: It is of a newer format.
        """
        plain = self._read_json("manifest.json")
        return None if plain is None else manifest_from_json(plain, self.path / "manifest.json")

    def sound_manifest(self) -> Manifest | None:
        """The manifest; None where there is none, or a damaged one.

        Raises:
            StoreError: It is of a newer format.
        """
        try:
            return self.manifest()
        except DamageError:
            return None

    def write_manifest(self, manifest: Manifest) -> None:
        """Replace the manifest atomically; on a full disk, overwrite it where it is.

        That of a run that goes on ends in blanks, so that its last words find room on a disk that is full by
        then. A manifest that is half overwritten is known by its checksum.
        """
        path = self.path / "manifest.json"
        content = encode(manifest_to_json(manifest), indent=True, newline=True)
        if manifest.status == "running":
            content = content[:-1] + b" " * _ROOM_BYTES + b"\n"
        try:
            _replace(path, iter((content,)))
        except StoreError as error:
            cause = error.__cause__
            if not isinstance(cause, OSError) or cause.errno not in _FULL or not _overwrite(path, content):
                raise

    def run_spec(self) -> RunSpec:
        """The run spec.

        Raises:
            StoreError: There is none, or it is damaged.
        """
        plain = self._read_json("run_spec.json")
        if plain is None:
            raise DamageError(f"{self.path} has no run_spec.json; {REMEDY}")
        try:
            return RunSpec.model_validate(plain)
        except ValidationError as error:
            first = error.errors()[0]
            what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise DamageError(f"{self.path / 'run_spec.json'} is damaged: {what}; {REMEDY}") from None

    def write_run_spec(self, run_spec: RunSpec) -> None:
        """Write the run spec atomically."""
        write_json(self.path / "run_spec.json", run_spec.model_dump(mode="json"))

    def write_instances(self, instances: Sequence[Instance]) -> None:
        """Write the evaluated instances, unless these are there."""
        # Exact, so that a metric that looks at `extra` later sees what it saw in the run.
        lines = [encode_exact(_instance_to_json(i), newline=True) for i in instances]
        if not _holds(self.instances_path, lines):
            _replace(self.instances_path, iter(lines))

    def instances(self) -> list[Instance]:
        """The evaluated instances in plan order.

        Raises:
            StoreError: The file is missing or damaged.
        """
        try:
            return [_instance_from_json(line) for line in read_lines(self.instances_path)]
        except (KeyError, TypeError, AttributeError) as error:
            remedy = remedy_for(self.instances_path)
            raise DamageError(f"{self.instances_path} is damaged: {error!r}; {remedy}") from None

    def stats(self) -> list[dict[str, Any]]:
        """The numbers as plain data; empty before the run has any."""
        plain = self._read_json("stats.json")
        if plain is None:
            return []
        if not isinstance(plain, dict) or not isinstance(plain.get("stats"), list):
            raise DamageError(f"{self.path / 'stats.json'} is damaged: it has no list of stats; {REMEDY}")
        return list(plain["stats"])

    def write_stats(self, stats: Iterable[Mapping[str, Any]]) -> None:
        """Replace the numbers atomically."""
        write_json(self.path / "stats.json", {"stats": list(stats)})

    def _read_json(self, name: str) -> Any:
        path = self.path / name
        try:
            return decode(read_bytes(path, DATA_BYTES))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"can't read {path}: {error.strerror}") from error
        except ValueError as error:
            raise DamageError(f"{path} is damaged: {error}; {REMEDY}") from None


def find_runs(path: Path, found_by: Sequence[str] = _FOUND_BY) -> list[RunDirectory]:
    """All runs below `path` (a run, a suite, or an output path), in order of name.

    A run that has lost its manifest is found by its journal.

    Args:
        path: Where to look.
        found_by: A folder with any of these files is a run.

    Raises:
        UsageError: There is none.
    """
    if path.name in ("", "..") or ".." in path.parts:
        path = path.resolve()  # a run has a name, also where its path has none
    found = {
        file.parent
        for folder in ("", "*/", "*/*/", "runs/*/*/")
        for name in found_by
        for file in path.glob(f"{folder}{name}")
        if file.is_file() and not is_hidden(file.relative_to(path))
    }
    if not found:
        raise UsageError(
            f"no runs in {path}"
            if path.exists()
            else f"{path} does not exist; name the folder that runs were written to (--output-path)"
        )
    return [RunDirectory(folder) for folder in sorted(found, key=str)]


def remedy_for(path: Path) -> str:
    """What makes a file of a run anew, in words."""
    home = path.parent
    if home.name == "imported":
        return REMEDY_IMPORT
    if path.name in ("instances.jsonl", "journal.jsonl"):
        return REMEDY_IMPORT if RunDirectory(home).imported_path.is_dir() else REMEDY_RUN
    return REMEDY


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
        with open_regular(path) as file:
            for number, line in enumerate(bounded_lines(file, DATA_BYTES), 1):
                try:
                    yield _value_of(line)
                except ValueError as error:
                    raise DamageError(f"{path}:{number} is damaged: {error}; {remedy_for(path)}") from None
    except FileNotFoundError:
        raise DamageError(f"{path} is missing; {remedy_for(path)}") from None
    except OSError as error:
        raise StoreError(f"can't read {path}: {error.strerror}") from error


def _value_of(line: bytes | Unread) -> Any:
    if isinstance(line, Unread):
        raise ValueError(line.reason)
    return decode_exact(line)


def _holds(path: Path, lines: Sequence[bytes]) -> bool:
    """Whether a file is exactly these lines."""
    try:
        with open_regular(path) as file:
            return all(file.read(len(line)) == line for line in lines) and not file.read(1)
    except OSError:
        return False


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


def _overwrite(path: Path, content: bytes) -> bool:
    """Write into the room that a file has already; False if there is too little."""
    try:
        with path.open("r+b") as file:
            if os.fstat(file.fileno()).st_size < len(content):
                return False
            file.write(content)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return False
    return True


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
