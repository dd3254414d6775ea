"""Run expanders about judges."""

from __future__ import annotations

from collections.abc import Iterable

from evalkit.errors import UsageError
from evalkit.registry import run_expander
from evalkit.specs.expanders import suffixed
from evalkit.specs.model_names import ModelNames
from evalkit.specs.run_spec import RunSpec


@run_expander("judge")
def judge(run_spec: RunSpec, value: tuple[str, ...], models: ModelNames) -> Iterable[RunSpec]:
    """Who grades the answers: a model or deployment, or several (`a|b|c`) as a jury."""
    if not value:
        raise UsageError("judge= names nobody; write judge=<deployment>")
    deployments = tuple(models.resolve(name)[1] for name in value)
    if twice := [name for name in deployments if deployments.count(name) > 1]:
        raise UsageError(f"'{twice[0]}' is there twice; num_opinions of a judge spec asks one several times")
    if not run_spec.judge_specs:
        raise UsageError(f"'{run_spec.name}' has no judge of its own")
    chosen = (spec.model_copy(update={"deployments": deployments}) for spec in run_spec.judge_specs)
    last_parts = ("/".join(name.split("/")[-2:]) for name in value)
    return [suffixed(run_spec.with_judges(*chosen), "judge", "+".join(last_parts))]
