"""One line of a journal: how it is written, what its checksum covers, and what keeps it from being a record.

A line ends with `"crc32"`, eight hexadecimal digits over all bytes before that field, begun with the CRC of
the run's request digest. So a line that was changed, or that belongs to another run, does not fit.
"""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

from evalkit.bounded_lines import MAX_LINE_BYTES, Unread
from evalkit.clients.prompt_logprobs import restored
from evalkit.codec import decode_exact, encode_exact
from evalkit.errors import StoreError
from evalkit.request import (
    Request,
    RequestState,
    place_from_json,
    place_to_json,
    request_key,
    turn_parts,
)
from evalkit.response import (
    BLOCKED,
    Failure,
    Origin,
    Outcome,
    Response,
    plain_response_problem,
    response_from_json,
    response_to_json,
)

JOURNAL_VERSION = 2
HEADER_START = b'{"evalkit_journal"'
FIRST_HEADER = b'{"evalkit_journal":1}\n'
"""Of evalkit up to 0.1, whose lines have no checksums."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SUM_START = b',"crc32":"'
_LINE_BREAK = ord("\n")
# `,"crc32":"0a1b2c3d"}` and the line break.
_SUM_BYTES = len(_SUM_START) + 8 + 3
_NOT_ALONE = frozenset(
    ("sample", "reference_index", "request_mode", "perturbation", "unit_size", "turn", "judgement")
)
_PART = re.compile(r"/w\d{5,}", re.ASCII)
_REQUEST_FIELDS = frozenset(f.name for f in fields(Request)) - {"hints"}
_STATE_DEFAULTS: tuple[tuple[str, Any], ...] = tuple(
    (f.name, f.default) for f in fields(RequestState) if f.default is not MISSING
)
_state_values = attrgetter(*(name for name, _ in _STATE_DEFAULTS))
_DEFAULT_VALUES = tuple(default for _, default in _STATE_DEFAULTS)
_NUMBER = (int, float)
_TYPES: Mapping[str, tuple[type, ...]] = {
    "key": (str,),
    "instance_id": (str,),
    "trial": (int,),
    "request": (dict,),
    "sample": (int,),
    "reference_index": (int,),
    "request_mode": (str,),
    "output_mapping": (dict,),
    "num_train_instances": (int,),
    "prompt_truncated": (bool,),
    "unit_size": (int,),
    "perturbation": (str,),
    "num_conditioning_tokens": (int,),
    "turn": (int,),
    "member": (str,),
    "judgement": (dict,),
    "response": (dict,),
    "failure": (dict,),
    "at": _NUMBER,
}


@dataclass(frozen=True, slots=True)
class JournalOwner:
    """Whose a journal is.

    Attributes:
        requests: The digest of the run's requests.
        identity: What that digest covers, so that a manifest can be made anew; kept in the header.
    """

    requests: str = ""
    identity: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """What the checksums of the lines begin with."""
        return zlib.crc32(self.requests.encode())


@dataclass(frozen=True, slots=True)
class Record:
    """One whole line: which request, what came of it, and when (`at`, unix seconds)."""

    state: RequestState
    outcome: Outcome
    at: float


@dataclass(frozen=True, slots=True)
class Damage:
    """A line that can't be used, with its place in bytes.

    Attributes:
        kind: `line`: its request is owed again, unless another line answers it; `unit`: likewise, and the
            line is about something that the run does not score; `header`: no request belongs to it.
    """

    offset: int
    length: int
    reason: str
    kind: Literal["line", "unit", "header"] = "line"

    def __str__(self) -> str:
        return f"the line at byte {self.offset} ({self.length} bytes) can't be read: {self.reason}"


class LineReader:
    """Reads the lines of one journal, in order.

    Args:
        path: The journal, for messages.
        requests: The digest that its header must name; None: the first header says whose it is.
        problem_of: What is wrong with a line of another kind of journal, in which each has a checksum; None:
            the lines are finished requests.

    Attributes:
        requests: As given.
        owner: Whose the journal is, as far as headers have said; None before.
    """

    def __init__(
        self,
        path: Path,
        requests: str | None = None,
        problem_of: Callable[[Mapping[str, Any]], str | None] | None = None,
    ) -> None:
        self._path, self.requests, self._problem_of = path, requests, problem_of
        self._seed = JournalOwner(requests).seed if requests is not None else 0
        self.owner: JournalOwner | None = None

    def read(self, offset: int, line: bytes | Unread) -> dict[str, Any] | Damage | None:
        """The line as an object; None for a header.

        Raises:
            StoreError: The journal is of a newer format, or begins with the header of another run.
        """
        if isinstance(line, Unread):
            return Damage(offset, line.length, line.reason)
        length = len(line)
        if offset == 0 and line.startswith(_BYTE_ORDER_MARK):
            line = line[len(_BYTE_ORDER_MARK) :]
        has_sum = line[-_SUM_BYTES:-11] == _SUM_START and line[-1] == _LINE_BREAK
        if not has_sum:
            line = line.rstrip(b"\r\n") + b"\n"
            has_sum = line[-_SUM_BYTES:-11] == _SUM_START
        if line.startswith(HEADER_START):
            return self._header(offset, length, line)
        if has_sum:
            if not _fits(line, self._seed):
                return Damage(offset, length, "its checksum is wrong")
        elif self.owner is not None or self._problem_of is not None:
            return Damage(offset, length, "it has no checksum")
        plain = _decode(line)
        if isinstance(plain, str):
            return Damage(offset, length, plain)
        if self._problem_of is not None:
            problem = self._problem_of(plain)
            return plain if problem is None else Damage(offset, length, problem)
        problem = state_problem(plain)
        if problem is None and not has_sum:
            problem = _plain_problem(plain)
        return plain if problem is None else Damage(offset, length, problem)

    def _header(self, offset: int, length: int, line: bytes) -> Damage | None:
        plain = _decode(line)
        version = plain.get("evalkit_journal") if isinstance(plain, dict) else None
        is_sound = line[-_SUM_BYTES:-11] != _SUM_START or _fits(line, 0)
        if type(version) is int and version > JOURNAL_VERSION and is_sound:
            raise StoreError(
                f"the journal {self._path} is of format {version}; this evalkit reads up to "
                f"{JOURNAL_VERSION}: use a newer evalkit"
            )
        if line == FIRST_HEADER:
            return None
        requests = plain.get("requests") if isinstance(plain, dict) else None
        if version != JOURNAL_VERSION or not isinstance(requests, str) or not _fits(line, 0):
            return Damage(offset, length, "the header is damaged", "header")
        assert isinstance(plain, dict)
        if self.requests is not None and requests != self.requests:
            if offset == 0:
                raise StoreError(
                    f"the journal {self._path} is that of another run (its requests have the digest "
                    f"{requests[:8]}, this run's {self.requests[:8]}): put this run's own journal back, or "
                    "start over with --fresh"
                )
            return Damage(offset, length, "the header of another run", "header")
        if self.owner is not None and requests != self.owner.requests:
            return Damage(offset, length, "the header of another run", "header")
        identity = plain.get("identity")
        self.owner = JournalOwner(requests, identity if isinstance(identity, dict) else {})
        self._seed = self.owner.seed
        return None


def header_line(owner: JournalOwner) -> bytes:
    """The line that says whose the lines after it are."""
    plain: dict[str, Any] = {"evalkit_journal": JOURNAL_VERSION, "requests": owner.requests}
    if owner.identity:
        plain["identity"] = owner.identity
    return _with_sum(encode_exact(plain, newline=True), 0)


def sealed_line(plain: Mapping[str, Any], seed: int) -> bytes:
    """A line of another kind of journal, with its checksum.

    Args:
        plain: What the line says.
        seed: What the checksum begins with: that of the journal's owner.
    """
    return _with_sum(encode_exact(plain, newline=True), seed)


def record_line(state: RequestState, outcome: Outcome, seed: int) -> bytes:
    """The line of one finished request.

    Raises:
        StoreError: It could not be read back: its key is not that of its parts, it has no JSON form, or it is
            longer than a line may be.
    """
    plain = _to_plain(state, outcome)
    if (problem := state_problem(plain)) is not None:
        raise StoreError(f"the outcome of {state.key} can't be kept: {problem}")
    try:
        line = _with_sum(encode_exact(plain, newline=True), seed)
    except (TypeError, ValueError) as error:
        raise StoreError(f"the outcome of {state.key} can't be written as JSON: {error}") from error
    if len(line) > MAX_LINE_BYTES:
        raise StoreError(
            f"the outcome of {state.key} can't be kept: its line has {len(line):,} bytes, at most "
            f"{MAX_LINE_BYTES:,} are read; a smaller max_answer_mb in the deployment's limits refuses it"
        )
    return line


def to_record(plain: dict[str, Any], offset: int, length: int) -> Record | Damage:
    """The record that a line is, as `LineReader.read` gave it."""
    try:
        return _to_record(plain)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return Damage(offset, length, f"it is not a valid record: {error}")


def is_whole(tail: bytes) -> bool:
    """Whether the end of a file is a line that lacks only its line break."""
    return isinstance(_decode(tail), dict)


def to_failure(plain: Mapping[str, Any]) -> Failure:
    """The failure of a line."""
    return Failure(plain["reason"], plain["message"], plain.get("attempts", 1), plain.get("text", ""))


def unit_of(plain: Mapping[str, Any]) -> tuple[str, str | None, int, int]:
    """What the request of a line is scored together with: instance, perturbed copy, train trial, sample."""
    return plain["instance_id"], plain.get("perturbation"), plain["trial"], plain.get("sample", 0)


def state_problem(plain: Mapping[str, Any]) -> str | None:
    """What is wrong with the place of a request in its run, or with what came of it; None: nothing."""
    key, instance_id, trial = plain.get("key"), plain.get("instance_id"), plain.get("trial")
    if type(key) is not str or type(instance_id) is not str or type(trial) is not int:
        return "no key, instance_id or trial"
    if type(plain.get("request")) is not dict:
        return "no request"
    if type(plain.get("response")) is not dict and type(plain.get("failure")) is not dict:
        return "neither response nor failure"
    if "origin" in plain and (problem := _origin_problem(plain)) is not None:
        return problem
    # Most requests are alone in their unit, and their key is short.
    if key == f"t{trial}/{instance_id}" and _NOT_ALONE.isdisjoint(plain):
        return None
    return _key_problem(plain)


def _origin_problem(plain: Mapping[str, Any]) -> str | None:
    origin, response = plain["origin"], plain.get("response")
    if type(origin) is not dict or type(origin.get("source")) is not str or not origin["source"]:
        return "its origin names no source"
    if type(origin.get("key", "")) is not str:
        return "the key of its origin is not text"
    if type(response) is not dict or response.get("cached") is not True:
        return "it has an origin, and is not an answer that was found"
    return None


def _key_problem(plain: Mapping[str, Any]) -> str | None:
    key, instance_id, trial = plain["key"], plain["instance_id"], plain["trial"]
    if type(plain.get("sample", 0)) is not int or type(plain.get("unit_size", 1)) is not int:
        return "sample or unit_size is not a number"
    turn = plain.get("turn")
    # A turn far beyond what the key spells would make a key as long as memory.
    if "turn" in plain and (type(turn) is not int or not 1 <= turn <= 1 + key.count("/")):
        return "its turn does not match its key"
    if turn is not None and turn > plain.get("unit_size", 1):
        return f"its conversation has no turn {turn}"
    parts = request_key(
        instance_id,
        trial,
        plain.get("sample", 0),
        plain.get("reference_index"),
        plain.get("request_mode"),
        plain.get("perturbation"),
    ) + turn_parts(turn or 1)
    if "judgement" in plain:
        if (place := place_from_json(plain["judgement"])) is None:
            return "its place among judgements is damaged"
        parts += place.key_part
    if key != parts and not (key.startswith(parts) and _PART.fullmatch(key, len(parts))):
        return f"its key does not match its parts, which give {parts}"
    return None


def _plain_problem(plain: Mapping[str, Any]) -> str | None:
    """What is wrong with a line that no checksum protects: nothing of it is taken on trust."""
    for name, value in plain.items():
        if type(value) not in _TYPES.get(name, ()):
            return f"'{name}' is not a field of a line, or has the wrong type"
    is_one_of_several = "reference_index" in plain or "turn" in plain
    if not is_one_of_several and not _PART.search(plain["key"][-7:]):
        if plain.get("unit_size", 1) != 1:
            return "its unit_size is not 1"
    elif plain.get("unit_size", 1) < 1:
        return "its unit_size is not positive"
    if "response" in plain:
        if (problem := plain_response_problem(plain["response"])) is not None:
            return f"the response is damaged: {problem}"
    else:
        failure = plain["failure"]
        if type(failure.get("reason")) is not str or type(failure.get("message")) is not str:
            return "the failure is incomplete"
        if type(failure.get("attempts", 1)) is not int or type(failure.get("text", "")) is not str:
            return "the failure is damaged"
    request = plain["request"]
    if type(request.get("prompt")) is not str:
        return "the request has no prompt"
    if strange := request.keys() - _REQUEST_FIELDS:
        return f"the request has a field '{min(strange)}'"
    return None if isinstance(to_record(dict(plain), 0, 0), Record) else "it is not a valid record"


def _to_plain(state: RequestState, outcome: Outcome) -> dict[str, Any]:
    plain: dict[str, Any] = {"key": state.key, "instance_id": state.instance_id, "trial": state.trial}
    if (values := _state_values(state)) != _DEFAULT_VALUES:
        for (name, default), value in zip(_STATE_DEFAULTS, values, strict=True):
            if value != default:
                plain[name] = _PLAIN_OF.get(name, _as_it_is)(value)
    plain["request"] = state.request.to_json()
    if isinstance(outcome, Response):
        plain["response"] = response_to_json(outcome)
        if (origin := outcome.origin) is not None:
            key = {"key": origin.key} if origin.key else {}
            plain["origin"] = {"source": origin.source, **key}
    else:
        plain["failure"] = {
            "reason": outcome.reason,
            "message": outcome.message,
            "attempts": outcome.attempts,
        }
        if outcome.text:
            plain["failure"]["text"] = outcome.text
    plain["at"] = round(time.time(), 3)
    return plain


def _as_it_is(value: Any) -> Any:
    return value


_PLAIN_OF: Mapping[str, Callable[[Any], Any]] = {"output_mapping": dict, "judgement": place_to_json}


def _to_record(plain: dict[str, Any]) -> Record:
    optional = {name: plain[name] for name, _ in _STATE_DEFAULTS if name in plain}
    if "judgement" in optional:
        optional["judgement"] = place_from_json(optional["judgement"])
    state = RequestState(
        key=plain["key"],
        instance_id=plain["instance_id"],
        trial=plain["trial"],
        request=_to_request(plain["request"]),
        **optional,
    )
    if "response" in plain:
        response = response_from_json(plain["response"])
        if (blocked := blocked_answer(plain["response"])) is not None:
            return Record(state, blocked, plain.get("at", 0.0))
        if state.request.echo_prompt:
            response = restored(response, state.request.prompt)
        if (origin := plain.get("origin")) is not None:
            response = replace(response, origin=Origin(origin["source"], origin.get("key", "")))
        return Record(state, response, plain.get("at", 0.0))
    return Record(state, to_failure(plain["failure"]), plain.get("at", 0.0))


def blocked_answer(response: Mapping[str, Any]) -> Failure | None:
    """What a content filter blocked or cut off: evalkit up to 0.1 kept that as an answer."""
    texts = [c["text"] for c in response["completions"] if c.get("finish_reason") == BLOCKED]
    if not texts:
        return None
    message = "the provider's content filter blocked the answer"
    return Failure(BLOCKED, message, response.get("attempts", 1), max(texts, key=len))


def _to_request(plain: dict[str, Any]) -> Request:
    return Request.from_json({name: value for name, value in plain.items() if name in _REQUEST_FIELDS})


def _with_sum(line: bytes, seed: int) -> bytes:
    """A line `{…}` and its line break, with the checksum as its last field."""
    body = line[:-2]
    return b'%b,"crc32":"%08x"}\n' % (body, zlib.crc32(body, seed))


def _fits(line: bytes, seed: int) -> bool:
    """Whether a line with its line break ends with its checksum."""
    checksum = zlib.crc32(memoryview(line)[:-_SUM_BYTES], seed)
    return line.endswith(b',"crc32":"%08x"}\n' % checksum)


def _decode(line: bytes) -> dict[str, Any] | str:
    """The line as an object, or what is wrong with it."""
    try:
        plain = decode_exact(line)
    except ValueError as error:
        return f"not JSON: {error}"
    return plain if type(plain) is dict else "not a JSON object"
