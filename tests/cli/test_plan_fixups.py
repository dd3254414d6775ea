"""`evalkit plan` says what was changed because of a model."""

from __future__ import annotations

import json

from tests.cli.conftest import Call

ENTRY = "gsm:model=anthropic/claude-v1.3"


def test_plan_lists_fixups_per_run(call: Call) -> None:
    called = call("plan", "--json", "-r", ENTRY, "gsm:model=simple/model1")
    assert called.code == 0
    claude, simple = (json.loads(line) for line in called.out.splitlines())
    (fixup,) = claude["fixups"]
    assert (fixup["name"], fixup["fields"]) == ("claude_1_2", ["global_prefix", "global_suffix"])
    assert "Human and Assistant turns" in fixup["because"]
    assert simple["fixups"] == []


def test_plan_notes_each_fixup_once(call: Call) -> None:
    called = call("plan", "-r", ENTRY, f"{ENTRY},temperature=0.5")
    notes = [line for line in called.err.splitlines() if "fix-up" in line]
    assert len(notes) == 1
    assert "'claude_1_2' changed global_prefix, global_suffix of gsm:model=" in notes[0]
    assert "and 1 more" in notes[0]


def test_a_chat_is_planned_as_turns(call: Call) -> None:
    called = call(
        "plan", "--json", "--requests", "-r", "arithmetic:num_test=1,model=simple/model1,chat_style=turns"
    )
    assert called.code == 0
    row = json.loads(called.out.splitlines()[0])
    roles = [message["role"] for message in row["messages"]]
    assert roles[-1] == "user"
    assert set(roles[1:-1]) <= {"user", "assistant"}


def test_a_method_that_takes_no_chat_says_so_before_anything_is_loaded(call: Call) -> None:
    method = "multiple_choice_separate_original"
    called = call("plan", "-r", f"mmlu:subject=anatomy,method={method},model=simple/model1,chat_style=turns")
    assert called.code == 2
    assert f"chat_style=turns does not work with the method {method}" in called.err
