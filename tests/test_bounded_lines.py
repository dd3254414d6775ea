"""Lines without end: what a power cut, a copy gone wrong or an attacker leaves."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from evalkit import bounded_lines as module
from evalkit.bounded_lines import MAX_LINE_BYTES, Unread, bounded_lines, last_line_start
from evalkit.errors import StoreError
from evalkit.execution import journal_line
from evalkit.execution.journal import Journal
from evalkit.execution.journal_index import owner_of, read_journal, read_winners, scan_journal
from evalkit.execution.journal_line import JournalOwner, Record
from evalkit.request import Request, RequestState
from evalkit.response import Completion, Response, Usage
from evalkit.results.run_directory import read_lines

MIB = 1 << 20
OWNER = JournalOwner("d" * 64)


def lines_of(path: Path, limit: int = MAX_LINE_BYTES) -> list[bytes | Unread]:
    with path.open("rb") as file:
        return list(bounded_lines(file, limit))


def state(name: str) -> RequestState:
    return RequestState(f"t0/{name}", name, 0, Request("2 + 2 = ?"))


def answer(text: str) -> Response:
    return Response((Completion(text, "stop"),), Usage(7, 1))


def written(path: Path, *texts: str) -> None:
    with Journal.open(path, OWNER) as journal:
        for number, text in enumerate(texts):
            journal.append(state(f"id{number}"), answer(text))


@pytest.mark.parametrize("end", [b"", b"\n"])
@pytest.mark.parametrize("length", [0, 1, MIB - 2, MIB - 1, MIB, MIB + 1, 2 * MIB, 2 * MIB + 1, 5 * MIB + 7])
def test_a_line_up_to_the_limit_is_read_as_it_is(tmp_path: Path, length: int, end: bytes) -> None:
    path = tmp_path / "x"
    content = b"first\n" + b"x" * length + end
    path.write_bytes(content)
    is_same = lines_of(path) == content.splitlines(keepends=True)
    assert is_same


@pytest.mark.parametrize("end", [b"", b"\n", b"\nafter\n"])
def test_a_line_over_the_limit_is_passed_over(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"first\n" + b"x" * (3 * MIB) + end)
    first, long, *rest = lines_of(path, 2 * MIB)
    assert first == b"first\n"
    assert isinstance(long, Unread)
    assert (long.length, long.is_last) == (3 * MIB + bool(end), not end)
    assert long.reason == "it is longer than the 2,097,152 bytes that a line may have"
    assert rest == ([b"after\n"] if end.endswith(b"r\n") else [])


def zeroed(path: Path, num: int) -> None:
    with path.open("ab") as file:
        for _ in range(num // MIB):
            file.write(b"\0" * MIB)


def sparse(path: Path, num: int) -> None:
    os.truncate(path, path.stat().st_size + num)


@pytest.mark.parametrize("torn", [b"", b'{"key":"t0/id9","inst'])
@pytest.mark.parametrize("grow", [zeroed, sparse])
def test_a_tail_of_nul_bytes_is_cut_and_costs_no_memory(
    tmp_path: Path, grow: Callable[[Path, int], None], torn: bytes
) -> None:
    path = tmp_path / "journal.jsonl"
    written(path, "A", "B")
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(torn)
    grow(path, 300 * MIB)
    tracemalloc.start()
    index = scan_journal(path)
    assert (len(index.answered), index.torn_bytes, index.damage) == (2, 300 * MIB + len(torn), [])
    assert len(list(read_journal(path))) == len(list(read_winners(path, index))) == 2
    with Journal.open(path, OWNER):
        pass
    assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    tracemalloc.stop()
    assert path.read_bytes() == whole


def test_a_hole_of_a_terabyte_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    written(path, "A")
    whole = path.read_bytes()
    try:
        os.truncate(path, 1 << 40)
    except OSError:
        pytest.skip("this file system has no files of a terabyte")
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if os.lseek(descriptor, 64 * MIB, os.SEEK_HOLE) != 64 * MIB:
            pytest.skip("this file system does not tell where holes are")
    finally:
        os.close(descriptor)
    began = time.process_time()
    assert scan_journal(path).torn_bytes == (1 << 40) - len(whole)
    with Journal.open(path, OWNER):
        pass
    assert time.process_time() - began < 5
    assert path.read_bytes() == whole


def test_a_hole_in_the_middle_is_one_damaged_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    written(path, "A", "B")
    first = path.read_bytes()
    sparse(path, 1 << 32)
    with path.open("ab") as file:
        file.write(b"\n" + first.splitlines(keepends=True)[2])
    began = time.process_time()
    index = scan_journal(path)
    assert [(damage.offset, damage.length) for damage in index.damage] == [(len(first), (1 << 32) + 1)]
    assert "NUL bytes" in index.damage[0].reason
    assert (len(index.answered), index.torn_bytes, index.num_lines) == (2, 0, 2)
    assert last_line_start_of(path) == path.stat().st_size
    assert owner_of(path) == OWNER
    assert time.process_time() - began < 20


def last_line_start_of(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return last_line_start(descriptor, path.stat().st_size)
    finally:
        os.close(descriptor)


def test_a_gigabyte_of_letters_is_passed_over_in_little_memory(tmp_path: Path) -> None:
    """In a process of its own, that may have less memory than the line has bytes."""
    path = tmp_path / "journal.jsonl"
    written(path, "A")
    size = path.stat().st_size
    with path.open("ab") as file:
        for _ in range(1024):
            file.write(b"x" * MIB)
        file.write(b"\n")
    code = (
        "import sys; from pathlib import Path; from evalkit.execution.journal_index import scan_journal\n"
        "index = scan_journal(Path(sys.argv[1])); print(len(index.answered), index.damage[0])"
    )
    limit = 900 * MIB
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        f"1 the line at byte {size} ({(1 << 30) + 1} bytes) can't be read: it is longer than the 268,435,456 "
        "bytes that a line may have\n"
    )


def test_an_answer_of_sixty_megabytes_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    text = "ab\n" * (20 << 20)
    written(path, "A", text, "C")
    (record,) = (
        each for each in read_journal(path) if isinstance(each, Record) and each.state.instance_id == "id1"
    )
    assert isinstance(record.outcome, Response)
    assert record.outcome.completions[0].text == text


def test_a_line_that_nobody_could_read_is_never_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_line, "MAX_LINE_BYTES", 1000)
    path = tmp_path / "journal.jsonl"
    with Journal.open(path, OWNER) as journal:
        journal.append(state("a"), answer("A"))
        with pytest.raises(StoreError, match=r"at most 1,000 are read; a smaller max_answer_mb"):
            journal.append(state("b"), answer("x" * 1000))
        journal.append(state("c"), answer("C"))
    assert scan_journal(path).answered == {"t0/a", "t0/c"}


def test_where_the_system_knows_no_holes_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_HOLES", False)
    path = tmp_path / "journal.jsonl"
    written(path, "A")
    whole = path.read_bytes()
    sparse(path, 20 * MIB)
    assert scan_journal(path).torn_bytes == 20 * MIB
    with Journal.open(path, OWNER):
        pass
    assert path.read_bytes() == whole


def test_lines_of_other_files_are_bounded_too(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    path.write_bytes(b'{"a":1}\n')
    sparse(path, 1 << 33)
    read = read_lines(path)
    assert next(read) == {"a": 1}
    with pytest.raises(StoreError, match=r"scores\.jsonl:2 is damaged: it holds NUL bytes"):
        next(read)
