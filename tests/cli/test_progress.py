"""What is shown while runs go on."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from evalkit.cli import progress
from evalkit.cli.progress import LiveProgress, PlainProgress
from evalkit.response import Completion, Response, Usage
from evalkit.results.run_result import RunResult

ANSWER = Response((Completion("yes"),), Usage(3, 1))


def test_the_live_table_has_the_score_so_far() -> None:
    shown = LiveProgress()
    shown.planned(["a", "b"])
    shown.opened("a", 10, 0)
    shown.opened("b", 10, 0)
    shown.finished_request("a", ANSWER, None)
    shown.scored("a", 1, {"f1_score": 0.25, "exact_match": 0.0})
    shown.scored("b", 0, {})
    out = io.StringIO()
    Console(file=out, width=120).print(shown.table())
    heading, line_a, line_b = [
        line for line in out.getvalue().splitlines() if "/10" in line or "done" in line
    ]
    assert "score so far" in heading
    assert line_a.split()[-2:] == ["f1_score", "0.250"]
    assert "0.250" not in line_b


def test_plain_lines_have_it_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_EVERY_S", 0.0)
    shown = PlainProgress()
    shown.opened("a", 2, 0)
    shown.finished_request("a", ANSWER, None)
    shown.scored("a", 1, {"exact_match": 1.0})
    shown.finished_run(RunResult("a", "complete"))
    first, second, last = capsys.readouterr().err.splitlines()
    assert "exact_match" not in first
    assert second.endswith("4 tokens, exact_match 1.000 so far")
    # What it ends with is the table's to say.
    assert "exact_match" not in last


def test_a_line_without_a_score_is_soon_followed_by_one_that_has_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = PlainProgress()
    shown.opened("a", 9, 0)
    shown.scored("a", 1, {"exact_match": 1.0})
    assert capsys.readouterr().err == ""
    shown.opened("b", 9, 0)
    monkeypatch.setattr(progress, "PLAIN_EVERY_S", 0.0)
    shown.finished_request("b", ANSWER, None)
    monkeypatch.setattr(progress, "PLAIN_EVERY_S", 3600.0)
    shown.finished_request("b", ANSWER, None)
    shown.scored("b", 0, {})
    shown.scored("b", 2, {"exact_match": 0.5})
    shown.scored("b", 3, {"exact_match": 0.6})
    unscored, scored = capsys.readouterr().err.splitlines()
    assert unscored.startswith("b: 1/9 done")
    assert "so far" not in unscored
    assert scored.startswith("b: 2/9 done")
    assert scored.endswith("exact_match 0.500 so far")
