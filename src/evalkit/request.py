"""What is asked of a model, and where in a run it belongs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from operator import attrgetter
from typing import Any, Literal

RequestMode = Literal["original", "calibration"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Hints:
    """What the deterministic baselines may know of the task; never sent, stored, or part of a cache key.

    Attributes:
        choices: The outputs to choose from, wrong ones among them (letters, labels); empty if the answer is
            free.
        train_outputs: The gold output of every train instance, shared by all requests of a run.
    """

    choices: tuple[str, ...] = ()
    train_outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt and how to sample from it. Field names and meaning are HELM's where HELM has them.

    Attributes:
        prompt: The text to go on from; of a chat, whatever its adapter made of it, perhaps nothing. To show
            or measure what is asked, see `text`.
        messages: A chat; None means that `prompt` is all there is.
        num_completions: How many completions to draw (`n`).
        top_k_per_token: How many alternatives to report per token (`top_logprobs`); 1 = none wanted.
        echo_prompt: Score the prompt: its tokens come back with log-probabilities.
        scored_from: With `echo_prompt`, only the tokens that reach beyond this character of the prompt are
            wanted. A client may leave the others out; one that returns them all is right too.
        embedding: Wanted is the prompt's embedding, and nothing is generated.
        random: Tells apart otherwise equal requests (HELM's num_trials); also used as seed.
        expects_thinking: Completions may begin with thinking: stop sequences end the answer behind it.
        top_k: Draw from this many of the likeliest tokens; 0: from all.
        repetition_penalty: Of a token that is in the text already, the logit is divided by this if it is
            positive, else multiplied; 1: no penalty.
        response_schema: A JSON Schema, as JSON, that the answer is to satisfy. evalkit sends it to servers
            that take one (`response_format`), and to no others.
    """

    prompt: str
    messages: tuple[Message, ...] | None = None
    temperature: float = 1.0
    num_completions: int = 1
    top_k_per_token: int = 1
    max_tokens: int = 100
    stop_sequences: tuple[str, ...] = ()
    echo_prompt: bool = False
    scored_from: int | None = None
    embedding: bool = False
    top_p: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    random: str | None = None
    expects_thinking: bool = False
    top_k: int = 0
    repetition_penalty: float = 1.0
    response_schema: str | None = None
    hints: Hints | None = field(default=None, compare=False, repr=False)

    @property
    def text(self) -> str:
        """All that is asked, to be shown or measured: the prompt, or the turns of a chat with their roles."""
        if self.messages is None:
            return self.prompt
        return "\n\n".join(f"{message.role}: {message.content}" for message in self.messages)

    def to_json(self) -> dict[str, Any]:
        """The request as a plain dictionary: defaults left out, hints never in it."""
        plain: dict[str, Any] = {"prompt": self.prompt}
        if self.messages is not None:
            plain["messages"] = [{"role": m.role, "content": m.content} for m in self.messages]
        for (name, default), value in zip(_PLAIN_FIELDS, _plain_values(self), strict=True):
            if value != default:
                plain[name] = value
        return plain

    def described(self) -> dict[str, Any]:
        """Every field with its value, for people: the prompt as `text`, lists where JSON has no tuples."""
        plain = {"prompt": "", "messages": None, **dict(_PLAIN_FIELDS), **self.to_json()}
        plain["prompt"] = self.text
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}

    @staticmethod
    def from_json(plain: Mapping[str, Any]) -> Request:
        """The inverse of `to_json`."""
        known = dict(plain)
        if (messages := known.get("messages")) is not None:
            known["messages"] = tuple(Message(**m) for m in messages)
        for name in _TUPLE_FIELDS:
            if (value := known.get(name)) is not None:
                known[name] = tuple(value)
        return Request(**known)


def _plain_fields() -> tuple[tuple[str, Any], ...]:
    """What `to_json` writes as it is, with its default: every field in which requests can differ."""
    plain = []
    for known in fields(Request):
        if known.compare and known.name not in ("prompt", "messages"):
            if known.default is MISSING:
                raise TypeError(f"Request.{known.name} needs a default, which older journals then mean")
            plain.append((known.name, known.default))
    return tuple(plain)


# The one list of fields behind journal and cache key: a field that it lacked would make answers to different
# requests look like answers to one.
_PLAIN_FIELDS = _plain_fields()
_plain_values = attrgetter(*(name for name, _ in _PLAIN_FIELDS))
_TUPLE_FIELDS = tuple(name for name, default in _PLAIN_FIELDS if isinstance(default, tuple))


@dataclass(frozen=True, slots=True)
class JudgementPlace:
    """A judge's request in its place among those about a unit of answers.

    Attributes:
        question: The name of the question.
        about: Which answers it is about: eight hexadecimal digits over them.
        num_questions: How many questions each opinion on the unit takes.
        opinion: Which opinion it is, of those of all who judge; their repetitions count too.
        again: How many unclear replies went before.
    """

    question: str
    about: str
    num_questions: int = 1
    opinion: int = 0
    again: int = 0

    @property
    def key_part(self) -> str:
        """What the key of the request has more than that of the unit: `/q:turn_2@0a1b2c3d/o1/again2`."""
        opinion = f"/o{self.opinion}" if self.opinion else ""
        again = f"/again{self.again}" if self.again else ""
        return f"/q:{self.question}@{self.about}{opinion}{again}"


def place_to_json(place: JudgementPlace) -> dict[str, Any]:
    """A place as a plain dictionary, without what has its default."""
    plain: dict[str, Any] = {"question": place.question, "about": place.about}
    for known in fields(place):
        if (value := getattr(place, known.name)) != known.default:
            plain[known.name] = value
    return plain


def place_from_json(plain: object) -> JudgementPlace | None:
    """The inverse of `place_to_json`; None for anything that is not a place."""
    if not isinstance(plain, dict) or not plain.keys() <= _PLACE_TYPES.keys():
        return None
    if any(type(value) is not _PLACE_TYPES[name] for name, value in plain.items()):
        return None
    numbers = (plain.get("opinion", 0), plain.get("again", 0), plain.get("num_questions", 1) - 1)
    if not {"question", "about"} <= plain.keys() or min(numbers) < 0:
        return None
    return JudgementPlace(**plain)


_PLACE_TYPES: Mapping[str, type] = {
    known.name: str if known.name in ("question", "about") else int for known in fields(JudgementPlace)
}


@dataclass(frozen=True, slots=True)
class RequestState:
    """A request in its place within a run.

    Attributes:
        key: Unique within the run and the same on every machine: what resume goes by.
        instance_id: The instance it asks about.
        trial: The train trial (which few-shot examples were drawn).
        sample: Which repetition this is (`num_trials` in adapter specs, HELM's word, says how many).
        reference_index: The reference being scored, for one-request-per-reference adapters.
        request_mode: "original" or "calibration" for those adapters.
        output_mapping: Letter to reference text, for multiple choice.
        num_train_instances: Few-shot examples left in the prompt after fitting it to the window.
        prompt_truncated: Whether the prompt itself had to be cut.
        unit_size: How many requests are scored together (one per reference, say); 1 for generation. Of a
            conversation: how many turns it has at most.
        perturbation: Label of the perturbed copy it asks about; None for the original instance.
        num_conditioning_tokens: How many tokens at the start of the prompt are context and not scored.
        turn: Which turn of a conversation this asks for, from 1; None: it belongs to no conversation.
        member: The member of a routed deployment that it goes to, or the judge of a jury; None where there is
            only one who could answer.
        judgement: Its place among the requests of a judge; None: it is not a judge's.
    """

    key: str
    instance_id: str
    trial: int
    request: Request
    sample: int = 0
    reference_index: int | None = None
    request_mode: RequestMode | None = None
    output_mapping: Mapping[str, str] | None = None
    num_train_instances: int = 0
    prompt_truncated: bool = False
    unit_size: int = 1
    perturbation: str | None = None
    num_conditioning_tokens: int = 0
    turn: int | None = None
    member: str | None = None
    judgement: JudgementPlace | None = None


def next_turn(state: RequestState, request: Request, *, prompt_truncated: bool = False) -> RequestState:
    """The turn of a conversation that follows an answered one.

    Its key is that of the turn before and one part more: `t0/id17`, `t0/id17/u2`, `t0/id17/u2/u3`.

    Args:
        state: The turn that was answered.
        request: What to ask now: the conversation so far, and what is said next.
        prompt_truncated: Whether something of the conversation was left out to fit the window.
    """
    turn = (state.turn or 1) + 1
    truncated = state.prompt_truncated or prompt_truncated
    key = child_key(state.key, turn)
    return replace(state, key=key, request=request, turn=turn, prompt_truncated=truncated)


def parent_key(key: str) -> str:
    """The key of the turn before, of a turn after the first."""
    return key[: key.rindex("/")]


def child_key(key: str, turn: int) -> str:
    """The key of this turn, which follows the one with the given key."""
    return f"{key}/u{turn}"


def turn_parts(turn: int) -> str:
    """What the key of a turn has more than that of the first."""
    return "".join(child_key("", number) for number in range(2, turn + 1))


def request_key(
    instance_id: str,
    trial: int,
    sample: int = 0,
    reference_index: int | None = None,
    request_mode: RequestMode | None = None,
    perturbation: str | None = None,
    part: int | None = None,
) -> str:
    """The stable key of a request: `t0/id17`, `t0/id17~dialect`, `t1/id17/s2/r3/calibration`.

    A part of a text that is asked in parts adds `/w00001`. Further turns of a conversation: see `next_turn`.
    """
    key = f"t{trial}/{instance_id}"
    if perturbation is not None:
        key += f"~{perturbation}"
    if sample:
        key += f"/s{sample}"
    if reference_index is not None:
        key += f"/r{reference_index}"
    if request_mode is not None:
        key += f"/{request_mode}"
    if part is not None:
        key += f"/w{part:05}"  # in the order of the parts, also as text
    return key
