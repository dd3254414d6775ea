from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest

from evalkit.errors import EntryError, UsageError
from evalkit.run_specs.gpqa import gpqa
from evalkit.run_specs.gsm import gsm
from evalkit.run_specs.ifeval import ifeval
from evalkit.run_specs.math import math
from evalkit.run_specs.mmlu import mmlu
from evalkit.run_specs.mmlu_pro import mmlu_pro
from evalkit.specs import expanders, expanders_prompt
from evalkit.specs.conf import ConfEntry
from evalkit.specs.expand import ExpandOptions, expand_entries
from evalkit.specs.run_spec import RunSpec

if TYPE_CHECKING:
    from tests.specs.conftest import FakeModels


def the_one(run_specs: Iterable[RunSpec]) -> RunSpec:
    (run_spec,) = run_specs
    return run_spec


def test_a_prompt_sets_only_what_it_says() -> None:
    made = the_one(expanders_prompt.prompt(gsm(), "human_assistant"))
    adapter = made.adapter_spec
    assert made.name == "gsm,prompt=human_assistant"
    assert (adapter.input_prefix, adapter.input_suffix) == ('Human: What is the answer to "', '"?\n')
    assert (adapter.output_prefix, adapter.output_suffix) == ('Assistant: The answer is "', '".\n')
    assert adapter.stop_sequences == ('".',)
    assert the_one(expanders_prompt.prompt(gsm(), "input_output")).adapter_spec.input_suffix == "\n"


def test_format_prompt_and_add_to_stop_leave_the_name() -> None:
    made = the_one(expanders_prompt.format_prompt(gsm(), "Solve: "))
    assert (made.adapter_spec.input_prefix, made.adapter_spec.output_prefix) == ("Solve: ", "")
    longer = the_one(expanders_prompt.add_to_stop(made, "newline"))
    assert longer.adapter_spec.stop_sequences[-1] == "\n"
    assert longer.name == "gsm"
    with pytest.raises(UsageError, match="add_to_stop needs a text"):
        expanders_prompt.add_to_stop(gsm(), "")


def test_format_instructions_go_to_instruction_tuned_models(models: FakeModels) -> None:
    asked = the_one(expanders.model(gsm(), "anthropic/claude-3-haiku-20240307", models))
    told = the_one(expanders_prompt.follow_format_instructions(asked, "instruct", models))
    assert told.adapter_spec.global_prefix.startswith("Here are some input-output examples.")
    assert told.adapter_spec.global_suffix.endswith("preceding outputs!\nA:")
    base = the_one(expanders.model(gsm(), "openai/gpt2", models))
    assert the_one(expanders_prompt.follow_format_instructions(base, "instruct", models)) == base
    with pytest.raises(UsageError, match="put it after model="):
        expanders_prompt.follow_format_instructions(gsm(), "instruct", models)
    with pytest.raises(UsageError, match="for the method generation, not multiple_choice_joint"):
        expanders_prompt.follow_format_instructions(mmlu("anatomy"), "all", models)


def test_chat_style_is_in_the_name() -> None:
    made = the_one(expanders_prompt.chat_style(gsm(), "turns"))
    assert (made.name, made.adapter_spec.chat_style) == ("gsm:chat_style=turns", "turns")


def test_chatml_puts_the_instructions_into_a_system_turn() -> None:
    adapter = the_one(expanders_prompt.chatml(mmlu("anatomy"), "yes")).adapter_spec
    assert adapter.instructions.startswith("<|im_start|>system\nThe following")
    assert adapter.instructions.endswith("<|im_end|>\n<|im_start|>user\n")
    assert adapter.output_prefix == "<|im_end|>\n<|im_start|>assistant\nAnswer: "
    assert adapter.output_suffix == "<|im_end|>\n<|im_start|>user\n"
    assert adapter.instance_prefix == ""
    assert adapter.stop_sequences[-1] == "<|im_end|>"
    assert expanders_prompt.with_chatml(gsm()).adapter_spec.instructions == "<|im_start|>user\n"


def test_chatml_leaves_the_question_of_a_ranking_with_the_user() -> None:
    ranking = gsm().named("msmarco:track=regular").with_adapter(output_prefix="Is it?\nAnswer: ")
    changed = expanders_prompt.with_chatml(ranking)
    assert changed.adapter_spec.output_prefix == "Is it?<|im_end|>\n<|im_start|>assistant\nAnswer: "


def test_process_output_wraps_all_metrics() -> None:
    made = the_one(expanders_prompt.process_output(gsm(), "remove_thinking"))
    (spec,) = made.metric_specs
    assert spec.name == "output_processing"
    assert [inner["name"] for inner in spec.args["metric_specs"]] == [m.name for m in gsm().metric_specs]
    with pytest.raises(UsageError, match=r"write remove_thinking, or module\.name"):
        expanders_prompt.process_output(gsm(), "nothing")


def names(run_spec: RunSpec) -> list[str]:
    return [spec.name for spec in run_spec.metric_specs]


def test_the_robust_reader_adds_metrics_and_changes_nothing_else() -> None:
    for made, added in (
        (gsm(), ["final_number_match"]),
        (math("algebra", 1), ["math_equiv_final"]),
        (math("algebra", 1, use_chain_of_thought=True), ["math_equiv_boxed"]),
        (gpqa("main"), ["final_option_match"]),
        (mmlu_pro(use_chain_of_thought=False), ["final_option_match"]),
        (mmlu("anatomy"), ["final_option_match"]),
    ):
        assert the_one(expanders_prompt.answer_reader(made, "helm")) == made
        robust = the_one(expanders_prompt.answer_reader(made, "robust"))
        assert names(robust) == [*names(made), *added]
        assert robust.model_copy(update={"metric_specs": made.metric_specs}) == made


def test_the_robust_reader_sees_what_process_output_leaves_in_either_order() -> None:
    rewritten = the_one(expanders_prompt.process_output(gsm(), "remove_thinking"))
    one = the_one(expanders_prompt.answer_reader(rewritten, "robust"))
    robust = the_one(expanders_prompt.answer_reader(gsm(), "robust"))
    assert one == the_one(expanders_prompt.process_output(robust, "remove_thinking"))


def test_a_robust_reader_for_nothing_is_refused() -> None:
    separate = mmlu("anatomy", method="multiple_choice_separate_original")
    for made in (separate, ifeval()):
        with pytest.raises(UsageError, match=r"no metric of '.*' has a robust reader"):
            expanders_prompt.answer_reader(made, "robust")


def test_lengths_and_tokenizer_of_a_scenario(models: FakeModels) -> None:
    assert [s.adapter_spec.max_tokens for s in expanders.num_output_tokens(gsm(), "default_sweep")] == [
        *(1, 2, 4, 8, 16, 32, 64)
    ]
    swept = list(expanders.num_prompt_tokens(gsm(), "default_sweep"))
    assert [s.scenario_spec.args["num_prompt_tokens"] for s in swept] == [1, 256, 512, 1024, 1536]
    assert swept[1].name == "gsm:num_prompt_tokens=256"
    asked = the_one(expanders.model(gsm(), "simple/model1", models))
    made = the_one(expanders.tokenizer(asked, "default", models))
    assert made.scenario_spec.args == {"tokenizer": "simple/tokenizer1"}
    assert made.name == "gsm:model=simple_model1,tokenizer=simple_tokenizer1"
    with pytest.raises(UsageError, match="put it after model="):
        expanders.tokenizer(gsm(), "default", models)
    with pytest.raises(UsageError, match="no tokenizer is known for 'huggingface/gpt2'"):
        expanders.tokenizer(the_one(expanders.model(gsm(), "openai/gpt2", models)), "default", models)


@pytest.mark.parametrize(
    "argument", ["prompt=q_and_a", "newline=tab", "global_prefix=x", "chatml=1", "chat_style=multi"]
)
def test_unknown_values_are_refused_with_their_place(models: FakeModels, argument: str) -> None:
    with pytest.raises(EntryError, match="is not one of") as caught:
        expand_entries([ConfEntry(f"gsm:model=openai/gpt2,{argument}")], models, ExpandOptions())
    start, end = caught.value.span
    assert caught.value.entry[start:end] == argument.split("=")[1]
