"""Models that think, from the server to the table: the answer is scored, and what has none is counted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from evalkit.response import Response
from tests.end_to_end.conftest import Serve
from tests.end_to_end.servers import solve
from tests.end_to_end.workspace import Workspace, records_of
from tests.old_format import made_old

ENTRY = "arithmetic:num_test=20,model=test/a"
THOUGHT = "Step one.\n\nStep two: is it 1?\n"


def rows_of(workspace: Workspace, *arguments: object) -> tuple[dict[str, float], str]:
    """The means in the JSON that a command ends with, and what it said beside."""
    finished = workspace.evalkit(*arguments)
    assert finished.code == 0, finished.err
    printed = json.loads(finished.out)
    rows = printed if isinstance(printed, list) else printed["rows"]
    return {row["metric"]: row["mean"] for row in rows}, finished.err


@pytest.mark.parametrize("processed", ["", ",process_output=remove_thinking"])
@pytest.mark.parametrize("opening", ["<think>", ""])
def test_the_answer_behind_the_thinking_is_scored(
    workspace: Workspace, serve: Serve, opening: str, processed: str
) -> None:
    server = serve(answers=lambda prompt: f"{opening}{THOUGHT}</think>\n\n{solve(prompt)}\nQuestion:")
    args: dict[str, Any] = {} if opening or processed else {"thinking": True}
    workspace.deploy("test/a", server.url, **args)
    means, _ = rows_of(workspace, "run", "-q", "--json", "-r", f"{ENTRY},increase_max_tokens=50{processed}")
    assert means["exact_match"] == 1
    assert "no_answer" not in means
    for record in records_of(workspace.run()):
        assert isinstance(record.outcome, Response)
        (completion,) = record.outcome.completions
        assert (completion.thinking, completion.finish_reason) == (THOUGHT.strip(), "stop")
        assert completion.raw is not None
        assert completion.raw.startswith(f"{opening}{THOUGHT}</think>\n\n{completion.text}\nQuestion:")


def test_a_model_that_never_comes_to_its_answer(workspace: Workspace, serve: Serve) -> None:
    def answer(prompt: str) -> str:
        right = solve(prompt)
        return right if int(right) % 2 else f"<think>{'so ' * 200}</think>{right}"

    server = serve(answers=answer)
    workspace.deploy("test/a", server.url)
    means, _ = rows_of(workspace, "run", "-q", "--json", "-r", ENTRY)
    assert 0 < means["no_answer"] < 1
    assert means["exact_match"] == pytest.approx(1 - means["no_answer"])
    # It is in the table without being asked for, and an explanation with it.
    shown = workspace.evalkit("summarize")
    assert "no_answer" in shown.out
    assert f"{100 * means['no_answer']:.3g} % of the completions have no answer" in shown.err
    board = workspace.evalkit("summarize", "--groups")
    assert "of the completions have no answer" in board.err
    again, _ = rows_of(workspace, "score", "--json", "benchmark_output")
    assert again == means


def test_a_journal_of_the_version_before_is_scored_as_before(workspace: Workspace, serve: Serve) -> None:
    server = serve(answers=lambda prompt: f"<think>{THOUGHT}</think>{solve(prompt)}")
    workspace.deploy("test/a", server.url)
    rows_of(workspace, "run", "-q", "--json", "-r", f"{ENTRY},increase_max_tokens=50")
    made_old(workspace.run())
    path = workspace.run().journal_path
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        if "response" in line:
            _as_before(line["response"]["completions"][0])
    compact = (json.dumps(line, separators=(",", ":")) for line in lines)
    path.write_text("".join(line + "\n" for line in compact), encoding="utf-8")
    means, _ = rows_of(workspace, "score", "--json", "benchmark_output")
    assert means["exact_match"] == 0
    assert "no_answer" not in means


def _as_before(completion: dict[str, Any]) -> None:
    """Thinking within the text, and no whole text beside it."""
    completion["text"] = completion.pop("raw")
    del completion["thinking"]
