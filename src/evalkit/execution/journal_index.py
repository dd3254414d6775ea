"""What a journal holds: its records in order, and which requests are answered, failed, or damaged."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.bounded_lines import Unread, bounded_lines
from evalkit.bounded_reads import open_regular
from evalkit.errors import StoreError
from evalkit.execution.journal_line import (
    HEADER_START,
    Damage,
    JournalOwner,
    LineReader,
    Record,
    blocked_answer,
    to_failure,
    to_record,
    unit_of,
)
from evalkit.request import parent_key
from evalkit.response import Failure, Usage

_ORPHAN = "no line before it answers the turn before"
_Unit = tuple[str, str | None, int, int]


@dataclass(frozen=True, slots=True)
class Units:
    """What a run scores: lines about anything else are damaged.

    Attributes:
        copies: Id and label of the perturbed copy of each evaluated instance.
    """

    copies: Collection[tuple[str, str | None]]
    num_train_trials: int
    num_samples: int

    def problem(self, plain: Mapping[str, Any]) -> str | None:
        """Why a line is about no unit of the run; None: it is about one."""
        instance_id, perturbation, trial, sample = unit_of(plain)
        if (instance_id, perturbation) not in self.copies:
            return f"the run has no instance '{instance_id}'{f' ({perturbation})' if perturbation else ''}"
        if not (0 <= trial < self.num_train_trials and 0 <= sample < self.num_samples):
            return f"the run has no trial {trial} with sample {sample}"
        return None


@dataclass(slots=True)
class JournalIndex:
    """What a journal holds, without its texts.

    Attributes:
        answered: Keys with a response.
        failures: The last failure of each key that has failures only.
        damage: Lines that can't be used, in order.
        torn_bytes: Length of an incomplete last line, which the next `Journal.open` cuts.
        usage: Sum over all responses that were paid for (those found elsewhere left out), by the member of a
            routed deployment that gave them; None where it is not routed.
        num_without_usage: Of those responses, the ones whose server reported no tokens.
        num_lines: Whole lines with an outcome.
        num_found: Of the answers, those that were found in each source instead of asked for.
        winners: Byte offset of the line that counts, for each key.
        unfinished: Byte offset of each answered turn of a conversation that no settled turn follows, though
            the conversation may go on, by key.
        not_reached: How many turns at most would follow each failed one, by its key.
        members: Which member of a routed deployment was asked about an instance, by its id and the label of
            its perturbed copy.
        requests: The digest that its checksums are over; None where nothing says so.
        path: The file.
        owner: Whose the journal is, by its header; None for one of evalkit up to 0.1.
    """

    answered: set[str] = field(default_factory=set)
    failures: dict[str, Failure] = field(default_factory=dict)
    damage: list[Damage] = field(default_factory=list)
    torn_bytes: int = 0
    usage: dict[str | None, Usage] = field(default_factory=dict)
    num_without_usage: int = 0
    num_lines: int = 0
    num_found: Counter[str] = field(default_factory=Counter)
    winners: dict[str, int] = field(default_factory=dict)
    unfinished: dict[str, int] = field(default_factory=dict)
    not_reached: dict[str, int] = field(default_factory=dict)
    members: dict[tuple[str, str | None], str] = field(default_factory=dict)
    requests: str | None = None
    path: Path = Path()
    owner: JournalOwner | None = None

    @property
    def prompt_tokens(self) -> int:
        """All prompt tokens that were paid for."""
        return sum(usage.prompt_tokens for usage in self.usage.values())

    @property
    def completion_tokens(self) -> int:
        """All completion tokens that were paid for."""
        return sum(usage.completion_tokens for usage in self.usage.values())

    @property
    def settled(self) -> frozenset[str]:
        """Keys that are not asked again: those with a response, and those that a content filter blocked."""
        return frozenset(self.answered) | {key for key, last in self.failures.items() if last.is_blocked}


def read_journal(path: Path, requests: str | None = None) -> Iterator[Record | Damage]:
    """All lines in order, one at a time; an incomplete last line is left out.

    Args:
        path: The file.
        requests: The digest that its header must name; None: whose it is, it says itself.

    Raises:
        StoreError: There is no such file, or it is of a newer format, or another run's.
    """
    reader = _reader(path, requests)
    for offset, line in lines_of(path):
        plain = reader.read(offset, line)
        if isinstance(plain, dict):
            yield to_record(plain, offset, _length(line))
        elif plain is not None and not is_torn(line):
            yield plain


def read_winners(path: Path, index: JournalIndex) -> Iterator[Record]:
    """The one record that counts for each key, in the journal's order; `index` is its `scan_journal`."""
    reader = LineReader(path, index.requests)
    winning = set(index.winners.values())
    for offset, line in lines_of(path):
        if not isinstance(line, Unread) and (offset in winning or line.startswith(HEADER_START)):
            plain = reader.read(offset, line)
            record = to_record(plain, offset, len(line)) if isinstance(plain, dict) else plain
            if isinstance(record, Record):
                yield record


def read_unfinished(index: JournalIndex) -> Iterator[Record]:
    """The records of `index.unfinished`, one at a time, in the journal's order; no other line is read.

    Raises:
        StoreError: The journal can't be read.
    """
    if not index.unfinished:
        return
    reader = LineReader(index.path, index.requests)
    try:
        with open_regular(index.path) as file:
            for offset in sorted(index.unfinished.values()):
                file.seek(offset)
                line = next(bounded_lines(file), b"")
                plain = reader.read(offset, line)
                record = to_record(plain, offset, _length(line)) if isinstance(plain, dict) else plain
                if isinstance(record, Record):
                    yield record
    except OSError as error:
        raise StoreError(f"can't read the journal {index.path}: {error.strerror}") from error


def scan_journal(path: Path, requests: str | None = None, units: Units | None = None) -> JournalIndex:
    """Which requests are answered, which failed, and what is damaged: what resume needs.

    Args:
        path: The file.
        requests: The digest that its header must name; None: whose it is, it says itself.
        units: What the run scores; None: any line is about something.

    Raises:
        StoreError: There is no such file, or it is of a newer format, or another run's.
    """
    scan = _Scan(path, requests, units).run()
    if scan.at_odds:
        # Of lines that disagree on how many are scored together, those in the minority are wrong.
        counting = _Scan(path, requests, units, at_odds={unit: Counter() for unit in scan.at_odds}).run()
        right = {unit: _majority(counted) for unit, counted in counting.at_odds.items()}
        scan = _Scan(path, requests, units, right=right).run()
    return scan.index


class _Scan:
    """One pass over a journal.

    Attributes:
        at_odds: Units whose lines disagree on their size, with the sizes if they were known beforehand.
    """

    def __init__(
        self,
        path: Path,
        requests: str | None,
        units: Units | None,
        *,
        at_odds: dict[_Unit, Counter[int]] | None = None,
        right: Mapping[_Unit, int | None] | None = None,
    ) -> None:
        self._path, self._units = path, units
        self._reader = _reader(path, requests)
        self._sizes: dict[_Unit, int] = {}
        self._right = right or {}
        self._tokens: defaultdict[str | None, list[int]] = defaultdict(lambda: [0, 0])
        self.at_odds = at_odds or {}
        self.index = JournalIndex(requests=self._reader.requests, path=path)

    def run(self) -> _Scan:
        """Read all of it."""
        index, read = self.index, self._reader.read
        for offset, line in lines_of(self._path):
            plain = read(offset, line)
            if isinstance(plain, dict):
                assert isinstance(line, bytes)
                if (problem := self._problem(plain)) is not None:
                    index.damage.append(Damage(offset, len(line), problem, "unit"))
                elif plain.get("turn", 1) > 1 and parent_key(plain["key"]) not in index.answered:
                    # The turn before was lost: asked again, it may be answered otherwise.
                    index.damage.append(Damage(offset, len(line), _ORPHAN))
                else:
                    self._fold(plain, offset, line)
            elif plain is not None:
                if is_torn(line):
                    index.torn_bytes = _length(line)
                else:
                    index.damage.append(plain)
        index.owner = self._reader.owner
        index.usage = {member: Usage(*tokens) for member, tokens in self._tokens.items()}
        return self

    def _problem(self, plain: dict[str, Any]) -> str | None:
        if self._units is not None and (problem := self._units.problem(plain)) is not None:
            return problem
        size = plain.get("unit_size", 1)
        if size == 1 and "reference_index" not in plain and "/w" not in plain["key"]:
            return None
        unit = unit_of(plain)
        if unit in self._right:
            if size == self._right[unit]:
                return None
            return f"its unit_size {size} differs from that of the unit's other lines"
        if unit in self.at_odds:
            self.at_odds[unit][size] += 1
        elif self._sizes.setdefault(unit, size) != size:
            self.at_odds[unit] = Counter()
        return None

    def _fold(self, plain: dict[str, Any], offset: int, line: bytes) -> None:
        index, key = self.index, plain["key"]
        response = plain.get("response")
        is_done = key in index.answered
        if is_done and response is not None and self._is_copy(index.winners[key], line):
            return
        index.num_lines += 1
        if (member := plain.get("member")) is not None:
            index.members.setdefault((plain["instance_id"], plain.get("perturbation")), member)
        if response is not None and "cached" not in response:
            prompt, completion = response.get("prompt_tokens", 0), response.get("completion_tokens", 0)
            tokens = self._tokens[plain.get("member")]
            tokens[0] += prompt
            tokens[1] += completion
            index.num_without_usage += not (prompt or completion)
        if is_done:
            return
        failure = to_failure(plain["failure"]) if response is None else blocked_answer(response)
        index.winners[key] = offset
        if failure is None:
            index.answered.add(key)
            index.failures.pop(key, None)
            if "origin" in plain:
                index.num_found[plain["origin"]["source"]] += 1
        else:
            index.failures[key] = failure
        if "turn" in plain:
            self._fold_turn(plain, offset, failure)

    def _fold_turn(self, plain: dict[str, Any], offset: int, failure: Failure | None) -> None:
        """Keep in mind where conversations stand."""
        index, key, turn = self.index, plain["key"], plain["turn"]
        num_after = plain.get("unit_size", 1) - turn
        if turn > 1 and (failure is None or failure.is_blocked):
            index.unfinished.pop(parent_key(key), None)
        if failure is not None:
            index.not_reached[key] = num_after
        else:
            index.not_reached.pop(key, None)
            if num_after > 0:
                index.unfinished[key] = offset

    def _is_copy(self, offset: int, line: bytes) -> bool:
        """Whether a line is in the file twice: paid for once."""
        with open(self._path, "rb") as file:
            file.seek(offset)
            return file.read(len(line)) == line


def _majority(counted: Counter[int]) -> int | None:
    """The size that most lines have; None if there is no such, so that all are asked again."""
    (first, most), (_, next_most) = counted.most_common(2)
    return first if most > next_most else None


def lines_of(path: Path) -> Iterator[tuple[int, bytes | Unread]]:
    """Offset and bytes of each line; in bounded memory."""
    offset = 0
    try:
        with open_regular(path, buffer_bytes=1 << 20) as file:
            for line in bounded_lines(file):
                yield offset, line
                offset += _length(line)
    except OSError as error:
        raise StoreError(f"can't read the journal {path}: {error.strerror}") from error


def _length(line: bytes | Unread) -> int:
    return line.length if isinstance(line, Unread) else len(line)


def is_torn(line: bytes | Unread) -> bool:
    """Whether an unreadable line is the torn end of the file (only the last one lacks its newline)."""
    return line.is_last if isinstance(line, Unread) else not line.endswith(b"\n")


def owner_of(path: Path, requests: str | None = None) -> JournalOwner | None:
    """Whose a journal is, as its first sound header says; None where none does.

    Args:
        path: The file.
        requests: The digest that the header must name; None: any.

    Raises:
        StoreError: The file can't be read, is of a newer format, or is another run's.
    """
    reader = LineReader(path, requests)
    for offset, line in lines_of(path):
        if offset == 0 or (not isinstance(line, Unread) and line.startswith(HEADER_START)):
            reader.read(offset, line)
            if reader.owner is not None:
                break
    return reader.owner


def _reader(path: Path, requests: str | None) -> LineReader:
    """A reader of a journal that knows whose it is from its first line on."""
    if requests is None and (owner := owner_of(path, None)) is not None:
        requests = owner.requests
    return LineReader(path, requests)
