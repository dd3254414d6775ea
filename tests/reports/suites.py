"""Stored runs with chosen scores, as a suite on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalkit.instance import CORRECT, Instance, Reference
from evalkit.request import Request, RequestState, request_key
from evalkit.response import Completion, Response
from evalkit.results.manifest import Manifest
from evalkit.results.run_directory import RunDirectory
from evalkit.results.scores import write_scores
from evalkit.results.stored_run import StoredRun
from evalkit.scoring.metric import Metric
from evalkit.scoring.scorer import Scorer
from evalkit.scoring.unit import Unit
from evalkit.specs.run_spec import AdapterSpec, RunSpec, ScenarioSpec, metric_specs


class Given(Metric):
    """The number that the model answered."""

    def __init__(self, name: str) -> None:
        self.name, self.names = name, (name,)

    def score(self, unit: Unit) -> Mapping[str, float]:
        return {self.name: float(unit.answer.response.completions[0].text)}


def store_run(
    suite: Path,
    group: str,
    model: str,
    scores: Sequence[float | None] | Sequence[Sequence[float | None]],
    metric: str = "exact_match",
    *,
    split: str = "test",
    subject: str = "",
    instance_groups: Sequence[str] = (),
    groups: Sequence[str] | None = None,
    adapter: Mapping[str, Any] | None = None,
    directory_name: str = "",
    manifest: Mapping[str, Any] | None = None,
    metrics: Sequence[str] = (),
    inputs: Sequence[str] = (),
    scenario: ScenarioSpec | None = None,
    sub_splits: Sequence[str] = (),
) -> StoredRun:
    """A run whose instances got these scores (None: the metric failed); a list of lists: one per train trial.

    `adapter` and `manifest` are further fields of the adapter spec and the manifest.
    """
    nested = [list(s) for s in scores if isinstance(s, Sequence)]
    trials = nested or [[None if s is None else float(s) for s in scores]]  # type: ignore[arg-type]
    name = f"{group}:{subject and f'subject={subject},'}model={model.replace('/', '_')}"
    run_spec = RunSpec(
        name=name,
        scenario_spec=scenario or ScenarioSpec(name=group, args={"subject": subject}),
        adapter_spec=AdapterSpec(
            method="generation",
            model=model,
            model_deployment=model,
            num_train_trials=len(trials),
            **(adapter or {}),
        ),
        metric_specs=metric_specs(*metrics),
        groups=(group,) if groups is None else tuple(groups),
    )
    instances = [
        Instance(
            inputs[i] if inputs else f"q{i}",
            (Reference("a", (CORRECT,)),),
            split,
            f"id{i}",
            sub_splits[i] if sub_splits else None,
            group=each,
        )
        for i, each in enumerate(instance_groups or [None] * len(trials[0]))
    ]
    directory = RunDirectory(suite / (directory_name or name))
    directory.path.mkdir(parents=True)
    directory.write_run_spec(run_spec)
    directory.write_instances(instances)
    scorer = Scorer([Given(metric)], instances, num_train_trials=len(trials))
    for trial, values in enumerate(trials):
        for instance, value in zip(instances, values, strict=True):
            state = RequestState(request_key(str(instance.id), trial), str(instance.id), trial, Request(""))
            scorer.add(state, Response((Completion(str(value)),)))
    write_scores(directory, scorer)
    fields = {"digest": "d", "request_digest": "r", "identity": {}, "status": "complete", **(manifest or {})}
    directory.write_manifest(Manifest(name=name, entry=name, **fields))
    return StoredRun.open(directory.path)
