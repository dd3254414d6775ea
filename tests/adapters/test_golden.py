"""Requests agree with HELM's, character by character."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import evalkit.adapters.chat
import evalkit.adapters.generation
import evalkit.adapters.multiple_choice
import evalkit.adapters.ranking
import evalkit.scenarios.gsm
import evalkit.scenarios.mmlu
import evalkit.scenarios.simple  # noqa: F401 - these imports register the plugins
from evalkit.adapters.adapter import Adapter
from evalkit.adapters.sampling import downsample
from evalkit.adapters.window import NO_WINDOW, TokenWindow, Window
from evalkit.data import DataStore
from evalkit.instance import TRAIN, Instance
from evalkit.registry import ADAPTERS, SCENARIOS
from evalkit.request import RequestState
from evalkit.scenarios.scenario import with_ids
from tests.adapters.golden_rows import CharacterTokenizer, adapter_spec, instance
from tests.scenarios.canonical import canonical_sha256

Golden = Callable[[str], Any]
SCENARIO_NAMES = ("gsm", "mmlu", "simple_mcqa", "simple_short_answer_qa", "simple_classification", "simple1")
METHODS = (
    "generation",
    "multiple_choice_joint",
    "multiple_choice_joint_chain_of_thought",
    "multiple_choice_separate_original",
    "multiple_choice_separate_calibrated",
    "ranking_binary",
    "chat",
)


def scenario_of(row: dict[str, Any]) -> str:
    """HELM gives simple_short_answer_qa the name of simple_mcqa; the entry tells them apart."""
    return str(row["entry"]).split(":")[0]


def adapter_of(plain_spec: dict[str, Any], window: Window = NO_WINDOW) -> Adapter:
    spec = adapter_spec(plain_spec)
    made: Adapter = ADAPTERS.get(spec.method)(spec, window)
    return made


def rows_of(golden: Golden, scenario: str) -> Iterator[dict[str, Any]]:
    found = [row for row in golden("requests.json") if scenario_of(row) == scenario]
    assert found
    yield from found


@pytest.mark.parametrize("scenario", SCENARIO_NAMES)
def test_runs_are_helms(scenario: str, golden: Golden, data_dir: Path, tmp_path: Path) -> None:
    store = DataStore(mirror=data_dir, cache=tmp_path, offline=True)
    made: dict[str, list[Instance]] = {}
    for row in rows_of(golden, scenario):
        args = row["scenario_args"]
        key = json.dumps(args)
        if key not in made:
            made[key] = list(with_ids(SCENARIOS.get(scenario)(**args).instances(store)))
        check_run(row, made[key])


def check_run(row: dict[str, Any], everything: list[Instance]) -> None:
    assert Counter(i.split for i in everything) == row["instance_counts"]
    assert canonical_sha256(everything) == row["all_instances_sha256"]
    window = TokenWindow(CharacterTokenizer(), 2048) if "window" in row else NO_WINDOW
    adapter = adapter_of(row["adapter_spec"], window)
    spec = adapter.spec
    evaluated = downsample(everything, spec.max_eval_instances, spec.eval_splits)
    assert [i.id for i in evaluated] == row["eval_instance_ids"]
    states = list(adapter.requests(evaluated, [i for i in everything if i.split == TRAIN]))
    assert adapter.num_requests(evaluated) == len(states) == row["num_requests"]
    for trial, expected in row["all_prompts_sha256"].items():
        prompts = [state.request.prompt for state in states if state.trial == int(trial)]
        assert sha256_of_list(prompts) == expected
    by_id = {i.id: i for i in everything}
    by_place = {
        (s.instance_id, s.trial, s.reference_index, s.request_mode): s for s in states if s.sample == 0
    }
    for expected in row["requests"]:
        place = tuple(expected[k] for k in ("instance_id", "train_trial", "reference_index", "request_mode"))
        state = by_place[place]
        assert plain_run_state(state, by_id[state.instance_id]) == expected


def sha256_of_list(prompts: list[str]) -> str:
    text = json.dumps(prompts, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def plain_run_state(state: RequestState, of: Instance) -> dict[str, Any]:
    request = state.request
    return {
        "instance_id": state.instance_id,
        "split": of.split,
        "train_trial": state.trial,
        "reference_index": state.reference_index,
        "request_mode": state.request_mode,
        "prompt": request.prompt,
        "num_completions": request.num_completions,
        "top_k_per_token": request.top_k_per_token,
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
        "stop": list(request.stop_sequences),
        "echo_prompt": request.echo_prompt,
        "num_train_instances": state.num_train_instances,
        "output_mapping": state.output_mapping,
        "correct": [r.text for r in of.correct_references],
    }


@pytest.mark.parametrize("method", METHODS)
def test_methods_are_helms(method: str, golden: Golden) -> None:
    rows = [row for row in golden("adapters.json") if row["adapter_spec"]["method"] == method]
    if method != "multiple_choice_separate_calibrated":  # which the mmlu rows above cover
        assert rows
    for row in rows:
        adapter = adapter_of(row["adapter_spec"])
        everything = [instance(plain) for plain in row["instances"]]
        train = [i for i in everything if i.split == TRAIN]
        states = list(adapter.requests(downsample(everything), train))
        assert [plain_state(state, adapter) for state in states] == row["requests"]


def plain_state(state: RequestState, adapter: Adapter) -> dict[str, Any]:
    request = state.request
    plain: dict[str, Any] = {
        "model_deployment": adapter.spec.model_deployment,
        "model": adapter.spec.model,
        "embedding": False,
        "prompt": request.prompt,
        "temperature": request.temperature,
        "num_completions": request.num_completions,
        "top_k_per_token": request.top_k_per_token,
        "max_tokens": request.max_tokens,
        "stop_sequences": list(request.stop_sequences),
        "echo_prompt": request.echo_prompt,
        "top_p": request.top_p,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
    }
    if request.random is not None:
        plain["random"] = request.random
    if request.messages is not None:
        plain["messages"] = request.to_json()["messages"]
    return {
        "instance_id": state.instance_id,
        "reference_index": state.reference_index,
        "request_mode": state.request_mode,
        "train_trial_index": state.trial,
        "output_mapping": state.output_mapping,
        "num_train_instances": state.num_train_instances,
        "prompt_truncated": state.prompt_truncated,
        "request": plain,
    }
