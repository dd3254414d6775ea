"""A journal as a source of answers: what it gives, and what it must not give."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from evalkit.errors import StoreError
from evalkit.execution.answer_source import Found, content_key, find_answer
from evalkit.execution.journal import Journal
from evalkit.execution.journal_index import read_journal, scan_journal
from evalkit.execution.journal_line import JournalOwner, Record
from evalkit.execution.journal_source import JournalSource
from evalkit.request import Request, RequestState, request_key
from evalkit.response import Completion, Failure, Origin, Outcome, Response, Usage
from tests.old_format import without_sum

OWNER = JournalOwner("a" * 64, {"deployment": {"name": "test/a"}})
MODEL = "deployment"


def state(number: int, prompt: str = "", trial: int = 0, sample: int = 0) -> RequestState:
    request = Request(prompt or f"question {number}", random=str(sample) if sample else None)
    key = request_key(f"id{number}", trial, sample)
    return RequestState(key, f"id{number}", trial, request, sample)


def answer(text: str) -> Response:
    return Response((Completion(text, "stop"),), Usage(3, 1), latency_s=0.25, attempts=2)


def journal(path: Path, *finished: tuple[RequestState, Outcome]) -> Path:
    with Journal.open(path, OWNER) as opened:
        opened.extend(finished)
    return path


def made_old(path: Path) -> bytes:
    """The journal as evalkit up to 0.1 wrote it."""
    return b"".join(map(without_sum, path.read_bytes().splitlines(keepends=True)))


def got(path: Path, asked: RequestState, model: str = MODEL) -> Found | None:
    with JournalSource(path, "first", None, MODEL) as source:
        return source.get(content_key(model, asked.request, asked.sample), asked)


def test_the_same_request_in_the_same_place_is_answered_with_its_origin(tmp_path: Path) -> None:
    path = journal(tmp_path / "j", (state(1), answer("A")), (state(2), answer("B")))
    assert got(path, state(2)) == Found(answer("B"), Origin("first", "t0/id2"))
    assert got(path, state(3)) is None


@pytest.mark.parametrize(
    "asked",
    [
        state(1, "another prompt"),
        state(1, sample=1),
        state(1, trial=1),
        replace(state(1), request=Request("question 1", temperature=0.5)),
        replace(state(1), request=Request("question 1", max_tokens=7)),
        state(2, "question 1"),
    ],
    ids=["prompt", "sample", "trial", "temperature", "length", "instance"],
)
def test_nothing_else_is_answered(tmp_path: Path, asked: RequestState) -> None:
    path = journal(tmp_path / "j", (state(1), answer("A")))
    assert got(path, asked) is None


def test_another_model_is_not_answered(tmp_path: Path) -> None:
    path = journal(tmp_path / "j", (state(1), answer("A")))
    assert got(path, state(1), model="another") is None


def test_equal_prompts_have_answers_of_their_own(tmp_path: Path) -> None:
    path = journal(tmp_path / "j", (state(1, "same"), answer("A")), (state(2, "same"), answer("B")))
    texts = {}
    for number in (1, 2):
        found = got(path, state(number, "same"))
        assert found is not None
        texts[number] = found.response.completions[0].text
    assert texts == {1: "A", 2: "B"}
    assert got(path, state(3, "same")) is None


def test_a_failure_is_no_answer_and_a_later_answer_is_one(tmp_path: Path) -> None:
    failures = [(state(n), Failure(reason, "no")) for n, reason in ((1, "timeout"), (2, "content_filter"))]
    path = journal(tmp_path / "j", *failures, (state(1), answer("A")))
    assert got(path, state(2)) is None
    found = got(path, state(1))
    assert found is not None
    assert found.response == answer("A")


def test_damaged_and_torn_lines_are_not_taken(tmp_path: Path) -> None:
    path = journal(tmp_path / "j", *((state(n), answer(f"A{n}")) for n in range(4)))
    header, *lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"A1"', b'"B1"')
    path.write_bytes(header + b"".join(lines)[:-5])
    assert [got(path, state(n)) is not None for n in range(4)] == [True, False, True, False]


def test_a_line_of_another_run_is_not_taken(tmp_path: Path) -> None:
    path = journal(tmp_path / "j", (state(1), answer("A")))
    with Journal.open(tmp_path / "other", JournalOwner("b" * 64)) as other:
        other.append(state(2), answer("B"))
    path.write_bytes(path.read_bytes() + (tmp_path / "other").read_bytes().splitlines(keepends=True)[1])
    assert got(path, state(1)) is not None
    assert got(path, state(2)) is None
    with pytest.raises(StoreError, match="another run"):
        JournalSource(path, "first", "b" * 64, MODEL)


def test_journals_of_evalkit_0_1_and_mixed_ones_are_read(tmp_path: Path) -> None:
    path = journal(tmp_path / "j", (state(1), answer("A")), (state(2), answer("B")))
    path.write_bytes(made_old(path))
    assert [got(path, state(n)) is not None for n in (1, 2)] == [True, True]
    journal(path, (state(3), answer("C")))
    assert [got(path, state(n)) is not None for n in (1, 2, 3)] == [True, True, True]
    # Behind the header, a line without a checksum is damaged.
    with path.open("ab") as file:
        file.write(made_old(path).splitlines(keepends=True)[1].replace(b"id1", b"id4"))
    assert got(path, state(4, "question 1")) is None


def test_what_changes_behind_its_back_is_not_taken(tmp_path: Path) -> None:
    path = journal(tmp_path / "j", (state(1), answer("A")), (state(2), answer("B")))
    with JournalSource(path, "first", None, MODEL) as source:
        path.write_bytes(path.read_bytes().replace(b'"B"', b'"C"'))
        assert source.get(content_key(MODEL, state(2).request, 0), state(2)) is None
        assert source.get(content_key(MODEL, state(1).request, 0), state(1)) is not None
        path.unlink()
        assert source.get(content_key(MODEL, state(1).request, 0), state(1)) is not None
    with JournalSource(journal(path, (state(1), answer("A"))), "first", None, MODEL) as source:
        path.unlink()
        assert source.get(content_key(MODEL, state(1).request, 0), state(1)) is None


def test_a_journal_that_is_being_written_is_read_and_not_locked(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal.open(path, OWNER) as writing:
        writing.append(state(1), answer("A"))
        assert got(path, state(1)) is not None
        writing.append(state(2), answer("B"))
        assert got(path, state(2)) is not None
    assert [record.outcome for record in read_journal(path) if isinstance(record, Record)] == [
        answer("A"),
        answer("B"),
    ]


def test_a_found_answer_keeps_its_first_origin_through_a_journal(tmp_path: Path) -> None:
    first = journal(tmp_path / "first", (state(1), answer("A")))
    with JournalSource(first, "first", None, MODEL) as source:
        found = find_answer([source], MODEL, state(1))
    assert found == replace(answer("A"), cached=True, attempts=1, origin=Origin("first", "t0/id1"))
    second = journal(tmp_path / "second", (state(1), found))
    (line,) = (json.loads(line) for line in second.read_bytes().splitlines()[1:])
    assert line["origin"] == {"source": "first", "key": "t0/id1"}
    with JournalSource(second, "second", None, MODEL) as source:
        assert find_answer([source], MODEL, state(1)) == found
    index = scan_journal(second)
    assert index.num_found == {"first": 1}
    assert (index.prompt_tokens, index.num_without_usage) == (0, 0)


@pytest.mark.parametrize(
    "origin", [1, {}, {"source": ""}, {"source": 3}, {"source": "first", "key": 1}, {"key": "t0/id1"}]
)
def test_an_origin_of_another_shape_is_damage(tmp_path: Path, origin: object) -> None:
    path = journal(tmp_path / "j")
    plain = {
        "key": "t0/id1",
        "instance_id": "id1",
        "trial": 0,
        "request": {"prompt": "question 1"},
        "response": {"completions": [{"text": "A"}], "cached": True},
        "origin": origin,
    }
    body = json.dumps(plain).encode()[:-1]
    with path.open("ab") as file:
        file.write(b'%b,"crc32":"%08x"}\n' % (body, zlib.crc32(body, OWNER.seed)))
    index = scan_journal(path)
    (damage,) = index.damage
    assert "origin" in damage.reason
    assert not index.answered


_SCAN = """
import resource, sys
from pathlib import Path
from evalkit.execution.journal_source import JournalSource
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
source = JournalSource(Path(sys.argv[1]), "first", None, "deployment")
print(len(source), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_it_holds_offsets_and_no_texts(tmp_path: Path) -> None:
    number = 5_000
    path = journal(tmp_path / "j", *((state(n, f"{n} " * 2_000), answer("A" * 4_000)) for n in range(number)))
    size_mib = path.stat().st_size / 2**20
    assert size_mib > 60
    told = subprocess.run([sys.executable, "-c", _SCAN, path], capture_output=True, text=True, check=True)
    num_answers, grown_mib = told.stdout.split()
    assert int(num_answers) == number
    assert float(grown_mib) < 12
