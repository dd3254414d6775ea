"""A judge in a file of the user's, and judges from plugins in the commands that read stored runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalkit.registry import isolated_registries
from tests.cli.conftest import Call, Called
from tests.judges.scripted import DEPLOYMENTS, Script, ScriptedClient, register, run

N = 4
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(autouse=True)
def script() -> Iterator[Script]:
    ScriptedClient.script = made = Script()
    with isolated_registries():
        register()
        Path("deployments.yaml").write_text(DEPLOYMENTS)
        yield made


@pytest.fixture
def stored(script: Script) -> Path:
    (result,) = run(Path.cwd(), f"sums_of_numbers:num_test={N},model=own/model", output_path=Path("out"))
    assert result.path is not None
    script.asked.clear()
    return result.path


def judge(call: Call, path: Path, *arguments: object) -> Called:
    flags = ("--judge", "own/judge", "--model-deployments", "deployments.yaml", "-q")
    return call("judge", path, *flags, *arguments)


def rating_of(called: Called) -> tuple[float | None, int]:
    (row,) = (row for row in json.loads(called.out)["rows"] if row["metric"] == "rating")
    return row["mean"], row["n_failed"]


def test_a_reader_in_a_file(call: Call, stored: Path, script: Script) -> None:
    script.reply = lambda who, request: "Rating: good. My score is 7.5."
    text = (
        "name: rating\nargs:\n  verdict: {kind: patterns, patterns: ['Rating: (\\w+)'], values: {good: 3}}\n"
    )
    Path("judge.yaml").write_text(text)
    called = judge(call, stored, "--judge-spec", "judge.yaml", "--json")
    assert called.code == 0, called.err
    assert rating_of(called) == (3, 0)


def test_the_example_of_the_page_on_verdicts(call: Call, stored: Path, script: Script) -> None:
    (text,) = re.findall(
        r"```yaml judge\n(# judge\.yaml.*?)```", (DOCS / "verdicts.md").read_text(), re.DOTALL
    )
    Path("judge.yaml").write_text(text)
    script.reply = lambda who, request: "[[4]]" if "number 1" in request.prompt else "[[3.5]]"
    called = judge(call, stored, "--judge-spec", "judge.yaml", "--json")
    assert called.code == 1  # between two steps is unclear
    assert rating_of(called) == (4, N - 1)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "name: rating\nverdict: {kind: rating}\n",
            "no 'verdict'; arguments of the judge stand below `args`",
        ),
        ("name: rating\npoolin: median\n", "did you mean 'pooling'?"),
        ("name: rating\npooling: best\n", "'pooling': "),
        ("args: {}\n", "'name': "),
        ("- rating\n", "needs `name`"),
        ("", "needs `name`"),
        ("name: [", "not valid YAML"),
        ("name: rating\nargs: {step: 1}\n", "no parameter 'step'"),
        ("name: rating\nargs: {verdict: {kind: rating, stepp: 1}}\n", "stepp"),
        ("name: ratin\n", "ratin"),
    ],
)
def test_a_wrong_file(call: Call, stored: Path, script: Script, text: str, problem: str) -> None:
    Path("judge.yaml").write_text(text)
    called = judge(call, stored, "--judge-spec", "judge.yaml")
    assert (called.code, script.asked) == (2, {})
    assert problem in called.err


@pytest.mark.parametrize("spec", ["rating:step=1", "rating:verdict={kind: patterns, which: first}"])
def test_what_an_entry_can_not_say_is_said_in_a_file(call: Call, stored: Path, spec: str) -> None:
    called = judge(call, stored, "--judge-spec", spec)
    assert called.code == 2
    assert "--judge-spec judge.yaml" in called.err


def test_agreement_of_a_jury_of_ones_own_judge(call: Call, stored: Path, script: Script) -> None:
    blocks = re.findall(r"```python[^\n]*\n(.*?)```", (DOCS / "judges.md").read_text(), re.DOTALL)
    (plugin,) = (block for block in blocks if '"polite_and_clear"' in block)
    Path("polite.py").write_text(plugin)
    script.reply = lambda who, request: "Yes."
    with isolated_registries():
        flags = (
            "--judge",
            "own/other",
            "--judge-spec",
            "polite_and_clear",
            "--plugin",
            "polite.py",
            "--json",
        )
        called = judge(call, stored, *flags)
        assert called.code == 0, called.err
    (path,) = {row["path"] for row in json.loads(called.out)["runs"]}
    with isolated_registries():
        called = call("agreement", path, "--score", "polite")
        assert called.code == 2
        assert "unknown judge 'polite_and_clear'" in called.err
        assert "--plugin" in called.err
    called = call("agreement", path, "--score", "polite", "--plugin", "polite.py", "--json")
    assert called.code == 0, called.err
    assert {pair["n"] for pair in json.loads(called.out)["pairs"]} == {N}
    assert {pair["agreement"]["value"] for pair in json.loads(called.out)["pairs"]} == {1.0}
