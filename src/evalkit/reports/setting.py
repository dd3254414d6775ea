"""How a run asks its questions, as opposed to which questions it asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evalkit.results.stored_run import StoredRun
from evalkit.specs.digest import canonical_json, short_digest
from evalkit.specs.run_spec import ScenarioSpec

METRICS = "metric_specs"
# Fields that a person sets for all runs at once: two benchmarks rarely need different ones.
USUAL_FIELDS = ("max_eval_instances", "num_train_trials", "num_trials", "temperature")

# What the name of a row says already.
_IN_THE_LABEL = frozenset(("model", "model_deployment"))
_NOT_ASKING = frozenset(("adapter_spec", "data_augmenter_spec", "scenario_spec", METRICS))
# Arguments of imported runs that name the questions; all others (a prompt template) say how they are asked.
_IMPORTED = {
    "lm_eval": ("task", "dataset_path", "dataset_name"),
    "inspect": ("task", "dataset"),
}
_LONGEST_VALUE = 32


def question_source(run: StoredRun, naming: Sequence[str] | None = None) -> str:
    """Equal for runs that draw their questions from the same place: one benchmark with the same arguments.

    Args:
        run: The run.
        naming: The arguments that say which questions; the others say how they are asked. By default all of
            evalkit's benchmarks, and of other harnesses those that name a task or a data set.
    """
    spec = run.run_spec.scenario_spec
    naming = _naming(spec) if naming is None else naming
    return canonical_json([spec.name, {key: spec.args[key] for key in naming if key in spec.args}])


def setting_of(run: StoredRun, naming: Sequence[str] | None = None) -> dict[str, str]:
    """How the run asks: field to value, as JSON. Model, benchmark and metrics are not part of it.

    Texts that hold an argument of the benchmark (`about anatomy` with `subject=anatomy`) get its name
    instead, so that the prompts of two subjects look alike. For `naming` see `question_source`.
    """
    scenario = run.run_spec.scenario_spec
    fields: dict[str, Any] = {
        name: value
        for name, value in run.run_spec.adapter_spec.model_dump().items()
        if name not in _IN_THE_LABEL
    }
    augmenter = run.run_spec.data_augmenter_spec
    fields["data_augmentation"] = augmenter.model_dump() if augmenter.perturbation_specs else None
    for name, part in run.manifest.identity.items():
        if name not in _NOT_ASKING:
            fields.update(_flat(name, part))
    naming = _naming(scenario) if naming is None else naming
    fields.update((name, value) for name, value in scenario.args.items() if name not in naming)
    return {name: canonical_json(_without_arguments(value, scenario.args)) for name, value in fields.items()}


def _naming(spec: ScenarioSpec) -> Sequence[str]:
    return _IMPORTED.get(spec.name, tuple(spec.args))


def is_imported(run: StoredRun) -> bool:
    """Whether the arguments of its benchmark are another harness's, which may choose a subset of a task."""
    return run.run_spec.scenario_spec.name in _IMPORTED


def metrics_of(run: StoredRun) -> str:
    """What the run is scored by."""
    return canonical_json(list(run.run_spec.metric_specs))


def shown_value(value: str | None) -> str:
    """A value of a setting in a few letters."""
    text = "none" if value in (None, "null") else short_digest(str(value).strip('"'))
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def _flat(name: str, part: Any) -> dict[str, Any]:
    if isinstance(part, Mapping) and part:
        return {f"{name}.{key}": value for key, value in part.items()}
    return {name: part}


def _without_arguments(value: Any, arguments: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        for name, argument in arguments.items():
            if isinstance(argument, str) and len(argument) > 2:
                for spelled in (argument, argument.replace("_", " ")):
                    value = value.replace(spelled, f"{{{name}}}")
    return value
