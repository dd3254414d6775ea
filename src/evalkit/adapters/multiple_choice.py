"""Multiple choice: all options in one prompt, or one request per option."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from evalkit.adapters.adapter import NO_GOLD, Adapter, RequestSlot
from evalkit.adapters.prompt import Prompt
from evalkit.adapters.window import NO_WINDOW, Window
from evalkit.errors import DataError, UsageError
from evalkit.instance import Instance
from evalkit.registry import Output, adapter
from evalkit.request import RequestMode
from evalkit.specs.run_spec import AdapterSpec

CALIBRATION_INPUT = "Answer:"
CHAIN_OF_THOUGHT = "chain_of_thought"


class OptionLetters:
    """The letters of the options and how each is written before its option.

    Raises:
        UsageError: The reference prefix holds no letter or digit to count up.
    """

    def __init__(self, spec: AdapterSpec) -> None:
        first = re.search("[A-Za-z0-9]", spec.reference_prefix)
        if first is None:
            raise UsageError(
                f"reference_prefix {spec.reference_prefix!r} holds no letter or digit to count up"
            )
        self._spec, self._first = spec, first[0]
        self._letters: dict[int, tuple[str, ...]] = {}
        self._prefixes: list[str] = []

    def of(self, instance: Instance) -> tuple[str, ...]:
        """The letters of the instance's options, in order.

        Raises:
            DataError: The instance has no options.
            UsageError: The spec names fewer letters than there are options.
        """
        count = len(instance.references)
        if count not in self._letters:
            if not count:
                raise DataError(f"instance {instance.id} has no references to choose from")
            self._letters[count] = self._count_up(count)
        return self._letters[count]

    def prefixes(self, instance: Instance) -> Sequence[str]:
        """What stands before each option (`A. `); may hold more than the instance needs."""
        letters = self.of(instance)
        for letter in letters[len(self._prefixes) :]:
            self._prefixes.append(self._spec.reference_prefix.replace(self._first, letter))
        return self._prefixes

    def _count_up(self, count: int) -> tuple[str, ...]:
        named = self._spec.reference_prefix_characters
        if named is None:
            return tuple(chr(ord(self._first) + offset) for offset in range(count))
        if len(named) < count:
            raise UsageError(f"reference_prefix_characters names {len(named)} letters for {count} options")
        return named[:count]


@adapter("multiple_choice_joint")
class MultipleChoiceJointAdapter(Adapter):
    """One request per instance: the options are listed with letters, and a letter is the answer."""

    gives: ClassVar[frozenset[Output] | None] = frozenset({"generated_text", "option_letter"})

    def __init__(self, spec: AdapterSpec, window: Window = NO_WINDOW) -> None:
        super().__init__(spec, window)
        self.letters = OptionLetters(spec)

    def question(self, instance: Instance, slot: RequestSlot) -> str:
        """The question and its options."""
        return self.layout.question(instance.input, self._options(instance))

    def example(self, instance: Instance) -> str:
        """The question, its options and the right letter."""
        return self.layout.example(instance.input, self.shown(instance), self._options(instance))

    def gold(self, instance: Instance) -> str:
        """The letter of the first right option; all of them for multi-label."""
        options = zip(self.letters.of(instance), instance.references, strict=True)
        right = [letter for letter, reference in options if reference.is_correct]
        if not right:
            return NO_GOLD
        return ", ".join(right) if self.spec.multi_label else right[0]

    def choices(self, instance: Instance) -> tuple[str, ...]:
        """The letters."""
        return self.letters.of(instance)

    def output_mapping(self, instance: Instance) -> dict[str, str]:
        """Letter to option text."""
        texts = (reference.text for reference in instance.references)
        return dict(zip(self.letters.of(instance), texts, strict=True))

    def parameters(self) -> dict[str, Any]:
        """One completion with `num_outputs` alternatives per token; the spec's stops are not sent."""
        return super().parameters() | {
            "num_completions": 1,
            "top_k_per_token": self.spec.num_outputs,
            "stop_sequences": (),
        }

    def _options(self, instance: Instance) -> str:
        suffix = self.spec.reference_suffix
        options = zip(self.letters.prefixes(instance), instance.references, strict=False)
        return "".join([f"{prefix}{reference.text}{suffix}" for prefix, reference in options])


@adapter("multiple_choice_joint_chain_of_thought")
class MultipleChoiceJointChainOfThoughtAdapter(MultipleChoiceJointAdapter):
    """Like multiple_choice_joint, with reasoning before the letter in each few-shot example."""

    def shown(self, instance: Instance) -> str:
        """Reasoning, and the right letter as its option shows it.

        Raises:
            DataError: The instance has no `chain_of_thought` in its extra data.
        """
        reasoning = (instance.extra or {}).get(CHAIN_OF_THOUGHT)
        if reasoning is None:
            raise DataError(f"train instance {instance.id} has no '{CHAIN_OF_THOUGHT}' to show as an example")
        right = (i for i, reference in enumerate(instance.references) if reference.is_correct)
        position = next(right, None)
        answer = NO_GOLD if position is None else self.letters.prefixes(instance)[position]
        spec = self.spec
        return f"{spec.chain_of_thought_prefix}{reasoning}{spec.chain_of_thought_suffix}{answer}"


@adapter("multiple_choice_separate_original")
class MultipleChoiceSeparateOriginalAdapter(Adapter):
    """One request per option: the option stands in the prompt, and its log-probability is its score."""

    can_chat: ClassVar[bool] = False
    gives: ClassVar[frozenset[Output] | None] = frozenset({"reference_logprobs"})
    per_reference: ClassVar[bool] = True

    def slots(self, instance: Instance) -> Sequence[RequestSlot]:
        """One per reference and mode.

        Raises:
            DataError: The instance has no references.
        """
        return [RequestSlot(index, mode) for index in range(_num_references(instance)) for mode in self.modes]

    def question(self, instance: Instance, slot: RequestSlot) -> str:
        """The question with one of its options as the answer."""
        return self.layout.example(instance.input, _option_text(instance, slot))

    def parameters(self) -> dict[str, Any]:
        """Nothing is generated: the prompt's own tokens are scored."""
        return {"temperature": 0.0, "max_tokens": 0, "echo_prompt": True}

    def scored_from(self, prompt: Prompt, instance: Instance, slot: RequestSlot) -> int | None:
        """Where the option begins: what stands before it needs no log-probabilities."""
        ending = _option_text(instance, slot) + self.spec.output_suffix + self.spec.global_suffix
        # A prompt that was cut, or changed by a substitution, is scored whole; the metric says what is wrong.
        return len(prompt.text) - len(ending) if prompt.text.endswith(ending) else None


@adapter("multiple_choice_separate_calibrated")
class MultipleChoiceSeparateCalibratedAdapter(MultipleChoiceSeparateOriginalAdapter):
    """Like multiple_choice_separate_original, with each option also scored without its question."""

    modes: ClassVar[tuple[RequestMode, ...]] = ("original", "calibration")

    def question(self, instance: Instance, slot: RequestSlot) -> str:
        """For calibration, the option after a bare "Answer:"."""
        if slot.mode != "calibration":
            return super().question(instance, slot)
        return self.layout.example(CALIBRATION_INPUT, _option_text(instance, slot))

    def shows_examples(self, slot: RequestSlot) -> bool:
        """Not for calibration."""
        return slot.mode != "calibration"


def _num_references(instance: Instance) -> int:
    if not instance.references:
        raise DataError(f"instance {instance.id} has no references to choose from")
    return len(instance.references)


def _option_text(instance: Instance, slot: RequestSlot) -> str:
    assert slot.reference_index is not None, "every slot of these methods is about one reference"
    return instance.references[slot.reference_index].text
