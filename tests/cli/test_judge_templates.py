"""Mistakes in what a judge reads are found before any model is asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import evalkit
from evalkit.data import DataFile, DataStore
from evalkit.errors import DataError, EntryError, UsageError
from evalkit.registry import isolated_registries
from evalkit.runs.options import RunOptions
from evalkit.runs.plan import make_plan, open_plan_context
from evalkit.runs.stored_answers import plan_judging
from evalkit.specs.run_spec import JudgeSpec
from tests.cli.conftest import Call
from tests.judges.scripted import DEPLOYMENTS, Rating, Script, ScriptedClient, register, run

ENTRY = "sums_of_numbers:num_test=3,model=own/model,judge=own/judge,judge_template={}"


@pytest.fixture(autouse=True)
def script() -> Iterator[Script]:
    ScriptedClient.script = made = Script()
    with isolated_registries():
        register()
        Path("deployments.yaml").write_text(DEPLOYMENTS)
        yield made


WRONG = {
    "typo.txt": ("Rate {anwser}", "did you mean {answer}?"),
    "lacking.txt": ("Rate this", "lacks {answer}"),
    "empty.txt": ("", "is empty"),
    "odd.yaml": ("user: [1]", "needs `user`"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_wrong_template_is_found_before_anything_is_sent(
    call: Call,
    script: Script,
    command: str,
    name: str,
) -> None:
    text, problem = WRONG[name]
    Path(name).write_text(text)
    called = call(command, "-r", ENTRY.format(name), "--model-deployments", "deployments.yaml")
    assert called.code == 2
    assert problem in called.err
    assert name in called.err
    assert script.asked == {}
    assert not Path("benchmark_output/runs").exists()


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_template_that_is_not_there(call: Call, script: Script, command: str) -> None:
    called = call(command, "-r", ENTRY.format("local/t3.txt"), "--model-deployments", "deployments.yaml")
    assert called.code == 2
    assert f"reads {Path('local/t3.txt').absolute()}, which does not exist" in called.err
    assert script.asked == {}


def test_one_wrong_entry_may_be_left_out(call: Call, script: Script) -> None:
    Path("typo.txt").write_text("Rate {anwser}")
    Path("right.txt").write_text("Rate {answer}")
    script.reply = lambda who, request: "[[5]]"
    entries = (ENTRY.format("typo.txt"), ENTRY.format("right.txt"))
    flags = ("--model-deployments", "deployments.yaml", "--skip-bad-entries", "-q")
    called = call("run", "-r", *entries, *flags)
    assert called.code == 1
    assert "did you mean {answer}?" in called.err
    assert (script.num_asked("model"), script.num_asked("judge")) == (3, 3)


def test_stored_runs_and_pairs(call: Call, script: Script) -> None:
    Path("typo.txt").write_text("Rate {anwser}")
    results = run(
        Path.cwd(), *(f"sums_of_numbers:num_test={n},model=own/model" for n in (3, 4)), output_path="out"
    )
    one, two = (result.path for result in results)
    script.asked.clear()
    flags = ("--judge", "own/judge", "--model-deployments", "deployments.yaml")
    alone = call("judge", one, *flags, "--judge-spec", "rating:template=typo.txt")
    paired = call("judge", one, "--against", two, *flags, "--template", "typo.txt")
    assert (alone.code, paired.code) == (2, 2)
    assert "did you mean {answer}?" in alone.err
    assert "unknown placeholder {anwser}" in paired.err
    assert script.asked == {}


def test_damaged_files_and_bugs_in_reading_them(script: Script) -> None:
    Path("facts.txt").write_text("facts")

    class Reads(Rating):
        error: Exception = DataError("facts.txt lacks question n0")

        def files(self) -> tuple[DataFile, ...]:
            return (DataFile.local("facts.txt"),)

        def load(self, data: DataStore) -> None:
            raise self.error

    evalkit.judge("reads")(Reads)
    (result,) = run(Path.cwd(), "sums_of_numbers:num_test=3,model=own/model", output_path=Path("out"))
    assert result.path is not None
    script.asked.clear()
    context = open_plan_context(RunOptions(model_deployments=(Path("deployments.yaml"),)))
    plan = plan_judging([result.path], [JudgeSpec(name="reads")], ["own/judge"], context)
    assert plan.runs[0].problem == "the judge 'reads': facts.txt lacks question n0"
    Reads.error = KeyError("n0")
    with pytest.raises(UsageError, match=r"can't read its files: KeyError: 'n0' \(.*test_judge_templates.py"):
        plan_judging([result.path], [JudgeSpec(name="reads")], ["own/judge"], context)
    assert script.asked == {}


def test_an_entry_is_named() -> None:
    Path("typo.txt").write_text("Rate {anwser}")
    entry = ENTRY.format("typo.txt")
    options = RunOptions(run_entries=(entry,), model_deployments=(Path("deployments.yaml"),))
    with pytest.raises(EntryError) as caught:
        make_plan(open_plan_context(options))
    assert entry in str(caught.value)
