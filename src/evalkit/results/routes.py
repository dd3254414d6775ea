"""The routes of a stored run: what is wrong with their file, and what the journal brings back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.errors import StoreError
from evalkit.execution.routes import Routed, RouteIndex, keep_routes, read_routes
from evalkit.plural import counted
from evalkit.results.findings import Finding, Remedy
from evalkit.results.manifest import Manifest

if TYPE_CHECKING:
    from evalkit.execution.journal_index import JournalIndex
    from evalkit.instance import Instance


def is_routed(manifest: Manifest) -> bool:
    """Whether a run asks a routed deployment."""
    deployment = manifest.identity.get("deployment")
    return isinstance(deployment, dict) and "router" in deployment


def route_findings(
    path: Path,
    manifest: Manifest,
    instances: Sequence[Instance] | None,
    index: JournalIndex | None,
    changed: str | None,
    is_killed: bool,
) -> list[Finding]:
    """What there is to say about the file of routes of a run that has begun.

    Args:
        path: The file.
        manifest: The run's.
        instances: The run's; None where they are lost.
        index: What its journal holds; None where that can't be read.
        changed: What became of the file since the run left it, in words; None: nothing that is known.
        is_killed: Whether the last start was killed.
    """
    copies = _copies(instances)
    if not path.exists():
        lost = _lost(copies, RouteIndex(), index)
        return [Finding(path.name, "is missing", "run" if lost else "repair")]
    try:
        kept = read_routes(
            path, manifest.request_digest, frozenset(copies) if instances is not None else None
        )
    except StoreError as error:
        return [Finding(path.name, str(error).replace(f"{path.parent}/", ""), "look")]
    missing = [routed for routed in copies if routed not in kept.members]
    remedy: Remedy = "run" if _lost(copies, kept, index) else "repair"
    found = list(_line_findings(path, kept, missing, remedy, is_killed))
    if missing and not any(finding.is_damage for finding in found):
        problem = f"has {len(copies) - len(missing):,} of {counted(len(copies), 'route')}"
        found.append(Finding(path.name, problem, remedy))
    if changed is not None and not any(finding.is_damage for finding in found):
        found.append(Finding(path.name, f"{changed}; no route is missing", "repair"))
    return found


def mend_routes(path: Path, requests: str, instances: Sequence[Instance], index: JournalIndex) -> None:
    """Write a lost header again, cut a torn line, and bring back the routes that the journal knows.

    Args:
        path: The file.
        requests: The digest of the run's requests.
        instances: The run's.
        index: What its journal holds.

    Raises:
        StoreError: The file can't be read or written, or is another run's.
    """
    copies = _copies(instances)
    kept = read_routes(path, requests, frozenset(copies))
    known = {routed: index.members[routed] for routed in copies if routed in index.members}
    keep_routes(path, requests, {each: known[each] for each in known if each not in kept.members})


def _copies(instances: Sequence[Instance] | None) -> list[Routed]:
    return [(str(instance.id), instance.perturbation_label) for instance in instances or ()]


def _lost(copies: Sequence[Routed], kept: RouteIndex, index: JournalIndex | None) -> list[Routed]:
    """The instances whose member nothing tells any more."""
    asked = index.members if index is not None else {}
    return [routed for routed in copies if routed not in kept.members and routed not in asked]


def _line_findings(
    path: Path, kept: RouteIndex, missing: Sequence[Routed], remedy: Remedy, is_killed: bool
) -> Iterator[Finding]:
    if kept.damage and kept.has_header and not missing:
        problem = f"{counted(len(kept.damage), 'damaged line')}; no route is missing"
        yield Finding(path.name, problem, "none", is_damage=False)
    else:
        for damage in kept.damage:
            mends: Remedy = "repair" if damage.kind == "header" else remedy
            yield Finding(path.name, damage.reason, mends, damage.offset, damage.length)
    if length := kept.torn_bytes:
        problem = "the last line is incomplete" + (", as a kill leaves it" if is_killed else "")
        offset = path.stat().st_size - length
        yield Finding(path.name, problem, remedy, offset, length, is_damage=not is_killed)
    if not kept.has_header and not kept.damage:
        yield Finding(path.name, "its header is lost", "repair")
