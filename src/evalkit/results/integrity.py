"""Are the files of a run as the run left them, and whose are they where the manifest is lost?

The manifest keeps a fingerprint of each other file. Of a file up to 8 MiB that covers every byte; of a larger
one its size, its beginning and its end, so that a finished run is looked at quickly.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from evalkit.errors import DamageError, StoreError
from evalkit.instance import Instance
from evalkit.results.manifest import Manifest
from evalkit.results.run_directory import RunDirectory
from evalkit.specs.digest import RunDigest, identity, run_digest
from evalkit.specs.run_spec import RunSpec

if TYPE_CHECKING:
    from evalkit.engine.journal_index import Units

Standing = Literal["free", "ours", "other"]
SEALED = ("run_spec.json", "instances.jsonl", "journal.jsonl", "scores.jsonl", "stats.json")
_WHOLE_BYTES = 8 << 20
_END_BYTES = 1 << 20
_SPEC_FIELDS = ("scenario_spec", "adapter_spec", "metric_specs", "data_augmenter_spec")


def fingerprint(path: Path) -> str | None:
    """Size and checksum of a file, as `1234 bytes, crc32 0a1b2c3d`; None where there is no such file.

    Raises:
        StoreError: It can't be read.
    """
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            if size <= _WHOLE_BYTES:
                checksum = zlib.crc32(file.read())
            else:
                checksum = zlib.crc32(file.read(_END_BYTES))
                file.seek(-_END_BYTES, 2)
                checksum = zlib.crc32(file.read(_END_BYTES), checksum)
    except OSError as error:
        raise StoreError(f"can't read {path}: {error.strerror}") from error
    return f"{size} bytes, crc32 {checksum:08x}"


def sealed(directory: RunDirectory, manifest: Manifest, names: Sequence[str] = SEALED) -> Manifest:
    """The manifest with new fingerprints of these files, as far as they are there.

    Args:
        directory: The run.
        manifest: Its manifest.
        names: What evalkit has written or looked through just now; of others it keeps the fingerprints.
    """
    found = {**manifest.files, **{name: fingerprint(directory.path / name) for name in names}}
    return replace(manifest, files={name: print_ for name, print_ in found.items() if print_ is not None})


def reseal(directory: RunDirectory) -> None:
    """Take all files as they are now, those that came along with an import too: after it has written them."""
    if (manifest := directory.sound_manifest()) is not None:
        imported = [f"imported/{path.name}" for path in sorted(directory.imported_path.glob("*.json*"))]
        directory.write_manifest(sealed(directory, manifest, (*SEALED, *imported)))


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


def complaints(directory: RunDirectory, manifest: Manifest) -> list[str]:
    """What keeps a complete run from being shown as it is: changed files, or fewer answers than it says.

    A run of evalkit up to 0.1 has no fingerprints; its journal is read instead.
    """
    if manifest.files:
        return changed_files(directory, manifest)
    from evalkit.engine.journal_index import scan_journal

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
    from evalkit.engine.journal_index import Units

    spec = run_spec.adapter_spec
    copies = {(str(instance.id), instance.perturbation_label) for instance in instances}
    return Units(copies, spec.num_train_trials, spec.num_trials)


def standing(directory: RunDirectory, digest: RunDigest, covered: Mapping[str, Any]) -> Standing:
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
    from evalkit.engine.journal_index import owner_of

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
    except (KeyError, TypeError, ValueError):
        return False
    return all(ours.get(name) == covered.get(name) for name in _SPEC_FIELDS)


def spec_from(manifest: Manifest) -> RunSpec:
    """The run spec that a manifest is about, without its groups.

    Raises:
        DamageError: The manifest does not hold it.
    """
    parts = {name: manifest.identity[name] for name in _SPEC_FIELDS if name in manifest.identity}
    try:
        return RunSpec.model_validate({"name": manifest.name, **parts})
    except ValueError as error:
        raise DamageError(f"the manifest of {manifest.name} holds no run spec: {error}") from None


def recovered_manifest(directory: RunDirectory) -> Manifest | None:
    """A lost manifest, made anew from run spec and journal header; None where these do not tell.

    The journals of evalkit up to 0.1 do not: there only the run's entry helps.
    """
    from evalkit.engine.journal_index import owner_of

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
    found = run_digest(covered)
    if found.requests != owner.requests or not fits(spec, covered):
        return None
    return Manifest(
        name=spec.name,
        entry=spec.name,
        digest=found.full,
        request_digest=found.requests,
        identity=covered,
        status="partial",
        message="its manifest was lost and made anew: times and cost are not known",
    )


def _spec_of(directory: RunDirectory) -> RunSpec | None:
    try:
        return directory.run_spec()
    except StoreError:
        return None
