"""HumanEval: functions to be completed from their docstrings (Chen et al. 2021)."""

from __future__ import annotations

from typing import Literal

from evalkit.registry import run_spec_function
from evalkit.run_specs.layouts import completion
from evalkit.specs.helm_names import NotPortedError
from evalkit.specs.run_spec import MetricSpec, RunSpec, ScenarioSpec, metric_specs


@run_spec_function("code")
def code(
    dataset: Literal["humaneval", "apps"],
    timeout: float = 3.0,
    answers: Literal["completion", "blocks"] = "completion",
) -> RunSpec:
    """Functions to be completed; the completions run against tests, in a sandbox.

    Args:
        dataset: humaneval; HELM's apps is not here yet.
        timeout: Seconds that a program may take.
        answers: completion: as HELM, what continues the prompt. blocks: for chat models, which put code
            between fences; nothing stops them, and the program in the block is run.
    """
    if dataset == "apps":
        raise NotPortedError("code:dataset=apps", ["code:dataset=humaneval"])
    if answers == "blocks":
        return _in_blocks(dataset, timeout)
    adapter = completion("", max_tokens=600, stop=("\nclass", "\ndef", "\nif", "\nprint"))
    return RunSpec(
        name=f"code:dataset={dataset}",
        scenario_spec=ScenarioSpec(name="code", args={"dataset": dataset}),
        adapter_spec=adapter.model_copy(update={"temperature": 0.2}),
        metric_specs=(
            *(MetricSpec(name=name, args={"timeout": timeout}) for name in ("code_eval_acc", "pass")),
            *metric_specs("basic_reference"),
        ),
        groups=(f"code_{dataset}",),
    )


def _in_blocks(dataset: str, timeout: float) -> RunSpec:
    adapter = completion("", max_tokens=1200, stop=())
    return RunSpec(
        name=f"code:dataset={dataset},answers=blocks",
        scenario_spec=ScenarioSpec(name="code", args={"dataset": dataset}),
        adapter_spec=adapter.model_copy(update={"temperature": 0.2}),
        metric_specs=tuple(
            MetricSpec(name=name, args={"timeout": timeout}) for name in ("code_block_acc", "code_block_pass")
        ),
        groups=(f"code_{dataset}_blocks",),
    )
