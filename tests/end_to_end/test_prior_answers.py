"""What a run of the same suite has been told already is not asked again, and nothing else is spared."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections import Counter
from typing import Any

import pytest

from evalkit.response import Origin, Response
from evalkit.results.manifest import Manifest
from evalkit.results.run_directory import RunDirectory
from evalkit.results.verification import verify_run
from tests.end_to_end.conftest import Serve
from tests.end_to_end.workspace import Workspace, index_of, records_of, timeless_stats, until
from tests.old_format import made_old

ENTRY = "arithmetic:num_test=100,model=test/a"
PLUGIN = '''
from evalkit import Instance, Reference, RunSpec, Scenario, ScenarioSpec, generation, metric_specs
from evalkit import run_spec_function, scenario


@scenario("questions")
class Questions(Scenario):
    """Sums of two splits; every question is there twice."""

    def instances(self, data):
        for number in range(20):
            gold = Reference(str(number // 2 + 1), ("correct",))
            split = "valid" if number < 8 else "test"
            yield Instance(f"What is {number // 2} + 1?", (gold,), split)
        for number in range(12):
            yield Instance(f"What is {number} + 7?", (Reference(str(number + 7), ("correct",)),), "train")


@run_spec_function("questions")
def questions(
    metric: str = "exact_match", given: int = 3, preamble: str = "", ending: str = ""
) -> RunSpec:
    """Sums of two splits."""
    adapter = generation(preamble, "Question", "Answer")
    return RunSpec(
        name="questions" + ending,
        scenario_spec=ScenarioSpec(name="questions"),
        adapter_spec=adapter.model_copy(update={"max_train_instances": given}),
        metric_specs=metric_specs(*metric.split("+")),
    )
'''


class Bench:
    """Starts runs, and says how many requests each of them has sent."""

    def __init__(self, workspace: Workspace, serve: Serve, **config: Any) -> None:
        self.workspace, self.server = workspace, serve(**config)
        (workspace.path / "plugin.py").write_text(PLUGIN)
        prices = {"input_usd_per_million_tokens": 1000.0, "output_usd_per_million_tokens": 1000.0}
        workspace.deploy("test/a", self.server.url, prices=prices)
        self.err = self.out = ""
        self.last = RunDirectory(workspace.path)

    def sent(self, *arguments: object, code: int = 0) -> int:
        """Start a run; how many requests the server has seen of it."""
        before, known = self.server.num_received, {run.path for run in self.runs()}
        finished = self.workspace.evalkit("run", "--plugin", "plugin.py", *arguments)
        assert finished.code == code, finished.err
        self.err, self.out = finished.err, finished.out
        for run in self.runs():
            if run.path not in known:
                self.last = run
        return self.server.num_received - before

    def runs(self) -> list[RunDirectory]:
        """Those of the suite."""
        return self.workspace.runs() if self.workspace.suite().exists() else []

    def manifest(self) -> Manifest:
        """Of the run that was begun last."""
        manifest = self.last.manifest()
        assert manifest is not None
        return manifest

    def marked(self) -> RunDirectory:
        """The only run that stands beside another of its name."""
        (run,) = (run for run in self.workspace.runs() if "@" in run.path.name)
        return run


@pytest.fixture
def bench(workspace: Workspace, serve: Serve) -> Bench:
    return Bench(workspace, serve)


def test_fifty_then_a_hundred_sends_fifty_and_says_so(bench: Bench) -> None:
    assert bench.sent("-r", ENTRY, "-m", 50) == 50
    (first,) = bench.workspace.runs()
    assert bench.sent("-r", ENTRY, "-m", 100) == 50
    run = bench.marked()

    assert f"note: {run.path.name}: 50 answers taken from {first.path.name}\n" in bench.err
    assert "answers to the same requests are taken from it" in bench.err
    assert "sent again" not in bench.err
    assert "50 answers taken from earlier runs" in bench.out
    assert len(bench.server.prompts) == len({*bench.server.prompts}) == 100
    manifest = run.manifest()
    assert manifest is not None
    assert manifest.counts["num_answered"] == 100
    assert manifest.counts["num_found"] == 50
    assert manifest.sources == {first.path.name: 50}
    outcomes = {record.state.key: record.outcome for record in records_of(run)}
    theirs = {record.state.key: record.outcome for record in records_of(first)}
    found = {key: outcome for key, outcome in outcomes.items() if key in theirs}
    assert len(found) == 50
    for key, outcome in found.items():
        assert isinstance(outcome, Response)
        assert outcome.cached
        assert outcome.origin == Origin(first.path.name, key)
        then = theirs[key]
        assert isinstance(then, Response)
        assert outcome.completions == then.completions
    assert verify_run(run).is_sound
    assert bench.sent("-r", ENTRY, "-m", 100) == 0
    assert "taken from" not in bench.err


def test_numbers_are_those_of_a_run_that_asked_all_itself(bench: Bench) -> None:
    bench.sent("-r", ENTRY, "-m", 50)
    bench.sent("-r", ENTRY)
    assert bench.sent("-r", ENTRY, "--suite", "alone") == 100
    alone = bench.workspace.run("alone")
    assert timeless_stats(bench.marked()) == timeless_stats(alone)
    assert bench.marked().scores_path.read_bytes() == alone.scores_path.read_bytes()


def test_a_hundred_then_fifty_sends_none(bench: Bench) -> None:
    assert bench.sent("-r", ENTRY, "-m", 100) == 100
    assert bench.sent("-r", ENTRY, "-m", 50) == 0
    manifest = bench.marked().manifest()
    assert manifest is not None
    assert manifest.status == "complete"
    assert manifest.counts["num_found"] == manifest.counts["num_answered"] == 50
    assert manifest.cost_usd == 0
    assert bench.marked().manifest() == manifest


def test_cost_latency_and_efficiency_are_of_what_was_asked(bench: Bench) -> None:
    bench.sent("-r", ENTRY, "-m", 50)
    spent = bench.manifest().cost_usd
    assert spent
    bench.sent("-r", ENTRY)
    manifest = bench.marked().manifest()
    assert manifest is not None
    assert manifest.cost_usd is not None
    assert spent + manifest.cost_usd == pytest.approx(bench.server.num_tokens / 1000, rel=1e-9)
    by_name = {stat["name"]: stat for stat in bench.marked().stats() if stat["split"] == "all"}
    assert by_name["latency_s"]["n"] == 50
    assert by_name["num_prompt_tokens"]["n"] == 100
    assert by_name["run_requests"]["mean"] == 50
    assert by_name["exact_match"]["n"] == 100
    told = bench.workspace.evalkit("summarize", "--usage")
    name = bench.marked().path.name
    assert f"{name}: 50 of 100 answers were taken from earlier runs" in told.err
    told = bench.workspace.evalkit("summarize", "--efficiency")
    assert f"{name}: 50 of 100 answers were taken from earlier runs" in told.err
    assert "taken" not in bench.workspace.evalkit("summarize").err


def test_a_run_that_asked_nothing_has_no_times(bench: Bench) -> None:
    bench.sent("-r", ENTRY)
    assert bench.sent("-r", ENTRY, "-m", 50) == 0
    told = bench.workspace.evalkit("summarize", "--efficiency")
    assert told.code == 0
    assert f"{bench.marked().path.name}: 50 of 50 answers were taken from earlier runs" in told.err
    assert "baselines report none" not in told.err
    (latency,) = (s for s in bench.marked().stats() if s["name"] == "latency_s" and s["split"] == "all")
    assert (latency["n"], latency.get("mean")) == (0, None)
    rescored = bench.workspace.evalkit("score", bench.marked().path)
    assert rescored.code == 0, rescored.err


@pytest.mark.parametrize(
    ("first", "second", "num_first", "num_more"),
    [
        ("metric=exact_match", "metric=f1_score", 20, 0),
        ("metric=exact_match", "metric=exact_match+f1_score,ending=_too", 20, 0),
        ("num_train_trials=1", "num_train_trials=3", 20, 40),
        ("num_train_trials=3", "num_train_trials=2", 60, 0),
        ("num_trials=1", "num_trials=3", 20, 40),
        ("num_trials=3", "num_trials=1", 60, 0),
        ("num_trials=2,num_train_trials=1", "num_trials=1,num_train_trials=2", 40, 20),
        ("eval_split=test", "given=3", 12, 8),
        ("eval_split=test", "eval_split=valid", 12, 8),
        ("given=3", "eval_split=valid", 20, 0),
        ("temperature=0.7,num_trials=1", "temperature=0.7,num_trials=2", 20, 20),
        ("max_eval_instances=5,num_trials=2", "max_eval_instances=20,metric=f1_score", 10, 15),
        ("given=0,num_train_trials=1,temperature=0.7", "given=0,num_train_trials=2,temperature=0.7", 20, 20),
        # Whatever may change a request makes everything new.
        ("temperature=0", "temperature=0.7", 20, 20),
        ("given=3", "given=2", 20, 20),
        ("given=3", "preamble=Add", 20, 20),
        ("given=3", "increase_max_tokens=5", 20, 20),
    ],
)
def test_only_what_both_ask_in_the_same_words_is_spared(
    bench: Bench, first: str, second: str, num_first: int, num_more: int
) -> None:
    assert bench.sent("-r", f"questions:{first},model=test/a") == num_first
    assert bench.sent("-r", f"questions:{second},model=test/a") == num_more
    manifest = bench.manifest()
    num_answered = manifest.counts["num_answered"]
    assert manifest.counts.get("num_found", 0) == num_answered - num_more
    # A draw of the model is never counted twice.
    for run in bench.workspace.runs():
        origins = Counter(r.outcome.origin for r in records_of(run) if isinstance(r.outcome, Response))
        assert all(number == 1 for origin, number in origins.items() if origin is not None)
        assert verify_run(run).is_sound


def test_other_models_and_other_suites_answer_for_nobody(bench: Bench) -> None:
    bench.workspace.deploy("test/b", bench.server.url)
    assert bench.sent("-r", ENTRY, "-m", 50) == 50
    assert bench.sent("-r", ENTRY.replace("test/a", "test/b")) == 100
    assert bench.sent("-r", ENTRY, "--suite", "other") == 100


def test_fresh_asks_everything_and_takes_nothing(bench: Bench) -> None:
    bench.sent("-r", ENTRY, "-m", 50, "--cache")
    assert bench.sent("-r", ENTRY, "--fresh", "--cache") == 100
    assert bench.sent("-r", ENTRY, "--fresh") == 100
    assert bench.sent("-r", ENTRY, "-m", 50, "--fresh", "--cache") == 50
    assert "taken from" not in bench.err
    manifest = bench.manifest()
    assert "num_found" not in manifest.counts
    assert not manifest.sources


def test_a_fresh_run_that_was_killed_takes_nothing_when_it_is_resumed(
    workspace: Workspace, serve: Serve
) -> None:
    bench = Bench(workspace, serve)
    bench.sent("-r", ENTRY, "-m", 50, "--cache")
    bench.server.gate.hold_after(20)
    process = workspace.start("run", "-r", ENTRY, "-q", "--fresh")
    until(lambda: workspace.num_lines() == 50 + 20)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    bench.server.gate.open()
    until(lambda: bench.server.in_flight == bench.server.gate.num_held == 0)
    before = bench.server.num_answered
    finished = workspace.evalkit("run", "-r", ENTRY, "--cache")
    assert finished.code == 0, finished.err
    assert bench.server.num_answered - before == 80
    manifest = bench.marked().manifest()
    assert manifest is not None
    assert manifest.is_fresh
    assert not manifest.sources


def test_what_fresh_has_set_aside_answers_for_nobody(bench: Bench) -> None:
    bench.sent("-r", ENTRY, "-m", 50)
    shutil.move(bench.workspace.run().path, bench.workspace.suite() / ".replaced")
    assert bench.sent("-r", ENTRY) == 100


def test_runs_of_one_plan_answer_for_each_other(bench: Bench) -> None:
    entries = [
        f"questions:{how},model=test/a" for how in ("max_eval_instances=5", "given=3", "metric=f1_score")
    ]
    assert bench.sent("-r", *entries) == 20
    # 5, 20 and 20 answers, of which 20 were asked for.
    assert sum(map(int, re.findall(r"(\d+) answers taken from", bench.err))) == 25


def test_a_copy_of_a_run_does_not_answer_for_it(bench: Bench) -> None:
    bench.sent("-r", ENTRY)
    path = bench.workspace.run().path
    path.rename(path.with_name("kept"))
    assert bench.sent("-r", ENTRY) == 100


def test_a_run_in_progress_answers_what_it_has_and_is_not_disturbed(
    workspace: Workspace, serve: Serve
) -> None:
    bench = Bench(workspace, serve)
    bench.server.gate.hold_after(40)
    first = workspace.start("run", "-r", ENTRY, "-q")
    until(lambda: workspace.num_lines() == 40)
    second = workspace.start("run", "-r", ENTRY, "-m", 90)
    until(lambda: workspace.num_lines() > 40 + 30)
    bench.server.gate.open()
    for process in (first, second):
        finished = workspace.finish(process)
        assert finished.code == 0, finished.err
    found = int(re.findall(r"(\d+) answers? taken from", finished.err)[0])
    assert 30 <= found <= 40
    assert bench.server.num_answered == 100 + 90 - found
    assert all(verify_run(run).is_sound for run in workspace.runs())


@pytest.mark.parametrize("is_torn", [False, True])
def test_a_killed_run_answers_with_its_whole_lines(workspace: Workspace, serve: Serve, is_torn: bool) -> None:
    bench = Bench(workspace, serve)
    bench.server.gate.hold_after(30)
    process = workspace.start("run", "-r", ENTRY, "-q")
    until(lambda: workspace.num_lines() == 30)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    bench.server.gate.open()
    until(lambda: bench.server.in_flight == bench.server.gate.num_held == 0)
    journal = workspace.run().journal_path
    if is_torn:
        journal.write_bytes(journal.read_bytes()[:-9])
    before = journal.read_bytes()
    num_received = bench.server.num_answered
    workspace.evalkit("run", "-r", ENTRY, "-m", 99)
    found = bench.marked().manifest()
    assert found is not None
    num_found = found.counts["num_found"]
    assert bench.server.num_answered - num_received == 99 - num_found
    whole = {record.state.key for record in records_of(workspace.runs()[0])}
    asked = {record.state.key for record in records_of(bench.marked())}
    assert num_found == len(whole & asked) >= 28
    assert journal.read_bytes() == before, "a source is only read"


def test_damaged_lines_are_asked_again(bench: Bench) -> None:
    bench.sent("-r", ENTRY, "-m", 50)
    journal = bench.workspace.run().journal_path
    lines = journal.read_bytes().splitlines(keepends=True)
    for number in (3, 17):
        assert b'"text":"' in lines[number]
        lines[number] = re.sub(rb'"text":"\d+', b'"text":"7', lines[number])
    journal.write_bytes(b"".join(lines))
    assert bench.sent("-r", ENTRY) == 52


@pytest.mark.parametrize("lost", ["manifest.json", "run_spec.json", "instances.jsonl", "scores.jsonl"])
def test_a_source_needs_its_journal_only(bench: Bench, lost: str) -> None:
    bench.sent("-r", ENTRY, "-m", 50)
    (bench.workspace.run().path / lost).unlink()
    if lost == "manifest.json":
        (bench.workspace.run().path / lost).write_text("{")
    assert bench.sent("-r", ENTRY) == 50


def test_a_source_without_a_journal_is_none(bench: Bench) -> None:
    bench.sent("-r", ENTRY, "-m", 50)
    bench.workspace.run().journal_path.unlink()
    assert bench.sent("-r", ENTRY) == 100


def test_a_run_of_evalkit_0_1_answers(bench: Bench) -> None:
    bench.sent("-r", ENTRY, "-m", 50)
    made_old(bench.workspace.run())
    assert bench.sent("-r", ENTRY) == 50


def test_failures_are_asked_again(workspace: Workspace, serve: Serve) -> None:
    bench = Bench(workspace, serve)
    bench.sent("-r", "questions:model=test/a")
    first = workspace.run()
    records = records_of(first)
    failed = {r.state.key for r in records[:3]}
    lines = first.journal_path.read_bytes().splitlines(keepends=True)
    first.journal_path.write_bytes(b"".join(lines[:1] + lines[4:]))
    assert bench.sent("-r", "questions:metric=f1_score,model=test/a") == 3
    asked = {
        r.state.key
        for r in records_of(bench.marked())
        if isinstance(r.outcome, Response) and not r.outcome.cached
    }
    assert asked == failed


def test_found_answers_are_found_again_with_their_first_origin(bench: Bench) -> None:
    bench.sent("-r", ENTRY, "-m", 20)
    (first,) = bench.workspace.runs()
    bench.sent("-r", ENTRY, "-m", 60)
    shutil.rmtree(first.path)
    assert bench.sent("-r", ENTRY) == 40
    manifest = bench.manifest()
    assert manifest.sources[first.path.name] == 20
    assert manifest.counts["num_found"] == 60


def test_a_killed_start_goes_on_where_it_was(workspace: Workspace, serve: Serve) -> None:
    bench = Bench(workspace, serve)
    bench.sent("-r", ENTRY, "-m", 50)
    bench.server.gate.hold_after(20)
    process = workspace.start("run", "-r", ENTRY, "-q")
    until(lambda: workspace.num_lines() == 50 + 50 + 20)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    bench.server.gate.open()
    until(lambda: bench.server.in_flight == bench.server.gate.num_held == 0)
    before = bench.server.num_answered
    finished = workspace.evalkit("run", "-r", ENTRY)
    assert finished.code == 0, finished.err
    assert bench.server.num_answered - before == 30
    manifest = bench.marked().manifest()
    assert manifest is not None
    assert manifest.counts["num_found"] == 50
    assert index_of(bench.marked()).num_found.total() == 50
    assert "taken from" not in finished.err


def test_a_lost_manifest_is_made_anew_with_its_counts(bench: Bench) -> None:
    bench.sent("-r", ENTRY, "-m", 50)
    bench.sent("-r", ENTRY)
    run, before = bench.marked(), bench.marked().manifest()
    (run.path / "manifest.json").unlink()
    assert bench.workspace.evalkit("verify", "--repair", run.path).code == 0
    after = run.manifest()
    assert before is not None
    assert after is not None
    assert after.counts["num_found"] == 50
    assert after.sources == before.sources
    assert bench.sent("-r", ENTRY) == 0


def test_what_is_found_passes_neither_limiter_nor_budget(bench: Bench) -> None:
    bench.sent("-r", ENTRY)
    # One token would not pay for a single request.
    assert bench.sent("-r", ENTRY, "-m", 50, "--budget-tokens", 1) == 0
    limits = {"requests_per_minute": 1}
    bench.workspace.deploy("test/a", bench.server.url, limits=limits)
    assert bench.sent("-r", f"{ENTRY},num_trials=1", "-m", 60) == 0


def test_the_cache_is_asked_after_the_suite(bench: Bench) -> None:
    bench.sent("-r", ENTRY, "--suite", "other", "--cache")
    bench.sent("-r", ENTRY, "-m", 10)
    first = bench.last.path.name
    assert bench.sent("-r", ENTRY, "--cache") == 0
    assert bench.manifest().sources == {first: 10, "cache.sqlite": 90}
    assert "90 answers taken from cache.sqlite" in bench.err


def test_json_output_has_the_count(bench: Bench) -> None:
    bench.sent("-r", ENTRY, "-m", 50)
    bench.sent("-r", ENTRY, "--json")
    (run,) = json.loads(bench.out)["runs"]
    assert run["counts"]["num_found"] == 50


def test_an_imported_run_answers_for_nobody(bench: Bench) -> None:
    bench.sent("-r", ENTRY, "-m", 50)
    (bench.workspace.run().path / "imported").mkdir()
    assert bench.sent("-r", ENTRY) == 100


def test_a_suite_of_odd_folders_is_no_hindrance(bench: Bench) -> None:
    suite = bench.workspace.suite()
    bench.sent("-r", ENTRY, "-m", 50)
    (suite / "a file").write_text("x")
    (suite / "a folder").mkdir()
    for name, text in (
        ("no json", "{"),
        ("a list", "[]"),
        ("a number", "7"),
        ("no object", '{"identity": 3}'),
    ):
        (suite / name).mkdir()
        (suite / name / "manifest.json").write_text(text)
    (suite / "a loop").symlink_to(suite / "a loop")
    (suite / "a folder named so" / "manifest.json").mkdir(parents=True)
    assert bench.sent("-r", ENTRY) == 50
