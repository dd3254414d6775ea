"""The base of all adapters: instances in, requests out, one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, ClassVar, NamedTuple

from evalkit.adapters.chat_context import ChatContext, Turn
from evalkit.adapters.prompt import Context, Layout, Prompt
from evalkit.adapters.sampling import few_shot
from evalkit.adapters.window import NO_WINDOW, Window
from evalkit.errors import DataError, PluginError, UsageError
from evalkit.instance import Instance
from evalkit.registry import Output
from evalkit.request import Hints, Request, RequestMode, RequestState, request_key
from evalkit.response import Response
from evalkit.specs.run_spec import AdapterSpec

NO_GOLD = "n/a"


class RequestSlot(NamedTuple):
    """One of the requests made for an instance."""

    reference_index: int | None = None
    mode: RequestMode | None = None
    part: int | None = None


class _TrialContext(NamedTuple):
    """What the requests of one repetition of one train trial share."""

    trial: int
    sample: int
    context: Context | ChatContext
    train_outputs: tuple[str, ...]


class _PlannedRequest(NamedTuple):
    """A request that is wanted, before its prompt is made.

    Attributes:
        unit_size: How many requests are scored together, this one included.
    """

    key: str
    instance: Instance
    slot: RequestSlot
    unit_size: int


ONE_SLOT = (RequestSlot(),)

# So much text is held as prompts that are made and not yet asked for.
_MAX_HELD_CHARACTERS = 4_000_000


def never(key: str) -> bool:
    """Skip nothing."""
    return False


class Adapter:
    """Makes requests as an adapter spec says.

    A method says what its prompts look like by overriding `question` and `example`, and what is asked of
    the model by overriding `parameters`; one that asks several requests per instance overrides `slots`; one
    that goes on from the answers sets `has_turns` and overrides `follow_ups` and `after`; one that overrides
    `prompt` itself sets `makes_prompts_singly`.

    Attributes:
        version: Raise it when the requests change for the same spec; it is part of a run's identity.
        can_chat: Whether the prompts can be put as a chat (`chat_style`).
        gives: What there is to be scored; a plan refuses metrics that all want something else. None: not
            said, and nothing is refused.
        has_examples: Whether prompts can show few-shot examples. If not, an entry's `shots` has no effect.
        per_reference: Whether each request is about one reference, so that no answer to the question itself
            is generated.
        modes: In which ways each reference is asked about.
        has_turns: Whether an instance is a conversation: what is asked next depends on the answer before.
            Such a method has one first request per instance (`slots` stays as it is).
        makes_prompts_singly: Whether `prompt` is called for each request. If not, prompts are made several
            at a time from `question` and `shows_examples`, and `prompt` is not called.

    Raises:
        UsageError: The spec wants a chat, and the method can't.
    """

    version: ClassVar[int] = 1
    can_chat: ClassVar[bool] = True
    gives: ClassVar[frozenset[Output] | None] = None
    has_examples: ClassVar[bool] = True
    per_reference: ClassVar[bool] = False
    modes: ClassVar[tuple[RequestMode, ...]] = ("original",)
    has_turns: ClassVar[bool] = False
    makes_prompts_singly: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "prompt" in vars(cls) and not cls.makes_prompts_singly:
            raise PluginError(
                f"adapter {cls.__name__} overrides `prompt`, which would not be called: set "
                "makes_prompts_singly = True in the class"
            )

    def __init__(self, spec: AdapterSpec, window: Window = NO_WINDOW) -> None:
        if spec.chat_style is not None and not self.can_chat:
            raise UsageError(f"chat_style={spec.chat_style} does not work with the method {spec.method}")
        self.spec, self.window = spec, window
        self.layout = Layout(spec)

    def requests(
        self,
        instances: Sequence[Instance],
        train: Sequence[Instance],
        skip: Callable[[str], bool] = never,
    ) -> Iterator[RequestState]:
        """Make the requests, lazily: by train trial, then repetition, then instance in the order given.

        The requests that are scored together follow one another.

        Args:
            instances: The evaluated instances, with ids.
            train: The train split, to draw few-shot examples from.
            skip: Whether the request of this key is not wanted; its prompt is then not built.

        Raises:
            DataError: An instance lacks what the method needs.
            UsageError: The context window has no room for a prompt.
        """
        outputs = tuple(self.gold(instance) for instance in train if instance.first_correct is not None)
        for trial in range(self.spec.num_train_trials):
            context = self.context(train, trial)
            for sample in range(self.spec.num_trials):
                shared = _TrialContext(trial, sample, context, outputs)
                yield from self._trial_requests(shared, instances, skip)

    def _trial_requests(
        self, shared: _TrialContext, instances: Sequence[Instance], skip: Callable[[str], bool]
    ) -> Iterator[RequestState]:
        """The requests of all instances for one repetition of one train trial."""
        trial, sample, context, train_outputs = shared
        shared_parameters = self.parameters() | {"random": str(sample) if sample else self.spec.random}
        hints = Hints((), train_outputs)
        for planned, prompt in self._with_prompts(context, self._planned(shared, instances, skip)):
            instance, slot = planned.instance, planned.slot
            if (choices := self.choices(instance)) != hints.choices:
                hints = Hints(choices, train_outputs)
            scored_from = self.scored_from(prompt, instance, slot)
            parameters = self._with_temperature(shared_parameters, instance)
            yield RequestState(
                key=planned.key,
                instance_id=_id_of(instance),
                trial=trial,
                request=Request(
                    prompt.text, prompt.messages, scored_from=scored_from, hints=hints, **parameters
                ),
                sample=sample,
                reference_index=slot.reference_index,
                request_mode=slot.mode,
                output_mapping=self.output_mapping(instance),
                num_train_instances=prompt.num_train_instances,
                prompt_truncated=prompt.truncated,
                unit_size=planned.unit_size,
                perturbation=instance.perturbation_label,
                num_conditioning_tokens=prompt.num_conditioning_tokens,
                turn=1 if self.has_turns else None,
            )

    def _with_temperature(self, parameters: dict[str, Any], instance: Instance) -> dict[str, Any]:
        """The fields of a request with the temperature of the instance's sub-split, where it has its own."""
        temperature = self.spec.temperatures.get(instance.sub_split or "")
        return parameters if temperature is None else {**parameters, "temperature": temperature}

    def _planned(
        self, shared: _TrialContext, instances: Sequence[Instance], skip: Callable[[str], bool]
    ) -> Iterator[_PlannedRequest]:
        """What is wanted of a shared, in order."""
        trial, sample = shared.trial, shared.sample
        for instance in instances:
            instance_id = _id_of(instance)
            slots, label = self.slots(instance), instance.perturbation_label
            unit_size = self._unit_size(instance, slots)
            for slot in slots:
                key = request_key(
                    instance_id, trial, sample, slot.reference_index, slot.mode, label, slot.part
                )
                if not skip(key):
                    yield _PlannedRequest(key, instance, slot, unit_size)

    def _unit_size(self, instance: Instance, slots: Sequence[RequestSlot]) -> int:
        """How many requests of an instance are scored together; of a conversation, the most."""
        if not self.has_turns:
            return len(slots)
        if len(slots) != 1:
            raise DataError(f"the method {self.spec.method} has turns, so an instance has one first request")
        return 1 + len(self.follow_ups(instance))

    def _with_prompts(
        self, context: Context | ChatContext, planned: Iterator[_PlannedRequest]
    ) -> Iterator[tuple[_PlannedRequest, Prompt]]:
        """What is wanted, with prompts made some at a time: one at first, so that sending starts at once."""
        most_at_once = 1 if self.makes_prompts_singly else self.window.fitted_at_once
        if most_at_once == 1:
            for one in planned:
                yield one, self.prompt(context, one.instance, one.slot)
            return
        at_once = 1
        while chunk := list(islice(planned, at_once)):
            prompts = self._prompts(context, chunk)
            yield from zip(chunk, prompts, strict=True)
            num_characters = sum(len(prompt.text) for prompt in prompts) // len(prompts)
            room = _MAX_HELD_CHARACTERS // max(1, num_characters)
            at_once = max(1, min(2 * at_once, most_at_once, room))

    def _prompts(self, context: Context | ChatContext, chunk: Sequence[_PlannedRequest]) -> list[Prompt]:
        """The prompts of several requests, each what `prompt` makes of it."""
        blocks = [self.question(planned.instance, planned.slot) for planned in chunk]
        return context.prompts(blocks, [self.shows_examples(planned.slot) for planned in chunk])

    def num_requests(self, instances: Sequence[Instance]) -> int:
        """How many requests a run sends, counted without building prompts; where it has turns, at most."""
        per_trial = sum(self._unit_size(instance, self.slots(instance)) for instance in instances)
        return per_trial * self.spec.num_train_trials * self.spec.num_trials

    def follow_ups(self, instance: Instance) -> Sequence[str]:
        """What may be said after each answer of the model, as it is sent: a text for each further turn.

        Of texts that depend on the answers, the longest that there can be. A plan bounds the number and the
        length of requests by it, and the journal says by it which conversations may go on.
        """
        return ()

    def after(self, instance: Instance, state: RequestState, response: Response) -> Sequence[RequestState]:
        """What to ask after an answer: the next turn (see `evalkit.request.next_turn`), or nothing.

        It must be a pure function of what it is given, for it is called again when a run is resumed or
        scored anew. Whether there is a next turn must not depend on the window.

        Args:
            instance: What the conversation is about.
            state: The turn that was answered; its request holds the conversation so far.
            response: The answer.

        Raises:
            DataError: An instance lacks what the method needs.
            UsageError: The context window has no room for a prompt.
        """
        return ()

    def context(self, train: Sequence[Instance], trial: int) -> Context | ChatContext:
        """The shared part of the prompts of one train trial."""
        shots = few_shot(train, self.spec.max_train_instances, trial, self.spec.sample_train)
        if self.spec.chat_style is not None:
            turns = [Turn(self.question(shot, RequestSlot()), self.shown(shot)) for shot in shots]
            examples = [self.example(shot) for shot in shots]
            return ChatContext(self.layout, self.window, turns, examples)
        return Context(self.layout, self.window, [self.example(shot) for shot in shots])

    def prompt(self, context: Context | ChatContext, instance: Instance, slot: RequestSlot) -> Prompt:
        """The prompt of one request."""
        return context.prompt(self.question(instance, slot), few_shot=self.shows_examples(slot))

    def shows_examples(self, slot: RequestSlot) -> bool:
        """Whether few-shot examples stand before the question of this slot."""
        return True

    def scored_from(self, prompt: Prompt, instance: Instance, slot: RequestSlot) -> int | None:
        """The character from which on the prompt's tokens are to be scored; None: all of them, or none."""
        return None

    def slots(self, instance: Instance) -> Sequence[RequestSlot]:
        """The requests made for an instance; they are scored together."""
        return ONE_SLOT

    def question(self, instance: Instance, slot: RequestSlot) -> str:
        """The last block of the prompt."""
        return self.layout.question(instance.input)

    def example(self, instance: Instance) -> str:
        """A few-shot block."""
        return self.layout.example(instance.input, self.shown(instance))

    def shown(self, instance: Instance) -> str:
        """The answer in a few-shot block: the gold, perhaps with reasoning before it."""
        return self.gold(instance)

    def gold(self, instance: Instance) -> str:
        """The output that a few-shot example shows: the first right answer, or all for multi-label."""
        outputs = [reference.text for reference in instance.correct_references]
        if not outputs:
            return NO_GOLD
        return ", ".join(outputs) if self.spec.multi_label else outputs[0]

    def gold_of_turn(self, instance: Instance, turn: int) -> str:
        """A right answer to a turn of a conversation, as `evalkit validate` gives it."""
        return self.gold(instance)

    def choices(self, instance: Instance) -> tuple[str, ...]:
        """The outputs to choose from, for the baselines; empty where the answer is free.

        References are options only if one of them is wrong. Where all are right they are ways to say the
        answer, which a baseline must not know.
        """
        references = instance.references
        if all(reference.is_correct for reference in references) or len(references) == 1:
            return ()
        return tuple(reference.text for reference in references)

    def output_mapping(self, instance: Instance) -> Mapping[str, str] | None:
        """Option letter to option text, where letters are asked for."""
        return None

    def parameters(self) -> dict[str, Any]:
        """The fields of a request that are the same for all requests."""
        return {
            "temperature": self.spec.temperature,
            "top_p": self.spec.top_p,
            "top_k": self.spec.top_k,
            "repetition_penalty": self.spec.repetition_penalty,
            "num_completions": self.spec.num_outputs,
            "max_tokens": self.spec.max_tokens,
            "stop_sequences": self.spec.stop_sequences,
            "expects_thinking": self.spec.expects_thinking,
        }


def _id_of(instance: Instance) -> str:
    if instance.id is None:
        raise DataError(f"an instance has no id: {instance.input[:60]!r}")
    return instance.id
