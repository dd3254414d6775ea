from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest

from evalkit.errors import UnknownNameError, UsageError
from evalkit.parameters import parameters_of, summary_of
from evalkit.registry import EXPANDERS
from evalkit.run_specs.gsm import gsm
from evalkit.run_specs.mmlu import mmlu
from evalkit.specs import expanders
from evalkit.specs.expanders import suffixed
from evalkit.specs.run_spec import RunSpec

if TYPE_CHECKING:
    from tests.specs.conftest import FakeModels


def the_one(run_specs: Iterable[RunSpec]) -> RunSpec:
    (run_spec,) = run_specs
    return run_spec


def test_the_first_suffix_follows_a_colon_and_others_a_comma() -> None:
    once = suffixed(gsm(), "a", "x/y")
    assert once.name == "gsm:a=x_y"
    assert suffixed(once, "b", 2).name == "gsm:a=x_y,b=2"
    assert suffixed(gsm(), "b", 2, separator=",").name == "gsm,b=2"


def test_every_expander_takes_a_typed_value_and_says_what_it_does() -> None:
    for name in EXPANDERS:
        first, value, *rest = parameters_of(EXPANDERS.get(name))
        assert (first.name, value.name) == ("run_spec", "value"), name
        assert [p.name for p in rest] in ([], ["models"]), name
        assert summary_of(EXPANDERS.get(name)).endswith("."), name


def test_shots_is_another_word_for_max_train_instances() -> None:
    assert EXPANDERS.get("shots") is EXPANDERS.get("max_train_instances")
    swept = expanders.max_train_instances(gsm(), "melt")
    assert [s.adapter_spec.max_train_instances for s in swept] == [0, 1, 5]
    assert [s.name for s in expanders.max_train_instances(gsm(), 3)] == ["gsm:max_train_instances=3"]


def test_a_model_is_named_by_its_last_two_components(models: FakeModels) -> None:
    run_spec = the_one(expanders.model(gsm(), "together/meta/llama-2-7b", models))
    assert run_spec.name == "gsm:model=meta_llama-2-7b"
    assert run_spec.adapter_spec.model == "meta/llama-2-7b"
    assert run_spec.adapter_spec.model_deployment == "together/meta/llama-2-7b"


def test_a_wildcard_gives_a_run_for_each_model_in_order(models: FakeModels) -> None:
    names = [run_spec.name for run_spec in expanders.model(gsm(), "text", models)]
    assert names == ["gsm:model=openai_gpt2", "gsm:model=simple_model1"]


def test_an_empty_wildcard_is_refused(models: FakeModels) -> None:
    with pytest.raises(UsageError, match="no known model is in it"):
        expanders.model(gsm(), "biomedical", models)


@pytest.mark.parametrize("model_first", [True, False])
def test_a_deployment_is_kept_on_either_side_of_the_model(models: FakeModels, model_first: bool) -> None:
    if model_first:
        half = the_one(expanders.model(gsm(), "openai/gpt2", models))
        whole = the_one(expanders.model_deployment(half, "elsewhere/gpt2", models))
        assert whole.name == "gsm:model=openai_gpt2,model_deployment=elsewhere_gpt2"
    else:
        half = the_one(expanders.model_deployment(gsm(), "elsewhere/gpt2", models))
        whole = the_one(expanders.model(half, "openai/gpt2", models))
        assert whole.name == "gsm:model_deployment=elsewhere_gpt2,model=openai_gpt2"
    assert whole.adapter_spec.model == "openai/gpt2"
    assert whole.adapter_spec.model_deployment == "elsewhere/gpt2"


def test_a_deployment_of_another_model_is_refused(models: FakeModels) -> None:
    message = "deployment 'elsewhere/gpt2' serves the model 'openai/gpt2', not 'simple/model1'"
    with pytest.raises(UsageError, match=message):
        expanders.model_deployment(
            the_one(expanders.model(gsm(), "simple/model1", models)), "elsewhere/gpt2", models
        )
    with pytest.raises(UsageError, match=message):
        expanders.model(
            the_one(expanders.model_deployment(gsm(), "elsewhere/gpt2", models)), "simple/model1", models
        )
    with pytest.raises(UsageError, match="is a model, not a deployment; it is served by 'huggingface/gpt2'"):
        expanders.model_deployment(gsm(), "openai/gpt2", models)


def test_output_formats_stand_before_the_instructions_or_after_the_question() -> None:
    before = the_one(expanders.output_format_instructions(mmlu("anatomy"), "mcqa_no_prefix"))
    text = "Answer with only a single letter. Do not include 'Answer:' in your answer."
    assert before.adapter_spec.instructions == f"{text}\n\n{mmlu('anatomy').adapter_spec.instructions}"
    after = the_one(expanders.output_format_instructions(mmlu("anatomy"), "mcqa_no_prefix_suffix"))
    assert after.adapter_spec.global_suffix == f"\n\n{text}"
    assert after.adapter_spec.instructions == mmlu("anatomy").adapter_spec.instructions
    assert after.name == mmlu("anatomy").name


def test_legalbench_asks_for_the_noun_of_the_output_prefix() -> None:
    for prefix, text in [("Type: ", "Answer with the type.\n"), ("Answer: ", "Answer yes or no.\n")]:
        run_spec = gsm().with_adapter(output_prefix=prefix)
        made = the_one(expanders.output_format_instructions(run_spec, "legalbench"))
        assert made.adapter_spec.instructions == text


def test_an_unknown_output_format_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'mcqa'"):
        expanders.output_format_instructions(mmlu("anatomy"), "mcqaa")
    with pytest.raises(UnknownNameError, match="for the method generation"):
        expanders.output_format_instructions(gsm(), "mmlu")
    separate = mmlu("anatomy", "multiple_choice_separate_original")
    with pytest.raises(UsageError, match="no output format instructions for the method"):
        expanders.output_format_instructions(separate, "mmlu")


def test_sampling_expanders_leave_the_name_alone() -> None:
    for made, field, value in [
        (expanders.temperature(gsm(), 0.7), "temperature", 0.7),
        (expanders.increase_temperature(gsm(), 0.5), "temperature", 0.5),
        (expanders.increase_max_tokens(gsm(), 10), "max_tokens", 410),
    ]:
        run_spec = the_one(made)
        assert run_spec.name == "gsm"
        assert getattr(run_spec.adapter_spec, field) == value
    with pytest.raises(UsageError, match="finite"):
        expanders.temperature(gsm(), float("inf"))
