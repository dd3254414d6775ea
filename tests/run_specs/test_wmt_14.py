from __future__ import annotations

from evalkit.parameters import parameters_of
from evalkit.registry import EXPANDERS
from evalkit.run_specs.wmt_14 import wmt_14


def test_languages_are_named_in_the_prompt() -> None:
    run_spec = wmt_14("en-hi")
    assert run_spec.name == "wmt_14:language_pair=en-hi"
    assert run_spec.scenario_spec.args == {"source_language": "en", "target_language": "hi"}
    adapter = run_spec.adapter_spec
    assert adapter.instructions == "Translate the following sentences from English to Hindi."
    assert (adapter.input_prefix, adapter.output_prefix) == ("English: ", "Hindi: ")


def test_the_number_of_examples_is_the_expanders() -> None:
    assert "max_train_instances" in EXPANDERS
    assert [p.name for p in parameters_of(wmt_14)] == ["language_pair"]
    assert wmt_14("fr-en").adapter_spec.max_train_instances == 1
