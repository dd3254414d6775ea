"""Run expanders about judges."""

from __future__ import annotations

from collections.abc import Iterable

from evalkit.errors import UsageError
from evalkit.registry import run_expander
from evalkit.specs.expanders import suffixed
from evalkit.specs.model_names import ModelNames
from evalkit.specs.run_spec import JudgeSpec, RunSpec

GENERIC_JUDGE = "rating"
"""The judge for answers of any benchmark that names none."""


@run_expander("judge")
def judge(run_spec: RunSpec, value: tuple[str, ...], models: ModelNames) -> Iterable[RunSpec]:
    """Who grades the answers: a model or deployment, or several (`a|b|c`) as a jury.

    A run spec without judges gets the judge `rating`.
    """
    if not value:
        raise UsageError("judge= names nobody; write judge=<deployment>")
    deployments = tuple(models.resolve(name)[1] for name in value)
    if twice := [name for name in deployments if deployments.count(name) > 1]:
        raise UsageError(f"'{twice[0]}' is there twice; num_opinions of a judge spec asks one several times")
    specs = run_spec.judge_specs or (JudgeSpec(name=GENERIC_JUDGE),)
    chosen = (spec.model_copy(update={"deployments": deployments}) for spec in specs)
    last_parts = ("/".join(name.split("/")[-2:]) for name in value)
    return [suffixed(run_spec.with_judges(*chosen), "judge", "+".join(last_parts))]


@run_expander("judge_template")
def judge_template(run_spec: RunSpec, value: str) -> Iterable[RunSpec]:
    """The file with the prompt of the judge `rating`; leaves the run name as it is."""
    specs = run_spec.judge_specs or (JudgeSpec(name=GENERIC_JUDGE),)
    if not any(spec.name == GENERIC_JUDGE for spec in specs):
        own = ", ".join(spec.stage for spec in specs)
        raise UsageError(
            f"judge_template= is for the judge '{GENERIC_JUDGE}'; '{run_spec.name}' has its own: {own}"
        )
    changed = (
        spec.model_copy(update={"args": {**spec.args, "template": value}})
        if spec.name == GENERIC_JUDGE
        else spec
        for spec in specs
    )
    return [run_spec.with_judges(*changed)]
