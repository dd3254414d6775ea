from __future__ import annotations

import subprocess
import sys

import pytest

from evalkit.run_specs.layouts import generation, multiple_choice
from evalkit.specs.run_spec import AdapterSpec


def test_generation_asks_greedily_with_nouns_and_five_examples() -> None:
    assert generation("Think.", "Passage", "Answer") == AdapterSpec(
        method="generation",
        instructions="Think.\n",
        input_prefix="Passage: ",
        input_suffix="\n",
        output_prefix="Answer: ",
        output_suffix="\n",
        max_train_instances=5,
        num_outputs=1,
        max_tokens=5,
        temperature=0,
        stop_sequences=("\n",),
    )
    assert generation("", "Q", "A").instructions == ""
    assert generation("", "Q", "A", max_tokens=9, stop="\n\n").stop_sequences == ("\n\n",)


@pytest.mark.parametrize("method", ["multiple_choice_joint", "multiple_choice_joint_chain_of_thought"])
def test_joint_methods_show_options_and_want_one_token(method: str) -> None:
    adapter = multiple_choice("Choose.", "Question", "Answer", method=method)  # type: ignore[arg-type]
    assert adapter.method == method
    assert adapter.instructions == "Choose.\n"
    assert (adapter.input_prefix, adapter.reference_prefix, adapter.output_prefix) == (
        "Question: ",
        "A. ",
        "Answer: ",
    )
    assert (adapter.max_train_instances, adapter.num_outputs, adapter.max_tokens) == (5, 5, 1)
    assert (adapter.temperature, adapter.stop_sequences) == (0, ("\n",))


@pytest.mark.parametrize(
    "method", ["multiple_choice_separate_original", "multiple_choice_separate_calibrated"]
)
def test_separate_methods_score_bare_continuations(method: str) -> None:
    adapter = multiple_choice("Choose.", "Question", "Answer", method=method)  # type: ignore[arg-type]
    affixes = (adapter.instructions, adapter.input_prefix, adapter.input_suffix, adapter.output_suffix)
    assert affixes == ("", "", "", "")
    assert adapter.output_prefix == " "
    assert (adapter.max_train_instances, adapter.num_outputs, adapter.max_tokens) == (0, 1, 0)
    assert adapter.stop_sequences == ()


def test_run_specs_load_without_anything_heavy() -> None:
    code = (
        "import sys, evalkit.run_specs.gsm, evalkit.run_specs.mmlu, evalkit.run_specs.simple, "
        "evalkit.run_specs.arithmetic, evalkit.specs.expand, evalkit.specs.conf, evalkit.specs.digest\n"
        "heavy = {'torch', 'numpy', 'pandas', 'aiohttp', 'openai', 'anthropic', 'yaml', 'transformers'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
