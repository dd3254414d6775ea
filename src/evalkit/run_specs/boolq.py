"""BoolQ: yes-or-no questions about passages (Clark et al. 2019)."""

from __future__ import annotations

from evalkit.registry import run_spec_function
from evalkit.run_specs.layouts import EXACT_MATCH, generation
from evalkit.specs.run_spec import RunSpec, ScenarioSpec, metric_specs


@run_spec_function("boolq")
def boolq(only_contrast: bool = False) -> RunSpec:
    """Yes-or-no questions about a passage from Wikipedia.

    Args:
        only_contrast: Evaluate only questions that have a contrast set (Gardner et al. 2020).
    """
    return RunSpec(
        name="boolq:only_contrast=True" if only_contrast else "boolq",
        scenario_spec=ScenarioSpec(name="boolq", args={"only_contrast": only_contrast}),
        adapter_spec=generation("", "Passage", "Answer"),
        # HELM adds its BiasMetric, which looks for groups of people in answers; here they are "Yes" or "No".
        metric_specs=metric_specs(*EXACT_MATCH),
        groups=("boolq",),
    )
