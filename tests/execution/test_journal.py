from __future__ import annotations

import asyncio
import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import tracemalloc
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.codec import decode_exact, encode_exact
from evalkit.errors import StoreError
from evalkit.execution import journal as journal_module
from evalkit.execution.journal import Journal, open_synced
from evalkit.execution.journal_index import read_journal, read_winners, scan_journal
from evalkit.execution.journal_line import Damage, Record
from evalkit.request import Message, Request, RequestState, request_key
from evalkit.response import Completion, Failure, Outcome, Response, Token, Usage

ANSWER = Response((Completion("A", "stop"),), Usage(7, 1))

# A pair of surrogates is by design read back as the character it spells, so half of them is enough here.
_TEXT = st.text(
    st.characters(exclude_categories=()) | st.sampled_from("\n\r\u2028\x00\ud800"), max_size=20
).filter(lambda text: text == _joined(text))
_FLOATS = st.floats(allow_nan=True, allow_infinity=True)
_TOKENS = st.builds(
    Token, _TEXT, _FLOATS, st.none() | st.dictionaries(_TEXT, _FLOATS, min_size=1, max_size=2)
)
_COMPLETIONS = st.builds(
    Completion,
    _TEXT,
    st.sampled_from(["stop", "length"]),
    st.none() | _FLOATS,
    st.none() | st.lists(_TOKENS, max_size=3).map(tuple),
    st.none() | _TEXT,
)
_RESPONSES = st.builds(
    Response,
    st.lists(_COMPLETIONS, max_size=2).map(tuple),
    st.builds(Usage, st.integers(0, 2**40), st.integers(0, 99)),
    st.floats(0, 1000).map(lambda seconds: round(seconds, 6)),
    st.none() | _TEXT,
    st.booleans(),
    st.integers(1, 9),
)
_OUTCOMES = _RESPONSES | st.builds(Failure, _TEXT, _TEXT, st.integers(1, 9))
_REQUESTS = st.builds(
    Request,
    prompt=_TEXT,
    messages=st.none() | st.lists(st.builds(Message, st.sampled_from(["user", "system"]), _TEXT)).map(tuple),
    temperature=st.floats(0, 2),
    stop_sequences=st.lists(_TEXT, max_size=2).map(tuple),
    random=st.none() | _TEXT,
    expects_thinking=st.booleans(),
)
_STATES = st.builds(
    RequestState,
    key=st.just(""),
    instance_id=_TEXT,
    trial=st.integers(0, 5),
    request=_REQUESTS,
    sample=st.integers(0, 3),
    reference_index=st.none() | st.integers(0, 3),
    request_mode=st.sampled_from([None, "original", "calibration"]),
    output_mapping=st.none() | st.dictionaries(_TEXT, _TEXT, max_size=2),
    num_train_instances=st.integers(0, 5),
    prompt_truncated=st.booleans(),
).map(
    lambda state: dataclasses.replace(
        state,
        unit_size=1 + len(state.instance_id),  # all of a unit say the same
        key=request_key(
            state.instance_id, state.trial, state.sample, state.reference_index, state.request_mode
        ),
    )
)


def _joined(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _state(key: str, prompt: str = "2 + 2 = ?") -> RequestState:
    instance_id = key.removeprefix("t0/")
    return RequestState(f"t0/{instance_id}", instance_id, 0, Request(prompt))


def _names(keys: Iterable[str]) -> set[str]:
    return {key.removeprefix("t0/") for key in keys}


def _write(path: Path, *pairs: tuple[str, Outcome]) -> None:
    with Journal.open(path) as journal:
        for key, outcome in pairs:
            journal.append(_state(key), outcome)


def _records(path: Path) -> list[Record]:
    entries = list(read_journal(path))
    records = [entry for entry in entries if isinstance(entry, Record)]
    assert len(records) == len(entries), entries
    return records


@given(st.lists(st.tuples(_STATES, _OUTCOMES), max_size=4, unique_by=lambda pair: pair[0].key))
@settings(max_examples=150, deadline=None)
def test_what_is_appended_is_read_back(pairs: list[tuple[RequestState, Outcome]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        with Journal.open(path) as journal:
            for state, outcome in pairs:
                journal.append(state, outcome)
        records = _records(path)
        # NaN is unequal to itself, so the texts are compared.
        assert [(repr(r.state), repr(r.outcome)) for r in records] == [(repr(s), repr(o)) for s, o in pairs]
        index = scan_journal(path)
        assert index.num_lines == len(pairs)
        assert index.answered == {s.key for s, o in pairs if isinstance(o, Response)}
        assert index.failures.keys() == {s.key for s, _ in pairs} - index.answered


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), "\ud800", None, "null"])
def test_json_round_trips_what_orjson_refuses_or_flattens(value: Any) -> None:
    assert repr(decode_exact(encode_exact({"value": value}))) == repr({"value": value})


def test_two_surrogates_come_back_as_the_character_they_spell() -> None:
    assert decode_exact(encode_exact({"text": "\ud83d\ude00"})) == {"text": "\U0001f600"}


def test_a_line_leaves_out_defaults_and_has_everything_else(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    mapped = dataclasses.replace(_state("t0/id1"), key="t0/id1/s2", output_mapping={"A": "4"}, sample=2)
    with Journal.open(path) as journal:
        journal.append(mapped, ANSWER)
        journal.append(_state("t0/id2"), Failure("timeout", "too slow", 6))
    header, first, second = map(json.loads, path.read_text().splitlines())
    assert header.keys() == {"evalkit_journal", "requests", "crc32"}
    assert header["evalkit_journal"] == 2
    assert first.pop("at") > 1_700_000_000
    body, _, rest = path.read_bytes().splitlines()[1].rpartition(b',"crc32":"')
    assert rest == b'%08x"}' % zlib.crc32(body) == f'{first.pop("crc32")}"}}'.encode()
    assert first == {
        "key": "t0/id1/s2",
        "instance_id": "id1",
        "trial": 0,
        "sample": 2,
        "output_mapping": {"A": "4"},
        "request": {"prompt": "2 + 2 = ?"},
        "response": {
            "completions": [{"text": "A", "finish_reason": "stop"}],
            "prompt_tokens": 7,
            "completion_tokens": 1,
            "latency_s": 0.0,
        },
    }
    assert second["failure"] == {"reason": "timeout", "message": "too slow", "attempts": 6}


def test_a_response_is_final_and_a_failure_gives_way(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    second = Response((Completion("B"),), Usage(3, 2))
    cached = Response((Completion("C"),), Usage(1000, 1000), cached=True)
    _write(
        path,
        ("a", Failure("timeout", "first")),
        ("b", ANSWER),
        ("a", Failure("overload", "second", 2)),
        ("c", Failure("timeout", "")),
        ("b", second),
        ("c", cached),
        ("b", Failure("timeout", "")),
    )
    index = scan_journal(path)
    assert index.answered == {"t0/b", "t0/c"}
    assert index.failures == {"t0/a": Failure("overload", "second", 2)}
    assert (index.prompt_tokens, index.completion_tokens, index.num_lines) == (10, 3, 7)
    winners = [(r.state.instance_id, r.outcome) for r in read_winners(path, index)]
    assert winners == [("b", ANSWER), ("a", Failure("overload", "second", 2)), ("c", cached)]


def test_open_cuts_a_torn_line_and_completes_one_that_lacks_its_newline(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    _write(path, ("a", ANSWER), ("b", ANSWER))
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert _names(scan_journal(path).answered) == {"a"}
    assert scan_journal(path).torn_bytes == len(whole.splitlines(keepends=True)[-1]) - 20
    _write(path, ("c", ANSWER))
    assert [r.state.instance_id for r in _records(path)] == ["a", "c"]

    path.write_bytes(path.read_bytes()[:-1])
    assert _names(scan_journal(path).answered) == {"a", "c"}
    _write(path, ("d", ANSWER))
    assert [r.state.instance_id for r in _records(path)] == ["a", "c", "d"]


def test_a_torn_line_longer_than_a_read_block_is_cut_whole(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    _write(path, ("a", ANSWER))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"key": "' + b"x" * 200_000)
    Journal.open(path).close()
    assert path.read_bytes() == whole


def test_an_unreadable_line_in_the_middle_is_reported_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    _write(path, ("a", ANSWER), ("b", ANSWER), ("c", ANSWER))
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = b"#" * 30 + b"\n"
    path.write_bytes(b"".join(lines))
    first, damage, last = read_journal(path)
    assert isinstance(first, Record)
    assert isinstance(last, Record)
    assert isinstance(damage, Damage)
    assert (damage.offset, damage.length) == (len(lines[0]) + len(lines[1]), 31)
    index = scan_journal(path)
    assert _names(index.answered) == {"a", "c"}
    assert index.damage == [damage]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[1]", "not a JSON object"),
        ("{}", "no key"),
        ('{"key":"t0/j","instance_id":"i","trial":0,"request":{},"failure":{}}', "does not match its parts"),
        ('{"key":"t0/i","instance_id":"i","trial":0}', "no request"),
        ('{"key":"t0/i","instance_id":"i","trial":0,"request":{},"failure":{}}', "failure is incomplete"),
        (
            '{"key":"t0/i","instance_id":"i","trial":0,"request":{"prompt":""}}',
            "neither response nor failure",
        ),
        (
            '{"key":"t0/i","instance_id":"i","trial":0,"request":{"prompt":""},"response":{}}',
            "no completions",
        ),
        (
            '{"key":"t0/i","instance_id":"i","trial":0,"request":{"prompt":""},"failure":{"reason":1}}',
            "failure is incomplete",
        ),
    ],
)
def test_a_line_of_the_wrong_shape_is_damage(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(line + "\n")
    (damage,) = read_journal(path)
    assert isinstance(damage, Damage)
    assert reason in damage.reason
    assert scan_journal(path).damage == [damage]


def test_unknown_fields_are_tolerated_where_the_checksum_is_right(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    _write(path, ("a", ANSWER))
    header, line = path.read_bytes().splitlines(keepends=True)
    body = line.rpartition(b',"crc32":"')[0]
    body = body.replace(b'"trial":0', b'"trial":0,"new":{"x":1}').replace(b'"prompt":', b'"seed":1,"prompt":')
    path.write_bytes(header + b'%b,"crc32":"%08x"}\n' % (body, zlib.crc32(body)))
    assert path.read_text().count("seed") == path.read_text().count("new") == 1
    (record,) = _records(path)
    assert record.state == _state("a")


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"evalkit_journal": 3}\n')
    for use in (Journal.open, scan_journal, lambda p: list(read_journal(p))):
        with pytest.raises(StoreError, match="format 3"):
            use(path)


def test_a_missing_journal_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        scan_journal(tmp_path / "none.jsonl")
    with pytest.raises(StoreError, match="can't open the journal"):
        Journal.open(tmp_path / "none" / "journal.jsonl")


def test_what_is_no_json_is_refused_and_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal.open(path) as journal:
        size = path.stat().st_size
        with pytest.raises(StoreError, match="t0/id1"):
            journal.append(_state("t0/id1"), Response((Completion(object()),)))  # type: ignore[arg-type]
        assert path.stat().st_size == size


def test_short_writes_are_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.jsonl"
    write = os.write
    with Journal.open(path) as journal:
        monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data)[:7]))
        journal.append(_state("a"), ANSWER)
        monkeypatch.undo()
    assert [r.state.instance_id for r in _records(path)] == ["a"]


def test_a_full_disk_is_an_error_and_the_journal_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.jsonl"
    write = os.write
    room = [10]

    def full(descriptor: int, data: bytes) -> int:
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, bytes(data)[: room.pop()])

    with Journal.open(path) as journal:
        journal.append(_state("a"), ANSWER)
        before = path.read_bytes()
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(StoreError, match="No space left"):
            journal.append(_state("b"), ANSWER)
        monkeypatch.undo()
        assert path.read_bytes() == before
        journal.append(_state("c"), ANSWER)
    assert [r.state.instance_id for r in _records(path)] == ["a", "c"]


def test_of_lines_written_at_once_those_that_fit_on_the_disk_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.jsonl"
    write = os.write
    with Journal.open(path) as journal:
        journal.append(_state("a"), ANSWER)
        line_bytes = len(path.read_bytes().splitlines(keepends=True)[-1])
        room = [line_bytes * 2 + 30]

        def full(descriptor: int, data: bytes) -> int:
            if not room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(descriptor, bytes(data)[: room.pop()])

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(StoreError, match="No space left"):
            journal.extend((_state(name), ANSWER) for name in "bcde")
        monkeypatch.undo()
        journal.extend((_state(name), ANSWER) for name in "fg")
    assert [r.state.instance_id for r in _records(path)] == ["a", "b", "c", "f", "g"]
    assert not scan_journal(path).damage


def test_of_lines_written_at_once_those_before_one_that_cannot_be_written_stay(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    broken = Response((Completion(object()),))  # type: ignore[arg-type]
    with Journal.open(path) as journal, pytest.raises(StoreError, match="t0/b"):
        journal.extend([(_state("a"), ANSWER), (_state("t0/b"), broken), (_state("c"), ANSWER)])
    assert [r.state.instance_id for r in _records(path)] == ["a"]


def test_sync_reaches_the_disk_only_when_something_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    journal = Journal.open(tmp_path / "journal.jsonl")
    monkeypatch.setattr(journal_module, "_sync_data", calls.append)
    journal.sync()
    assert len(calls) == 0
    journal.append(_state("a"), ANSWER)
    journal.sync()
    journal.sync()
    assert len(calls) == 1
    journal.close()
    journal.close()
    with pytest.raises(StoreError, match="closed"):
        journal.append(_state("b"), ANSWER)


_SAMPLE: tuple[tuple[str, Outcome], ...] = (
    ("k0", ANSWER),
    ("k1", Failure("timeout", "no answer")),
    (
        "k2",
        Response((Completion("é\n", "stop", -1.5, (Token("é", -1.5, {"e": -0.25}),), "hm"),), Usage(1, 2)),
    ),
    ("k3", Response((Completion("\ud800", logprob=float("nan")),))),
)


def _sample_journal(path: Path) -> bytes:
    with Journal.open(path) as journal:
        for key, outcome in _SAMPLE:
            chat = Request("", (Message("user", "hi"),), stop_sequences=("\n",))
            # Always the same bytes, so that hypothesis can repeat what it did.
            with mock.patch("evalkit.execution.journal_line.time.time", return_value=1700000000.25):
                journal.append(dataclasses.replace(_state(key), request=chat), outcome)
    return path.read_bytes()


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_one_wrong_byte_costs_at_most_the_lines_it_touches(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        content = bytearray(_sample_journal(path))
        header_bytes = content.index(b"\n") + 1
        position = data.draw(st.integers(header_bytes, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
        lines_before = bytes(content[:position]).count(b"\n") - 1
        touched = {f"k{lines_before}", f"k{lines_before + 1}"}
        path.write_bytes(content)
        kept = {r.state.instance_id: repr(r.outcome) for r in read_journal(path) if isinstance(r, Record)}
        for key, outcome in _SAMPLE:
            assert key in touched or kept[key] == repr(outcome)
        assert sum(key in kept for key, _ in _SAMPLE) >= len(_SAMPLE) - 2
        _assert_readers_agree(path)
        Journal.open(path).close()
        _assert_readers_agree(path)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_truncation_keeps_all_whole_lines(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        content = _sample_journal(path)
        kept_bytes = data.draw(st.integers(0, len(content)))
        path.write_bytes(content[:kept_bytes])
        num_whole = max(0, content[: kept_bytes + 1].count(b"\n") - 1)
        assert [r.state.instance_id for r in _records(path)] == [key for key, _ in _SAMPLE[:num_whole]]
        with Journal.open(path) as journal:
            journal.append(_state("next"), ANSWER)
        index = scan_journal(path)
        assert not index.damage
        assert not index.torn_bytes
        assert len(_records(path)) == num_whole + 1


def _assert_readers_agree(path: Path) -> None:
    """What the scan says is answered has a record, and the other way round; likewise for damage."""
    index = scan_journal(path)
    entries = list(read_journal(path))
    records = [entry for entry in entries if isinstance(entry, Record)]
    assert index.answered == {r.state.key for r in records if isinstance(r.outcome, Response)}
    assert index.damage == [entry for entry in entries if isinstance(entry, Damage)]
    assert {r.state.key for r in read_winners(path, index)} == index.answered | index.failures.keys()


def test_reading_holds_one_line_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal.open(path) as journal:
        for n in range(3000):
            journal.append(_state(f"k{n}", "x" * 5000), ANSWER)
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_journal(path)) == 3000
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert path.stat().st_size > 15_000_000
    assert peak_bytes < 3_000_000


_APPEND_FOREVER = """
import itertools, sys
from pathlib import Path
from evalkit.codec import decode_exact, encode_exact
from evalkit.execution.journal import Journal
from evalkit.request import Request, RequestState
from evalkit.response import Completion, Response
journal = Journal.open(Path(sys.argv[1]))
for n in itertools.count():
    journal.append(RequestState(f"t0/k{n}", f"k{n}", 0, Request("x" * 3000)), Response((Completion("A"),)))
    sys.stdout.write(f"{n}\\n")
    sys.stdout.flush()
"""


def test_kill_9_loses_nothing_that_was_appended(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    child = subprocess.Popen([sys.executable, "-c", _APPEND_FOREVER, str(path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    for _ in range(200):
        child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    reported = 200 + child.stdout.read().count(b"\n")
    child.wait()
    child.stdout.close()
    with Journal.open(path) as journal:
        journal.append(_state("after"), ANSWER)
    index = scan_journal(path)
    assert {f"k{n}" for n in range(reported)} <= _names(index.answered)
    assert "t0/after" in index.answered
    assert not index.damage
    assert index.num_lines - 1 - reported in (0, 1)


def test_a_sync_on_its_way_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It uses the open file, whose lock the next phase of a run wants at once."""
    begun, may_go, ended = threading.Event(), threading.Event(), threading.Event()

    def slow(descriptor: int) -> None:
        begun.set()
        may_go.wait()
        os.fsync(descriptor)
        ended.set()

    monkeypatch.setattr("evalkit.execution.journal.SYNC_EVERY_S", 0.001)
    monkeypatch.setattr("evalkit.execution.journal._sync_data", slow)
    path = tmp_path / "journal.jsonl"
    may_go.set()

    async def write() -> None:
        async with open_synced(path) as journal:
            begun.clear()
            may_go.clear()
            ended.clear()
            journal.append(_state("t0/a"), Response((Completion("1", "stop"),)))
            await asyncio.to_thread(begun.wait)
            asyncio.get_running_loop().call_later(0.05, may_go.set)
        assert ended.is_set()
        Journal.open(path).close()

    asyncio.run(write())
