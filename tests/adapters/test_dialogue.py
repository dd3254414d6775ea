"""Conversations: how they grow, how they are fitted, and that what follows an answer is a pure function."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalkit.adapters.adapter import Adapter
from evalkit.adapters.dialogue import DialogueAdapter
from evalkit.adapters.window import NO_WINDOW, TokenWindow, Window
from evalkit.errors import DataError, UsageError
from evalkit.execution.journal import Journal
from evalkit.execution.journal_index import read_winners, scan_journal
from evalkit.instance import Instance, PerturbationDescription, Reference
from evalkit.plugins import builtin_catalog, load_builtins
from evalkit.registry import ADAPTERS
from evalkit.request import RequestState
from evalkit.response import Completion, Response
from evalkit.specs.run_spec import AdapterSpec
from tests.adapters.golden_rows import CharacterTokenizer

load_builtins()
METHODS: dict[str, Any] = {
    entry["name"]: ADAPTERS.get(entry["name"]) for entry in builtin_catalog()["adapter"]
}
WITH_TURNS = [name for name, method in METHODS.items() if method.has_turns]
ANSWERS = ("aye", "", "no\nnever – 二 \ud83d")


def spec(**changes: Any) -> AdapterSpec:
    plain = {"method": "dialogue", "instructions": "Be brief.\n", "max_tokens": 5, "num_outputs": 1}
    return AdapterSpec.model_validate(plain | {"max_train_instances": 0} | changes)


def talk(*follow_ups: str, said: str = "one", **changes: Any) -> Instance:
    plain: dict[str, Any] = {"id": "id7", "extra": {"follow_ups": list(follow_ups)}} | changes
    return Instance(said, (Reference("yes", ("correct",)), Reference("no")), "test", **plain)


def answer(text: str) -> Response:
    return Response((Completion(text, "stop"),))


def conversation(adapter: Adapter, instance: Instance, answers: Sequence[str]) -> list[RequestState]:
    """All turns, each answered by the next of the texts."""
    state, *_ = adapter.requests([instance], [])
    states = [state]
    for text in answers:
        following = adapter.after(instance, states[-1], answer(text))
        if not following:
            break
        (state,) = following
        states.append(state)
    return states


def said(state: RequestState) -> list[tuple[str, str]]:
    assert state.request.messages is not None
    return [(message.role, message.content) for message in state.request.messages]


def test_a_conversation_grows_by_the_answer_and_what_is_said_next() -> None:
    adapter = DialogueAdapter(spec(global_suffix="!", num_trials=2, temperature=0.5, stop_sequences=["#"]))
    instance = talk("two", "three")
    states = conversation(adapter, instance, ["A", "B", "C"])
    assert [said(state)[-1][1] for state in states] == [
        f"Input: {text}\nOutput:!" for text in ("one", "two", "three")
    ]
    assert said(states[2]) == [
        ("system", "Be brief."),
        ("user", "Input: one\nOutput:!"),
        ("assistant", "A"),
        ("user", "Input: two\nOutput:!"),
        ("assistant", "B"),
        ("user", "Input: three\nOutput:!"),
    ]
    assert [state.key for state in states] == ["t0/id7", "t0/id7/u2", "t0/id7/u2/u3"]
    assert [(state.turn, state.unit_size) for state in states] == [(1, 3), (2, 3), (3, 3)]
    for state in states[1:]:
        same = replace(states[0].request, messages=state.request.messages, prompt=state.request.prompt)
        assert state.request == same
    _, second_sample = adapter.requests([instance], [])
    (following,) = adapter.after(instance, second_sample, answer("A"))
    assert (following.key, following.sample, following.request.random) == ("t0/id7/s1/u2", 1, "1")


def test_without_follow_ups_there_is_one_turn() -> None:
    adapter = DialogueAdapter(spec())
    (state,) = conversation(adapter, talk(), ["A"])
    assert (state.key, state.turn, state.unit_size) == ("t0/id7", 1, 1)
    assert adapter.num_requests([talk(), talk("x", "y")]) == 4


def test_thinking_is_not_sent_again() -> None:
    instance = talk("two")
    adapter = DialogueAdapter(spec())
    (state,) = adapter.requests([instance], [])
    response = Response((Completion("A", "stop", thinking="hm, hm"),))
    (following,) = adapter.after(instance, state, response)
    assert said(following)[2] == ("assistant", "A")
    (following,) = adapter.after(instance, state, Response(()))  # a server may give none at all
    assert said(following)[2] == ("assistant", "")


def window_of(num_tokens: int) -> TokenWindow:
    return TokenWindow(CharacterTokenizer(), num_tokens)


def test_the_oldest_turns_go_first_and_the_system_message_never() -> None:
    # One token per character: "S" + "\n\n" between messages.
    plain = spec(instructions="SYS", input_prefix="", input_suffix="", output_prefix="", max_tokens=5)
    whole = "\n\n".join(("SYS", "one", "AA", "two", "BB", "three"))
    for room, kept in ((len(whole), 0), (len(whole) - 1, 1), (len("SYS\n\nthree") + 1, 2)):
        adapter = DialogueAdapter(plain, window_of(room + 5))
        last = conversation(adapter, talk("two", "three"), ["AA", "BB"])[-1]
        rest = [("user", "one"), ("assistant", "AA"), ("user", "two"), ("assistant", "BB"), ("user", "three")]
        assert said(last) == [("system", "SYS"), *rest[2 * kept :]]
        assert last.prompt_truncated == (kept > 0)


def test_what_is_said_last_is_cut_if_it_does_not_fit_alone() -> None:
    plain = spec(instructions="SYS", input_prefix="", input_suffix="", output_prefix="", max_tokens=5)
    adapter = DialogueAdapter(plain, window_of(len("SYS\n\ntw") + 5))
    last = conversation(adapter, talk("two", said="on"), ["AA"])[-1]
    assert said(last) == [("system", "SYS"), ("user", "tw")]
    assert last.prompt_truncated
    with pytest.raises(UsageError, match="max_tokens=5 leaves no room"):
        conversation(DialogueAdapter(plain, window_of(5)), talk("two"), ["AA"])


def test_what_does_not_make_a_dialogue_is_refused() -> None:
    with pytest.raises(UsageError, match="max_train_instances=0"):
        DialogueAdapter(spec(max_train_instances=2))
    with pytest.raises(UsageError, match="num_outputs=1"):
        DialogueAdapter(spec(num_outputs=2))
    for extra in (None, {}, {"follow_ups": "two"}, {"follow_ups": [2]}):
        with pytest.raises(DataError, match="follow_ups"):
            next(DialogueAdapter(spec()).requests([talk(extra=extra)], []))


def through_a_journal(path: Path, state: RequestState, response: Response) -> tuple[RequestState, Response]:
    """What another process reads of it."""
    with Journal.open(path) as journal:
        journal.append(state, response)
    (record,) = list(read_winners(path, scan_journal(path)))[-1:]
    assert isinstance(record.outcome, Response)
    return record.state, record.outcome


@pytest.mark.parametrize("method", WITH_TURNS)
@pytest.mark.parametrize("window", [NO_WINDOW, window_of(60), window_of(30)], ids=("none", "60", "30"))
def test_what_follows_an_answer_depends_on_nothing_else(tmp_path: Path, method: str, window: Window) -> None:
    """The contract of `Adapter.after`: twice on fresh objects, in any order, of what a journal has kept."""
    perturbed = PerturbationDescription("dialect")
    instances = [
        talk("two", "three", "four"),
        talk("two", id="id8"),
        talk(id="id9"),
        talk("2", perturbation=perturbed),
    ]

    def fresh() -> Adapter:
        made: Adapter = ADAPTERS.get(method)(spec(method=method, num_trials=2), window)
        return made

    checked = 0
    for instance in instances:
        for first in fresh().requests([instance], []):
            states = [first]
            for text in ANSWERS:
                kept = through_a_journal(tmp_path / "j.jsonl", states[-1], answer(text))
                once = tuple(fresh().after(instance, states[-1], answer(text)))
                again = tuple(fresh().after(copy.deepcopy(instance), *kept))
                assert once == again
                assert [s.request.hints for s in once] == [s.request.hints for s in again]
                without: Adapter = ADAPTERS.get(method)(spec(method=method))
                assert len(tuple(without.after(instance, *kept))) == len(once), (
                    "scores do not know the window"
                )
                assert states[-1].turn is not None
                assert bool(once) == (states[-1].turn <= len(fresh().follow_ups(instance)))
                checked += 1
                if not once:
                    break
                states.extend(once)
    assert checked > len(instances)


def test_there_is_an_adapter_to_check() -> None:
    assert "dialogue" in WITH_TURNS
