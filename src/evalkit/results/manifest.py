"""The manifest of a run: what is known of it at one glance, and how to recognise a damaged one."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from evalkit.codec import encode
from evalkit.errors import REMEDY, DamageError, StoreError
from evalkit.specs.digest import run_digest

FORMAT_VERSION = 1
WITHOUT_USAGE = "num_without_usage"
"""The count of answers, asked for and not found elsewhere, for which the server reported no tokens."""
FOUND = "num_found"
"""The count of answers that were found in earlier runs or the cache, and not asked for."""
UNKNOWN_BILLS = "num_unknown_bills"
_REPORT_FIELDS = frozenset(
    (
        *("status", "num_requests", "num_answered", "num_failed", "failures", "cost_usd", "num_found"),
        *("reported_cost_usd", "num_unknown_bills", "usage"),
    )
)
RunStatus = Literal["running", "complete", "partial", "stopped", "interrupted", "error"]
_TYPES: Mapping[str, tuple[type, ...]] = {
    "name": (str,),
    "entry": (str,),
    "digest": (str,),
    "request_digest": (str,),
    "judgement_digest": (str,),
    "sources": (dict,),
    "identity": (dict,),
    "status": (str,),
    "message": (str,),
    "counts": (dict,),
    "usage": (dict,),
    "cost_usd": (int, float, type(None)),
    "reported_cost_usd": (int, float, type(None)),
    "seconds": (int, float),
    "starts": (int,),
    "started_at": (str,),
    "finished_at": (str,),
    "versions": (dict,),
    "notes": (list,),
    "files": (dict,),
    "format": (int,),
    "is_fresh": (bool,),
    "stages": (dict,),
}
_RARE = ("judgement_digest", "sources", "is_fresh", "stages")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known of a run at one glance.

    Attributes:
        digest: Identity of the run; `request_digest` is the part that leaves metrics and judges out.
        judgement_digest: The part about what judges are asked; "" for a run without judges.
        identity: Everything the digest covers, for telling two runs of one name apart.
        status: `complete` (all answered), `partial` (some failed), `stopped` (budget, wrong key, dead
            server), `interrupted`, `error`, or `running`, also after a kill.
        message: Why it is not complete.
        counts: num_instances, num_requests, num_answered, num_failed; num_blocked where a content filter
            blocked some of the failed ones; `num_without_usage` where the server reported no tokens for some
            answers; `num_unknown_bills` where attempts failed that the server may bill, of all starts;
            `num_found` where answers were found in earlier runs or the cache, and not asked for.
        sources: How many of these were found where: the name of a run's directory, or of the cache's file.
        usage: Tokens of the answers kept, of all starts, as far as they are reported; None where none are.
        cost_usd: What those answers cost, and the replies of judges; None where prices are not known, or the
            tokens of some answers, or where the server may bill attempts that failed.
        reported_cost_usd: The same over the answers whose tokens are known; None where there are none.
        seconds: Wall time over all starts.
        notes: What evalkit did otherwise than asked, such as a parameter left out that the server refuses.
        files: Name to fingerprint of the other files, as the run left them (`evalkit.results.integrity`).
        is_fresh: Whether it was begun with `--fresh`: no later start takes answers from elsewhere either.
        stages: Of a run with judges: what became of each stage, by its name; a `StageReport` each.
    """

    name: str
    entry: str
    digest: str
    request_digest: str
    identity: Mapping[str, Any]
    status: RunStatus = "running"
    message: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    usage: Mapping[str, int | None] = field(default_factory=dict)
    cost_usd: float | None = None
    reported_cost_usd: float | None = None
    seconds: float = 0.0
    starts: int = 0
    started_at: str = ""
    finished_at: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT_VERSION
    judgement_digest: str = ""
    sources: Mapping[str, int] = field(default_factory=dict)
    is_fresh: bool = False
    stages: Mapping[str, Any] = field(default_factory=dict)


def manifest_to_json(manifest: Manifest) -> dict[str, Any]:
    """A manifest as a plain dictionary, its checksum last; what few runs have is left out of the others."""
    plain = {name: getattr(manifest, name) for name in Manifest.__dataclass_fields__}
    for name in _RARE:
        if not plain[name]:
            del plain[name]
    return {**plain, "crc32": _sum_of(plain)}


def manifest_from_json(plain: Any, path: Path) -> Manifest:
    """The inverse of `manifest_to_json`.

    Args:
        plain: What the file holds.
        path: The file, for messages.

    Raises:
        DamageError: It is not a manifest, or was changed.
        StoreError: It is of a newer format.
    """
    if not isinstance(plain, dict):
        raise DamageError(f"{path} is not a manifest; {REMEDY}")
    version = plain.get("format", 0)
    problem = _problem(plain)
    if type(version) is int and version > FORMAT_VERSION and ("crc32" not in plain or not problem):
        raise StoreError(f"{path.parent} was written by a newer evalkit (format {version}); update evalkit")
    if problem is not None:
        raise DamageError(f"{path} is damaged: {problem}; {REMEDY}")
    known = {name: plain[name] for name in Manifest.__dataclass_fields__ if name in plain}
    return Manifest(**{**known, "notes": tuple(known.get("notes", ()))})


def _sum_of(plain: Mapping[str, Any]) -> str:
    """The checksum of a manifest without its own, as eight hexadecimal digits."""
    return f"{zlib.crc32(encode(plain, sort_keys=True)):08x}"


def _problem(plain: Mapping[str, Any]) -> str | None:
    """What is wrong with a manifest: its checksum, or, without one (evalkit up to 0.1), what can be seen."""
    rest = {name: value for name, value in plain.items() if name != "crc32"}
    if "crc32" in plain:
        if plain["crc32"] != _sum_of(rest):
            return "its checksum is wrong"
    elif strange := rest.keys() - _TYPES.keys():
        return f"it has a field '{min(strange)}'"
    for name, known in Manifest.__dataclass_fields__.items():
        if name not in plain and known.default is MISSING and known.default_factory is MISSING:
            return f"it has no {name}"
        if name in plain and type(plain[name]) not in _TYPES[name]:
            return f"its {name} is of another type"
    if plain.get("status", "running") not in get_args(RunStatus):
        return f"its status is '{plain['status']}'"
    counts, usage = plain.get("counts", {}).values(), plain.get("usage", {}).values()
    reported = [count for count in usage if count is not None]
    sources = plain.get("sources", {}).values()
    for name, values in (("counts", counts), ("usage", reported), ("sources", sources)):
        if any(type(count) is not int or count < 0 for count in values):
            return f"its {name} are not counts"
    return _stages_problem(plain.get("stages", {})) or _identity_problem(plain)


def _stages_problem(stages: Mapping[str, Any]) -> str | None:
    """Why what is said of stages is not a report of each; None: it is."""
    for stage, report in stages.items():
        if not isinstance(report, dict) or not report.keys() <= _REPORT_FIELDS:
            return f"its report of the stage '{stage}' is of another shape"
        if report.get("status") not in get_args(RunStatus):
            return f"its status of the stage '{stage}' is '{report.get('status')}'"
    return None


def _identity_problem(plain: Mapping[str, Any]) -> str | None:
    """Why the digests of a manifest are not those of its identity; None: they are."""
    identity = plain["identity"]
    judges = identity.get("judges", [])
    if not isinstance(judges, list) or not all(isinstance(judge, dict) for judge in judges):
        return "its judges are not a list of objects"
    if "metric_specs" not in identity:
        return None
    digest = run_digest(identity)
    if digest.full != plain["digest"] or digest.judgements != plain.get("judgement_digest", ""):
        return "its digest does not match its identity"
    return None
