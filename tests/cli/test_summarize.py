"""`evalkit summarize --groups` and its formats, called as a user would."""

from __future__ import annotations

import csv
import io
import json

import pytest

from tests.cli.conftest import Call

RUN = ("run", "-r", "simple_mcqa", "arithmetic", "--models-to-run", "evalkit/majority", "evalkit/echo")


@pytest.fixture
def suite(call: Call) -> None:
    assert call(*RUN, "-m", 20, "-q", "-o", "out", "--suite", "s").code == 0


@pytest.mark.usefixtures("suite")
def test_groups_by_model_as_a_table(call: Call) -> None:
    called = call("summarize", "-o", "out", "--groups")
    assert called.code == 0
    for text in ("mean win rate", "mean score", "evalkit/majority", "≈ its difference to the best"):
        assert text in called.out


@pytest.mark.usefixtures("suite")
def test_groups_as_json_and_csv_say_the_same(call: Call) -> None:
    rows = json.loads(call("summarize", "-o", "out", "--groups", "-f", "json").out)["rows"]
    lines = list(csv.DictReader(io.StringIO(call("summarize", "-o", "out", "--groups", "-f", "csv").out)))
    assert [float(line["value"]) for line in lines] == [row["value"] for row in rows]
    assert {row["column"] for row in rows} == {"mean win rate", "mean score", "arithmetic", "simple_mcqa"}


@pytest.mark.usefixtures("suite")
def test_one_group_by_another_metric(call: Call) -> None:
    called = call(
        "summarize", "-o", "out", "--group", "simple_mcqa", "--metric", "quasi_exact_match", "--json"
    )
    rows = json.loads(called.out)["rows"]
    assert {row["metric"] for row in rows} == {"", "quasi_exact_match"}


@pytest.mark.usefixtures("suite")
@pytest.mark.parametrize(("name", "start"), [("markdown", "| run |"), ("latex", r"\begin{tabular}{llrrrrr}")])
def test_runs_as_markdown_and_latex(call: Call, name: str, start: str) -> None:
    called = call("summarize", "-o", "out", "--format", name)
    assert called.code == 0
    assert called.out.startswith(start)


@pytest.mark.usefixtures("suite")
def test_mistakes_are_one_line(call: Call) -> None:
    called = call("summarize", "-o", "out", "-f", "latx")
    assert (called.code, called.out) == (2, "")
    assert "did you mean 'latex'?" in called.err
    called = call("summarize", "-o", "out", "--metric", "f1_score")
    assert called.code == 2
    assert "--groups" in called.err
    called = call("summarize", "-o", "out", "--group", "gsm")
    assert called.err == "error: no numbers to show; the runs are in these groups: arithmetic, simple_mcqa\n"
