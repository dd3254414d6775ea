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

_JUDGES = "judges"
# What the name of a row says already.
_IN_THE_LABEL = frozenset(("model", "model_deployment"))
_NOT_ASKING = frozenset(("adapter_spec", "data_augmenter_spec", "scenario_spec", METRICS, _JUDGES))
# Arguments of imported runs that name the questions; all others (a prompt template) say how they are asked.
_IMPORTED = {
    "lm_eval": ("task", "dataset_path", "dataset_name"),
    "inspect": ("task", "dataset"),
}
# Arguments that cut a benchmark short: a run with one asks fewer questions, not other ones.
_CUTS = frozenset(("testmode", "max_items"))
JUDGE = "judge"
"""The field that says who judges, in words; `judge.args` and others say what else identifies a judge."""
LONGEST_VALUE = 32


def question_source(run: StoredRun, naming: Sequence[str] | None = None) -> str:
    """Equal for runs that draw their questions from the same place: one benchmark with the same arguments.

    Args:
        run: The run.
        naming: The arguments that say which questions; the others say how they are asked, and so does the
            benchmark, which may be another harness's. By default all arguments of evalkit's benchmarks but
            those that cut them short, and of other harnesses those that name a task or a data set.
    """
    spec = run.run_spec.scenario_spec
    names = _naming(spec) if naming is None else naming
    named = {key: spec.args[key] for key in names if key in spec.args}
    return canonical_json([spec.name, named] if naming is None else [named])


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
    if naming is not None:
        fields["scenario"] = scenario.name
    naming = _naming(scenario) if naming is None else naming
    fields.update((name, value) for name, value in scenario.args.items() if name not in naming)
    fields.update(_judge_fields(run))
    return {name: canonical_json(_without_arguments(value, scenario.args)) for name, value in fields.items()}


def _naming(spec: ScenarioSpec) -> Sequence[str]:
    return _IMPORTED.get(spec.name, tuple(name for name in spec.args if name not in _CUTS))


def judges_of(run: StoredRun) -> str | None:
    """Who judges a run, in words: each judge with its deployments, else who judged published answers.

    None where nobody does.
    """
    judging = [spec for spec in run.run_spec.judge_specs if spec.deployments]
    if judging:
        return " and ".join(f"{spec.stage} by {', '.join(spec.deployments)}" for spec in judging)
    published = run.run_spec.scenario_spec.args.get(JUDGE)
    return None if published is None else str(published)


def _judge_fields(run: StoredRun) -> dict[str, Any]:
    """The judges as a person knows them, and apart from that what else identifies them."""
    fields: dict[str, Any] = {JUDGE: judges_of(run)}
    for number, judge in enumerate(run.manifest.identity.get(_JUDGES) or ()):
        prefix = JUDGE if number == 0 else f"{JUDGE}_{number + 1}"
        fields.update((f"{prefix}.{name}", part) for name, part in judge.items() if name != "name")
    return fields


def is_imported(run: StoredRun) -> bool:
    """Whether the arguments of its benchmark are another harness's, which may choose a subset of a task."""
    return run.run_spec.scenario_spec.name in _IMPORTED


def metrics_of(run: StoredRun) -> str:
    """What the run is scored by."""
    return canonical_json(list(run.run_spec.metric_specs))


def shown_value(value: str | None, longest: int = LONGEST_VALUE) -> str:
    """A value of a setting in a few letters."""
    text = "none" if value in (None, "null") else short_digest(str(value).strip('"'))
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


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
