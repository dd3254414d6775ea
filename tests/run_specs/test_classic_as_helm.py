"""What HELM Classic's and Capabilities' families have here and not in HELM."""

from __future__ import annotations

import pytest

from evalkit.errors import EntryError
from evalkit.plugins import load_builtins
from evalkit.specs.conf import ConfEntry
from evalkit.specs.expand import ExpandOptions, expand_entries
from tests.helm.models import MODEL, AnyModel, expanded


def test_apps_is_told_to_be_missing() -> None:
    load_builtins()
    with pytest.raises(EntryError, match=r"'code:dataset=apps' is not ported yet.*code:dataset=humaneval"):
        expand_entries([ConfEntry("code:dataset=apps")], AnyModel(), ExpandOptions(models_to_run=(MODEL,)))


def test_reasoning_of_mmlu_pro_examples_is_in_the_name() -> None:
    load_builtins()
    (made,) = expanded("mmlu_pro:subject=law,use_few_shot=true,with_reasoning=true")
    assert made.name == (
        "mmlu_pro:subset=law,use_chain_of_thought=true,use_few_shot=true,with_reasoning=true,"
        "model=simple_model1"
    )
    assert made.scenario_spec.args == {"subject": "law", "with_reasoning": True}
