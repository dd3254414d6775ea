"""IMDB: is a film review positive or negative? (Maas et al. 2011)."""

from __future__ import annotations

from evalkit.registry import run_spec_function
from evalkit.run_specs.layouts import EXACT_MATCH, generation
from evalkit.specs.run_spec import RunSpec, ScenarioSpec, metric_specs


@run_spec_function("imdb")
def imdb(only_contrast: bool = False) -> RunSpec:
    """Film reviews, classified as positive or negative.

    Args:
        only_contrast: Evaluate only reviews that have a contrast set (Gardner et al. 2020).
    """
    return RunSpec(
        name="imdb:only_contrast=True" if only_contrast else "imdb",
        scenario_spec=ScenarioSpec(name="imdb", args={"only_contrast": only_contrast}),
        adapter_spec=generation("", "Passage", "Sentiment"),
        metric_specs=metric_specs(*EXACT_MATCH, "classification_macro_f1", "classification_micro_f1"),
        groups=("imdb",),
    )
