"""One run has one name: in every event, in remarks, in its result, and on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import evalkit
from evalkit import Observer, RunResult
from evalkit.cli.progress import LiveProgress
from evalkit.registry import isolated_registries
from evalkit.response import Outcome
from evalkit.runs.events import AnyObserver

PLUGIN = '''
from evalkit import Instance, Reference, RunSpec, Scenario, ScenarioSpec, generation, metric_specs
from evalkit import run_spec_function, scenario


@scenario("sums")
class Sums(Scenario):
    """Sums."""

    def __init__(self, fail: str = "", size: int = 3) -> None:
        self.fail, self.size = fail, size

    def instances(self, data):
        if self.fail == "loading":
            raise ValueError("no questions")
        for number in range(self.size):
            yield Instance(f"{number} + 1", (Reference(str(number + 1), ("correct",)),), "test")


@run_spec_function("sums")
def sums(fail: str = "", size: int = 3, name: str = "the same/name", metric: str = "exact_match") -> RunSpec:
    """Sums, always of one name."""
    return RunSpec(
        name=name,
        scenario_spec=ScenarioSpec(name="sums", args={"fail": fail, "size": size}),
        adapter_spec=generation("", "Q", "A"),
        metric_specs=metric_specs(metric),
        groups=("sums",),
    )
'''


class Names(Observer):
    """The names of each event."""

    def __init__(self) -> None:
        self.events: dict[str, list[str]] = {}
        self.notes: list[str] = []

    def planned(self, names: list[str]) -> None:
        self.events["planned"] = names

    def note(self, message: str) -> None:
        self.notes.append(message)

    def opened(self, name: str, num_requests: int, num_answered: int) -> None:
        self.events.setdefault("opened", []).append(name)

    def finished_request(self, name: str, outcome: Outcome, cost_usd: float | None) -> None:
        self.events.setdefault("request", []).append(name)

    def scored(self, name: str, num_scored: int, scores: Mapping[str, float]) -> None:
        self.events.setdefault("scored", []).append(name)

    def finished_run(self, result: RunResult) -> None:
        self.events.setdefault("finished", []).append(result.name)


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    Path("sums.py").write_text(PLUGIN)
    with isolated_registries():
        yield


def run(*entries: str, observer: AnyObserver | None = None, fresh: bool = False) -> list[RunResult]:
    return evalkit.run(
        [f"{entry},model=evalkit/echo" for entry in entries],
        observer=observer,
        plugins="sums.py",
        output_path="out",
        fresh=fresh,
    )


ENTRIES = ("sums:size=3", "sums:size=4", "sums:size=5,fail=loading", "sums:size=4,metric=f1_score")


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("fresh", [False, True])
def test_every_event_has_the_name_of_the_directory(times: int, fresh: bool) -> None:
    for _ in range(times):
        names = Names()
        results = run(*ENTRIES, observer=names, fresh=fresh)
    planned = names.events["planned"]
    assert len(set(planned)) == 4
    assert [result.name for result in results] == planned
    assert [result.status for result in results] == ["complete", "complete", "error", "complete"]
    for result in results:
        assert result.path is None or result.path.name == result.name
    assert sorted(names.events["finished"]) == sorted(planned)
    for event in ("opened", "request", "scored"):
        assert set(names.events.get(event, ())) <= set(planned)
    about = [
        note for note in names.notes if "kept apart as" in note or "set aside" in note or "taken from" in note
    ]
    assert all(note.startswith(tuple(f"{name}: " for name in planned)) for note in about)
    assert {path.name for path in Path("out/runs/default").glob("[!.]*")} <= set(planned)


def test_a_trial_and_the_full_run_after_it_are_two_and_a_note_says_why() -> None:
    entry = "arithmetic:num_test=20,model=evalkit/majority"
    evalkit.run(entry, max_eval_instances=5)
    names = Names()
    (result,) = evalkit.run(entry, observer=names)
    assert "@" in result.name
    apart, taken = names.notes
    assert "5 answers taken from arithmetic" in taken
    assert "max_eval_instances: 5 -> null (-m: another number of instances is another run)" in apart


def test_nothing_stays_running_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    run("sums:size=3")
    shown = LiveProgress()
    # The second run of the name ends in an error after it was opened.
    monkeypatch.setattr("evalkit.runs.runner.write_scores", None)
    results = run("sums:size=4", observer=shown)
    assert [result.status for result in results] == ["error"]
    assert list(shown.runs) == [results[0].name]
    assert shown.table().rows == ()
    assert shown.table().last_line == "1 of 1 runs finished"


def test_a_name_is_kept_from_start_to_start() -> None:
    first = [result.name for result in run(*ENTRIES)]
    assert [result.name for result in run(*ENTRIES)] == first
    # Alone, a run has the name that it had among others.
    for entry, name in zip(ENTRIES, first, strict=True):
        if "fail" not in entry:
            assert run(entry)[0].name == name
