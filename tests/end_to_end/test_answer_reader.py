"""`answer_reader=robust` scores answers that were given before, and sends nothing."""

from __future__ import annotations

import json

from tests.end_to_end.conftest import Serve
from tests.end_to_end.servers import solve
from tests.end_to_end.workspace import Workspace

ENTRY = "simple_mcqa:model=test/a,increase_max_tokens=30"


def test_answers_are_read_anew_and_nothing_is_sent(workspace: Workspace, serve: Serve) -> None:
    def letter(prompt: str) -> str:
        number = int(prompt.rpartition("Is ")[2].split()[0])
        # Answers come from the last question; the layout puts Even at A.
        return f"Let me see. The answer is **{'AB'[number % 2]}**"

    server = serve(answers=letter)
    workspace.deploy("test/a", server.url)
    first = workspace.evalkit("run", "-r", ENTRY, "-m", 12, "-q")
    assert first.code == 0, first.err
    num_sent = server.num_answered
    second = workspace.evalkit("run", "-r", f"{ENTRY},answer_reader=robust", "-m", 12, "-q")
    assert second.code == 0, second.err
    assert server.num_answered == num_sent == 12
    rows = json.loads(workspace.evalkit("summarize", "--json").out)
    means = {(row["run"].partition("@")[2] != "", row["metric"]): row["mean"] for row in rows}
    assert means[False, "exact_match"] == means[True, "exact_match"] == 0
    assert means[True, "final_option_match"] == 1


def test_the_robust_number_stands_for_the_run_in_a_leaderboard(workspace: Workspace, serve: Serve) -> None:
    server = serve(answers=lambda prompt: f"That makes {solve(prompt)}.00, in all")
    workspace.deploy("test/a", server.url)
    entry = "arithmetic:num_test=8,model=test/a,answer_reader=robust"
    assert workspace.evalkit("run", "-r", entry, "-q").code == 0
    board = workspace.evalkit("summarize", "--groups", "--json").out
    assert '"final_number_match"' in board
    assert '"exact_match"' not in board
