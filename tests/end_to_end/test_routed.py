"""A routed deployment over two members that differ in everything: all that holds of each still holds."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evalkit.response import Failure, Response
from evalkit.results.run_directory import RunDirectory
from evalkit.testing.server import Faults
from tests.end_to_end.conftest import Serve
from tests.end_to_end.servers import Double, solve_two_of_three
from tests.end_to_end.workspace import Workspace, index_of, records_of, timeless_stats, until

ENTRY = "arithmetic:num_test=60,model=test/both"
MMLU = "mmlu:subject=anatomy,method=multiple_choice_separate_original,model=test/both"
MEMBERS = ("test/large", "test/small")
CHEAP = {"input_usd_per_million_tokens": 1.0, "output_usd_per_million_tokens": 2.0}
DEAR = {"input_usd_per_million_tokens": 30.0, "output_usd_per_million_tokens": 60.0}


def routes_of(directory: RunDirectory) -> dict[tuple[str, str | None], str]:
    """Which member each instance, or perturbed copy, was given to; a route that is there twice is a fault."""
    lines = [json.loads(line) for line in directory.routes_path.read_bytes().splitlines()[1:]]
    routes = {(line["instance_id"], line.get("perturbation")): line["member"] for line in lines}
    assert len(routes) == len(lines)
    return routes


def cost_usd(prompts: Sequence[str], prices: dict[str, float]) -> float:
    """What the double bills for answers of one word to these prompts."""
    tokens = sum(len(prompt) // 4 + 1 for prompt in prompts)
    dear = prices["input_usd_per_million_tokens"] * tokens
    return (dear + prices["output_usd_per_million_tokens"] * len(prompts)) / 1e6


def deploy_both(workspace: Workspace, large: Double, small: Double, **router: Any) -> None:
    """Two members with limits, prices, tokenizers and windows of their own."""
    workspace.plant("TEST_KEY")
    workspace.deploy(
        "test/large",
        large.url,
        api_key_env="TEST_KEY",
        limits={"max_concurrency": 6, "initial_concurrency": 6},
        prices=DEAR,
        facts={"tokenizer_name": "bytes", "max_sequence_length": 4000},
    )
    workspace.deploy(
        "test/small",
        small.url,
        api_key_env="TEST_KEY",
        limits={"max_concurrency": 2, "initial_concurrency": 2, "max_attempts": 3, "max_backoff_s": 0.1},
        prices=CHEAP,
        facts={"tokenizer_name": "simple/tokenizer1", "max_sequence_length": 400},
    )
    workspace.route("test/both", MEMBERS, **router)


def test_each_members_limits_prices_and_routes_hold(workspace: Workspace, serve: Serve) -> None:
    large, small = serve(latency_s=0.02), serve(latency_s=0.02)
    deploy_both(workspace, large, small)

    finished = workspace.evalkit("run", "-q", "-r", ENTRY, "--budget-usd", 1)

    assert finished.code == 0, finished.err
    run = workspace.run()
    routes = routes_of(run)
    assert len(routes) == 60
    asked = Counter(routes.values())
    assert (large.num_answered, small.num_answered) == (asked["test/large"], asked["test/small"])
    assert min(asked.values()) >= 15
    assert max(large.crowds) == 6
    assert max(small.crowds) == 2
    for record in records_of(run):
        assert record.state.member == routes[record.state.instance_id, None]
    manifest = run.manifest()
    assert manifest is not None
    billed = cost_usd(large.prompts, DEAR) + cost_usd(small.prompts, CHEAP)
    assert manifest.cost_usd == pytest.approx(billed, abs=2e-6)
    assert workspace.evalkit("verify", workspace.suite()).out == "1 run: 1 sound\n"

    # A second start asks nobody, and routes nothing.
    before = run.routes_path.read_bytes()
    assert workspace.evalkit("run", "-q", "-r", ENTRY).code == 0
    assert run.routes_path.read_bytes() == before
    assert large.num_answered + small.num_answered == 60


def test_one_member_answers_429_throughout_and_the_other_goes_on(workspace: Workspace, serve: Serve) -> None:
    large = serve(latency_s=0.01)
    small = serve(faults=Faults(rate_limited=1.0, retry_after_s=0.01))
    deploy_both(workspace, large, small)

    finished = workspace.evalkit("run", "-q", "-r", ENTRY)

    run = workspace.run()
    routes = routes_of(run)
    asked = Counter(routes.values())
    assert finished.code in (1, 3), finished.err
    outcomes = defaultdict(list)
    for record in records_of(run):
        outcomes[record.state.member].append(record.outcome)
    assert len(outcomes["test/large"]) == asked["test/large"] == large.num_answered
    assert all(isinstance(outcome, Response) for outcome in outcomes["test/large"])
    assert all(isinstance(outcome, Failure) and outcome.attempts >= 3 for outcome in outcomes["test/small"])
    manifest = run.manifest()
    assert manifest is not None
    assert manifest.cost_usd == pytest.approx(cost_usd(large.prompts, DEAR), abs=2e-6)
    # Only what failed is asked again, and of the same member.
    num_large = large.num_answered
    mended = serve()
    deploy_both(workspace, large, mended)
    finished = workspace.evalkit("run", "-q", "-r", ENTRY)
    assert finished.code == 0, finished.err
    assert large.num_answered == num_large
    assert mended.num_answered == asked["test/small"]
    assert routes_of(run) == routes


def test_a_member_that_is_held_back_keeps_nothing_of_the_others(workspace: Workspace, serve: Serve) -> None:
    large, small = serve(), serve()
    small.gate.hold_after(0)
    deploy_both(workspace, large, small)
    process = workspace.start("run", "-q", "-r", "arithmetic:num_test=1500,model=test/both")
    # All that go to one are answered, though the other answers none.
    until(lambda: workspace.suite().exists() and any(workspace.suite().glob("*/routes.jsonl")))
    until(lambda: len(workspace.run().routes_path.read_bytes().splitlines()) == 1501)
    due = Counter(routes_of(workspace.run()).values())["test/large"]
    until(lambda: workspace.num_lines() == due)
    assert (large.num_answered, small.num_answered) == (due, 0)
    small.gate.open()
    assert workspace.finish(process).code == 0
    assert large.num_answered + small.num_answered == 1500


def test_a_question_with_four_choices_goes_to_one_member(
    workspace: Workspace, serve: Serve, data_dir: Path
) -> None:
    large, small = serve(answers=lambda _: "A"), serve(answers=lambda _: "A")
    for name, server in zip(MEMBERS, (large, small), strict=True):
        workspace.deploy(name, server.url, mode="completions")
    workspace.route("test/both", MEMBERS, weights=[1, 3])
    arguments = ("run", "-q", "-m", 40, "-r", MMLU, "--data-dir", data_dir)

    finished = workspace.evalkit(*arguments)

    assert finished.code == 0, finished.err
    run = workspace.run()
    members: defaultdict[str, Counter[str | None]] = defaultdict(Counter)
    for record in records_of(run):
        members[record.state.instance_id][record.state.member] += 1
    assert {tuple(counted.values()) for counted in members.values()} == {(4,)}
    assert {name: member for name, counted in members.items() for member in counted} == {
        name: member for (name, _), member in routes_of(run).items()
    }
    shares = Counter(routes_of(run).values())
    assert shares["test/small"] > shares["test/large"] > 0
    assert (large.num_answered, small.num_answered) == tuple(4 * shares[name] for name in MEMBERS)


@pytest.mark.parametrize("has_cache", [False, True], ids=["same suite", "cache"])
def test_answers_of_a_member_alone_are_those_of_the_routed_one(
    workspace: Workspace, serve: Serve, has_cache: bool
) -> None:
    large, small = serve(), serve()
    for name, server in zip(MEMBERS, (large, small), strict=True):
        workspace.deploy(name, server.url, prices=CHEAP)
    workspace.route("test/both", MEMBERS)
    alone = "arithmetic:num_test=60,model=test/small"

    def run(entry: str, suite: str) -> None:
        flags = ("--cache", "--suite", suite) if has_cache else ()
        finished = workspace.evalkit("run", "-q", *flags, "-r", entry)
        assert finished.code == 0, finished.err

    run(alone, "alone")
    assert small.num_answered == 60
    run(ENTRY, "both")
    assert small.num_answered == 60
    directories = workspace.runs("both" if has_cache else "default")
    routed = next(directory for directory in directories if directory.routes_path.exists())
    shares = Counter(routes_of(routed).values())
    assert large.num_answered == shares["test/large"]
    manifest = routed.manifest()
    assert manifest is not None
    assert manifest.cost_usd == pytest.approx(cost_usd(large.prompts, CHEAP), abs=2e-6)
    # The other way round.
    run(alone.replace("small", "large"), "alone")
    assert large.num_answered == 60


def test_more_instances_take_the_answers_of_fewer(workspace: Workspace, serve: Serve) -> None:
    large, small = serve(), serve()
    deploy_both(workspace, large, small)
    for most, total in ((20, 20), (50, 50)):
        finished = workspace.evalkit("run", "-q", "-m", most, "-r", ENTRY)
        assert finished.code == 0, finished.err
        assert large.num_answered + small.num_answered == total


def test_runs_of_a_member_alone_share_its_limits(workspace: Workspace, serve: Serve) -> None:
    large, small = serve(latency_s=0.01), serve(latency_s=0.01)
    deploy_both(workspace, large, small)
    entries = ["arithmetic:num_test=60,operation=multiply,model=test/small", ENTRY]
    finished = workspace.evalkit("run", "-q", "-r", *entries)
    assert finished.code == 0, finished.err
    assert max(small.crowds) == 2
    assert small.num_answered + large.num_answered == 120


def test_a_budget_holds_over_the_members(workspace: Workspace, serve: Serve) -> None:
    large, small = serve(latency_s=0.002), serve(latency_s=0.002)
    for name, server in zip(MEMBERS, (large, small), strict=True):
        workspace.deploy(name, server.url)
    workspace.route("test/both", MEMBERS)
    entry = "arithmetic:num_test=200,model=test/both"
    finished = workspace.evalkit("run", "-q", "--budget-tokens", 4000, "-r", entry)
    assert finished.code == 3
    assert "the budget is spent" in finished.err
    assert 0.9 * 4000 < large.num_tokens + small.num_tokens <= 4000
    finished = workspace.evalkit("run", "-q", "-r", entry)
    assert finished.code == 0, finished.err
    assert large.num_answered + small.num_answered == 200


def test_prompts_fit_the_window_of_each_member(workspace: Workspace, serve: Serve) -> None:
    """Two prompts of one length in bytes may have other lengths in tokens: each member counts its own."""
    large, small = serve(), serve()
    for name, server, tokenizer, length in (
        ("test/large", large, "bytes", 300),
        ("test/small", small, "simple/tokenizer1", 200),
    ):
        facts = {"tokenizer_name": tokenizer, "max_sequence_length": length}
        workspace.deploy(name, server.url, facts=facts)
    workspace.route("test/both", MEMBERS)
    assert workspace.evalkit("run", "-q", "-r", ENTRY).code == 0
    states = [record.state for record in records_of(workspace.run())]
    lengths = [len(state.request.text) + state.request.max_tokens for state in states]
    # As many examples as the smaller window takes, for both, and one more would be too long.
    assert max(lengths) <= 200
    assert min(lengths) > 200 - 30
    assert {state.member for state in states} == set(MEMBERS)
    first = next(state for state in states if state.member == "test/large")
    assert first.num_train_instances < 5


def test_all_turns_of_a_conversation_go_to_one_member(workspace: Workspace, serve: Serve) -> None:
    large, small = (
        serve(answers=lambda _: "7", latency_s=0.005),
        serve(answers=lambda _: "7", latency_s=0.005),
    )
    deploy_both(workspace, large, small)
    plugin = Path(__file__).parents[2] / "examples" / "running_total.py"
    command = ("run", "-q", "--plugin", plugin, "-r", "running_total:num_instances=120,model=test/both")
    process = workspace.start(*command)
    while workspace.num_lines() < 60:
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    until(lambda: large.in_flight == small.in_flight == 0)
    kept = index_of(workspace.run()).answered
    num_served = large.num_answered + small.num_answered

    finished = workspace.evalkit(*command)

    assert finished.code == 0, finished.err
    assert large.num_answered + small.num_answered == num_served + 360 - len(kept)
    run = workspace.run()
    routes = routes_of(run)
    turns: defaultdict[str, list[str | None]] = defaultdict(list)
    for record in records_of(run):
        turns[record.state.instance_id].append(record.state.member)
    assert {name: set(members) for name, members in turns.items()} == {
        name: {member} for (name, _), member in routes.items()
    }
    assert {len(members) for members in turns.values()} == {3}


@pytest.mark.slow
def test_kills_repeat_nothing_and_change_no_route(workspace: Workspace, serve: Serve) -> None:
    large = serve(latency_s=0.01, answers=solve_two_of_three)
    small = serve(latency_s=0.01, answers=solve_two_of_three)
    deploy_both(workspace, large, small)
    entry = "arithmetic:digits=3,num_test=400,model=test/both"
    rng = random.Random(3)
    routes: dict[tuple[str, str | None], str] = {}
    for _ in range(8):
        kept = {key for run in workspace.runs() for key in index_of(run).answered} if routes else set()
        goal = workspace.num_lines() + rng.randrange(1, 40)
        process = workspace.start("run", "-r", entry, "-q")
        while workspace.num_lines() < goal:
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        until(lambda: large.in_flight == small.in_flight == 0)
        assert kept <= index_of(workspace.run()).answered
        found = routes_of(workspace.run())
        assert not routes or found == routes
        routes = found
    finished = workspace.evalkit("run", "-r", entry, "-q")
    assert finished.code == 0, finished.err
    run, index = workspace.run(), index_of(workspace.run())
    assert len(index.answered) == index.num_lines == 400
    assert routes_of(run) == routes
    times = Counter([*large.hashes(), *small.hashes()])
    assert len(times) == 400
    assert sum(times.values()) - 400 <= 8 * 2 * (6 + 2)
    for record in records_of(run):
        assert record.state.member == routes[record.state.instance_id, None]
    unbroken = workspace.evalkit("run", "-r", entry, "-q", "--suite", "unbroken")
    assert unbroken.code == 0, unbroken.err
    assert routes_of(workspace.run("unbroken")) == routes
    assert timeless_stats(run) == timeless_stats(workspace.run("unbroken"))
    manifests = [workspace.run(suite).manifest() for suite in ("default", "unbroken")]
    costs = {manifest.cost_usd for manifest in manifests if manifest is not None}
    assert len(costs) == 1
