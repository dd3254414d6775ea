"""The prompt layouts that most benchmarks share, as adapter specs. Strings and numbers are HELM's."""

from __future__ import annotations

from typing import Literal

from evalkit.specs.run_spec import AdapterSpec

MultipleChoiceMethod = Literal[
    "multiple_choice_joint",
    "multiple_choice_joint_chain_of_thought",
    "multiple_choice_separate_original",
    "multiple_choice_separate_calibrated",
]

EXACT_MATCH = (
    "exact_match",
    "quasi_exact_match",
    "prefix_exact_match",
    "quasi_prefix_exact_match",
    "basic_reference",
)
"""The metrics of a task with short, fixed answers."""

OPEN_ENDED = (
    "exact_match",
    "quasi_exact_match",
    "f1_score",
    "rouge_l",
    "bleu_1",
    "bleu_4",
    "basic_reference",
)
"""The metrics of a task answered in free words."""


def multiple_choice(
    instructions: str,
    input_noun: str,
    output_noun: str,
    *,
    method: MultipleChoiceMethod = "multiple_choice_joint",
    max_tokens: int = 1,
) -> AdapterSpec:
    """Lettered options below each question, five examples, one letter as the answer.

    The separate methods score each option as a continuation of the bare question instead: they have no
    instructions, nouns or examples, and generate nothing.
    """
    if method in ("multiple_choice_separate_original", "multiple_choice_separate_calibrated"):
        return AdapterSpec(
            method=method,
            input_prefix="",
            input_suffix="",
            output_prefix=" ",
            output_suffix="",
            max_train_instances=0,
            num_outputs=1,
            max_tokens=0,
            temperature=0,
        )
    return AdapterSpec(
        method=method,
        instructions=_line(instructions),
        input_prefix=f"{input_noun}: ",
        output_prefix=f"{output_noun}: ",
        num_outputs=5,
        max_tokens=max_tokens,
        temperature=0,
        stop_sequences=("\n",),
    )


def generation(
    instructions: str,
    input_noun: str,
    output_noun: str,
    *,
    max_tokens: int = 5,
    stop: str = "\n",
) -> AdapterSpec:
    """`Noun: question` and `Noun: answer` on a line each, five examples, greedy.

    Without an input noun the question stands alone.
    """
    return AdapterSpec(
        method="generation",
        instructions=_line(instructions),
        input_prefix=f"{input_noun}: " if input_noun else "",
        output_prefix=f"{output_noun}: ",
        num_outputs=1,
        max_tokens=max_tokens,
        temperature=0,
        stop_sequences=(stop,),
    )


def completion(instructions: str, *, max_tokens: int = 100, stop: tuple[str, ...] = ()) -> AdapterSpec:
    """The question as it is, without examples, greedy: the model goes on where it ends."""
    return AdapterSpec(
        method="generation",
        instructions=_line(instructions),
        input_prefix="",
        input_suffix="",
        output_prefix="",
        output_suffix="",
        max_train_instances=0,
        num_outputs=1,
        max_tokens=max_tokens,
        temperature=0,
        stop_sequences=stop,
    )


def dialogue(instructions: str, *, max_tokens: int = 100, stop: tuple[str, ...] = ()) -> AdapterSpec:
    """What the user says as it is, turn by turn, greedy; the instructions are the system message."""
    return completion(instructions, max_tokens=max_tokens, stop=stop).model_copy(
        update={"method": "dialogue"}
    )


def free_multiple_choice(reference_prefix: str, use_chain_of_thought: bool) -> AdapterSpec:
    """Options below each question, and an answer in a sentence, after reasoning if asked for.

    HELM samples here (temperature 1, with five alternatives per token).
    """
    method, thought = "multiple_choice_joint", ""
    if use_chain_of_thought:
        method += "_chain_of_thought"
        thought = (
            "Let’s think step by step. Based on your reasoning, what is the single, most likely answer "
            "choice? "
        )
    return AdapterSpec(
        method=method,
        global_suffix=(
            f'{thought}Format your response as follows: "The correct answer is (insert answer here)".'
        ),
        input_prefix="What is the correct answer to this question: ",
        input_suffix="\nChoices:\n",
        reference_prefix=reference_prefix,
        output_prefix="",
        max_train_instances=0,
        max_tokens=4096,
    )


def _line(text: str) -> str:
    return f"{text}\n" if text else ""
