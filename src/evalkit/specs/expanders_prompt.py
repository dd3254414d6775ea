"""Run expanders for the wording and form of prompts, and for what is done with the answers.

Names, values and suffixes are HELM's, but for `chat_style` and `chatml=yes`, which it does not have. Prompt
texts are HELM's (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from evalkit.errors import UsageError
from evalkit.registry import run_expander
from evalkit.specs.expanders import refuse_template, suffixed
from evalkit.specs.model_names import ModelNames
from evalkit.specs.robust_metrics import with_robust_metrics
from evalkit.specs.run_spec import MetricSpec, RunSpec

INSTRUCTION_FOLLOWING = "INSTRUCTION_FOLLOWING_MODEL_TAG"

READ_THE_EXAMPLES = (
    "Here are some input-output examples. "
    "Read the examples carefully to figure out the mapping. "
    "The output of the last example is not given, and your job is to figure out what it is."
)
FOLLOW_THE_FORMAT = (
    "Please provide the output to this last example. "
    "It is critical to follow the format of the preceding outputs!"
)

_PROMPTS: dict[str, dict[str, str | tuple[str, ...]]] = {
    "human_assistant": {
        "input_prefix": 'Human: What is the answer to "',
        "input_suffix": '"?\n',
        "output_prefix": 'Assistant: The answer is "',
        "output_suffix": '".\n',
        "stop_sequences": ('".',),
    },
    "question_answer": {"input_prefix": "Question: ", "output_prefix": "Answer: "},
    "qa": {"input_prefix": "Q: ", "output_prefix": "A: "},
    "input_output_html": {
        "input_prefix": "<input>",
        "input_suffix": "</input>\n",
        "output_prefix": "<output>",
        "output_suffix": "</output>\n",
    },
    "input_output": {"input_prefix": "Input: ", "output_prefix": "Output: "},
    "i_o": {"input_prefix": "I: ", "output_prefix": "O: "},
}


@run_expander("prompt")
def prompt(
    run_spec: RunSpec,
    value: Literal["human_assistant", "question_answer", "qa", "input_output_html", "input_output", "i_o"],
) -> Iterable[RunSpec]:
    """What stands before and after each question and answer."""
    refuse_template(run_spec, "prompt")
    return [suffixed(run_spec.with_adapter(**_PROMPTS[value]), "prompt", value, separator=",")]


@run_expander("newline")
def newline(run_spec: RunSpec, value: Literal["semicolon", "br"]) -> Iterable[RunSpec]:
    """Mark the end of every line of the prompt, for models that do not see line breaks."""
    mark = {"semicolon": ";", "br": "<br>"}[value]
    changed = run_spec.with_adapter(substitutions=({"source": "\n", "target": f"{mark}\n"},))
    return [suffixed(changed, "newline", value, separator=",")]


@run_expander("add_to_stop")
def add_to_stop(run_spec: RunSpec, value: str) -> Iterable[RunSpec]:
    """End completions at one more text (`newline`: a line break); leaves the run name as it is."""
    if not value:
        raise UsageError("add_to_stop needs a text; write add_to_stop=newline for a line break")
    text = "\n" if value == "newline" else value
    return [run_spec.with_adapter(stop_sequences=(*run_spec.adapter_spec.stop_sequences, text))]


@run_expander("format_prompt")
def format_prompt(run_spec: RunSpec, value: str) -> Iterable[RunSpec]:
    """Put this text before each question, and nothing before answers; leaves the run name as it is."""
    refuse_template(run_spec, "format_prompt")
    return [run_spec.with_adapter(input_prefix=value, output_prefix="")]


@run_expander("follow_format_instructions")
def follow_format_instructions(
    run_spec: RunSpec, value: Literal["all", "instruct"], models: ModelNames
) -> Iterable[RunSpec]:
    """Explain few-shot examples around the prompt, to all models or to instruction-tuned ones only.

    Only for the method `generation`. `instruct` must stand after `model=`. Leaves the run name as it is.
    """
    adapter = run_spec.adapter_spec
    if adapter.method != "generation":
        raise UsageError(f"follow_format_instructions is for the method generation, not {adapter.method}")
    if value == "instruct":
        if not adapter.model:
            raise UsageError("follow_format_instructions=instruct depends on the model; put it after model=")
        if INSTRUCTION_FOLLOWING not in models.tags(adapter.model):
            return [run_spec]
    changed = run_spec.with_adapter(
        global_prefix=f"{READ_THE_EXAMPLES}\n\n",
        global_suffix=f"\n\n{FOLLOW_THE_FORMAT}\n{adapter.output_prefix.strip()}",
    )
    return [changed]


@run_expander("global_prefix")
def global_prefix(run_spec: RunSpec, value: Literal["nlg"]) -> Iterable[RunSpec]:
    """Begin every prompt with a mark that the model was trained with."""
    changed = run_spec.with_adapter(global_prefix={"nlg": "[NLG]"}[value])
    return [suffixed(changed, "global_prefix", value, separator=",")]


# Prompts for chat models


@run_expander("chat_style")
def chat_style(run_spec: RunSpec, value: Literal["system", "turns"]) -> Iterable[RunSpec]:
    """Send a chat instead of one text: instructions as system message, with `turns` examples as turns."""
    return [suffixed(run_spec.with_adapter(chat_style=value), "chat_style", value)]


@run_expander("chatml")
def chatml(run_spec: RunSpec, value: Literal["yes"]) -> Iterable[RunSpec]:
    """Write the turns of a chat into the text by ChatML's marks, for models trained on them."""
    return [suffixed(with_chatml(run_spec), "chatml", value)]


# Run spec to the lines of its output prefix that are still the user's (HELM's rule); elsewhere none.
_USERS_PREFIX_LINES = {"msmarco": 1, "summarization_cnndm": 2, "summarization_xsum": 2}


def with_chatml(run_spec: RunSpec) -> RunSpec:
    """The run spec with ChatML's marks in its prompts; the name stays. A conversation has no need of them."""
    adapter = run_spec.adapter_spec
    if adapter.method == "dialogue":
        return run_spec
    stops = (*adapter.stop_sequences, "<|im_end|>")
    if adapter.prompt_template:
        # A chat has no need of marks in its text.
        inside = f"<|im_start|>user\n{adapter.prompt_template}<|im_end|>\n<|im_start|>assistant\n"
        is_chat = adapter.chat_style is not None
        return run_spec if is_chat else run_spec.with_adapter(prompt_template=inside, stop_sequences=stops)
    lines = adapter.output_prefix.split("\n")
    users = _USERS_PREFIX_LINES.get(run_spec.name.split(":")[0], 0)
    asked, begun = "\n".join(lines[:users]), "\n".join(lines[users:])
    system = f"<|im_start|>system\n{adapter.instructions}<|im_end|>\n" if adapter.instructions else ""
    return run_spec.with_adapter(
        instructions=f"{system}<|im_start|>user\n",
        instance_prefix="",
        output_prefix=f"{asked}<|im_end|>\n<|im_start|>assistant\n{begun}",
        output_suffix="<|im_end|>\n<|im_start|>user\n",
        stop_sequences=stops,
    )


# What is done with the answers


@run_expander("process_output")
def process_output(run_spec: RunSpec, value: str) -> Iterable[RunSpec]:
    """Rewrite completions before they are scored, by a function `module.name`; leaves the run name as it is.

    `remove_thinking` drops the thinking of a model, whatever its marks, also where the prompt has opened it,
    and lets stop sequences end the answer only.
    """
    if value != "remove_thinking" and "." not in value:
        raise UsageError(f"no function '{value}' is known; write remove_thinking, or module.name of yours")
    inner = [{"name": metric.name, "args": metric.args} for metric in run_spec.metric_specs]
    whole = MetricSpec(name="output_processing", args={"processor": value, "metric_specs": inner})
    if value == "remove_thinking":
        run_spec = run_spec.with_adapter(expects_thinking=True)
    return [run_spec.model_copy(update={"metric_specs": (whole,)})]


@run_expander("answer_reader")
def answer_reader(run_spec: RunSpec, value: Literal["helm", "robust"]) -> Iterable[RunSpec]:
    """How answers are read; leaves the run name as it is, and asks nothing that was answered again.

    `helm`: by the benchmark's own metrics, as HELM does. `robust`: also by metrics that read more spellings
    of the answer, which then are the main number.
    """
    if value == "helm":
        return [run_spec]
    return [run_spec.model_copy(update={"metric_specs": with_robust_metrics(run_spec)})]
