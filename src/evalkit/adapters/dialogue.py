"""Conversations in which the user's side is fixed and the model's is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from evalkit.adapters.adapter import Adapter, RequestSlot
from evalkit.adapters.chat_context import ChatContext, text_of
from evalkit.adapters.prompt import Context, Prompt
from evalkit.adapters.window import NO_WINDOW, Window
from evalkit.errors import DataError, UsageError
from evalkit.instance import Instance
from evalkit.registry import Output, adapter
from evalkit.request import Hints, Message, RequestState, next_turn
from evalkit.response import Response
from evalkit.specs.run_spec import AdapterSpec

FOLLOW_UPS, GOLDS = "follow_ups", "golds"


@adapter("dialogue")
class DialogueAdapter(Adapter):
    """A conversation per instance: its input, then its `follow_ups`, each after an answer of the model.

    The user first says the instance's input, and after each answer the next of the texts in its extra data
    (`follow_ups`). The references are about the last turn; `golds`, if they are there, are one right answer
    for each turn. Every turn of the user is laid out alike (input prefix and suffix, output prefix, global
    suffix, substitutions); global prefix and instructions are the system message. What was said is sent
    again as it was, thinking left out.

    A conversation that does not fit the window loses its oldest turns, a turn of the user and its answer at a
    time, never the system message; if what is said last does not fit alone, it is cut from the right.

    Raises:
        UsageError: Few-shot examples, or several completions per request, are asked for.
    """

    can_chat: ClassVar[bool] = False
    makes_prompts_singly: ClassVar[bool] = True
    gives: ClassVar[frozenset[Output] | None] = frozenset({"generated_text"})
    has_turns: ClassVar[bool] = True
    has_examples: ClassVar[bool] = False

    def __init__(self, spec: AdapterSpec, window: Window = NO_WINDOW) -> None:
        if spec.max_train_instances:
            raise UsageError("dialogue shows no examples; set max_train_instances=0")
        if spec.num_outputs != 1:
            raise UsageError("a dialogue goes on from one answer; set num_outputs=1")
        super().__init__(spec, window)

    def context(self, train: Sequence[Instance], trial: int) -> ChatContext:
        """The system message."""
        return ChatContext(self.layout, self.window, (), ())

    def prompt(self, context: Context | ChatContext, instance: Instance, slot: RequestSlot) -> Prompt:
        """The first turn."""
        self.follow_ups(instance)  # says now what is wrong with them
        return super().prompt(context, instance, slot)._replace(text="")

    def follow_ups(self, instance: Instance) -> Sequence[str]:
        """What the user says after each answer, laid out.

        Raises:
            DataError: The instance has none, or something else than texts.
        """
        texts = (instance.extra or {}).get(FOLLOW_UPS)
        if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
            raise DataError(
                f"instance {instance.id} has no list of texts '{FOLLOW_UPS}' in its extra data; the method "
                "dialogue needs it (an empty list: one turn)"
            )
        return [self.layout.finish("", self.layout.question(text)) for text in texts]

    def gold_of_turn(self, instance: Instance, turn: int) -> str:
        """From the instance's `golds`, where it has them."""
        golds = (instance.extra or {}).get(GOLDS)
        return str(golds[turn - 1]) if golds else self.gold(instance)

    def after(self, instance: Instance, state: RequestState, response: Response) -> Sequence[RequestState]:
        """The next turn, until all follow-ups are said.

        Raises:
            DataError: The instance has no follow-ups.
            UsageError: The window has no room for a prompt.
        """
        texts, turn = self.follow_ups(instance), state.turn or 1
        if turn > len(texts):
            return ()
        said = Message("user", texts[turn - 1])
        completions = response.completions
        answer = Message("assistant", completions[0].text if completions else "")
        messages, is_cut = self._fitted((*(state.request.messages or ()), answer, said))
        hints = Hints(self.choices(instance))
        request = replace(state.request, prompt="", messages=messages, hints=hints)
        return (next_turn(state, request, prompt_truncated=is_cut),)

    def _fitted(self, messages: tuple[Message, ...]) -> tuple[tuple[Message, ...], bool]:
        """A conversation that fits the window, and whether something had to be left out."""
        window, max_tokens = self.window, self.spec.max_tokens
        num_kept = 1 if messages[0].role == "system" else 0
        fitting = messages
        while not window.fits(text_of(fitting), max_tokens):
            if len(fitting) == num_kept + 1:
                context = ChatContext(self.layout, window, (), ())
                return context.cut(fitting), True
            fitting = (*fitting[:num_kept], *fitting[num_kept + 2 :])
        return fitting, len(fitting) < len(messages)
