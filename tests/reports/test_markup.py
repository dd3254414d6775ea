"""Leaderboards as text."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from evalkit.reports.leaderboard import Leaderboard, make_leaderboard
from evalkit.reports.markup import (
    comma_separated,
    leaderboard_latex,
    leaderboard_markdown,
    leaderboard_records,
    text_rows,
    without_markup,
)
from tests.reports.suites import store_run


@pytest.fixture
def board(tmp_path: Path) -> Leaderboard:
    runs = [
        store_run(tmp_path, "mmlu", "org/best_one", [1] * 9 + [0]),
        store_run(tmp_path, "mmlu", "b|d", [1] * 8 + [0] * 2),
        store_run(tmp_path, "openbookqa", "org/best_one", [1] * 10),
    ]
    return make_leaderboard(runs)


def test_cells_say_number_interval_and_mark(board: Leaderboard) -> None:
    rows = {row[0]: row[1:] for row in text_rows(board)}
    assert rows["org/best_one"][2] == "0.900 [0.596, 0.982] *"
    assert rows["b|d"][2] == "0.800 [0.490, 0.943] ≈"
    assert rows["b|d"][3] == "–"


def test_markdown_has_bold_best_numbers_and_harmless_names(board: Leaderboard) -> None:
    text = leaderboard_markdown(board)
    assert "| **0.900** [0.596, 0.982] |" in text
    assert "| b\\|d |" in text
    assert "org/best\\_one" in text
    assert "≈ its difference to the best may be chance" in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1


def test_latex_escapes_and_needs_no_package(board: Leaderboard) -> None:
    text = leaderboard_latex(board)
    assert r"\textbf{0.900 [0.596, 0.982]}" in text
    assert r"org/best\_one" in text
    assert r"$\approx$" in text
    assert text.startswith(r"\begin{tabular}{lrrrr}")
    assert "\\toprule" not in text
    after = text.partition(r"\end{tabular}")[2]
    assert "bold: best of its column" in after
    assert all(note.replace("_", r"\_") in after for note in board.notes)
    assert board.notes


def test_records_are_one_per_number(board: Leaderboard) -> None:
    records = leaderboard_records(board)
    rows = list(csv.DictReader(io.StringIO(comma_separated(records))))
    assert len(rows) == len(records) == 7
    found = next(r for r in rows if r["model"] == "b|d" and r["column"] == "mmlu")
    assert (found["value"], found["within_noise"], found["n"], found["metric"]) == (
        "0.8",
        "True",
        "10",
        "exact_match",
    )
    assert comma_separated([], ("run", "metric")) == "run,metric\n"


def test_no_text_of_a_csv_is_a_formula_and_numbers_stay_numbers() -> None:
    names = ("=1+1", "+x", "-x", "@x", "  =1", "\t=1", "\n-1", "＝1", "－1", "a=b", "", "1-2")
    records = [{"name": name, "value": -0.5, "-low": None, "n": -3} for name in names]
    rows = list(csv.reader(io.StringIO(comma_separated(records))))
    assert rows[0] == ["name", "value", "'-low", "n"]
    assert all(row[1:] == ["-0.5", "", "-3"] for row in rows[1:])
    shown = [row[0] for row in rows[1:]]
    assert shown == ["'=1+1", "'+x", "'-x", "'@x", "'  =1", "' =1", "' -1", "'＝1", "'－1", "a=b", "", "1-2"]


def test_a_name_is_no_link_in_markdown() -> None:
    assert without_markup("[safe](https://elsewhere) [x]") == "[safe]\\(https://elsewhere) [x]"
