"""How the pieces of a prompt are put together.

A prompt is blocks joined by the instance prefix (instructions, few-shot examples, the question), between the
global prefix and suffix; substitutions are applied to the whole. Layout and rules are HELM's.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from evalkit.adapters.window import Window
from evalkit.errors import UsageError
from evalkit.request import Message
from evalkit.specs.run_spec import AdapterSpec, Substitution


class Prompt(NamedTuple):
    """A finished prompt.

    Attributes:
        num_train_instances: Few-shot examples that are left in it.
        truncated: Whether the text was cut to fit the window.
        num_conditioning_tokens: How many tokens at its start are context and not scored.
        messages: The prompt as a chat, of which `text` is what a reader sees; None: the text is sent.
    """

    text: str
    num_train_instances: int = 0
    truncated: bool = False
    messages: tuple[Message, ...] | None = None
    num_conditioning_tokens: int = 0


class Layout:
    """The prompt layout of one adapter spec.

    Raises:
        UsageError: A substitution is not a regular expression.
    """

    def __init__(self, spec: AdapterSpec) -> None:
        self.spec = spec
        self._substitutions = [(_compiled(s), s.target) for s in spec.substitutions]
        self._open_cue = spec.input_suffix, spec.output_prefix.rstrip()

    def question(self, text: str, options: str = "") -> str:
        """A block that asks for the output: it ends in the output prefix without its trailing blanks."""
        input_suffix, cue = self._open_cue
        return f"{self.spec.input_prefix}{text}{input_suffix}{options}{cue}"

    def example(self, text: str, output: str, options: str = "") -> str:
        """A block that holds its output."""
        spec = self.spec
        return (
            f"{spec.input_prefix}{text}{spec.input_suffix}{options}"
            f"{spec.output_prefix}{output}{spec.output_suffix}"
        )

    def head(self, train_blocks: Sequence[str]) -> str:
        """Everything before the last block, before substitutions."""
        spec = self.spec
        blocks = [spec.instructions, *train_blocks] if spec.instructions else train_blocks
        return spec.global_prefix + "".join(block + spec.instance_prefix for block in blocks)

    def finish(self, head: str, block: str) -> str:
        """The whole prompt text.

        Raises:
            UsageError: The target of a substitution refers to a group that its source does not have.
        """
        return self.substituted(f"{head}{block}{self.spec.global_suffix}")

    def substituted(self, text: str) -> str:
        """The text after all substitutions.

        Raises:
            UsageError: The target of a substitution refers to a group that its source does not have.
        """
        for pattern, target in self._substitutions:
            try:
                text = pattern.sub(target, text)
            except (re.error, IndexError) as error:
                raise UsageError(f"substitution '{pattern.pattern}' → '{target}': {error}") from None
        return text


class FittedContext(ABC):
    """What the prompts of one train trial share, and how they are fitted to the window.

    While a prompt does not fit, its last few-shot example is dropped; with none left, it is cut.

    Args:
        window: What prompts must fit into.
        max_tokens: The room that must be left for the completion.
        num_examples: How many few-shot examples there are.
    """

    def __init__(self, window: Window, max_tokens: int, num_examples: int) -> None:
        self._window, self._max_tokens, self._num_examples = window, max_tokens, num_examples

    def prompt(self, block: str, *, few_shot: bool = True) -> Prompt:
        """The prompt for one question block, fitted to the window.

        Raises:
            UsageError: The window has no room for any prompt.
        """
        draft = self._draft(self._num_examples if few_shot else 0, block)
        if self._window.fits(draft.text, self._max_tokens):
            return draft
        return self._fitted([draft], [block])[0]

    def prompts(self, blocks: Sequence[str], few_shot: Sequence[bool]) -> list[Prompt]:
        """The prompts for several question blocks: the same as one by one, looked at together.

        Args:
            blocks: The questions.
            few_shot: Whether each is to have few-shot examples before it.

        Raises:
            UsageError: The window has no room for any prompt.
        """
        drafts = [
            self._draft(self._num_examples if shown else 0, block)
            for block, shown in zip(blocks, few_shot, strict=True)
        ]
        return self._fitted(drafts, blocks)

    def _fitted(self, prompts: list[Prompt], blocks: Sequence[str]) -> list[Prompt]:
        """The prompts, each with fewer examples, or cut, until it fits."""
        left: Sequence[int] = range(len(blocks))
        while left := self._not_fitting(prompts, left):
            for position in left:
                draft = prompts[position]
                kept = draft.num_train_instances
                prompts[position] = self._draft(kept - 1, blocks[position]) if kept else self._cut(draft)
            left = [position for position in left if not prompts[position].truncated]
        return prompts

    def _not_fitting(self, prompts: Sequence[Prompt], positions: Sequence[int]) -> Sequence[int]:
        """Those of the positions whose prompts do not fit."""
        fit = self._window.fits_many([prompts[position].text for position in positions], self._max_tokens)
        return [position for position, fits in zip(positions, fit, strict=True) if not fits]

    @abstractmethod
    def _draft(self, kept: int, block: str) -> Prompt:
        """The prompt with the first `kept` examples, however long."""

    @abstractmethod
    def _cut(self, draft: Prompt) -> Prompt:
        """A prompt without examples that does not fit, cut so that it does."""


class Context(FittedContext):
    """Text: instructions and few-shot examples, joined once.

    Args:
        layout: How prompts look.
        window: What prompts must fit into; what does not is cut from the right.
        train_blocks: The few-shot examples as text.
    """

    def __init__(self, layout: Layout, window: Window, train_blocks: Sequence[str]) -> None:
        super().__init__(window, layout.spec.max_tokens, len(train_blocks))
        self._layout = layout
        self._heads = [layout.head(train_blocks[:kept]) for kept in range(len(train_blocks) + 1)]

    def _draft(self, kept: int, block: str) -> Prompt:
        return Prompt(self._layout.finish(self._heads[kept], block), kept)

    def _cut(self, draft: Prompt) -> Prompt:
        return Prompt(self._window.truncate(draft.text, self._max_tokens), truncated=True)


def _compiled(substitution: Substitution) -> re.Pattern[str]:
    try:
        return re.compile(substitution.source)
    except re.error as error:
        why = f"is not a regular expression: {error}"
        raise UsageError(f"substitution '{substitution.source}' {why}") from None
