"""A wrong entry is refused with its context; with `skip_bad_entries` the others run, and all are named."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import evalkit
from evalkit import Observer
from evalkit.errors import EntryError, UsageError
from evalkit.registry import isolated_registries
from evalkit.runs.options import RunOptions
from evalkit.runs.plan import make_plan, open_plan_context
from tests.cli.conftest import Call, call  # noqa: F401 - a fixture

TWICE = "gsm:model=text_code,stop=none,stop=none"
CONF = """entries: [
  {description: "simple_mcqa:model=text", priority: 1, groups: ["first"]}
  {description: "%s", priority: 1}
  {description: "simple_classification:model=text", priority: 1}
  {description: "simple_mcqa:shotts=1,model=text", priority: 1}
]
"""


class Notes(Observer):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "some.conf"
    path.write_text(CONF % TWICE)
    return path


@pytest.fixture(autouse=True)
def isolated() -> Iterator[None]:
    with isolated_registries():
        yield


def test_by_default_nothing_runs_and_every_place_is_named(conf: Path) -> None:
    context = open_plan_context(RunOptions(conf_paths=(conf,), models_to_run=("simple/model1",)))
    with pytest.raises(UsageError, match="2 run entries are wrong") as caught:
        make_plan(context)
    for part in (f"{conf}:3", f"{conf}:5", "'stop' is given twice; leave one out", "no parameter 'shotts'"):
        assert part in str(caught.value)


def test_with_the_flag_the_others_are_planned_and_the_bad_ones_listed(conf: Path) -> None:
    options = RunOptions(conf_paths=(conf,), models_to_run=("simple/model1",), skip_bad_entries=True)
    plan = make_plan(open_plan_context(options))
    assert [run.name.split(":")[0] for run in plan.runs] == ["simple_mcqa", "simple_classification"]
    first, second = plan.bad_entries
    assert (first.entry, first.source, first.message) == (
        TWICE,
        f"{conf}:3",
        "'stop' is given twice; leave one out",
    )
    assert "shotts" in second.message
    assert sum("left out a wrong entry" in note for note in plan.notes) == 2


def test_what_only_the_plan_finds_wrong_is_left_out_too() -> None:
    evalkit.run_spec_function("unfit")(
        lambda: evalkit.RunSpec(
            name="unfit",
            scenario_spec=evalkit.ScenarioSpec(name="simple_mcqa"),
            adapter_spec=evalkit.AdapterSpec(
                method="multiple_choice_separate_original", max_train_instances=0
            ),
            metric_specs=evalkit.metric_specs("exact_match"),
        )
    )
    entries = ("unfit:model=evalkit/echo", "simple_mcqa:model=evalkit/echo", "unfit:model=evalkit/random")
    plan = make_plan(open_plan_context(RunOptions(run_entries=entries, skip_bad_entries=True)))
    assert len(plan.runs) == 1
    assert [bad.entry for bad in plan.bad_entries] == [entries[0], entries[2]]
    with pytest.raises(EntryError, match="no metric of this run fits") as caught:
        make_plan(open_plan_context(RunOptions(run_entries=entries[::2], skip_bad_entries=True)))
    assert "--skip-bad-entries" not in str(caught.value)
    with pytest.raises(EntryError, match=r"no metric of this run fits.*; --skip-bad-entries leaves"):
        make_plan(open_plan_context(RunOptions(run_entries=entries)))


def test_the_flag_is_named_where_it_helps() -> None:
    wrong, other_wrong, right = (f"simple_mcqa:{each}model=evalkit/echo" for each in ("x=1,", "y=2,", ""))
    for entries, helps in (
        ((wrong, right), True),
        ((wrong, other_wrong, right), True),
        ((wrong,), False),
        ((wrong, other_wrong), False),
    ):
        with pytest.raises(UsageError) as caught:
            make_plan(open_plan_context(RunOptions(run_entries=entries)))
        said = "; --skip-bad-entries leaves such an entry out and runs the others"
        assert (said in str(caught.value)) is helps


def test_a_package_that_one_metric_needs_stops_only_its_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *args: None if name == "MeCab" else found(name, *args)
    )
    (tmp_path / "1.2.6/evaluation/test").mkdir(parents=True)
    for name in ("jnli", "alt-e-to-j"):
        jaster = {"instruction": "i", "samples": [{"input": "a", "output": "neutral"}]}
        (tmp_path / f"1.2.6/evaluation/test/{name}.json").write_text(json.dumps(jaster))
    options: dict[str, Any] = {
        "run_entries": ("alt-e-to-j:model=evalkit/echo", "jnli:model=evalkit/echo"),
        "data_dir": tmp_path,
        "output_path": tmp_path / "out",
    }
    with pytest.raises(EntryError, match=r"evalkit\[japanese\]'; --skip-bad-entries leaves"):
        evalkit.run(**options)
    (result,) = evalkit.run(**options, skip_bad_entries=True)
    assert result.status == "complete"


def test_where_nothing_is_left_it_is_an_error() -> None:
    options = RunOptions(run_entries=("gsm:shotts=1,model=evalkit/echo",), skip_bad_entries=True)
    with pytest.raises(EntryError, match="shotts"):
        make_plan(open_plan_context(options))


def test_run_tells_at_the_start_at_the_end_and_in_json(call: Call, conf: Path, tmp_path: Path) -> None:  # noqa: F811
    given: tuple[Any, ...] = ("-c", conf, "--models-to-run", "simple/model1", "-m", 3, "-o", tmp_path / "out")
    assert call("run", *given, "-q").code == 2
    done = call("run", *given, "--skip-bad-entries")
    assert done.code == 1
    assert done.err.count("'stop' is given twice") == 1
    assert done.err.count("stop=none,stop=none") == 2
    plain = json.loads(call("run", *given, "--skip-bad-entries", "--json", "-q").out)
    assert [bad["source"] for bad in plain["bad_entries"]] == [f"{conf}:3", f"{conf}:5"]
    assert {run["status"] for run in plain["runs"]} == {"complete"}
    planned = call("plan", *given, "--skip-bad-entries", "--json")
    assert planned.code == 1
    lines = [json.loads(line) for line in planned.out.splitlines()]
    assert next(line["bad_entry"]["entry"] for line in lines if "bad_entry" in line) == TWICE
    good = call(
        "run", "-r", "simple_mcqa:model=simple/model1", "--skip-bad-entries", "-m", 3, "-q", *given[6:]
    )
    assert good.code == 0


def test_python_tells_by_its_observer(conf: Path, tmp_path: Path) -> None:
    notes = Notes()
    results = evalkit.run(
        conf_paths=conf,
        models_to_run="simple/model1",
        skip_bad_entries=True,
        max_eval_instances=2,
        output_path=tmp_path,
        observer=notes,
    )
    assert [result.status for result in results] == ["complete", "complete"]
    assert sum("left out a wrong entry" in note for note in notes.notes) == 2


def groups_kept(tmp_path: Path, *groups: tuple[str, ...]) -> list[tuple[str, ...]]:
    listed = "\n".join(
        f'{{description: "simple_mcqa:model=evalkit/echo", groups: {json.dumps(g)}}}' for g in groups
    )
    (tmp_path / "groups.conf").write_text(f"entries: [\n{listed}\n]\n")
    results = evalkit.run(conf_paths=tmp_path / "groups.conf", output_path=tmp_path / "out")
    return [evalkit.load_run(result.path).directory.run_spec().groups for result in results if result.path]


def test_entries_that_are_one_run_keep_the_groups_of_all(tmp_path: Path) -> None:
    assert groups_kept(tmp_path, ("b", "c"), ("a", "c"), ()) == [("simple_mcqa", "b", "c", "a")]


def test_a_run_that_is_complete_joins_the_groups_of_a_later_start(tmp_path: Path) -> None:
    assert groups_kept(tmp_path, ("b",)) == [("simple_mcqa", "b")]
    assert groups_kept(tmp_path, ("b",), ("a",)) == [("simple_mcqa", "b", "a")]
