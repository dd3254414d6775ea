"""Which member of a routed deployment answers an instance: chosen once, and kept before it is used.

`routes.jsonl` is a separate journal. After a header it has one line for each instance and each perturbed
copy of one, with the checksum of a journal's lines. The first whole line about an instance counts.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.bounded_lines import Unread
from evalkit.execution.journal import Journal
from evalkit.execution.journal_index import is_torn, lines_of
from evalkit.execution.journal_line import Damage, JournalOwner, LineReader

Routed = tuple[str, str | None]
"""Id of an instance, and the label of its perturbed copy."""
_TYPES: Mapping[str, tuple[type, ...]] = {
    "instance_id": (str,),
    "perturbation": (str, type(None)),
    "member": (str,),
}


@dataclass(slots=True)
class RouteIndex:
    """What a file of routes holds.

    Attributes:
        members: The member that was chosen for each instance or copy.
        damage: Lines that can't be used, in order.
        torn_bytes: Length of an incomplete last line.
        has_header: Whether a header says whose the routes are.
    """

    members: dict[Routed, str] = field(default_factory=dict)
    damage: list[Damage] = field(default_factory=list)
    torn_bytes: int = 0
    has_header: bool = False


def read_routes(path: Path, requests: str, copies: Collection[Routed] | None = None) -> RouteIndex:
    """The routes that were chosen so far; none where there is no file yet.

    Args:
        path: The file.
        requests: The digest that its header must name.
        copies: The instances and perturbed copies of the run; lines about others are damaged. None: lines
            may be about any.

    Raises:
        StoreError: The file can't be read, is of a newer format, or is another run's.
    """
    index = RouteIndex()
    if not path.exists():
        return index
    reader = LineReader(path, requests, _problem_of)
    for offset, line in lines_of(path):
        plain = reader.read(offset, line)
        length = line.length if isinstance(line, Unread) else len(line)
        if is_torn(line):
            index.torn_bytes = length
        elif isinstance(plain, Damage):
            index.damage.append(plain)
        elif plain is not None:
            routed = plain["instance_id"], plain.get("perturbation")
            if copies is not None and routed not in copies:
                index.damage.append(Damage(offset, length, f"the run has no instance '{routed[0]}'", "unit"))
            else:
                index.members.setdefault(routed, plain["member"])
    index.has_header = reader.owner is not None
    return index


def keep_routes(path: Path, requests: str, chosen: Mapping[Routed, str]) -> None:
    """Append routes; when this returns, they survive the death of this process and a power cut.

    A lost header is written again, and a torn last line is cut.

    Raises:
        StoreError: They can't be written, or the file is another run's.
    """
    with Journal.open(path, JournalOwner(requests)) as journal:
        journal.extend_lines(_lines(chosen))


def _lines(chosen: Mapping[Routed, str]) -> Iterator[dict[str, Any]]:
    at = round(time.time(), 3)
    for (instance_id, perturbation), member in chosen.items():
        plain: dict[str, Any] = {"instance_id": instance_id, "member": member, "at": at}
        if perturbation is not None:
            plain["perturbation"] = perturbation
        yield plain


def _problem_of(plain: Mapping[str, Any]) -> str | None:
    wrong = [name for name, types in _TYPES.items() if type(plain.get(name)) not in types]
    return f"no {wrong[0]}" if wrong else None
