"""Functions that a model knows from training on their values only (Treutlein et al. 2024)."""

from __future__ import annotations

from typing import Any, Literal

from evalkit.registry import run_spec_function
from evalkit.run_specs.layouts import completion
from evalkit.specs.run_spec import RunSpec, ScenarioSpec, metric_specs

Inputs = Literal["in_distribution", "out_of_distribution"]

_RANGES: dict[Inputs, list[list[int]]] = {
    "in_distribution": [[-99, 99]],
    "out_of_distribution": [[99, 199], [-199, -99]],
}
_SEED = 100
_INSTRUCTIONS = (
    "You are a superintelligent python interpreter. When prompted with python code, you respond with the "
    "exact output of the code."
)


@run_spec_function("functions")
def functions(
    kind: Literal["single_function"] = "single_function",
    inputs: Inputs = "in_distribution",
    min_imports: int | None = None,
    num_test: int = 1000,
    seed: int = _SEED,
) -> RunSpec:
    """Code that calls functions with opaque names, for models that were trained on their values.

    A chat: the instructions are the system message, the code is the user's.

    Args:
        kind: What is asked: `single_function`, what a call with one number prints.
        inputs: Numbers as in training, -99 to 98, or up to 100 further to either side.
        min_imports: Most functions to import; None: as the authors, 2 in distribution and 1 out of it.
        num_test: Questions asked.
        seed: Other seeds give other questions.
    """
    usual_imports = 2 if inputs == "in_distribution" else 1
    if min_imports is None:
        min_imports = usual_imports
    args: dict[str, Any] = {
        "kind": kind,
        "input_ranges": _RANGES[inputs],
        "min_imports": min_imports,
        "num_test": num_test,
        "seed": seed,
    }
    name = f"functions:kind={kind},inputs={inputs},num_test={num_test}"
    if min_imports != usual_imports:
        name += f",min_imports={min_imports}"
    if seed != _SEED:
        name += f",seed={seed}"
    return RunSpec(
        name=name,
        scenario_spec=ScenarioSpec(name="functions", args=args),
        adapter_spec=completion(_INSTRUCTIONS).model_copy(update={"chat_style": "turns"}),
        # No metric that forgives punctuation: it would take -17 for 17.
        metric_specs=metric_specs("exact_match"),
        groups=("functions",),
    )
