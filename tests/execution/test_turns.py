"""Turns of a conversation in a journal: their keys, what is unfinished, and what no line may claim."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from evalkit.execution.journal import Journal
from evalkit.execution.journal_index import read_unfinished, scan_journal
from evalkit.execution.journal_line import JournalOwner, state_problem
from evalkit.request import Request, RequestState, next_turn, parent_key
from evalkit.response import BLOCKED, Completion, Failure, Outcome, Response

OWNER = JournalOwner("0123456789abcdef")
ANSWER = Response((Completion("yes"),))
FAILURE, VETO = Failure("timeout", "late"), Failure(BLOCKED, "no")


def turns(instance_id: str, num: int = 3) -> list[RequestState]:
    states = [RequestState(f"t0/{instance_id}", instance_id, 0, Request("Hi"), unit_size=num, turn=1)]
    while len(states) < num:
        states.append(next_turn(states[-1], Request(f"Hi {len(states)}")))
    return states


def journal(path: Path, *lines: tuple[RequestState, Outcome]) -> Path:
    with Journal.open(path, OWNER) as file:
        file.extend(lines)
    return path


def test_keys_grow_by_one_part() -> None:
    states = turns("id7", 12)
    assert [state.key for state in states[:3]] == ["t0/id7", "t0/id7/u2", "t0/id7/u2/u3"]
    assert states[11].key.endswith("/u11/u12")
    assert all(parent_key(b.key) == a.key for a, b in pairwise(states))


def test_unfinished_conversations_are_found_by_key_and_only_they_are_read(tmp_path: Path) -> None:
    whole, begun, failed, blocked, fresh, single = (turns(name) for name in ("a", "b", "c", "d", "e", "f"))
    alone = [replace(single[0], unit_size=1)]
    path = journal(
        tmp_path / "j.jsonl",
        *((state, ANSWER) for state in whole),
        *((state, ANSWER) for state in begun[:2]),
        (failed[0], ANSWER),
        (failed[1], FAILURE),
        (blocked[0], ANSWER),
        (blocked[1], VETO),
        (fresh[0], FAILURE),
        (alone[0], ANSWER),
    )
    index = scan_journal(path)
    assert set(index.unfinished) == {"t0/b/u2", "t0/c"}
    assert [record.state for record in read_unfinished(index)] == [begun[1], failed[0]]
    assert index.not_reached == {"t0/c/u2": 1, "t0/d/u2": 1, "t0/e": 2}
    journal(path, (failed[1], ANSWER), (fresh[0], ANSWER), (begun[2], ANSWER))
    index = scan_journal(path)
    assert set(index.unfinished) == {"t0/c/u2", "t0/e"}
    assert index.not_reached == {"t0/d/u2": 1}
    assert not index.damage


def test_a_turn_counts_only_behind_the_answer_that_it_follows(tmp_path: Path) -> None:
    first, second, third = turns("a")
    path = journal(tmp_path / "j.jsonl", (second, ANSWER), (first, ANSWER), (third, ANSWER))
    index = scan_journal(path)
    assert index.answered == {"t0/a"}
    assert [damage.kind for damage in index.damage] == ["line", "line"]
    other = Response((Completion("no"),))
    journal(path, (second, other), (third, other))
    index = scan_journal(path)
    assert len(index.answered) == 3
    assert not index.unfinished
    path = journal(tmp_path / "k.jsonl", (first, FAILURE), (second, ANSWER), (first, ANSWER))
    assert scan_journal(path).answered == {"t0/a"}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"turn": 1}, "its key does not match its parts"),
        ({"turn": 3}, "its key does not match its parts"),
        ({"turn": 10**15, "unit_size": 10**16}, "its turn does not match its key"),
        ({"turn": 0}, "its turn does not match its key"),
        ({"turn": -1}, "its turn does not match its key"),
        ({"turn": None}, "its turn does not match its key"),
        ({"turn": True}, "its turn does not match its key"),
        ({"turn": 2.0}, "its turn does not match its key"),
        ({"turn": "2"}, "its turn does not match its key"),
        ({"unit_size": 1}, "its conversation has no turn 2"),
        ({"key": "t0/a/u3"}, "its key does not match its parts"),
        ({"key": "t0/a"}, "its key does not match its parts"),
        ({"key": "t0/a/u2/u2"}, "its key does not match its parts"),
        ({}, None),
    ],
)
def test_a_line_whose_turn_is_not_that_of_its_key_is_damaged(
    changes: dict[str, Any], problem: str | None
) -> None:
    plain = {"key": "t0/a/u2", "instance_id": "a", "trial": 0, "unit_size": 3, "turn": 2}
    found = state_problem(plain | {"request": {}, "response": {}} | changes)
    assert found is None if problem is None else found is not None and problem in found


def test_an_instance_may_be_called_like_a_turn(tmp_path: Path) -> None:
    """Its id tells it apart in its own line, and `a/u2` is no turn of `a`."""
    named, talk = turns("a/u2", 1)[0], turns("a", 1)[0]
    index = scan_journal(journal(tmp_path / "j.jsonl", (named, ANSWER), (talk, ANSWER)))
    assert index.answered == {"t0/a", "t0/a/u2"}
    assert not index.damage
