"""Right answers get full marks, through the whole path; likelihoods are compared as they should be."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from evalkit.testing.server import logprob_of
from tests.end_to_end.conftest import Serve
from tests.end_to_end.gold import gold_answers, planned_requests
from tests.end_to_end.servers import dead_url
from tests.end_to_end.workspace import Workspace, index_of

NUM_GSM8K = 1319
NUM_ANATOMY = 135


def options(workspace: Workspace, entry: str, data_dir: Path, **more: Any) -> dict[str, Any]:
    """The options of a plan, for making its requests beforehand."""
    if not workspace.deployments_path.exists():
        workspace.deploy("test/a", dead_url())
    paths = (workspace.deployments_path,)
    return {"run_entries": (entry,), "data_dir": data_dir, "model_deployments": paths, **more}


@pytest.mark.slow
def test_the_answers_of_gsm8k_score_exactly_one(workspace: Workspace, serve: Serve, data_dir: Path) -> None:
    entry = "gsm:model=test/a"
    answers = gold_answers(**options(workspace, entry, data_dir))
    server = serve(answers=answers)
    workspace.deploy("test/a", server.url)

    finished = workspace.evalkit("run", "-r", entry, "--data-dir", data_dir, "-m", NUM_GSM8K, "-q")

    assert finished.code == 0, finished.err
    assert server.num_answered == NUM_GSM8K
    assert set(server.prompts) == set(answers)
    stored = workspace.stored()
    for name in ("final_number_exact_match", "exact_match_indicator"):
        stat = stored.stat(name)
        assert (stat.mean, stat.n, stat.n_failed, stat.n_total) == (1.0, NUM_GSM8K, 0, NUM_GSM8K)


def test_a_wrong_number_is_the_one_that_scores_nothing(
    workspace: Workspace, serve: Serve, data_dir: Path
) -> None:
    entry = "gsm:model=test/a"
    answers = gold_answers(**options(workspace, entry, data_dir, max_eval_instances=30))
    spoiled = sorted(answers)[7]
    answers[spoiled] = re.sub(r"The answer is .*", "The answer is -12345.", answers[spoiled])
    workspace.deploy("test/a", serve(answers=answers).url)

    finished = workspace.evalkit("run", "-r", entry, "--data-dir", data_dir, "-m", 30, "-q")

    assert finished.code == 0, finished.err
    stored = workspace.stored()
    assert stored.stat("final_number_exact_match").sum == 29
    (wrong,) = [record for record in stored.records() if not record.scores["final_number_exact_match"]]
    assert wrong.prompts == (spoiled,)


def test_the_letters_of_mmlu_score_exactly_one(workspace: Workspace, serve: Serve, data_dir: Path) -> None:
    entry = "mmlu:subject=anatomy,model=test/a"
    answers = gold_answers(**options(workspace, entry, data_dir))
    assert set(answers.values()) == {"A", "B", "C", "D"}
    workspace.deploy("test/a", serve(answers=answers).url)

    finished = workspace.evalkit("run", "-r", entry, "--data-dir", data_dir, "-q")

    assert finished.code == 0, finished.err
    for name in ("exact_match", "quasi_exact_match", "prefix_exact_match", "quasi_prefix_exact_match"):
        stat = workspace.stored().stat(name)
        assert (stat.mean, stat.n_total, stat.n_failed) == (1.0, stat.n, 0)
    # 135 test and 14 validation questions: HELM evaluates both splits.
    assert workspace.stored().stat("exact_match", "test").n == NUM_ANATOMY


def reference_logprobs(prompt: str, reference: str) -> list[float]:
    """The log-probabilities that the double gives to a reference at the end of a prompt, word by word."""
    words = re.findall(r"\s*\S+", prompt)
    return [logprob_of(word) for word in words[len(words) - len(reference.split()) :]]


@pytest.mark.parametrize("calibrated", [False, True])
def test_options_are_compared_by_their_likelihoods(
    workspace: Workspace, serve: Serve, data_dir: Path, calibrated: bool
) -> None:
    method = "calibrated" if calibrated else "original"
    entry = f"mmlu:subject=anatomy,method=multiple_choice_separate_{method},model=test/a"
    planned = list(planned_requests(**options(workspace, entry, data_dir, max_eval_instances=40)))
    scores: dict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for instance, state in planned:
        index = state.reference_index
        assert index is not None
        logprobs = reference_logprobs(state.request.prompt, instance.references[index].text)
        part = fmean(logprobs) if not calibrated else sum(logprobs)
        scores[instance.id or ""][index] += -part if state.request_mode == "calibration" else part
    right = {instance.id: instance for instance, _ in planned}
    expected = []
    for instance_id, by_index in scores.items():
        winners = [index for index, score in by_index.items() if score >= max(by_index.values()) - 1e-9]
        hits = [right[instance_id].references[index].is_correct for index in winners]
        expected.append(sum(hits) / len(hits))
    server = serve(answers=lambda prompt: "")
    workspace.deploy("test/a", server.url, mode="completions")

    finished = workspace.evalkit("run", "-r", entry, "--data-dir", data_dir, "-m", 40, "-q")

    assert finished.code == 0, finished.err
    assert server.num_answered == len(planned) == 40 * 4 * (2 if calibrated else 1)
    stat = workspace.stored().stat("exact_match")
    assert stat.n == 40
    assert stat.mean == pytest.approx(fmean(expected))
    assert 0 < fmean(expected) < 1


def test_a_chat_endpoint_cannot_score_options_and_says_so(
    workspace: Workspace, serve: Serve, data_dir: Path
) -> None:
    entry = "mmlu:subject=anatomy,method=multiple_choice_separate_original,model=test/a"
    server = serve()
    workspace.deploy("test/a", server.url)
    finished = workspace.evalkit("run", "-r", entry, "--data-dir", data_dir, "-q")
    assert finished.code == 3
    assert "set mode: completions" in finished.err
    assert server.num_received == 0
    assert not index_of(workspace.run()).answered


def test_trials_and_samples_each_have_their_own_answer(workspace: Workspace, serve: Serve) -> None:
    server = serve(answers=lambda prompt: "7")
    workspace.deploy("test/a", server.url)
    finished = workspace.evalkit("run", "-r", "simple1:model=test/a", "-q")
    assert finished.code == 0, finished.err
    assert server.num_answered == 10 * 3
    assert len({record.trial for record in workspace.stored().records()}) == 3
