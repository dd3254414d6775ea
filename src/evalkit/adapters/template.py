"""Prompts from a template, around an instruction that may come with the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from evalkit.adapters.adapter import Adapter, RequestSlot
from evalkit.adapters.chat_context import ChatContext, Turn
from evalkit.adapters.prompt import Context, FittedContext, Layout, Prompt
from evalkit.adapters.sampling import few_shot
from evalkit.adapters.window import NO_WINDOW, Window
from evalkit.errors import DataError, UsageError
from evalkit.instance import Instance
from evalkit.registry import Output, adapter
from evalkit.request import Message
from evalkit.specs.run_spec import AdapterSpec

INSTRUCTION, EXAMPLES = "instruction", "examples"
_IN_PROMPT, _IN_EXAMPLE = ("{instruction}", "{input}"), ("{input}", "{output}")
_FEW_SHOTS = "{few_shots}"


def filled(template: str, values: dict[str, str]) -> str:
    """The template with `{name}` replaced for each name; braces anywhere else stay, in the values too."""
    found: list[str] = []
    rest = template
    marks = {f"{{{name}}}": value for name, value in values.items()}
    while True:
        places = {rest.find(mark): mark for mark in marks if mark in rest}
        if not places:
            return "".join([*found, rest])
        place = min(places)
        mark = places[place]
        found += [rest[:place], marks[mark]]
        rest = rest[place + len(mark) :]


@adapter("template")
class TemplateAdapter(Adapter):
    """One request per instance: the spec's `prompt_template`, filled.

    `{instruction}` is the spec's `instructions`, else the instance's (`extra["instruction"]`); `{few_shots}`
    are the examples, each by `example_template`; without that mark they follow the instruction. An instance
    with a text in `extra["examples"]` is shown the train instances that have the same text there. Prefixes
    and suffixes of the spec are not used, apart from the global ones. With `chat_style=turns` the first
    message is the template, filled with the first example's input; later ones are inputs alone. With
    `chat_style=system` the filled template is one user message.

    Raises:
        UsageError: A template lacks a mark.
    """

    gives: ClassVar[frozenset[Output] | None] = frozenset({"generated_text"})
    makes_prompts_singly: ClassVar[bool] = True

    def __init__(self, spec: AdapterSpec, window: Window = NO_WINDOW) -> None:
        super().__init__(spec, window)
        _require("prompt_template", spec.prompt_template, _IN_PROMPT)
        if spec.max_train_instances and spec.chat_style != "turns":
            _require("example_template", spec.example_template, _IN_EXAMPLE)

    def context(self, train: Sequence[Instance], trial: int) -> Context:
        """The examples of a train trial; the prompts depend on each instance's instruction too."""
        pools: dict[str, list[Instance]] = {}
        for instance in train:
            pools.setdefault(_pool_of(instance), []).append(instance)
        shots = {
            pool: [
                Turn(shot.input, self.gold(shot))
                for shot in few_shot(instances, self.spec.max_train_instances, trial, self.spec.sample_train)
            ]
            for pool, instances in pools.items()
        }
        return _Examples(self.layout, self.window, shots)

    def prompt(self, context: Context | ChatContext, instance: Instance, slot: RequestSlot) -> Prompt:
        """The filled template, with fewer examples, or cut, where it does not fit the window.

        Raises:
            DataError: There is no instruction.
        """
        instruction = self.spec.instructions or str((instance.extra or {}).get(INSTRUCTION, ""))
        if not instruction:
            raise DataError(
                f"instance {instance.id} has no '{INSTRUCTION}', and the adapter spec none either"
            )
        if not isinstance(context, _Examples):
            raise TypeError("a context of another adapter")
        return context.around(instruction, _pool_of(instance)).prompt(instance.input)


class _Examples(Context):
    """The examples of a train trial, and the prompts around each instruction that came with them."""

    def __init__(self, layout: Layout, window: Window, shots: Mapping[str, Sequence[Turn]]) -> None:
        super().__init__(layout, window, ())
        self._shots = shots
        self._around: dict[tuple[str, str], FittedContext] = {}

    def around(self, instruction: str, pool: str) -> FittedContext:
        """What the prompts with this instruction and examples of this pool share."""
        if (instruction, pool) not in self._around:
            made = _TemplateChat if self._layout.spec.chat_style == "turns" else _TemplateContext
            shots = self._shots.get(pool, ())
            self._around[instruction, pool] = made(self._layout, self._window, instruction, shots)
        return self._around[instruction, pool]


class _TemplateContext(FittedContext):
    """The prompts around one instruction, as text or as one message."""

    def __init__(self, layout: Layout, window: Window, instruction: str, shots: Sequence[Turn]) -> None:
        super().__init__(window, layout.spec.max_tokens, len(shots))
        self._layout, self._instruction = layout, instruction
        template = layout.spec.example_template
        self._examples = [filled(template, {"input": shot.question, "output": shot.answer}) for shot in shots]

    def _draft(self, kept: int, block: str) -> Prompt:
        spec = self._layout.spec
        few_shots = "".join(self._examples[:kept])
        template = spec.prompt_template
        if _FEW_SHOTS not in template:
            template = template.replace("{instruction}", f"{{instruction}}{_FEW_SHOTS}", 1)
        values = {INSTRUCTION: self._instruction, "few_shots": few_shots, "input": block}
        text = self._layout.finish(spec.global_prefix, filled(template, values))
        return self._as_asked(text, kept)

    def _as_asked(self, text: str, kept: int, truncated: bool = False) -> Prompt:
        messages = None if self._layout.spec.chat_style is None else (Message("user", text),)
        return Prompt(text, kept, truncated=truncated, messages=messages)

    def _cut(self, draft: Prompt) -> Prompt:
        return self._as_asked(self._window.truncate(draft.text, self._max_tokens), 0, truncated=True)


class _TemplateChat(ChatContext):
    """The chats around one instruction: the template in the first message, examples as turns."""

    def __init__(self, layout: Layout, window: Window, instruction: str, shots: Sequence[Turn]) -> None:
        super().__init__(layout, window, shots, [""] * len(shots))
        self._instruction = instruction

    def _messages(self, kept: int, block: str) -> tuple[Message, ...]:
        spec = self._layout.spec
        inputs = [*(turn.question for turn in self._turns[:kept]), block]
        values = {INSTRUCTION: self._instruction, "few_shots": "", "input": inputs[0]}
        inputs[0] = spec.global_prefix + filled(spec.prompt_template, values)
        inputs[-1] += spec.global_suffix
        messages = []
        for position, text in enumerate(inputs):
            messages.append(Message("user", self._layout.substituted(text)))
            if position < kept:
                answer = self._turns[position].answer
                messages.append(Message("assistant", self._layout.substituted(answer)))
        return tuple(messages)


def _pool_of(instance: Instance) -> str:
    """Which train instances are examples for it."""
    return str((instance.extra or {}).get(EXAMPLES, ""))


def _require(field: str, template: str, marks: Sequence[str]) -> None:
    if missing := [mark for mark in marks if mark not in template]:
        raise UsageError(f"{field} must hold {' and '.join(missing)}: {template[:60]!r}")
