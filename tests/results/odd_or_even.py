"""A plugin: multiple choice with one request per reference, which needs no data."""

from __future__ import annotations

from evalkit import RunSpec, run_spec_function
from evalkit.run_specs.simple import simple_mcqa


@run_spec_function("odd_or_even")
def odd_or_even() -> RunSpec:
    """Is a number odd or even? Each answer by its probability."""
    run_spec = simple_mcqa().named("odd_or_even")
    return run_spec.with_adapter(
        method="multiple_choice_separate_calibrated", max_tokens=0, num_train_trials=2
    )
