"""Small files as other harnesses write them: seen with lm-eval 0.4.13, Inspect 0.3.285, HELM 0.5.16."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MOMENT = "2026-11-21T04-39-40.575087"


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def helm_stat(name: str, value: float, split: str = "test", count: int = 1) -> dict[str, Any]:
    return {
        "name": {"name": name, "split": split},
        "count": count,
        "sum": value * count,
        "sum_squared": value * value * count,
        "min": value,
        "max": value,
        "mean": value,
        "variance": 0.0,
        "stddev": 0.0,
    }


def helm_state(
    instance_id: str, text: str, answer: str, completion: str | None, trial: int = 0, **more: Any
) -> dict[str, Any]:
    """A request state of HELM's; `completion=None` is an error that HELM swallowed."""
    result: dict[str, Any] = {"success": False, "error": "timed out", "completions": [], "cached": False}
    if completion is not None:
        tokens = [{"text": completion, "logprob": -0.5}]
        result = {
            "success": True,
            "embedding": [],
            "completions": [
                {
                    "text": completion,
                    "logprob": -0.5,
                    "tokens": tokens,
                    "finish_reason": {"reason": "endoftext"},
                    "thinking": {"text": "hm"},
                }
            ],
            "cached": True,
            "request_time": 0.25,
            "request_datetime": 1700000000,
        }
    state = {
        "instance": {
            "input": {"text": text},
            "references": [{"output": {"text": answer}, "tags": ["correct"]}],
            "split": "test",
            "id": instance_id,
            "extra_data": {"level": 3},
        },
        "train_trial_index": trial,
        "request": {
            "model_deployment": "some/model",
            "model": "some/model",
            "embedding": False,
            "prompt": f"Q: {text}\nA:",
            "temperature": 0.0,
            "num_completions": 1,
            "top_k_per_token": 1,
            "max_tokens": 5,
            "stop_sequences": ["\n"],
            "echo_prompt": False,
            "top_p": 1,
            "presence_penalty": 0,
            "frequency_penalty": 0,
        },
        "result": result,
        "num_train_instances": 2,
        "prompt_truncated": False,
        "num_conditioning_tokens": 0,
    }
    return {**state, **more}


def helm_run_spec(name: str = "tiny:model=some_model", **adapter: Any) -> dict[str, Any]:
    return {
        "name": name,
        "scenario_spec": {
            "class_name": "helm.benchmark.scenarios.gsm_scenario.GSM8KScenario",
            "args": {},
        },
        "adapter_spec": {
            "method": "generation",
            "input_prefix": "Q: ",
            "output_prefix": "A: ",
            "num_outputs": 1,
            "max_tokens": 5,
            "temperature": 0.0,
            "stop_sequences": ["\n"],
            "model": "some/model",
            "model_deployment": "some/model",
            **adapter,
        },
        "metric_specs": [
            {
                "class_name": "helm.benchmark.metrics.basic_metrics.BasicGenerationMetric",
                "args": {"names": ["exact_match", "quasi_exact_match"]},
            },
            {"class_name": "helm.benchmark.metrics.toxicity_metrics.ToxicityMetric", "args": {}},
            {"class_name": "helm.benchmark.metrics.basic_metrics.InstancesPerSplitMetric", "args": {}},
        ],
        "data_augmenter_spec": {"perturbation_specs": [], "seeds_per_instance": 1},
        "groups": ["tiny"],
    }


def write_helm_run(
    folder: Path,
    states: Sequence[Mapping[str, Any]] | None,
    per_instance: Mapping[tuple[str, int], Mapping[str, float]],
    stats: Sequence[Mapping[str, Any]],
    run_spec: Mapping[str, Any] | None = None,
) -> Path:
    spec = run_spec or helm_run_spec()
    path = folder / "benchmark_output" / "runs" / "v1" / str(spec["name"])
    write_json(path / "run_spec.json", spec)
    write_json(path / "scenario.json", {"name": "tiny", "description": "", "tags": []})
    write_json(path / "stats.json", stats)
    if states is not None:
        adapter = {"adapter_spec": spec["adapter_spec"], "request_states": states}
        write_json(path / "scenario_state.json", adapter)
        rows = [
            {
                "instance_id": instance_id,
                "train_trial_index": trial,
                "stats": [helm_stat(name, value) for name, value in scores.items()],
            }
            for (instance_id, trial), scores in per_instance.items()
        ]
        write_json(path / "per_instance_stats.json", rows)
    return path


def lm_eval_choice(doc_id: int, question: str, target: int, logprobs: Sequence[float]) -> dict[str, Any]:
    """A line of a samples file for a multiple-choice task with the options yes and no."""
    options = (" yes", " no")
    best = max(range(2), key=lambda i: logprobs[i])
    return {
        "doc_id": doc_id,
        "doc": {"q": question, "choices": ["yes", "no"], "answer": target},
        "target": str(target),
        "arguments": {
            f"gen_args_{i}": {"arg_0": f"{question}\nAnswer:", "arg_1": option}
            for i, option in enumerate(options)
        },
        "resps": [[[str(value), "False"]] for value in logprobs],
        "filtered_resps": [[str(value), "False"] for value in logprobs],
        "filter": "none",
        "metrics": ["acc"],
        "doc_hash": f"d{doc_id}",
        "prompt_hash": f"p{doc_id}",
        "target_hash": f"t{doc_id}",
        "acc": float(best == target),
    }


def lm_eval_generation(doc_id: int, answer: str, filtered_by: str, score: float) -> dict[str, Any]:
    return {
        "doc_id": doc_id,
        "doc": {"q": f"Question {doc_id}"},
        "target": "yes",
        "arguments": {
            "gen_args_0": {
                "arg_0": f"Question {doc_id}\nAnswer:",
                "arg_1": {"until": ["\n"], "max_gen_toks": 8},
            }
        },
        "resps": [[answer]],
        "filtered_resps": [answer.strip()],
        "filter": filtered_by,
        "metrics": ["exact_match"],
        "doc_hash": f"d{doc_id}",
        "prompt_hash": f"p{doc_id}",
        "target_hash": f"t{doc_id}",
        "exact_match": score,
    }


def write_lm_eval(
    folder: Path,
    results: Mapping[str, Any],
    configs: Mapping[str, Any],
    samples: Mapping[str, Sequence[Mapping[str, Any]]],
    **more: Any,
) -> Path:
    path = folder / "me__tiny" / f"results_{MOMENT}.json"
    write_json(
        path,
        {
            "results": results,
            "group_subtasks": {},
            "configs": configs,
            "versions": dict.fromkeys(configs, 1.0),
            "n-shot": dict.fromkeys(configs, 2),
            "n-samples": {name: {"original": 3, "effective": 3} for name in configs},
            "config": {"model": "hf", "model_args": {"pretrained": "me/tiny"}},
            "model_name": "me/tiny",
            **more,
        },
    )
    for task, lines in samples.items():
        text = "".join(json.dumps(line) + "\n" for line in lines)
        path.with_name(f"samples_{task}_{MOMENT}.jsonl").write_text(text, encoding="utf-8")
    return path


def inspect_header(
    task: str = "arc", status: str = "success", samples: int = 2, epochs: int = 1
) -> dict[str, Any]:
    return {
        "version": 2,
        "status": status,
        "eval": {
            "task": task,
            "task_version": 0,
            "task_args": {"shots": 1},
            "dataset": {"name": "arc", "samples": samples},
            "model": "mockllm/model",
            "model_generate_config": {"temperature": 0.5, "max_tokens": 16},
            "config": {"epochs": epochs},
        },
        "plan": {"name": "plan", "steps": [], "config": {}},
        "results": {"total_samples": samples, "completed_samples": samples, "scores": []},
    }


def inspect_sample(
    sample_id: int | str, answer: str, value: Any, epoch: int = 1, **more: Any
) -> dict[str, Any]:
    message = {"id": "m2", "role": "assistant", "source": "generate", "content": answer}
    sample = {
        "id": sample_id,
        "epoch": epoch,
        "input": "Is 2 even?",
        "choices": ["yes", "no"],
        "target": "A",
        "messages": [
            {"id": "m0", "role": "system", "content": "Be brief."},
            {"id": "m1", "role": "user", "source": "input", "content": "Is 2 even? A) yes B) no"},
            message,
        ],
        "output": {
            "model": "mockllm/model-1",
            "choices": [{"message": message, "stop_reason": "max_tokens"}],
            "usage": {"input_tokens": 7, "output_tokens": 2, "total_tokens": 9},
            "time": 0.5,
        },
        "scores": {"choice": {"value": value, "answer": answer, "explanation": "because"}},
        "metadata": {"topic": "numbers"},
        "store": {},
        "events": [{"event": "model"}],
        "model_usage": {},
    }
    return {**sample, **more}


def write_inspect(path: Path, header: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:

        def write(name: str, value: Any) -> None:
            # With a fixed time in it: the same log has the same bytes whenever it is written.
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, json.dumps(value))

        write("_journal/start.json", {"version": 2, "eval": header["eval"], "plan": {}})
        for sample in samples:
            write(f"samples/{sample['id']}_epoch_{sample['epoch']}.json", sample)
        write("header.json", header)
    return path
