"""A budget is never exceeded, by what the server counts; a larger one goes on."""

from __future__ import annotations

import json

import pytest

from tests.end_to_end.conftest import Serve
from tests.end_to_end.workspace import Workspace

ENTRIES = [f"arithmetic:num_test=100,model=test/{name}" for name in ("a", "b")]
# Each request of the double is billed with some 60 tokens, so all of them together with 12,000.
PRICES = {"input_usd_per_million_tokens": 1.0, "output_usd_per_million_tokens": 1.0}
NUM_TOKENS = 4000


@pytest.mark.parametrize(
    ("small", "large"),
    [
        (("--budget-tokens", NUM_TOKENS), ("--budget-tokens", 100_000)),
        (("--budget-usd", NUM_TOKENS / 1e6), ("--budget-usd", 1)),
    ],
)
def test_a_budget_is_kept_over_all_deployments(
    workspace: Workspace, serve: Serve, small: tuple[object, ...], large: tuple[object, ...]
) -> None:
    server = serve(latency_s=0.002)
    for name in ("a", "b"):
        workspace.deploy(f"test/{name}", server.url, prices=PRICES)

    finished = workspace.evalkit("run", "-q", *small, "-r", *ENTRIES)

    assert finished.code == 3
    assert "the budget is spent" in finished.err
    assert 0.9 * NUM_TOKENS < server.num_tokens <= NUM_TOKENS
    for run in workspace.runs():
        manifest = run.manifest()
        assert manifest is not None
        assert manifest.status == "stopped"
        assert "the budget is spent" in manifest.message

    finished = workspace.evalkit("run", "-q", *large, "-r", *ENTRIES)
    assert finished.code == 0, finished.err
    assert server.num_answered == 200
    costs = [manifest.cost_usd for run in workspace.runs() if (manifest := run.manifest())]
    assert sum(cost or 0 for cost in costs) == pytest.approx(server.num_tokens / 1e6, abs=2e-6)


def test_a_budget_in_money_needs_prices(workspace: Workspace, serve: Serve) -> None:
    server = serve()
    workspace.deploy("test/a", server.url)
    finished = workspace.evalkit("run", "--budget-usd", 1, "-r", ENTRIES[0])
    assert finished.code == 2
    assert "test/a has no prices" in finished.err
    assert server.num_received == 0


def test_thinking_is_part_of_the_bound_and_of_the_budget(workspace: Workspace, serve: Serve) -> None:
    """A model that thinks for thousands of tokens: `plan` says the most, and a budget below it is kept."""
    server = serve(latency_s=0.002, answers=lambda _: "hm " * 3000 + "4")
    workspace.deploy("lab/thinker", server.url, prices=PRICES, reasoning_tokens=8192)
    entry = "arithmetic:num_test=100,model=lab/thinker"

    planned = workspace.evalkit("plan", "-r", entry, "--json")
    row = json.loads(planned.out)
    assert row["max_completion_tokens"] == 100 * (8192 + row["run_spec"]["adapter_spec"]["max_tokens"])
    assert row["max_cost_usd"] > row["max_completion_tokens"] / 1e6
    assert (
        "thinking may take 8,192 more completion tokens per request"
        in workspace.evalkit("plan", "-r", entry).err
    )

    finished = workspace.evalkit("run", "-q", "--budget-usd", 0.05, "-n", 64, "-r", entry)
    assert finished.code == 3
    assert "the budget is spent" in finished.err
    manifest = workspace.run().manifest()
    assert manifest is not None
    assert 0.03 < (manifest.cost_usd or 0) <= 0.05
    assert server.num_answered == manifest.counts["num_answered"]

    assert workspace.evalkit("run", "-q", "--budget-usd", row["max_cost_usd"] * 1.1, "-r", entry).code == 0


def test_what_costs_nothing_needs_no_prices(workspace: Workspace, serve: Serve) -> None:
    server = serve()
    workspace.deploy("test/a", server.url, prices=PRICES)
    entries = ["arithmetic:num_test=5,model=test/a", "arithmetic:num_test=5,model=evalkit/majority"]
    assert workspace.evalkit("run", "-q", "--budget-usd", 1, "-r", *entries).code == 0
    workspace.deploy("test/b", server.url)
    refused = workspace.evalkit("run", "-q", "--budget-usd", 1, "-r", "arithmetic:num_test=5,model=test/b")
    assert refused.code == 2
    assert "test/b has no prices" in refused.err


def test_small_sums_are_said_with_digits_that_mean_something(workspace: Workspace, serve: Serve) -> None:
    workspace.deploy("test/a", serve().url, prices=PRICES)
    stopped = workspace.evalkit(
        "run", "-q", "--budget-usd", 0.0002, "-r", "arithmetic:num_test=9,model=test/a"
    )
    assert "$0.0000" not in stopped.err
    assert "of $0.0002 spent" in stopped.err
