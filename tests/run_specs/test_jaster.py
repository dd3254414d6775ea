from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import UnknownNameError, UsageError
from evalkit.metrics.format_control import form_of
from evalkit.registry import RUN_SPECS
from evalkit.run_specs.jaster import jaster
from evalkit.run_specs.jaster_datasets import DATASETS
from evalkit.run_specs.jmmlu_robustness import jmmlu_robustness
from evalkit.specs.expanders import instructions
from evalkit.specs.expanders_prompt import chatml, format_prompt, prompt
from evalkit.specs.run_spec import RunSpec

JA = "以下は、タスクを説明する指示と、文脈のある入力の組み合わせです。要求を適切に満たす応答を書きなさい。"
ALPACA_JA = f"{JA}\n\n### 指示:\n{{instruction}}{{few_shots}}\n\n### 入力:\n{{input}}\n\n### 応答:\n"
ALPACA_EN = (
    "Here is a combination of instructions explaining the task and inputs with context. "
    "Please write a response that adequately meets the request.\n\n"
    "### Instruction:\n{instruction}{few_shots}\n\n### Input:\n{input}\n\n### Response:\n"
)


def names(run_spec: RunSpec) -> list[str]:
    return [spec.name for spec in run_spec.metric_specs]


def test_neo_asks_in_the_alpaca_form() -> None:
    adapter = jaster("jnli").adapter_spec
    assert adapter.prompt_template == ALPACA_JA
    assert adapter.example_template == "\n\n### 入力:\n{input}\n\n### 応答:\n{output}"
    assert (adapter.temperature, adapter.max_tokens, adapter.chat_style) == (0.1, 3, None)
    assert jaster("mmlu_en").adapter_spec.prompt_template == ALPACA_EN


def test_later_editions_chat() -> None:
    adapter = jaster("jnli", edition="nejumi3").adapter_spec
    assert (adapter.prompt_template, adapter.chat_style) == (f"{JA}\n{{instruction}}\n\n{{input}}", "turns")
    english = jaster("mmlu_en", edition="nejumi4").adapter_spec.prompt_template
    assert english.startswith("The following text provides instructions for a certain task.\n{instruction}")
    assert jaster("jnli", edition="nejumi3", form="alpaca").adapter_spec.prompt_template == ALPACA_JA


@pytest.mark.parametrize(
    ("dataset", "asked", "items"),
    [
        ("jnli", {}, 100),
        ("jnli", {"split": "dev"}, 10),
        ("wiki_ner", {}, 20),
        ("wiki_ner", {"split": "dev"}, 5),
        ("jmmlu", {}, 5),
        ("jmmlu", {"split": "dev", "edition": "nejumi3"}, 1),
        ("jmmlu", {"edition": "nejumi4"}, 100),
        ("wiki_ner", {"edition": "nejumi4", "split": "dev"}, 10),
        ("jnli", {"testmode": True}, 2),
        ("mmlu_en", {"testmode": True}, 1),
        ("jnli", {"testmode": True, "edition": "nejumi3"}, 1),
        ("jnli", {"items": "all"}, None),
        ("jnli", {"items": 7, "testmode": True}, 7),
    ],
)
def test_the_items_are_those_of_the_edition(dataset: str, asked: dict[str, Any], items: int | None) -> None:
    run_spec = jaster(dataset, **asked)
    assert run_spec.scenario_spec.args["max_items"] == items
    assert run_spec.adapter_spec.eval_splits == (("valid",) if asked.get("split") == "dev" else ("test",))


def test_each_dataset_has_the_metrics_of_the_benchmark() -> None:
    assert {name: names(jaster(name)) for name in ("jnli", "jemhopqa", "jsts", "chabsa", "wiki_reading")} == {
        "jnli": ["jaster_exact_match", "format_control"],
        "jemhopqa": ["char_f1"],
        "jsts": ["pearson", "spearman", "format_control"],
        "chabsa": ["set_f1", "format_control"],
        "wiki_reading": ["char_f1"],
    }
    assert names(jaster("mawps")) == names(jaster("mgsm")) == ["jaster_exact_match", "format_control"]
    assert names(jaster("mgsm", edition="nejumi3")) == ["exact_match_figure", "format_control"]
    (program,) = jaster("jhumaneval", answers="corrected").metric_specs
    assert (program.name, program.args) == ("code_exec", {"answers": "blocks"})
    assert (names(jaster("alt-e-to-j")), names(jaster("alt-j-to-e"))) == (["bleu_ja"], ["bleu_en"])


def test_the_form_of_answers_is_checked_where_there_is_one() -> None:
    for name in DATASETS:
        assert ("format_control" in names(jaster(name))) == (form_of(name) is not None), name


def test_each_dataset_is_a_run_spec_of_its_own_name() -> None:
    assert set(DATASETS) <= set(RUN_SPECS)
    for name in DATASETS:
        own = RUN_SPECS.get(name)(items=3, edition="nejumi3")
        general = jaster(name, items=3, edition="nejumi3")
        assert own.name == f"{name}:edition=nejumi3,items=3"
        assert own.model_copy(update={"name": general.name}) == general


def test_templates_may_come_from_files(tmp_path: Path) -> None:
    path = tmp_path / "prompt.txt"
    path.write_text("{instruction}, {input}:", encoding="utf-8")
    run_spec = jaster("jnli", prompt_template=f"@{path}", example_template="({input}={output})")
    assert run_spec.adapter_spec.prompt_template == "{instruction}, {input}:"
    assert run_spec.adapter_spec.example_template == "({input}={output})"
    with pytest.raises(UsageError, match="prompt_template: can't read"):
        jaster("jnli", prompt_template=f"@{path}x")


def test_an_unknown_dataset_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'jnli'"):
        jaster("jnly")


@pytest.mark.parametrize(
    ("dataset", "asked", "args"),
    [
        ("jnli", {}, {"dataset": "jnli"}),
        ("jmmlu", {}, {"dataset": "jmmlu_"}),
        ("mmlu_en", {"edition": "nejumi4"}, {"dataset": "mmlu_en_"}),
        ("jmmlu", {"edition": "nejumi4"}, {"dataset": "jmmlu"}),
        ("jnli", {"answers": "corrected"}, {"dataset": "jnli", "answers": "corrected"}),
        (
            "chabsa",
            {"answers": "corrected"},
            {"dataset": "chabsa", "answers": "corrected", "right_lines": "once"},
        ),
        ("alt-e-to-j", {"bleu_tokens": "char"}, {"dataset": "alt-e-to-j", "tokens": "char"}),
        ("alt-j-to-e", {"bleu_tokens": "char"}, {"dataset": "alt-j-to-e"}),
        ("jnli", {"pattern": "<a>(.*)</a>"}, {"dataset": "jnli", "pattern": "<a>(.*)</a>"}),
        ("mgsm", {"edition": "nejumi3", "numbers": "in_text"}, {"dataset": "mgsm", "numbers": "in_text"}),
        ("jnli", {"numbers": "in_text", "unparsable": "left_out"}, {"dataset": "jnli"}),
    ],
)
def test_metrics_read_answers_as_the_edition_does(
    dataset: str, asked: dict[str, Any], args: dict[str, str]
) -> None:
    scoring, *checking = [spec.args for spec in jaster(dataset, **asked).metric_specs]
    assert scoring == args
    read = {name: value for name, value in args.items() if name in ("dataset", "answers", "pattern")}
    assert checking == [read] * (form_of(dataset) is not None)


def test_correlations_leave_out_what_is_no_number_where_that_is_asked() -> None:
    *correlations, form = jaster("jsts", unparsable="left_out").metric_specs
    assert [dict(spec.args) for spec in correlations] == [{"dataset": "jsts", "unparsable": "left_out"}] * 2
    assert dict(form.args) == {"dataset": "jsts"}


def test_metrics_that_need_further_packages_are_asked_for() -> None:
    assert names(jaster("alt-e-to-j", extras=True)) == ["bleu_ja", "comet_wmt22"]
    assert names(jaster("jhumaneval", extras=True)) == ["code_exec", "pylint_check"]
    assert names(jaster("jnli", extras=True)) == names(jaster("jnli"))


def test_nejumi_4_has_jmmlu_in_one_file() -> None:
    assert jaster("jmmlu", edition="nejumi4").scenario_spec.args["in_one_file"] is True
    assert "in_one_file" not in jaster("jmmlu", edition="nejumi3").scenario_spec.args
    assert "in_one_file" not in jaster("mmlu_en", edition="nejumi4").scenario_spec.args


def test_robustness_reads_all_variants_alike() -> None:
    for edition, items in (("nejumi3", 5), ("nejumi4", 100)):
        run_spec = jmmlu_robustness(edition=edition)  # type: ignore[arg-type]
        assert run_spec.scenario_spec.args["max_items"] == items
        assert {str(spec.args["dataset"]) for spec in run_spec.metric_specs} == {"jmmlu_"}
    assert jmmlu_robustness().name == "jmmlu_robustness"
    assert jmmlu_robustness("nejumi4", testmode=True).name == "jmmlu_robustness:edition=nejumi4,testmode=True"


def test_expanders_that_would_not_change_the_prompt_are_refused() -> None:
    run_spec = jaster("jnli")
    cases: list[tuple[Any, str]] = [(prompt, "qa"), (format_prompt, "Q: "), (instructions, "expert")]
    for expander, value in cases:
        with pytest.raises(UsageError, match=f"{expander.__name__}= does not work here.*prompt_template="):
            list(expander(run_spec, value))


def test_chatml_marks_the_whole_prompt_and_leaves_chats_as_they_are() -> None:
    (marked,) = chatml(jaster("jnli"), "yes")
    adapter = marked.adapter_spec
    assert adapter.prompt_template == f"<|im_start|>user\n{ALPACA_JA}<|im_end|>\n<|im_start|>assistant\n"
    assert (adapter.stop_sequences, adapter.instructions) == (("<|im_end|>",), "")
    (chat,) = chatml(jaster("jnli", form="chat"), "yes")
    assert chat.adapter_spec == jaster("jnli", form="chat").adapter_spec
