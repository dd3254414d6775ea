"""bAbI: twenty tasks of reasoning over short stories (Weston et al. 2015)."""

from __future__ import annotations

from typing import Literal

from evalkit.registry import run_spec_function
from evalkit.run_specs.layouts import EXACT_MATCH, generation
from evalkit.specs.run_spec import RunSpec, ScenarioSpec, metric_specs

Task = Literal["all", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]


@run_spec_function("babi_qa")
def babi_qa(task: Task = "all") -> RunSpec:
    """Questions about short stories, answered with a word or two.

    Args:
        task: Number of the task, or all of them.
    """
    return RunSpec(
        name=f"babi_qa:task={task}",
        scenario_spec=ScenarioSpec(name="babi_qa", args={"task": task}),
        adapter_spec=generation("", "Passage", "Answer"),
        metric_specs=metric_specs(*EXACT_MATCH),
        groups=("babi_qa",),
    )
