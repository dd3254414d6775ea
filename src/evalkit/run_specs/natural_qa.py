"""Natural Questions: what people asked a search engine (Kwiatkowski et al. 2019)."""

from __future__ import annotations

from typing import Literal

from evalkit.registry import run_spec_function
from evalkit.run_specs.layouts import generation
from evalkit.specs.run_spec import RunSpec, ScenarioSpec, metric_specs

Mode = Literal["closedbook", "openbook_longans", "openbook_wiki"]


@run_spec_function("natural_qa")
def natural_qa(mode: Mode) -> RunSpec:
    """Questions that people asked a search engine, with short answers found in Wikipedia.

    Args:
        mode: What is shown next to the question: nothing, the paragraph with the answer, or the whole page.
    """
    return RunSpec(
        name=f"natural_qa:mode={mode}",
        scenario_spec=ScenarioSpec(name="natural_qa", args={"mode": mode}),
        # The passages bring their own headings.
        adapter_spec=generation("", "Question" if mode == "closedbook" else "", "Answer", max_tokens=300),
        metric_specs=metric_specs("exact_match", "quasi_exact_match", "f1_score", "basic_reference"),
        groups=(f"natural_qa_{mode}",),
    )
