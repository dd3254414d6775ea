"""`evalkit judge --against` and `--all-pairs`: stored runs, compared in both orders."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalkit.registry import isolated_registries
from tests.cli.conftest import Call, Called
from tests.judges.scripted import DEPLOYMENTS, Script, ScriptedClient, number_in, register, run
from tests.judges.test_stored_pairs import prefers_longer

N = 10
SUITE = Path("out/runs/s")


@pytest.fixture(autouse=True)
def script() -> Iterator[Script]:
    ScriptedClient.script = made = Script()
    with isolated_registries():
        register()
        yield made


def stored(script: Script, model: str, num_long: int, more: str = "") -> Path:
    """A run whose first answers are long."""
    script.answer = lambda request: f"Run {num_long} " + "x" * 40 * (number_in(request.prompt) < num_long)
    entry = f"judged:num_test={N},model=own/{model},judge=own/judge{more}"
    (result,) = run(Path.cwd(), entry, output_path=Path("out"), suite="s")
    assert result.path is not None
    script.asked.clear()
    script.reply = prefers_longer
    return result.path


def judged(call: Call, *arguments: object) -> Called:
    return call("judge", *arguments, "--judge", "own/judge", "--model-deployments", "deployments.yaml", "-q")


def test_one_run_against_another(call: Call, script: Script) -> None:
    one, two = stored(script, "model", 4), stored(script, "resident_model", 2)
    called = judged(call, one, "--against", two)
    assert called.code == 0, called.err
    assert (script.num_asked("model"), script.num_asked("judge")) == (0, 2 * N)
    plain = json.loads(call("rank", SUITE, "--ridge", 0.1, "--json").out)
    (pair,) = plain["pairs"]
    assert (pair["won"], pair["tied"], pair["lost"]) == (2, 8, 0)
    assert pair["order_consistency"]["value"] == pytest.approx(0.2)
    # The same again asks nothing; both stored runs are as they were.
    assert judged(call, one, "--against", two).code == 0
    assert script.num_asked("judge") == 2 * N
    assert call("verify", SUITE).code == 0
    assert not (one / "judgements").joinpath("pairwise.jsonl").exists()


def test_all_pairs_are_compared_once(call: Call, script: Script) -> None:
    runs = [
        stored(script, "model", 6),
        stored(script, "resident_model", 3),
        stored(script, "model", 1, ",temperature=0.5"),
    ]
    assert judged(call, *runs, "--all-pairs").code == 0
    assert script.num_asked("judge") == 3 * 2 * N
    assert judged(call, *reversed(runs), "--all-pairs").code == 0
    assert script.num_asked("judge") == 3 * 2 * N
    plain = json.loads(call("rank", SUITE, "--ridge", 0.1, "--json").out)
    won = {(each["won"], each["lost"]) for each in plain["pairs"]}
    assert won <= {(3, 0), (0, 3), (5, 0), (0, 5), (2, 0), (0, 2)}
    assert len(plain["pairs"]) == 3
    # The requests distinguish two runs of one deployment and one name.
    first, second, third = (each["model"] for each in plain["strengths"])
    assert second == "own/resident_model"
    assert (
        first.partition("@")[0]
        == third.partition("@")[0]
        == "judged:num_test=10,model=own_model,judge=own_judge"
    )
    assert first != third


def test_a_jury_decides_by_majority(call: Call, script: Script) -> None:
    one, two = stored(script, "model", 4), stored(script, "resident_model", 2)
    script.reply = lambda who, request: "[[A]]" if who == "judge" else "[[B]]"
    flags = ("--judge", "own/other", "--pooling", "majority")
    called = judged(call, one, "--against", two, *flags)
    assert called.code == 1
    assert (script.num_asked("judge"), script.num_asked("other")) == (2 * N, 2 * N)
    # Both orders undo each other for either judge, so that both say ½; on the place they differ.
    (pair,) = json.loads(call("rank", SUITE, "--ridge", 0.1, "--json").out)["pairs"]
    assert (pair["won"], pair["tied"], pair["lost"]) == (0, N, 0)
    assert pair["order_consistency"]["value"] == 0
    assert pair["first_place"]["value"] is None


def test_imported_runs_are_compared_too(call: Call, script: Script) -> None:
    entries = ("simple_mcqa:model=evalkit/echo", "simple_mcqa:model=evalkit/majority")
    assert call("run", "-r", *entries, "-m", 5, "-q", "-o", "here", "--suite", "h").code == 0
    assert call("export", "helm", "here", "-o", "helm").code == 0
    assert call("import", "helm", "helm", "-o", "out", "--suite", "s").code == 0
    script.reply = prefers_longer
    Path("deployments.yaml").write_text(DEPLOYMENTS)
    one, two = sorted(SUITE.iterdir())
    assert judged(call, one, "--against", two).code == 0
    assert script.num_asked("judge") == 10
    (pair,) = json.loads(call("rank", SUITE, "--ridge", 0.1, "--json").out)["pairs"]
    assert (pair["model"], pair["against"]) == ("evalkit/echo", "evalkit/majority")
    # An echo repeats the whole prompt, a letter is shorter.
    assert (pair["won"], pair["order_consistency"]["value"]) == (5, 1)


def test_a_template_of_ones_own(call: Call, script: Script) -> None:
    one, two = stored(script, "model", 4), stored(script, "resident_model", 2)
    Path("pair.txt").write_text("{question} | {answer_a} | {answer_b}", encoding="utf-8")
    script.reply = lambda who, request: "[[A]]"
    assert judged(call, one, "--against", two, "--template", "pair.txt").code == 0
    assert all(prompt.count(" | ") == 2 for prompt in script.asked["judge"])
    Path("pair.txt").write_text("{question} | {answer_a}", encoding="utf-8")
    called = judged(call, one, "--against", two, "--template", "pair.txt")
    assert called.code != 0
    assert "lacks {answer_b}" in called.err + called.out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--against", "itself"), "give another run"),
        (("--all-pairs",), "two runs or more"),
        (("--all-pairs", "--against", "out/runs/s/other"), "exclude each other"),
        (("--template", "x.txt"), "--template is for --against"),
        (("--against", "out/runs/s/other", "--judge-spec", "rating"), "names another judge"),
    ],
)
def test_mistakes(call: Call, script: Script, flags: tuple[str, ...], message: str) -> None:
    one = stored(script, "model", 4)
    called = judged(call, one, *(one if flag == "itself" else flag for flag in flags))
    assert called.code == 2
    assert message in called.err
    assert script.num_asked("judge") == 0


def test_nobody_judges(call: Call, script: Script) -> None:
    one, two = stored(script, "model", 4), stored(script, "resident_model", 2)
    called = call("judge", one, "--against", two)
    assert called.code == 2
    assert "--judge" in called.err


def test_the_table_says_against_whom_and_no_jargon(call: Call, script: Script) -> None:
    runs = [
        stored(script, "model", 6),
        stored(script, "resident_model", 3),
        stored(script, "model", 1, ",temperature=0.5"),
    ]
    called = judged(call, *runs, "--all-pairs")
    assert called.code == 0
    said = [line.split(" compares with ") for line in called.out.splitlines() if " compares with " in line]
    assert len(said) == 3
    assert {other for _, other in said} <= {path.name for path in runs}
    for name, other in said:
        spec = json.loads((SUITE / name / "run_spec.json").read_text())
        assert Path(spec["judge_specs"][0]["args"]["against"]).name == other
    notes = [line for line in called.err.splitlines() if "judging differs" in line]
    assert notes
    assert all("stays as it is" in note and "judges.0" not in note for note in notes)
    assert "kept apart" not in called.err
