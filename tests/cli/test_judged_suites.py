"""A suite in which runs were judged holds their answers twice: they are judged once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evalkit.plugins import load_builtins
from evalkit.registry import isolated_registries
from evalkit.results.run_directory import RunDirectory, find_runs
from evalkit.runs.same_answers import without_copies
from tests.cli.conftest import Call
from tests.judges.scripted import Script, ScriptedClient, register, run


@pytest.fixture(autouse=True)
def script() -> Iterator[Script]:
    load_builtins()
    ScriptedClient.script = made = Script()
    made.reply = lambda who, request: "[[5]]" if "Rating:" in request.prompt else "[[A]]"
    with isolated_registries():
        register()
        yield made


def suite_of(tmp_path: Path) -> Path:
    """A suite of two runs of one benchmark, of which neither is judged."""
    for deployment in ("own/model", "own/other"):
        run(tmp_path, f"sums_of_numbers:num_test=5,model={deployment}")
    return tmp_path / "out/runs/default"


def names(suite: Path) -> set[str]:
    return {each.path.name for each in find_runs(suite)}


Judge = Callable[..., str]


@pytest.fixture
def judged(call: Call, tmp_path: Path) -> Judge:
    """Runs `evalkit judge`; gives what it printed to stderr."""

    def judge(*words: object) -> str:
        result = call("judge", *words, "--model-deployments", tmp_path / "deployments.yaml", "-q")
        assert result.code == 0, result.err
        return result.err

    return judge


@pytest.mark.parametrize("by_name", [False, True], ids=["suite", "each run"])
def test_a_suite_is_judged_by_one_after_the_other(
    by_name: bool, script: Script, judged: Judge, tmp_path: Path
) -> None:
    suite = suite_of(tmp_path)
    original = names(suite)
    for number, who in enumerate(("own/judge", "own/other", "own/judge")):
        before = len(script.requests)
        paths = sorted(suite.iterdir()) if by_name else [suite]
        said = judged(*paths, "--judge", who)
        assert ("left out that took all answers from another run here" in said) == (number > 0)
        assert len(script.requests) - before == (10, 10, 0)[number]
    assert len(names(suite) - original) == 4


def test_pairs_are_compared_once_however_often_the_suite_is_given(
    script: Script, judged: Judge, tmp_path: Path
) -> None:
    suite = suite_of(tmp_path)
    before = len(script.requests)
    for _ in range(2):
        judged(suite, "--all-pairs", "--judge", "own/judge")
        assert len(script.requests) - before == 10
        assert len(names(suite)) == 3
    # With a baseline that was judged itself.
    (baseline,) = (path for path in suite.iterdir() if path.name.endswith("own_other"))
    judged(baseline, "--judge", "own/judge")
    before, known = len(script.requests), names(suite)
    judged(suite, "--against", baseline, "--judge", "own/judge")
    assert (len(script.requests) - before, len(names(suite) - known)) == (0, 0)


def test_what_is_no_copy_stays(script: Script, judged: Judge, tmp_path: Path) -> None:
    suite = suite_of(tmp_path)
    first, second = sorted(suite.iterdir())
    assert without_copies([first, second, first]).paths == [first, second]
    judged(first, "--judge", "own/judge")
    (copy,) = (path for path in suite.iterdir() if path not in (first, second))
    assert without_copies([copy]) == ([copy], ())
    assert without_copies([copy, first, second]).paths == [first, second]
    assert without_copies([second, copy], baseline=first).paths == [second]
    # A copy of which nothing was copied yet is one; a run that can't be read is nobody's.
    RunDirectory(copy).journal_path.unlink()
    assert without_copies([copy, first]).paths == [first]
    (copy / "manifest.json").write_text("{")
    assert without_copies([copy, first]).paths == [copy, first]
    shutil.rmtree(first)
    assert without_copies([second]).paths == [second]
