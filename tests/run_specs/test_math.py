from __future__ import annotations

import pytest

from evalkit.errors import UsageError
from evalkit.run_specs.math import math


def test_reasoning_changes_layout_metric_and_group() -> None:
    plain, reasoned = math("algebra", 3), math("algebra", 3, use_chain_of_thought=True)
    assert plain.name == "math:subject=algebra,level=3,use_official_examples=False,use_chain_of_thought=False"
    assert (plain.adapter_spec.output_prefix, plain.adapter_spec.stop_sequences) == ("Answer: $", ("$",))
    assert (reasoned.adapter_spec.output_prefix, reasoned.adapter_spec.max_tokens) == ("Answer: ", 400)
    assert [m.name for m in plain.metric_specs] == ["math_equiv", "basic_reference"]
    assert [m.name for m in reasoned.metric_specs] == ["math_equiv_chain_of_thought", "basic_reference"]
    assert (plain.groups, reasoned.groups) == (("math_regular",), ("math_chain_of_thought",))


def test_official_examples_have_no_reasoning() -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        math("algebra", 3, use_official_examples=True, use_chain_of_thought=True)
