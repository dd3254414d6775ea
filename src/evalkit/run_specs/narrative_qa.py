"""NarrativeQA: questions about stories, asked of their summaries (Kočiský et al. 2018)."""

from __future__ import annotations

from evalkit.registry import run_spec_function
from evalkit.run_specs.layouts import OPEN_ENDED, generation
from evalkit.specs.run_spec import RunSpec, ScenarioSpec, metric_specs


@run_spec_function("narrative_qa")
def narrative_qa() -> RunSpec:
    """Questions about books and films, answered from a summary in free words."""
    return RunSpec(
        name="narrative_qa",
        scenario_spec=ScenarioSpec(name="narrative_qa"),
        adapter_spec=generation("", "Passage", "Answer", max_tokens=100),
        metric_specs=metric_specs(*OPEN_ENDED),
        groups=("narrative_qa",),
    )
