"""What came back: an answer, or a failure with its reason. The two never mix."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from evalkit.thinking import is_only_thinking

BLOCKED = "content_filter"
"""The reason of failures that a content filter caused."""
FinishReason = Literal["stop", "length", "content_filter", "tool_calls", "unknown"]


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a completion with its natural-log probability, and its best alternatives.

    Attributes:
        logprob: None only for the first token of a scored text, which follows nothing and has no probability.
    """

    text: str
    logprob: float | None
    top_logprobs: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """One generated text.

    Attributes:
        text: The answer: without thinking, and up to the first stop sequence.
        logprob: Sum over the answer's tokens that have one, natural log; None where the server gives none.
        thinking: What the model thought before it answered; "" where it thought and the server keeps it back.
        raw: The whole text as it came, where the answer is only part of it: with thinking, marks and what
            was cut away here at a stop sequence. Equal answers are equal, wherever they stood.
        is_greedy: For a scored prompt: whether each scored token was the likeliest; None where not known.
    """

    text: str
    finish_reason: FinishReason = "unknown"
    logprob: float | None = None
    tokens: tuple[Token, ...] | None = None
    thinking: str | None = None
    is_greedy: bool | None = None
    raw: str | None = field(default=None, compare=False)

    @property
    def lacks_answer(self) -> bool:
        """Whether it ends inside its thinking, or without a text at the length limit."""
        if self.text.strip():
            return self.raw is None and is_only_thinking(self.text)
        return self.thinking is not None or self.finish_reason == "length"


@dataclass(frozen=True, slots=True)
class Efficiency:
    """How an answer came about: what efficiency stats are made of. None and 0 mean "not known".

    The time it took from `started_at` on is the response's `latency_s`.

    Attributes:
        started_at: When work on it began, in Unix seconds.
        queue_s: From its submission to that moment.
        first_token_s: From that moment to the first token.
        padded_tokens: Positions computed for it, padding included; its share where they were shared.
        reused_tokens: Prompt tokens that were computed for an earlier request, or once for several.
        batch_size: Requests that were computed with it, itself included.
        peak_memory_bytes: Most memory that the engine has held up to then.
    """

    started_at: float
    queue_s: float = 0.0
    first_token_s: float | None = None
    padded_tokens: int | None = None
    reused_tokens: int | None = None
    batch_size: int | None = None
    peak_memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts as the server bills them; both zero where it does not report them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def is_reported(self) -> bool:
        """Whether the server said anything: no request takes no tokens."""
        return self.prompt_tokens > 0 or self.completion_tokens > 0

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an answer was found that was not asked for.

    Attributes:
        source: The name of the run's directory, or of the cache's file.
        key: The key of its request in that run; "" for the cache, which has no such keys.
    """

    source: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer.

    Attributes:
        latency_s: From sending the successful attempt to its last byte.
        served_model: The model name that the server reports, which may be a dated snapshot.
        cached: Found in an earlier run or the response cache, not asked for; it cost nothing now.
        attempts: How often the request was sent until it succeeded.
        embedding: The vector, where one was asked for.
        efficiency: How it came about; None where the client does not say.
        origin: Where it was found; None for one that was asked for, and in journals of evalkit up to 0.1.
    """

    completions: tuple[Completion, ...]
    usage: Usage = Usage()
    latency_s: float = 0.0
    served_model: str | None = None
    cached: bool = False
    attempts: int = 1
    embedding: tuple[float, ...] | None = None
    efficiency: Efficiency | None = None
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer, and why. Listed and counted, never scored; asked again by the next start, unless blocked.

    Attributes:
        reason: One word (`timeout`, `connection`, `overload`, `server_error`, `malformed`, `bad_request`, …).
        message: The last error in words, without secrets.
        text: What had been written before a content filter cut it off.
    """

    reason: str
    message: str
    attempts: int = 1
    text: str = ""

    @property
    def is_blocked(self) -> bool:
        """Whether a content filter blocked the prompt or the answer: asking again would be in vain."""
        return self.reason == BLOCKED


Outcome = Response | Failure


def after_waiting(response: Response, waited_s: float) -> Response:
    """A response whose request waited for so long before its client got it."""
    if (before := response.efficiency) is None:
        return response
    # Written out, at half the cost of `dataclasses.replace`: each answer comes through here.
    efficiency = Efficiency(
        before.started_at,
        before.queue_s + waited_s,
        before.first_token_s,
        before.padded_tokens,
        before.reused_tokens,
        before.batch_size,
        before.peak_memory_bytes,
    )
    return Response(
        response.completions,
        response.usage,
        response.latency_s,
        response.served_model,
        response.cached,
        response.attempts,
        response.embedding,
        efficiency,
        response.origin,
    )


def summed(usages: Sequence[Usage]) -> Usage:
    """What several sends for one request took together; not reported as soon as one of them is not."""
    if not all(usage.is_reported for usage in usages):
        return Usage()
    return Usage(sum(u.prompt_tokens for u in usages), sum(u.completion_tokens for u in usages))


def total_logprob(tokens: Iterable[Token]) -> float | None:
    """The sum over the tokens that have a log-probability; None where there are tokens, and none has one."""
    listed = list(tokens)
    known = [token.logprob for token in listed if token.logprob is not None]
    return math.fsum(known) if known or not listed else None


_NUMBER = (int, float)
_Types = Mapping[str, tuple[type, ...]]
_RESPONSE_TYPES: _Types = {
    "completions": (list,),
    "prompt_tokens": (int,),
    "completion_tokens": (int,),
    "latency_s": _NUMBER,
    "served_model": (str,),
    "cached": (bool,),
    "attempts": (int,),
    "embedding": (list,),
    "efficiency": (dict,),
}
_COMPLETION_TYPES: _Types = {
    "text": (str,),
    "finish_reason": (str,),
    "logprob": _NUMBER,
    "tokens": (list,),
    "thinking": (str,),
    "is_greedy": (bool,),
    "raw": (str,),
}
_TOKEN_TYPES: _Types = {"text": (str,), "logprob": _NUMBER, "top_logprobs": (dict,)}
_EFFICIENCY_TYPES: _Types = {
    "started_at": _NUMBER,
    "queue_s": _NUMBER,
    "first_token_s": _NUMBER,
    "padded_tokens": (int,),
    "reused_tokens": (int,),
    "batch_size": (int,),
    "peak_memory_bytes": (int,),
}


def sound(response: Response) -> Response:
    """What a client gave, as it can be kept and read again: whole counts that came as floats are integers.

    Raises:
        TypeError: A field is of another type than it says, or a count is negative; the message names it.
    """
    usage = response.usage
    if type(usage.prompt_tokens) is not int or type(usage.completion_tokens) is not int:
        usage = Usage(_whole(usage.prompt_tokens), _whole(usage.completion_tokens))
        response = replace(response, usage=usage)
    problem = _object_problem(response)
    if problem is not None:
        raise TypeError(problem)
    return response


def plain_response_problem(plain: Any) -> str | None:
    """What keeps `response_from_json` from making a sound response of this; None: nothing does."""
    if type(plain) is not dict or "completions" not in plain:
        return "it has no completions"
    problem = _type_problem(plain, _RESPONSE_TYPES)
    if problem is None and (plain.get("prompt_tokens", 0) < 0 or plain.get("completion_tokens", 0) < 0):
        problem = "a count of tokens is negative"
    if problem is None and not all(type(value) in _NUMBER for value in plain.get("embedding", ())):
        problem = "'embedding' has something else than numbers in it"
    if problem is None and (efficiency := plain.get("efficiency")) is not None:
        problem = _type_problem(efficiency, _EFFICIENCY_TYPES, "started_at")
    for completion in plain["completions"] if problem is None else ():
        problem = problem or _type_problem(completion, _COMPLETION_TYPES, "text")
        for token in completion.get("tokens", ()) if problem is None else ():
            problem = problem or _type_problem(token, _TOKEN_TYPES, "text")
            if problem is None and not _are_logprobs(token.get("top_logprobs", {})):
                problem = "'top_logprobs' has something else than numbers in it"
    return problem


def _type_problem(plain: Any, types: _Types, needed: str = "") -> str | None:
    if type(plain) is not dict or (needed and needed not in plain):
        return f"'{needed}' is missing"
    for name, value in plain.items():
        if type(value) not in types.get(name, ()):
            return f"'{name}' is not a field of it, or has the wrong type"
    return None


def _object_problem(response: Response) -> str | None:
    """What is wrong with the types of a response that a client made; None: nothing."""
    usage, efficiency = response.usage, response.efficiency
    if usage.prompt_tokens < 0 or usage.completion_tokens < 0:
        return "usage has a negative count of tokens"
    if not isinstance(response.latency_s, _NUMBER):
        return "latency_s is not a number"
    if response.served_model is not None and not isinstance(response.served_model, str):
        return "served_model is not text"
    if type(response.attempts) is not int or type(response.cached) is not bool:
        return "attempts or cached is of another type"
    if response.embedding is not None and not all(isinstance(v, _NUMBER) for v in response.embedding):
        return "embedding has something else than numbers in it"
    if response.origin is not None:
        return "origin is set, but the client was asked just now"
    if efficiency is not None and (wrong := _efficiency_problem(efficiency)) is not None:
        return wrong
    for completion in response.completions:
        if (wrong := _completion_problem(completion)) is not None:
            return wrong
    return None


def _efficiency_problem(efficiency: Efficiency) -> str | None:
    for name in ("started_at", "queue_s", "first_token_s"):
        value = getattr(efficiency, name)
        if not isinstance(value, _NUMBER) and not (value is None and name == "first_token_s"):
            return f"efficiency.{name} is not a number"
    for name in ("padded_tokens", "reused_tokens", "batch_size", "peak_memory_bytes"):
        value = getattr(efficiency, name)
        if value is not None and type(value) is not int:
            return f"efficiency.{name} is not a whole number"
    return None


def _completion_problem(completion: Completion) -> str | None:
    if not isinstance(completion, Completion) or not isinstance(completion.text, str):
        return "a completion has no text"
    if not isinstance(completion.finish_reason, str):
        return "finish_reason is not text"
    for name in ("thinking", "raw"):
        value = getattr(completion, name)
        if value is not None and not isinstance(value, str):
            return f"{name} is not text"
    if completion.logprob is not None and not isinstance(completion.logprob, _NUMBER):
        return "logprob is not a number"
    if completion.is_greedy is not None and type(completion.is_greedy) is not bool:
        return "is_greedy is of another type"
    for token in completion.tokens or ():
        if not isinstance(token.text, str):
            return "a token has no text"
        if token.logprob is not None and not isinstance(token.logprob, _NUMBER):
            return "a token's logprob is not a number"
        if token.top_logprobs and not _are_logprobs(token.top_logprobs):
            return "top_logprobs has something else than numbers in it"
    return None


def _are_logprobs(tops: Mapping[Any, Any]) -> bool:
    return all(isinstance(text, str) and isinstance(value, _NUMBER) for text, value in tops.items())


def _whole(count: Any) -> int:
    """A count of tokens as an integer.

    Raises:
        TypeError: It is none.
    """
    if type(count) is int:
        return count
    if isinstance(count, float) and count.is_integer():
        return int(count)
    raise TypeError(f"usage has {count!r} where a count of tokens belongs")


def response_to_json(response: Response) -> dict[str, Any]:
    """A response as a plain dictionary, empty fields left out."""
    plain: dict[str, Any] = {
        "completions": [_completion_to_json(c) for c in response.completions],
        "prompt_tokens": response.usage.prompt_tokens,
        "completion_tokens": response.usage.completion_tokens,
        "latency_s": round(response.latency_s, 6),
    }
    if response.served_model is not None:
        plain["served_model"] = response.served_model
    if response.cached:
        plain["cached"] = True
    if response.attempts != 1:
        plain["attempts"] = response.attempts
    if response.embedding is not None:
        plain["embedding"] = list(response.embedding)
    if response.efficiency is not None:
        plain["efficiency"] = _efficiency_to_json(response.efficiency)
    return plain


def response_from_json(plain: Mapping[str, Any]) -> Response:
    """The inverse of `response_to_json`."""
    embedding, efficiency = plain.get("embedding"), plain.get("efficiency")
    return Response(
        completions=tuple(_completion_from_json(c) for c in plain["completions"]),
        usage=Usage(plain.get("prompt_tokens", 0), plain.get("completion_tokens", 0)),
        latency_s=plain.get("latency_s", 0.0),
        served_model=plain.get("served_model"),
        cached=plain.get("cached", False),
        attempts=plain.get("attempts", 1),
        embedding=None if embedding is None else tuple(embedding),
        efficiency=None if efficiency is None else Efficiency(**efficiency),
    )


def _efficiency_to_json(efficiency: Efficiency) -> dict[str, Any]:
    plain: dict[str, Any] = {"started_at": round(efficiency.started_at, 6)}
    if efficiency.queue_s:
        plain["queue_s"] = round(efficiency.queue_s, 6)
    if efficiency.first_token_s is not None:
        plain["first_token_s"] = round(efficiency.first_token_s, 6)
    for name in ("padded_tokens", "reused_tokens", "batch_size", "peak_memory_bytes"):
        if (value := getattr(efficiency, name)) is not None:
            plain[name] = value
    return plain


def _completion_to_json(completion: Completion) -> dict[str, Any]:
    plain: dict[str, Any] = {"text": completion.text, "finish_reason": completion.finish_reason}
    if completion.logprob is not None:
        plain["logprob"] = completion.logprob
    if completion.tokens is not None:
        plain["tokens"] = [_token_to_json(token) for token in completion.tokens]
    if completion.thinking is not None:
        plain["thinking"] = completion.thinking
    if completion.is_greedy is not None:
        plain["is_greedy"] = completion.is_greedy
    if completion.raw is not None:
        plain["raw"] = completion.raw
    return plain


def _token_to_json(token: Token) -> dict[str, Any]:
    plain: dict[str, Any] = {"text": token.text}
    if token.logprob is not None:
        plain["logprob"] = token.logprob
    if token.top_logprobs:
        plain["top_logprobs"] = dict(token.top_logprobs)
    return plain


def _token_from_json(plain: Mapping[str, Any]) -> Token:
    return Token(plain["text"], plain.get("logprob"), plain.get("top_logprobs"))


def _completion_from_json(plain: Mapping[str, Any]) -> Completion:
    tokens = plain.get("tokens")
    return Completion(
        text=plain["text"],
        finish_reason=plain.get("finish_reason", "unknown"),
        logprob=plain.get("logprob"),
        tokens=None if tokens is None else tuple(map(_token_from_json, tokens)),
        thinking=plain.get("thinking"),
        is_greedy=plain.get("is_greedy"),
        raw=plain.get("raw"),
    )
