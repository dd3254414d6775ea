"""`kill -9` at any moment of a judged run: no judgement that is in a journal is asked for again."""

from __future__ import annotations

import random
import signal
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from evalkit.execution.journal_index import read_journal
from evalkit.execution.journal_line import Record
from evalkit.response import Response
from tests.end_to_end.conftest import Serve
from tests.end_to_end.servers import Double, prompt_hash, solve, solve_two_of_three
from tests.end_to_end.workspace import Workspace, timeless_stats, until

PLUGIN = Path(__file__).parents[2] / "examples" / "second_opinion.py"
NUM_UNITS = 200
NUM_KILLS = 12
IN_FLIGHT = 8
MOST_LINES_PER_START = 30
ENTRY = f"second_opinion:num_test={NUM_UNITS},model=test/model,judge=test/judge"
COMMAND = ("run", "-r", ENTRY, "-q", "--plugin", PLUGIN)


def opinion(prompt: str) -> str:
    """The right sum, but for every fifth prompt or so: that is never clear."""
    return solve(prompt) if int(prompt_hash(prompt)[:8], 16) % 5 else "hm"


def judgements(workspace: Workspace, suite: str = "default") -> dict[str, list[str]]:
    """The replies that the judge's journal holds, by prompt."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    if workspace.suite(suite).exists():
        path = workspace.run(suite).judgements_path("second_opinion")
        for record in read_journal(path) if path.exists() else ():
            assert isinstance(record, Record)
            assert isinstance(record.outcome, Response)
            found[record.state.request.prompt].append(record.outcome.completions[0].text)
    return found


def settled(workspace: Workspace) -> set[str]:
    """The prompts that need not be sent to the judge any more."""
    return {prompt for prompt, texts in judgements(workspace).items() if "hm" not in texts or len(texts) == 3}


def num_lines(workspace: Workspace) -> int:
    return workspace.num_lines() + sum(map(len, judgements(workspace).values()))


def killed_start(workspace: Workspace, judge: Double, num_more_lines: int) -> None:
    goal = num_lines(workspace) + num_more_lines
    judge.gate.hold_after(num_more_lines + IN_FLIGHT)
    process = workspace.start(*COMMAND)
    until(lambda: num_lines(workspace) >= goal or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    judge.gate.open()
    assert process.returncode == -signal.SIGKILL
    until(lambda: judge.in_flight == judge.gate.num_held == 0)


@pytest.mark.slow
def test_kills_cost_no_judgement(workspace: Workspace, serve: Serve) -> None:
    model, judge = (
        serve(latency_s=0.008, jitter=0.5, answers=each) for each in (solve_two_of_three, opinion)
    )
    limits = {"max_concurrency": IN_FLIGHT, "initial_concurrency": IN_FLIGHT}
    prices = {"input_usd_per_million_tokens": 2.0, "output_usd_per_million_tokens": 8.0}
    for name, server in (("test/model", model), ("test/judge", judge)):
        workspace.deploy(name, server.url, limits=limits, prices=prices)
    rng = random.Random(11)
    for _ in range(NUM_KILLS):
        done, num_served = settled(workspace), len(judge.prompts)
        killed_start(workspace, judge, rng.randrange(1, MOST_LINES_PER_START + 1))
        assert not done & set(judge.prompts[num_served:])
        assert done <= settled(workspace)
    done, num_served = settled(workspace), len(judge.prompts)
    assert NUM_KILLS < len(done) < NUM_UNITS, "the run was finished before the last kill: nothing was tested"

    finished = workspace.evalkit(*COMMAND)

    assert finished.code == 1, finished.err
    assert not done & set(judge.prompts[num_served:])
    times = Counter(judge.prompts)
    assert sum(times.values()) - sum(3 if opinion(prompt) == "hm" else 1 for prompt in times) <= (
        NUM_KILLS * 2 * IN_FLIGHT
    )
    unbroken = workspace.evalkit(*COMMAND, "--suite", "unbroken")
    assert unbroken.code == 1, unbroken.err
    killed_run, unbroken_run = workspace.run(), workspace.run("unbroken")
    assert killed_run.scores_path.read_bytes() == unbroken_run.scores_path.read_bytes()
    assert timeless_stats(killed_run) == timeless_stats(unbroken_run)
    assert {p: sorted(t) for p, t in judgements(workspace).items()} == {
        p: sorted(t) for p, t in judgements(workspace, "unbroken").items()
    }
    manifest, unbroken_manifest = killed_run.manifest(), unbroken_run.manifest()
    assert manifest is not None
    assert unbroken_manifest is not None
    assert manifest.stages == unbroken_manifest.stages
    assert manifest.stages["judge:second_opinion"]["failures"].keys() == {"unclear"}
    assert manifest.cost_usd == unbroken_manifest.cost_usd
