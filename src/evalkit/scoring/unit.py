"""What is scored together: the requests of one instance, train trial and sample, with their answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from evalkit.errors import DataError, UsageError
from evalkit.instance import Instance
from evalkit.request import RequestState
from evalkit.response import Completion, Response


@dataclass(frozen=True, slots=True)
class Answer:
    """A request in its place in the run, and what came back."""

    state: RequestState
    response: Response


@dataclass(frozen=True, slots=True)
class Unit:
    """Everything that is scored together: all requests of one instance, train trial and sample.

    Attributes:
        answers: One for generation; one per reference (and mode) for adapters that ask once per reference,
            in the order of the references, "original" before "calibration"; one per window for a text that
            is longer than the model's window, in the order of the text; one per turn of a conversation, in
            order.
    """

    instance: Instance
    trial: int
    sample: int
    answers: tuple[Answer, ...]

    @property
    def per_reference(self) -> bool:
        """Whether the requests each score one reference, so that nothing was generated."""
        return self.answers[0].state.reference_index is not None

    @property
    def answer(self) -> Answer:
        """The single answer of a generation; of a conversation, the answer of its last turn.

        Raises:
            UsageError: The unit has several requests that do not form a conversation.
        """
        if self.answers[0].state.turn is not None:
            return self.answers[-1]
        if len(self.answers) != 1 or self.per_reference:
            how = "reference by reference" if self.per_reference else "as parts of one long text"
            raise UsageError(
                f"instance '{self.instance.id}' was asked in {len(self.answers)} requests, {how}; "
                "this metric needs one generated answer"
            )
        return self.answers[0]

    @property
    def turns(self) -> tuple[Answer, ...]:
        """The answers of a conversation, turn by turn; a single generated answer is a conversation of one.

        Raises:
            UsageError: The unit has several requests that do not form a conversation.
        """
        return self.answers if self.answers[0].state.turn is not None else (self.answer,)

    def until(self, num_turns: int | None) -> Unit:
        """The unit with only these turns of its conversation, from the first on; None: all of it."""
        return self if num_turns is None else replace(self, answers=self.answers[:num_turns])

    @property
    def golds(self) -> list[str]:
        """The right answers, stripped, in order."""
        return [r.text.strip() for r in self.instance.references if r.is_correct]

    def predictions(self, pattern: re.Pattern[str] | None = None) -> list[str | None]:
        """The generated texts, stripped, the likeliest first.

        For multiple choice a text is looked up among the option letters and becomes the text of that option,
        or None if it is not an option.

        Args:
            pattern: Finds the letter in the text (first group, or the whole match); None: the text is the
                letter.

        Raises:
            UsageError: The unit has several requests.
            DataError: The answer holds no completion.
        """
        answer = self.answer
        completions = answer.response.completions
        if not completions:
            raise DataError(f"the answer to '{answer.state.key}' holds no completion")
        if len(completions) > 1:
            completions = likeliest_first(completions)
        texts = [c.text.strip() for c in completions]
        mapping = answer.state.output_mapping
        if mapping is None:
            return [*texts]
        if pattern is not None:
            texts = [find_letter(pattern, text) for text in texts]
        return [mapping.get(text) for text in texts]


def in_order(answers: Iterable[Answer]) -> tuple[Answer, ...]:
    """The answers of one unit in their order: see `Unit.answers`."""
    return tuple(sorted(answers, key=_answer_order))


def _answer_order(answer: Answer) -> tuple[int, bool, int, str]:
    state = answer.state
    return (state.reference_index or 0, state.request_mode == "calibration", state.turn or 0, state.key)


def find_letter(pattern: re.Pattern[str], text: str) -> str:
    """The first group of the first match (the whole match if there is no group); "" without a match."""
    match = pattern.search(text)
    if match is None:
        return ""
    return (match[1] or "") if pattern.groups else match[0]


def likeliest_first(completions: Sequence[Completion]) -> tuple[Completion, ...]:
    """Completions by falling log-probability; as they came where any has none."""
    if any(c.logprob is None for c in completions):
        return tuple(completions)
    return tuple(sorted(completions, key=lambda c: -(c.logprob or 0.0)))
