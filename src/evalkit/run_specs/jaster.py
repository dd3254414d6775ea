"""jaster (llm-jp-eval): Japanese and English tasks in one format, as the Nejumi leaderboard asks them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from evalkit.errors import UnknownNameError
from evalkit.registry import run_spec_function
from evalkit.run_specs.entry_texts import in_name, text_given
from evalkit.run_specs.jaster_datasets import DATASETS, DEFAULT_VERSION, EXACT_MATCH, JasterDataset
from evalkit.specs.run_spec import AdapterSpec, MetricSpec, RunSpec, ScenarioSpec

Edition = Literal["neo", "nejumi3", "nejumi4"]
Form = Literal["edition", "alpaca", "chat"]
Split = Literal["test", "dev"]
Answers = Literal["original", "corrected", "as_generated"]
BleuTokens = Literal["ja-mecab", "char"]
Items = int | Literal["edition", "all"]
Numbers = Literal["original", "in_text"]
Unparsable = Literal["original", "left_out"]

FOLDER = f"{DEFAULT_VERSION}/evaluation"
_HEADS = {
    "ja": (
        "以下は、タスクを説明する指示と、文脈のある入力の組み合わせです。要求を適切に満たす応答を書きなさい。",
        ("指示", "入力", "応答"),
    ),
    "en": (
        "Here is a combination of instructions explaining the task and inputs with context. "
        "Please write a response that adequately meets the request.",
        ("Instruction", "Input", "Response"),
    ),
}
_INTRODUCTIONS = {
    "ja": _HEADS["ja"][0],
    "en": "The following text provides instructions for a certain task.",
}
_CATEGORIES = {
    "NLI": "Does a hypothesis follow from a premise, in Japanese",
    "MC": "Japanese questions of common sense, answered with a number",
    "QA": "Japanese questions, answered in a few words",
    "RC": "Japanese questions about a passage, answered from it",
    "STS": "How alike two Japanese sentences are, from 0 to 5",
    "EL": "What Japanese business reports speak well or badly of",
    "FA": "Japanese text annotated: readings, names, dependencies, arguments or coreferences",
    "syntactic": "Is a Japanese sentence grammatical",
    "MR": "Japanese word problems, answered with a number",
    "HE": "Multiple-choice exam questions in many subjects",
    "MT": "Sentences translated between Japanese and English",
    "CG": "Python functions to be written from a Japanese description",
}
_FIGURES = ("mawps", "mgsm")  # scored by value since Nejumi 3
# Datasets whose answers have a form that can be checked, besides those with labels.
_FORMS = frozenset({"chabsa", "jsts", "mawps", "mgsm", "wiki_dependency", "wiki_ner"})
# Names in the files to evalkit's metrics, whose `exact_match` is HELM's.
_METRICS = {EXACT_MATCH: "jaster_exact_match"}
_LATER_LENGTHS = {"janli": 15}
_DEV_ITEMS = {100: 10, 20: 5, 5: 1}  # by the number of test items


def alpaca_templates(language: Literal["ja", "en"]) -> tuple[str, str]:
    """The prompt and the example of the Alpaca form, as templates."""
    head, (instruction, asked, answer) = _HEADS[language]
    example = f"\n\n### {asked}:\n{{input}}\n\n### {answer}:\n{{output}}"
    prompt = f"{head}\n\n### {instruction}:\n{{instruction}}{{few_shots}}"
    return f"{prompt}\n\n### {asked}:\n{{input}}\n\n### {answer}:\n", example


def chat_template(language: Literal["ja", "en"]) -> str:
    """The first message of the chat form."""
    return f"{_INTRODUCTIONS[language]}\n{{instruction}}\n\n{{input}}"


@dataclass(frozen=True, slots=True)
class Asked:
    """What an entry asks besides the dataset; the fields are the parameters of the run specs."""

    edition: Edition = "neo"
    form: Form = "edition"
    prompt_template: str = ""
    example_template: str = ""
    split: Split = "test"
    items: Items = "edition"
    testmode: bool = False
    answers: Answers = "original"
    bleu_tokens: BleuTokens = "ja-mecab"
    folder: str = FOLDER
    pattern: str = ""
    numbers: Numbers = "original"
    unparsable: Unparsable = "original"
    extras: bool = False

    def suffix(self, without: Sequence[str] = ()) -> str:
        """What differs from the defaults, as the name of a run says it; long texts by their checksum."""
        given = [(f, getattr(self, f.name)) for f in fields(self) if f.name not in without]
        changed = [(field.name, value) for field, value in given if value != field.default]
        return ",".join(f"{name}={in_name(value)}" for name, value in changed)


@run_spec_function("jaster")
def jaster(  # noqa: PLR0913 - one argument per option of an entry
    dataset: str,
    edition: Edition = "neo",
    form: Form = "edition",
    prompt_template: str = "",
    example_template: str = "",
    split: Split = "test",
    items: Items = "edition",
    testmode: bool = False,
    answers: Answers = "original",
    bleu_tokens: BleuTokens = "ja-mecab",
    folder: str = FOLDER,
    pattern: str = "",
    numbers: Numbers = "original",
    unparsable: Unparsable = "original",
    extras: bool = False,
) -> RunSpec:
    """A dataset of jaster; `shots=4` shows the first items of its train split.

    Args:
        dataset: Which, such as jnli; its name alone is a run spec too.
        edition: Whose defaults hold: those of Neo (Nejumi's branch of 2024), of Nejumi 3 or of Nejumi 4.
        form: The prompt: Alpaca's, one text (Neo), or a chat with examples as turns (later editions).
        prompt_template: Another prompt, with {instruction} and {input}, or @FILE that holds it.
        example_template: Another few-shot example, with {input} and {output}, or @FILE that holds it.
        split: test or dev; of dev the originals evaluate a tenth as many items.
        items: How many items of each file are evaluated, from its beginning; else as the edition does.
        testmode: Evaluate only one or two items of each file, to try things out.
        answers: How an answer is read: as the original does, with its mistakes mended, or as generated.
        bleu_tokens: The words of Japanese translations: MeCab's, or single characters, which need no MeCab.
        folder: Where train, dev and test are, below the data directory or as a path.
        pattern: A regular expression whose first group is the answer, such as <answer>(.*?)</answer>.
        numbers: What exact_match_figure compares: the whole answer, or the last number in it.
        unparsable: Whether correlations count an answer without a number as -2, or leave it out.
        extras: Also score with COMET (translations) and pylint (programs), which need further packages.
    """
    if dataset not in DATASETS:
        raise UnknownNameError("dataset of jaster", dataset, DATASETS)
    asked = Asked(
        edition,
        form,
        prompt_template,
        example_template,
        split,
        items,
        testmode,
        answers,
        bleu_tokens,
        folder,
        pattern,
        numbers,
        unparsable,
        extras,
    )
    return _run_spec(DATASETS[dataset], asked, f"jaster:dataset={dataset}", ",")


def _register(dataset: JasterDataset) -> None:
    """Make a run spec with the name of the dataset."""

    def run_spec(  # noqa: PLR0913 - one argument per option of an entry
        edition: Edition = "neo",
        form: Form = "edition",
        prompt_template: str = "",
        example_template: str = "",
        split: Split = "test",
        items: Items = "edition",
        testmode: bool = False,
        answers: Answers = "original",
        bleu_tokens: BleuTokens = "ja-mecab",
        folder: str = FOLDER,
        pattern: str = "",
        numbers: Numbers = "original",
        unparsable: Unparsable = "original",
        extras: bool = False,
    ) -> RunSpec:
        asked = Asked(
            edition,
            form,
            prompt_template,
            example_template,
            split,
            items,
            testmode,
            answers,
            bleu_tokens,
            folder,
            pattern,
            numbers,
            unparsable,
            extras,
        )
        return _run_spec(dataset, asked, dataset.name, ":")

    arguments = (inspect.getdoc(jaster) or "").partition("Args:\n")[2].split("\n", 1)[1]
    run_spec.__doc__ = f"{_CATEGORIES[dataset.category]} (jaster).\n\nArgs:\n{arguments}"
    run_spec.__qualname__ = run_spec.__name__ = dataset.name
    run_spec_function(dataset.name)(run_spec)


for _dataset in DATASETS.values():
    _register(_dataset)


def _run_spec(dataset: JasterDataset, asked: Asked, name: str, separator: str) -> RunSpec:
    suffix = asked.suffix()
    scenario_args: dict[str, Any] = {
        "dataset": dataset.name,
        "folder": asked.folder,
        "split": asked.split,
        "max_items": max_items(dataset, asked),
        "shots": 0,
    }
    if asked.edition == "nejumi4" and dataset.is_single_later:
        scenario_args["in_one_file"] = True
    return RunSpec(
        name=f"{name}{separator}{suffix}" if suffix else name,
        scenario_spec=ScenarioSpec(name="jaster", args=scenario_args),
        adapter_spec=adapter_spec(dataset, asked),
        metric_specs=_metric_specs(dataset, asked),
        groups=("jaster", f"jaster_{dataset.language}", dataset.name),
    )


def adapter_spec(dataset: JasterDataset, asked: Asked) -> AdapterSpec:
    """How the questions of a dataset are asked.

    Raises:
        UsageError: The file of a template can't be read.
    """
    form = asked.form
    if form == "edition":
        form = "alpaca" if asked.edition == "neo" else "chat"
    prompt, example = alpaca_templates(dataset.language)
    if form == "chat":
        prompt, example = chat_template(dataset.language), ""
    later_length = _LATER_LENGTHS.get(dataset.name, dataset.output_length)
    return AdapterSpec(
        method="template",
        prompt_template=text_given("prompt_template", asked.prompt_template) or prompt,
        example_template=text_given("example_template", asked.example_template) or example,
        chat_style="turns" if form == "chat" else None,
        input_prefix="",
        input_suffix="",
        output_prefix="",
        output_suffix="",
        instance_prefix="",
        max_train_instances=0,
        sample_train=False,
        num_outputs=1,
        max_tokens=dataset.output_length if asked.edition == "neo" else later_length,
        temperature=0.1,
        eval_splits=("test",) if asked.split == "test" else ("valid",),
    )


def max_items(dataset: JasterDataset, asked: Asked) -> int | None:
    """How many items of each file are evaluated; None: all."""
    if isinstance(asked.items, int):
        return asked.items
    is_group = bool(dataset.subjects)
    if asked.testmode:
        return 2 if asked.edition == "neo" and not is_group else 1
    if asked.items == "all":
        return None
    most = 100 if asked.edition == "nejumi4" else dataset.max_items
    return most if asked.split == "test" else _DEV_ITEMS[most]


def _metric_specs(dataset: JasterDataset, asked: Asked) -> tuple[MetricSpec, ...]:
    """The metrics, which read the answers as the edition does."""
    names = dataset.metrics
    if asked.edition != "neo" and dataset.name in _FIGURES:
        names = ("exact_match_figure",)
    if dataset.name == "jhumaneval":
        args = {} if asked.answers == "original" else {"answers": "blocks"}
        checks = (MetricSpec(name="pylint_check"),) if asked.extras else ()
        return (MetricSpec(name="code_exec", args=args), *checks)
    if dataset.category == "MT" and asked.extras:
        names = (*names, "comet_wmt22")
    if dataset.labels or dataset.subjects or dataset.name in _FORMS:
        names = (*names, "format_control")
    return tuple(
        MetricSpec(name=_METRICS.get(name, name), args=_arguments(name, dataset, asked)) for name in names
    )


def _arguments(metric: str, dataset: JasterDataset, asked: Asked) -> dict[str, str]:
    # In Nejumi 4 `jmmlu` is one file, and its name lacks the `_` by which the original knows how to read it.
    is_known = dataset.subjects and not (asked.edition == "nejumi4" and dataset.name == "jmmlu")
    args = {"dataset": f"{dataset.name}_" if is_known else dataset.name}
    if asked.answers != "original":
        args["answers"] = asked.answers
    if asked.pattern:
        args["pattern"] = asked.pattern
    if asked.answers == "corrected" and metric == "set_f1":
        args["right_lines"] = "once"
    if metric == "bleu_ja" and asked.bleu_tokens != "ja-mecab":
        args["tokens"] = asked.bleu_tokens
    if metric == "exact_match_figure" and asked.numbers != "original":
        args["numbers"] = asked.numbers
    if metric in ("pearson", "spearman") and asked.unparsable != "original":
        args["unparsable"] = asked.unparsable
    return args
