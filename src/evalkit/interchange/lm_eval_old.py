"""Results of lm-eval before its version 0.4, and of the first Open LLM Leaderboard, which used it.

They hold numbers only: one object per task under `results`, and neither `configs` nor samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evalkit.errors import StoreError
from evalkit.interchange.foreign_files import ForeignFiles, finite
from evalkit.interchange.foreign_shapes import LmEvalOldResults, check
from evalkit.interchange.imported_run import ImportedRun, Source, label_part, whole_run_stat
from evalkit.scoring.stat import Stat
from evalkit.specs.run_spec import AdapterSpec, RunSpec, ScenarioSpec

_STDERR = "_stderr"
# The leaderboard's mean over its tasks.
_ALL = "all"
_MOST = 1_000_000_000


def read_old_results(path: Path, results: Mapping[str, Any], files: ForeignFiles) -> Iterator[ImportedRun]:
    """One run per task, with its numbers alone.

    Args:
        path: The file.
        results: What it holds.
        files: What read it.

    Raises:
        StoreError: It has neither of these layouts.
    """
    general = results.get("config_general") or results.get("config")
    if not isinstance(general, Mapping):
        raise StoreError(
            f"{path} is not a results file of lm-eval: besides 'results' it has neither 'configs' "
            "(lm-eval since 0.4) nor 'config' (before) nor 'config_general' (the first Open LLM Leaderboard)"
        )
    check(LmEvalOldResults, results, f"{path} is not as lm-eval writes it")
    notes = [
        f"{path.name} is of lm-eval before 0.4, which has no samples: evalkit imported only its numbers",
        *files.notes(),
    ]
    versions = results.get("versions") or {}
    digest = files.sha256(path)
    for label, given in results["results"].items():
        if label == _ALL or not isinstance(given, Mapping):
            continue
        task, shots = _task(label, general)
        source = Source("lm-eval", f"{path.name}:{label}", str(path), digest)
        run = ImportedRun(source, _run_spec(task, shots, model_name(general), versions.get(label)))
        run.documents = {"results": dict(given), "setup": dict(general)}
        run.whole_run = list(_numbers(given, _size(results, label)))
        run.notes += notes
        yield run


def model_name(config: Mapping[str, Any]) -> str:
    """The model that a configuration of lm-eval names."""
    arguments = config.get("model_args") or {}
    if isinstance(arguments, str):
        pairs = (part.partition("=") for part in arguments.split(","))
        arguments = {key: value for key, _, value in pairs}
    for key in ("peft", "delta", "pretrained", "model", "path", "engine"):
        if arguments.get(key):
            return str(arguments[key])
    return str(config.get("model_name") or config.get("model") or "unknown")


def _task(label: str, general: Mapping[str, Any]) -> tuple[str, int]:
    """Name and few-shot examples of a task; the leaderboard writes `harness|arc:challenge|25`."""
    parts = label.split("|")
    if len(parts) >= 3 and parts[2].isdigit():
        return parts[1], min(int(parts[2]), _MOST)
    shots = general.get("num_fewshot")
    return label, shots if isinstance(shots, int) and 0 <= shots < _MOST else 0


def _run_spec(task: str, shots: int, model: str, version: Any) -> RunSpec:
    args = {"task": task} if version is None else {"task": task, "version": version}
    return RunSpec(
        name=f"lm_eval:task={label_part(task)},num_fewshot={shots},model={label_part(model)}",
        scenario_spec=ScenarioSpec(name="lm_eval", args=args),
        adapter_spec=AdapterSpec(
            method="generation", max_train_instances=shots, num_outputs=1, model=model, model_deployment=model
        ),
        groups=(task,),
    )


def _numbers(given: Mapping[str, Any], n: int) -> Iterator[Stat]:
    for metric, value in given.items():
        if not metric.endswith(_STDERR) and (number := finite(value)) is not None:
            yield whole_run_stat(metric, number, n=n, stderr=finite(given.get(f"{metric}{_STDERR}")))


def _size(results: Mapping[str, Any], label: str) -> int:
    """How many questions a task has, where the leaderboard says it; else 0: not known."""
    tasks = results.get("config_tasks") or {}
    bare = label.rpartition("|")[0] or label
    described = tasks.get(label) or tasks.get(bare) or {}
    size = described.get("effective_num_docs") if isinstance(described, Mapping) else None
    return size if isinstance(size, int) and 0 < size < _MOST else 0
