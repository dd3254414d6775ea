"""Run expanders: what a run entry says besides the benchmark's own parameters.

An expander turns one run spec into one or more. In an entry it is an argument like any other
(`mmlu:subject=anatomy,max_train_instances=all,model=text`); expanders are applied from left to right. A
plugin adds one with `@run_expander("name")`: a function `(run_spec, value)` or `(run_spec, value, models)`
whose annotation of `value` says what an entry may write there.

Names, values and the suffix that each expander leaves in the run name are HELM's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from evalkit.errors import UnknownNameError, UsageError
from evalkit.registry import run_expander
from evalkit.specs.model_names import ModelNames
from evalkit.specs.run_spec import RunSpec


def refuse_template(run_spec: RunSpec, name: str) -> None:
    """Nothing, unless the prompts are made from a template, which an expander of this name can't change.

    Raises:
        UsageError: They are.
    """
    if run_spec.adapter_spec.prompt_template:
        raise UsageError(
            f"{name}= does not work here: '{run_spec.name}' makes its prompts from a template; write another "
            "one with prompt_template="
        )


def suffixed(run_spec: RunSpec, key: str, value: object, separator: str | None = None) -> RunSpec:
    """A copy whose name ends in `key=value`.

    Without a `separator` it is a colon for the first thing after the name, else a comma. `/` becomes `_`.
    """
    if separator is None:
        separator = "," if ":" in run_spec.name else ":"
    return run_spec.named(f"{run_spec.name}{separator}{key}={str(value).replace('/', '_')}")


# Which model


@run_expander("model")
def model(run_spec: RunSpec, value: str, models: ModelNames) -> Iterable[RunSpec]:
    """The model asked: the name of a model, of a deployment, or a wildcard such as `text`."""
    names = models.wildcard(value)
    if names is None:
        names = [value]
    elif not names:
        raise UsageError(f"'{value}' is a group of models, and no known model is in it")
    return [_with_model(run_spec, name, models) for name in names]


@run_expander("model_deployment")
def model_deployment(run_spec: RunSpec, value: str, models: ModelNames) -> Iterable[RunSpec]:
    """Where the model is served, if not at its default deployment."""
    model_name, deployment = models.resolve(value)
    if deployment != value:
        raise UsageError(f"'{value}' is a model, not a deployment; it is served by '{deployment}'")
    if run_spec.adapter_spec.model:
        _check_serves(deployment, model_name, run_spec.adapter_spec.model)
    placed = run_spec.with_adapter(model=model_name, model_deployment=deployment)
    return [suffixed(placed, "model_deployment", value)]


def _with_model(run_spec: RunSpec, name: str, models: ModelNames) -> RunSpec:
    model_name, deployment = models.resolve(name)
    chosen = run_spec.adapter_spec.model_deployment
    if chosen and chosen != deployment:
        # `model_deployment=` stood further left in the entry.
        _check_serves(chosen, run_spec.adapter_spec.model, model_name)
        deployment = chosen
    placed = run_spec.with_adapter(model=model_name, model_deployment=deployment)
    # A folder's path may have parts that name nothing.
    named = [part for part in name.split("/") if part not in ("", ".", "..")]
    return suffixed(placed, "model", "/".join(named[-2:]))


def _check_serves(deployment: str, served_model: str, model_name: str) -> None:
    if served_model != model_name:
        raise UsageError(f"deployment '{deployment}' serves the model '{served_model}', not '{model_name}'")


# How much of it


@run_expander("shots")
@run_expander("max_train_instances")
def max_train_instances(
    run_spec: RunSpec,
    value: int | Literal["zero", "one", "all", "big_bench_few_shot_setting", "vhelm", "melt"],
) -> Iterable[RunSpec]:
    """Few-shot examples per prompt: a number, or a name for several numbers, each a run."""
    named = {
        "zero": (0,),
        "one": (1,),
        "all": (0, 1, 2, 4, 8, 16),
        "big_bench_few_shot_setting": (0, 1, 2, 3),
        "vhelm": (0, 1, 2, 4, 8),
        "melt": (0, 1, 5),
    }
    return [_with_shots(swept) for swept in _swept(run_spec, "max_train_instances", value, named)]


def _with_shots(run_spec: RunSpec) -> RunSpec:
    """The run spec whose scenario knows the number of examples, if it has the argument `shots`.

    Such a scenario reads its train split only where examples are shown.
    """
    scenario = run_spec.scenario_spec
    if "shots" not in scenario.args:
        return run_spec
    args = {**scenario.args, "shots": run_spec.adapter_spec.max_train_instances}
    return run_spec.model_copy(update={"scenario_spec": scenario.model_copy(update={"args": args})})


@run_expander("max_eval_instances")
def max_eval_instances(
    run_spec: RunSpec, value: int | Literal["default", "heim_default", "heim_fid", "heim_art_styles"]
) -> Iterable[RunSpec]:
    """Set the most instances to evaluate."""
    named = {"default": (1000,), "heim_default": (100,), "heim_fid": (30000,), "heim_art_styles": (17,)}
    return _swept(run_spec, "max_eval_instances", value, named)


@run_expander("num_train_trials")
def num_train_trials(run_spec: RunSpec, value: int) -> Iterable[RunSpec]:
    """Set the number of draws of few-shot examples."""
    return _swept(run_spec, "num_train_trials", value, {})


@run_expander("num_trials")
def num_trials(run_spec: RunSpec, value: int | Literal["heim_efficiency"]) -> Iterable[RunSpec]:
    """Set how many times each request is sent."""
    return _swept(run_spec, "num_trials", value, {"heim_efficiency": (5,)})


@run_expander("num_outputs")
def num_outputs(run_spec: RunSpec, value: int | Literal["default", "copyright_sweep"]) -> Iterable[RunSpec]:
    """Completions per request."""
    return _swept(run_spec, "num_outputs", value, {"default": (1,), "copyright_sweep": (1, 10)})


@run_expander("eval_split")
def eval_split(run_spec: RunSpec, value: Literal["test", "valid"]) -> Iterable[RunSpec]:
    """Evaluate one split only; without it valid and test are evaluated together."""
    return [suffixed(run_spec.with_adapter(eval_splits=(value,)), "eval_split", value)]


def _swept(
    run_spec: RunSpec, field: str, value: int | str, named: Mapping[str, Sequence[int]]
) -> list[RunSpec]:
    """One run spec for each number in `value`, set in an adapter field of the same name."""
    numbers = (value,) if isinstance(value, int) else named[value]
    return [suffixed(run_spec.with_adapter(**{field: n}), field, n) for n in numbers]


@run_expander("num_output_tokens")
def num_output_tokens(run_spec: RunSpec, value: int | Literal["default_sweep"]) -> Iterable[RunSpec]:
    """Longest completion in tokens; `default_sweep`: seven lengths, each a run."""
    lengths = (1, 2, 4, 8, 16, 32, 64) if value == "default_sweep" else (value,)
    return [suffixed(run_spec.with_adapter(max_tokens=n), "num_output_tokens", n) for n in lengths]


# Arguments of the scenario


@run_expander("num_prompt_tokens")
def num_prompt_tokens(run_spec: RunSpec, value: int | Literal["default_sweep"]) -> Iterable[RunSpec]:
    """Prompt length of a scenario that makes its prompts; `default_sweep`: five lengths, each a run."""
    lengths = (1, 256, 512, 1024, 1536) if value == "default_sweep" else (value,)
    return [_with_scenario_argument(run_spec, "num_prompt_tokens", n) for n in lengths]


@run_expander("tokenizer")
def tokenizer(run_spec: RunSpec, value: str, models: ModelNames) -> Iterable[RunSpec]:
    """Tokenizer of a scenario that counts tokens; `default`: that of the deployment, named further left."""
    if value != "default":
        return [_with_scenario_argument(run_spec, "tokenizer", value)]
    deployment = run_spec.adapter_spec.model_deployment
    if not deployment:
        raise UsageError("tokenizer=default is the model's own; put it after model=")
    name = models.tokenizer_name(deployment)
    if name is None:
        raise UsageError(f"no tokenizer is known for '{deployment}'; name one: tokenizer=<name>")
    return [_with_scenario_argument(run_spec, "tokenizer", name)]


def _with_scenario_argument(run_spec: RunSpec, key: str, value: int | str) -> RunSpec:
    scenario = run_spec.scenario_spec
    changed = scenario.model_copy(update={"args": {**scenario.args, key: value}})
    return suffixed(run_spec.model_copy(update={"scenario_spec": changed}), key, value)


# How it is sampled. `temperature` and the two that increase something change no name, as in HELM; the digest
# shows the difference.


@run_expander("temperature")
def temperature(run_spec: RunSpec, value: float) -> Iterable[RunSpec]:
    """Sampling temperature, of every category; leaves the run name as it is."""
    if not math.isfinite(value):
        raise UsageError(f"a temperature must be a finite number, not {value}")
    return [run_spec.with_adapter(temperature=value, temperatures={})]


@run_expander("top_p")
def top_p(run_spec: RunSpec, value: float) -> Iterable[RunSpec]:
    """Draw from the likeliest tokens that together have this probability."""
    return [suffixed(run_spec.with_adapter(top_p=value), "top_p", f"{value:g}")]


@run_expander("top_k")
def top_k(run_spec: RunSpec, value: int) -> Iterable[RunSpec]:
    """Draw from this many of the likeliest tokens; 0: from all."""
    return [suffixed(run_spec.with_adapter(top_k=value), "top_k", value)]


@run_expander("repetition_penalty")
def repetition_penalty(run_spec: RunSpec, value: float) -> Iterable[RunSpec]:
    """Make tokens less likely that are in the prompt or the answer already; 1: none."""
    changed = run_spec.with_adapter(repetition_penalty=value)
    return [suffixed(changed, "repetition_penalty", f"{value:g}")]


@run_expander("increase_temperature")
def increase_temperature(run_spec: RunSpec, value: float) -> Iterable[RunSpec]:
    """Add to the benchmark's temperature, of every category; leaves the run name as it is."""
    adapter = run_spec.adapter_spec
    (warmer,) = temperature(run_spec, adapter.temperature + value)
    return [warmer.with_adapter(temperatures={key: t + value for key, t in adapter.temperatures.items()})]


@run_expander("increase_max_tokens")
def increase_max_tokens(run_spec: RunSpec, value: int) -> Iterable[RunSpec]:
    """Add to the benchmark's completion length; leaves the run name as it is."""
    return [run_spec.with_adapter(max_tokens=run_spec.adapter_spec.max_tokens + value)]


# How the prompt is worded


@run_expander("stop")
def stop(run_spec: RunSpec, value: Literal["none", "hash", "semicolon", "br"]) -> Iterable[RunSpec]:
    """End a completion, and the blocks of a prompt, at another mark; `none`: never."""
    mark = {"none": "", "hash": "###", "semicolon": ";", "br": "<br>"}[value]
    if mark:
        changed = run_spec.with_adapter(stop_sequences=(mark,), instance_prefix=f"{mark}\n\n")
    else:
        changed = run_spec.with_adapter(stop_sequences=())
    return [suffixed(changed, "stop", value, separator=",")]


@run_expander("instructions")
def instructions(run_spec: RunSpec, value: Literal["none", "expert"]) -> Iterable[RunSpec]:
    """Drop the benchmark's instructions, or put an expert's introduction before them."""
    refuse_template(run_spec, "instructions")
    expert = "I am an expert AI assistant who is here to help you with the following. "
    text = "" if value == "none" else expert + run_spec.adapter_spec.instructions
    return [suffixed(run_spec.with_adapter(instructions=text), "instructions", value, separator=",")]


_ARABIC_LETTER = "اكتب حرف الإجابة فقط، دون أي إضافات أخرى."
_LETTER_FORMATS = {
    "mcqa": "Answer with only a single letter.",
    "mcqa_no_period": "Answer with only a single letter. Do not include a period in your answer.",
    "mcqa_only_last_question": "Answer only the last question with only a single letter.",
    "mmlu_only_last_question": "Answer only the last question with only a single letter.",
    "arabic_mcqa": _ARABIC_LETTER,
}
_LETTER_BENCHMARKS = ("mmlu", "mmlu_pro", "gpqa", "med_qa", "openbookqa")
_TEXT_FORMATS = {
    "arabic_mcqa": _ARABIC_LETTER,
    "legalbench_abercrombie": (
        "Answer with only 'generic', 'descriptive', 'suggestive', 'arbitrary' or 'fanciful'."
    ),
    "legalbench_function_of_decision_section": (
        "Answer with only 'Facts', 'Procedural History', 'Issue', 'Rule', 'Analysis', "
        "'Conclusion' or 'Decree'."
    ),
    "legalbench_yes_or_no": "Answer with only 'Yes' or 'No'.",
    "math": "Wrap the final answer with the \\boxed{} command.",
    "narrative_qa": (
        "Answer with one word, a few-word phrase, or a short sentence. "
        "Avoid extra, unnecessary information in the answer."
    ),
    "natural_qa": "Answer with a short answer or a boolean 'yes' or 'no' answer.",
    "natural_qa_short_answer": "Answer with a short answer.",
    "numeric_nlg": ("Answer with only description of the last table as a single paragraph on a single line."),
    "tab_fact": (
        "Answer with only the classification of the last statement, either 'refuted' or 'entailed'."
    ),
    "wikitq": (
        "Answer only the last question with a short answer. "
        "Avoid extra, unnecessary information in the answer."
    ),
    "wmt_14": "Answer with the English translation.",
    "wmt_14_only_last_sentence": "Answer with only the English translation for the last sentence.",
}
_REASONED_LETTER = (
    'In your response, replace "insert answer here" with the single uppercase letter '
    "corresponding to your answer."
)


@run_expander("output_format_instructions")
def output_format_instructions(run_spec: RunSpec, value: str) -> Iterable[RunSpec]:
    """Say in the prompt what an answer must look like; leaves the run name as it is.

    The value names a format (`mcqa`) or a benchmark (`mmlu`). With `_no_prefix` the answer shall not repeat
    the output prefix; with `_suffix` (last) the text stands after the question, not before the instructions.
    """
    wanted = value.removesuffix("_suffix")
    name = wanted.removesuffix("_no_prefix")
    adapter = run_spec.adapter_spec
    text = _output_format(run_spec, name)
    if name != wanted:
        text += f" Do not include '{adapter.output_prefix.strip()}' in your answer."
    if wanted != value:
        return [run_spec.with_adapter(global_suffix=f"{adapter.global_suffix}\n\n{text}")]
    below = f"\n{adapter.instructions}" if adapter.instructions else ""
    return [run_spec.with_adapter(instructions=f"{text}\n{below}")]


def _output_format(run_spec: RunSpec, name: str) -> str:
    """The sentence for a format or benchmark under the run spec's method."""
    method = run_spec.adapter_spec.method
    if method == "multiple_choice_joint":
        # A benchmark's own format says how to write free text; as multiple choice it wants a letter.
        letter = dict.fromkeys((*_LETTER_BENCHMARKS, *_TEXT_FORMATS, "legalbench"), _LETTER_FORMATS["mcqa"])
        formats = letter | _LETTER_FORMATS
    elif method == "generation":
        formats = _TEXT_FORMATS | {"legalbench": _legalbench_format(run_spec.adapter_spec.output_prefix)}
    elif method == "multiple_choice_joint_chain_of_thought":
        formats = dict.fromkeys(("mmlu_pro", "gpqa"), _REASONED_LETTER)
    else:
        raise UsageError(f"there are no output format instructions for the method '{method}'")
    if name not in formats:
        raise UnknownNameError(f"output format for the method {method}", name, formats)
    return formats[name]


def _legalbench_format(output_prefix: str) -> str:
    noun = output_prefix.split(":")[0]
    return "Answer yes or no." if noun == "Answer" else f"Answer with the {noun.lower()}."
