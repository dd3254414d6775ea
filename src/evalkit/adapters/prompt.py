"""How the pieces of a prompt are put together.

A prompt is blocks joined by the instance prefix (instructions, few-shot examples, the question), between the
global prefix and suffix; substitutions are applied to the whole. Layout and rules are HELM's.
"""

from __future__ import annotations

import re
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
        num_conditioning_tokens: So many tokens at its start are context and not scored.
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
        UsageError: A substitution is no regular expression.
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


class Context:
    """What the prompts of one train trial share: instructions and few-shot examples, joined once.

    Args:
        layout: How prompts look.
        window: What prompts must fit into.
        train_blocks: The few-shot examples as text.
    """

    def __init__(self, layout: Layout, window: Window, train_blocks: Sequence[str]) -> None:
        self._layout, self._window = layout, window
        self._max_tokens = layout.spec.max_tokens
        self._heads = [layout.head(train_blocks[:kept]) for kept in range(len(train_blocks) + 1)]

    def prompt(self, block: str, *, few_shot: bool = True) -> Prompt:
        """The prompt for one question block, fitted to the window.

        While it does not fit, the last few-shot example is dropped; with none left, the text is cut from
        the right.

        Raises:
            UsageError: The window has no room for any prompt.
        """
        text = ""
        for kept in range(len(self._heads) - 1 if few_shot else 0, -1, -1):
            text = self._layout.finish(self._heads[kept], block)
            if self._window.fits(text, self._max_tokens):
                return Prompt(text, kept)
        return Prompt(self._window.truncate(text, self._max_tokens), truncated=True)


def _compiled(substitution: Substitution) -> re.Pattern[str]:
    try:
        return re.compile(substitution.source)
    except re.error as error:
        raise UsageError(f"substitution '{substitution.source}' is no regular expression: {error}") from None
