"""Are the files of a run as the run left them, and whose are they where the manifest is lost?

The manifest keeps a fingerprint of each other file. Of a file up to 8 MiB that covers every byte; of a larger
one its size, its beginning and its end, so that a finished run is looked at quickly.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, Literal

from evalkit.bounded_lines import Unread, bounded_lines
from evalkit.bounded_reads import open_regular
from evalkit.errors import REMEDY_IMPORT, DamageError, StoreError
from evalkit.execution.lock import holder_of
from evalkit.instance import Instance
from evalkit.results.manifest import Manifest
from evalkit.results.run_directory import RunDirectory, remedy_for
from evalkit.specs.digest import RunDigest, canonical_json, identity, run_digest
from evalkit.specs.judge_identity import judge_specs_of
from evalkit.specs.run_spec import RunSpec

if TYPE_CHECKING:
    from evalkit.execution.journal_index import JournalIndex, Units

Occupancy = Literal["free", "ours", "other"]
SEALED = ("run_spec.json", "instances.jsonl", "routes.jsonl", "journal.jsonl", "scores.jsonl", "stats.json")
_MADE_ANEW = "its manifest was lost and made anew: times and the cost of what was answered are not known"
_WHOLE_BYTES = 8 << 20
_END_BYTES = 1 << 20
_SPEC_FIELDS = ("scenario_spec", "adapter_spec", "metric_specs", "data_augmenter_spec")
_JUDGES = "judges"


def fingerprint(path: Path) -> str | None:
    """Size and checksum of a file, as `1234 bytes, crc32 0a1b2c3d`; None where there is no such file.

    Raises:
        StoreError: It can't be read.
    """
    try:
        with open_regular(path) as file:
            size = file.seek(0, 2)
            file.seek(0)
            if size <= _WHOLE_BYTES:
                checksum = zlib.crc32(file.read())
            else:
                checksum = zlib.crc32(file.read(_END_BYTES))
                file.seek(-_END_BYTES, 2)
                checksum = zlib.crc32(file.read(_END_BYTES), checksum)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"can't read {path}: {error.strerror}") from error
    return f"{size} bytes, crc32 {checksum:08x}"


def sealed(directory: RunDirectory, manifest: Manifest, names: Sequence[str] | None = None) -> Manifest:
    """The manifest with new fingerprints of these files, as far as they are there.

    Args:
        directory: The run.
        manifest: Its manifest.
        names: What evalkit has written or looked through just now; of others it keeps the fingerprints.
            None: everything.
    """
    names = (*SEALED, *directory.judgement_files) if names is None else names
    found = {**manifest.files, **{name: fingerprint(directory.path / name) for name in names}}
    return replace(manifest, files={name: print_ for name, print_ in found.items() if print_ is not None})


def reseal(directory: RunDirectory) -> None:
    """Take all files as they are now, those that came along with an import too: after it has written them."""
    if (manifest := directory.sound_manifest()) is not None:
        imported = [f"imported/{path.name}" for path in sorted(directory.imported_path.glob("*.json*"))]
        directory.write_manifest(
            sealed(directory, manifest, (*SEALED, *directory.judgement_files, *imported))
        )


def changed_files(directory: RunDirectory, manifest: Manifest) -> list[str]:
    """Which files of a run are not as it left them, in words; none where the manifest has no fingerprints."""
    changes = []
    for name, left in manifest.files.items():
        found = fingerprint(directory.path / name)
        if found is None:
            changes.append(f"{name} is missing")
        elif found != left:
            changes.append(f"{name} was changed since evalkit wrote it")
    return changes


def require_unchanged(directory: RunDirectory, manifest: Manifest, names: Iterable[str]) -> None:
    """Make sure that files are as the run left them, as far as its manifest knows them.

    Those of a run that a process works on just now change, and are taken as they are.

    Args:
        directory: The run.
        manifest: Its manifest.
        names: The files.

    Raises:
        DamageError: One is missing or was changed; says how to repair it.
    """
    for name in names:
        left, path = manifest.files.get(name), directory.path / name
        if left is None or (found := fingerprint(path)) == left or _is_being_written(directory, manifest):
            continue
        what = "is missing" if found is None else "was changed since evalkit wrote it"
        raise DamageError(f"{path} {what}; {_remedy(path)}")


def require_whole_journal(directory: RunDirectory, manifest: Manifest, index: JournalIndex) -> None:
    """Make sure that a journal that can be read has all its answers.

    A damaged line of a run that has come to an end since was asked again then.

    Raises:
        DamageError: The file is not as the run left it, or has damaged lines that no one knows of.
    """
    path = directory.journal_path
    require_unchanged(directory, manifest, (path.name,))
    is_sealed = path.name in manifest.files
    damage = [damage for damage in index.damage if damage.kind != "header"]
    if damage and not is_sealed and not _is_being_written(directory, manifest):
        raise DamageError(f"{path}: {damage[0]}; {_remedy(path)}")


def _is_being_written(directory: RunDirectory, manifest: Manifest) -> bool:
    """Whether a process works on a run, or has done so since this manifest was read."""
    return holder_of(directory.lock_path) is not None or directory.sound_manifest() != manifest


def _remedy(path: Path) -> str:
    remedy, verify = remedy_for(path), f"`evalkit verify {quote(str(path.parent))}"
    if remedy == REMEDY_IMPORT:
        return remedy
    if path.name == "instances.jsonl":
        return f"{remedy}; {verify}` shows what else is damaged"
    if path.name == "journal.jsonl":
        return f"{verify}` shows what is lost, and `evalkit run` with the run's entry asks it again"
    return f"{verify} --repair` makes it anew"


def problems_in(directory: RunDirectory, manifest: Manifest) -> list[str]:
    """What keeps a complete run from being shown as it is: changed files, or fewer answers than it says.

    A run of evalkit up to 0.1 has no fingerprints; its journal is read instead.
    """
    if manifest.files:
        return changed_files(directory, manifest)
    from evalkit.execution.journal_index import scan_journal

    try:
        if not directory.stats():
            return ["stats.json is missing"]
        units = units_of(directory.run_spec(), directory.instances())
        index = scan_journal(directory.journal_path, manifest.request_digest, units)
    except StoreError as error:
        return [str(error)]
    found = [str(damage) for damage in index.damage]
    if index.torn_bytes or len(index.settled) < manifest.counts.get("num_answered", 0):
        found.append(f"journal.jsonl has {len(index.settled)} of {manifest.counts['num_answered']} answers")
    return found


def units_of(run_spec: RunSpec, instances: Sequence[Instance]) -> Units:
    """What the lines of a run's journal may be about."""
    from evalkit.execution.journal_index import Units

    spec = run_spec.adapter_spec
    copies = {(str(instance.id), instance.perturbation_label) for instance in instances}
    return Units(copies, spec.num_train_trials, spec.num_trials)


def occupancy(directory: RunDirectory, digest: RunDigest, covered: Mapping[str, Any]) -> Occupancy:
    """Whether a directory is free, holds this run, or another.

    Where the manifest is lost or damaged, the journal's header and the run spec say whose it is.

    Args:
        directory: The directory.
        digest: The run's digest.
        covered: What the digest covers.

    Raises:
        StoreError: It is of a newer format.
    """
    manifest = directory.sound_manifest()
    if manifest is not None:
        return "ours" if manifest.digest == digest.full else "other"
    has_journal, spec = directory.journal_path.exists(), _spec_of(directory)
    if not has_journal and not (directory.path / "run_spec.json").exists():
        return "free"
    requests = journal_requests(directory)
    if requests is not None and requests != digest.requests:
        return "other"
    if spec is not None:
        return "ours" if fits(spec, covered) else "other"
    return "ours" if requests is not None else "other"


def journal_requests(directory: RunDirectory) -> str | None:
    """The digest of the requests that the journal answers, as its header says; None where it does not say."""
    from evalkit.execution.journal_index import owner_of

    try:
        owner = owner_of(directory.journal_path)
    except StoreError:
        return None
    return owner.requests if owner is not None and owner.requests else None


def fits(run_spec: RunSpec, covered: Mapping[str, Any]) -> bool:
    """Whether a run spec is the one that an identity covers; name and groups are labels."""
    try:
        ours = identity(
            run_spec,
            deployment_identity=covered["deployment"],
            data_digest=covered["data_digest"],
            versions=covered["versions"],
        )
        judge_specs = judge_specs_of(covered.get(_JUDGES, ()))
    except (KeyError, TypeError, ValueError):
        return False
    if canonical_json(run_spec.judge_specs) != canonical_json(judge_specs):
        return False
    return all(ours.get(name) == covered.get(name) for name in _SPEC_FIELDS)


def spec_from(manifest: Manifest) -> RunSpec:
    """The run spec that a manifest is about, without its groups.

    Raises:
        DamageError: The manifest does not hold it.
    """
    parts = {name: manifest.identity[name] for name in _SPEC_FIELDS if name in manifest.identity}
    try:
        judge_specs = judge_specs_of(manifest.identity.get(_JUDGES, ()))
        return RunSpec.model_validate({"name": manifest.name, **parts}).with_judges(*judge_specs)
    except (KeyError, TypeError, ValueError) as error:
        raise DamageError(f"the manifest of {manifest.name} holds no run spec: {error}") from None


def recovered_manifest(directory: RunDirectory) -> Manifest | None:
    """A lost manifest, made anew from run spec and journal header; None where these do not tell.

    The journals of evalkit up to 0.1 do not: there only the run's entry helps. Nor without instances: nobody
    would know how many there were.
    """
    from evalkit.execution.journal_index import owner_of

    if not _has_its_instances(directory):
        return None

    spec = _spec_of(directory)
    try:
        owner = owner_of(directory.journal_path)
    except StoreError:
        return None
    if spec is None or owner is None or not owner.identity:
        return None
    part = owner.identity
    try:
        metrics = identity(
            spec,
            deployment_identity=part["deployment"],
            data_digest=part["data_digest"],
            versions=part["versions"],
        )["metric_specs"]
    except (KeyError, TypeError, ValueError):
        return None
    covered = {**part, "metric_specs": metrics}
    if (judges := _judges_of(directory, spec)) is None:
        return None
    if judges:
        covered[_JUDGES] = judges
    found = run_digest(covered)
    if found.requests != owner.requests or not fits(spec, covered):
        return None
    return Manifest(
        name=spec.name,
        entry=spec.name,
        digest=found.full,
        request_digest=found.requests,
        judgement_digest=found.judgements,
        identity=covered,
        status="partial",
        message=_MADE_ANEW,
    )


def _judges_of(directory: RunDirectory, spec: RunSpec) -> list[Any] | None:
    """What identifies the judges of a run, as the headers of their journals say; None where one is lost."""
    from evalkit.execution.journal_index import owner_of

    found = []
    for judge_spec in spec.judge_specs:
        try:
            owner = owner_of(directory.judgements_path(judge_spec.stage))
        except StoreError:
            return None
        if owner is None or not isinstance(judge := owner.identity.get("judge"), dict):
            return None
        found.append(judge)
    return found


def is_uncounted(directory: RunDirectory, manifest: Manifest) -> bool:
    """Whether a manifest was made anew by a process that ended before it had counted the answers."""
    is_anew = manifest.message == _MADE_ANEW and "num_instances" not in manifest.counts
    return is_anew and directory.instances_path.exists()


def _has_its_instances(directory: RunDirectory) -> bool:
    """Whether the instances can be read, or it is an import of numbers only, which has none."""
    if directory.imported_path.is_dir() and not has_records(directory):
        return True
    try:
        directory.instances()
    except StoreError:
        return False
    return True


def should_have_instances(directory: RunDirectory, manifest: Manifest | None) -> bool:
    """Whether a run has come as far as its instances, and is not an import of numbers only.

    Args:
        directory: The run.
        manifest: Its manifest; None where that is lost.
    """
    is_imported = directory.imported_path.is_dir()
    if manifest is not None:
        if manifest.counts.get("num_instances", 0) > 0 or "instances.jsonl" in manifest.files:
            return True
        if not is_imported:
            return manifest.status not in ("running", "error")
    return not is_imported or has_records(directory)


def has_records(directory: RunDirectory) -> bool:
    """Whether the journal has more than headers."""
    from evalkit.execution.journal_line import HEADER_START

    try:
        with open_regular(directory.journal_path) as file:
            lines = bounded_lines(file)
            return any(isinstance(line, Unread) or not line.startswith(HEADER_START) for line in lines)
    except OSError:
        return False


def _spec_of(directory: RunDirectory) -> RunSpec | None:
    try:
        return directory.run_spec()
    except StoreError:
        return None
