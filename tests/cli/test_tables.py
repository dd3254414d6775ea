"""Tables in any width: names are there, numbers are whole, and what has no room is said."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import random
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from evalkit.cli.table import print_rows, show_results
from evalkit.cli.text_table import (
    MIN_LABEL,
    TableColumn,
    TextTable,
    cell_width,
    shorten,
    shorten_apart,
)
from evalkit.reports.run_groups import run_group
from evalkit.results.run_result import RunResult
from tests.cli.conftest import Call
from tests.reports.suites import store_run

MODELS = (
    "lab/mock-70b",
    "a-very-long-organisation-name/with-a-very-long-model-name-instruct-v1",
    "a-very-long-organisation-name/with-a-very-long-model-name-instruct-v2",
    "日本語/とても長い名前のモデルです東京大阪名古屋",
)
GROUPS = (
    "gsm",
    "mmlu",
    "simple_mcqa",
    "natural_qa_openbook_longans",
    "summarization_cnndm",
    "math_chain_of_thought",
    "babi_qa",
    "civil_comments",
    "trivia",
    "arithmetic",
    "functions",
    "a_group_of_ones_own_with_a_long_name",
)
EVALKIT = (sys.executable, "-c", "from evalkit.cli import main; main()")
WIDTHS = (80, 100, 120, 200)
Suites = Callable[[int], Path]
NUMBER = re.compile(r"\d\.\d{3}")


@pytest.fixture(scope="module")
def suites(tmp_path_factory: pytest.TempPathFactory) -> Suites:
    """Output folders by the number of groups of their suite, each made once: tests only read them."""

    @cache
    def made(num_groups: int) -> Path:
        output = tmp_path_factory.mktemp("out")
        make_suite(output, num_groups)
        return output

    return made


def make_suite(output: Path, num_groups: int) -> None:
    draw = random.Random(num_groups)
    for group in GROUPS[:num_groups]:
        described = run_group(group)
        metric, split = (*described.metrics, "exact_match")[0], described.split or "test"
        for model in MODELS:
            scores = [draw.random() < 0.5 for _ in range(30)]
            store_run(output / "runs" / "s", group, model, scores, metric, split=split)


def shown_as(label: str, text: str) -> bool:
    """Whether a label is there, whole or with its middle left out, in the least width a label has."""
    if label in text:
        return True
    for found in re.finditer(r"(\S+)…(\S+)", text):
        start, end = found.groups()
        if label.startswith(start) and label.endswith(end):
            return cell_width(start + end) + 1 >= MIN_LABEL - 1
    return False


@pytest.mark.parametrize("num_groups", [1, 3, 6, 12])
@pytest.mark.parametrize("width", [40, *WIDTHS])
def test_a_leaderboard_keeps_names_and_numbers(
    call: Call, suites: Suites, monkeypatch: pytest.MonkeyPatch, num_groups: int, width: int
) -> None:
    output = suites(num_groups)
    monkeypatch.setenv("COLUMNS", str(width))
    shown = call("summarize", "-o", output, "--groups")
    assert shown.code == 0
    table = shown.out.split("\n* best")[0]
    least = MIN_LABEL + 2 + MIN_LABEL  # A label beside the name of a model, if groups are rows.
    assert max(map(cell_width, table.splitlines())) <= max(width, least)
    rows = json.loads(call("summarize", "-o", output, "--groups", "--json").out)["rows"]
    for label in {row["model"] for row in rows} | {row["column"] for row in rows[2:]}:
        assert shown_as(label, table.replace("\n", " ")) or " " in label, (label, table)
    # Each number is there as often as it should be, and no piece of one.
    wanted = sorted(f"{row['value']:.3f}" for row in rows)
    with_intervals = "[" in table
    if with_intervals:
        wanted = sorted([*wanted, *(f"{row[end]:.3f}" for row in rows for end in ("ci95_low", "ci95_high"))])
    assert sorted(NUMBER.findall(table)) == wanted
    assert with_intervals != ("95% intervals are left out" in shown.err)
    assert ("best of its row" in shown.out) == ("groups are rows" in shown.err)


def test_a_pipe_gets_everything(call: Call, suites: Suites, monkeypatch: pytest.MonkeyPatch) -> None:
    output = suites(12)
    monkeypatch.delenv("COLUMNS")
    shown = call("summarize", "-o", output, "--groups")
    assert "…" not in shown.out
    assert all(f"\n{model} " in shown.out for model in MODELS)
    assert "to fit into" not in shown.err


@pytest.mark.parametrize("width", WIDTHS)
def test_the_run_table_keeps_names_and_numbers(
    call: Call, suites: Suites, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    output = suites(3)
    monkeypatch.setenv("COLUMNS", str(width))
    shown = call("summarize", "-o", output)
    lines = shown.out.splitlines()
    assert max(map(cell_width, lines)) <= width
    rows = json.loads(call("summarize", "-o", output, "--json").out)
    body = lines[-len(rows) :]
    for line, row in zip(body, rows, strict=True):
        assert shown_as(row["run"], line)
        assert f" {row['mean']:.3f} " in line
    assert len(set(body)) == len(body)
    assert ("95 % interval" in shown.out) != ("no room" in shown.err)
    if width == 200:
        assert shown.err == ""


def test_failures_are_never_dropped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    row = {
        "run": "gsm:" + "x" * 60,
        "metric": "final_number_exact_match",
        "split": "all",
        **dict.fromkeys(("mean", "stderr", "ci95_low", "ci95_high"), 0.5),
        "n": 40,
        "n_total": 100,
        "n_failed": 60,
    }
    print_rows([row])
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1].split()[-1] == "60"
    assert captured.err == (
        "note: no room in 70 columns for: ± stderr, 95 % interval, n; "
        "use a wider terminal, a pipe or --json to see all\n"
    )


def test_efficiency_keeps_its_columns_in_parts(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("run", "-r", "arithmetic:model=evalkit/tiny", "-m", 3, "-q", "-o", "out").code == 0
    monkeypatch.delenv("COLUMNS")
    wide = call("summarize", "-o", "out", "--efficiency").out
    monkeypatch.setenv("COLUMNS", "80")
    narrow = call("summarize", "-o", "out", "--efficiency").out
    assert max(map(len, narrow.splitlines())) <= 80
    numbers = re.compile(r"[\d.,]+(?: s| MiB|%)?")
    heading, _, row = wide.splitlines()
    name = row.split()[0]
    rows = [line for line in narrow.splitlines() if line.startswith(name[:8])]
    assert len(rows) > 1
    assert [n for line in rows for n in numbers.findall(line.partition("  ")[2])] == numbers.findall(
        row.partition("  ")[2]
    )
    assert set(heading.split()) <= set(narrow.split())


@pytest.mark.parametrize("width", [80, 120])
def test_on_a_terminal_of_that_width(suites: Suites, width: int) -> None:
    out = on_a_terminal([*EVALKIT, "summarize", "-o", str(suites(3)), "--groups"], width)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", out).splitlines()
    assert any(line.startswith("lab/mock-70b ") for line in lines)
    assert max(map(cell_width, lines)) <= width


def on_a_terminal(command: list[str], width: int) -> str:
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    with subprocess.Popen(command, stdout=child, stderr=child, stdin=child, env=environment) as process:
        os.close(child)
        read = bytearray()
        while True:
            try:
                piece = os.read(parent, 65536)
            except OSError:
                break
            if not piece:
                break
            read += piece
        assert process.wait() == 0
    os.close(parent)
    return read.decode().replace("\r\n", "\n")


def test_labels_are_shortened_in_the_middle() -> None:
    assert shorten("organisation/model-instruct", 15) == "organis…nstruct"
    assert shorten("short", 15) == "short"
    assert cell_width(shorten("日本語モデル東京大阪", 11)) <= 11


def test_labels_that_differ_stay_different() -> None:
    names = [
        f"arithmetic:operation=add,digits={n},model=a-long-name/of-a-model-of-one's-own" for n in range(9)
    ]
    for width in (24, 30, 50):
        short = shorten_apart(names, width)
        assert len(set(short)) == 9
        assert max(map(cell_width, short)) <= width


def test_columns_go_in_the_order_given() -> None:
    columns = (TableColumn("run", is_label=True), TableColumn("a", dropped=2), TableColumn("b", dropped=1))
    table = TextTable(columns, (("x" * 40, "1.000", "2.000"),), width=32)
    kept, gone = table.fitted()
    assert gone == ("b",)
    [part] = kept.parts()
    assert part.rows[0].endswith(" 1.000")


def test_runs_with_the_same_trouble_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    def line(number: int) -> str:
        results = [RunResult(name=f"a{i}", status="stopped", message="wrong key") for i in range(number)]
        show_results(results, Path("suite"), as_json=False)
        return capsys.readouterr().err.strip()

    assert line(1) == "stopped: a0: wrong key"
    assert line(2) == "stopped: a0 and 1 more run: wrong key"
    assert line(3) == "stopped: a0 and 2 more runs: wrong key"


def test_a_plus_minus_stays_with_its_word() -> None:
    columns = (TableColumn("run", is_label=True), TableColumn("± stderr"), TableColumn("95 % interval"))
    for width in range(46, 64):
        table = TextTable(columns, (("x" * 40, "0.001", "0.1 – 0.2"),), width=width)
        (part,) = table.parts()
        assert "± stderr" in part.heading[-1]
