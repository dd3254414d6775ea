"""What servers of OpenAI's protocol answer, as completions; what can't be read is never an empty text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalkit.clients.completion_parsing import (
    finish_reason,
    is_broken_off,
    num_tokens,
    refuse_blocked,
    refuse_other_speaker,
    token_count,
)
from evalkit.clients.http import error_in
from evalkit.errors import ClientError, TransientError
from evalkit.response import Completion, FinishReason, Token, Usage, total_logprob

_PLAIN_ENDS: Mapping[str, FinishReason] = {"stop": "stop", "length": "length"}
_UNUSUAL = frozenset({"error", "content_filter_results"})
_FAILED = ("failed", "error", "cancelled", "canceled")
_UNFINISHED: frozenset[FinishReason] = frozenset({"unknown", "length"})
_HIGHEST_LOGPROB = 1e-3
_THINKING_FIELDS = ("reasoning_content", "reasoning")
# What a message may have besides an empty content; a text, list or object under any other name is an answer.
_BESIDE_CONTENT = frozenset(
    {
        *("content", "role", "name", "type", "id", "object", "model", "refusal", "tool_calls"),
        *("function_call", "tool_call_id", "reasoning_content", "reasoning", "reasoning_details", "thinking"),
        *("thinking_blocks", "annotations", "citations", "context", "metadata", "provider_specific_fields"),
        *("status", "stop_reason", "recipient", "channel", "extra_content", "cache_control"),
    }
)
# Fields of a choice, and of the whole, that hold an answer which is not read here.
_OTHER_ANSWERS = (
    *("audio", "images", "image", "video", "parts", "text", "content", "output_text", "output", "delta"),
    *("answer", "completion", "generated_text", "generation", "response", "result"),
)
# Types of parts that are the answer, and the field that holds it.
_TEXT_PARTS = {"text": "text", "output_text": "text", "refusal": "refusal"}


def completions_of(
    answer: Mapping[str, Any], wanted: int, *, chat: bool, echoed: bool = False, scored: bool = False
) -> tuple[Completion, ...]:
    """The first completions of an answer.

    Args:
        answer: The parsed body.
        wanted: How many there must be.
        chat: They are turns of a chat, not continuations of a text.
        echoed: They begin with the prompt, whose first token may lack its log-probability.
        scored: Log-probabilities were asked for. Where they were not, those that can't be read are passed
            over: some servers send token numbers in place of texts, whatever they are asked for.

    Raises:
        TransientError: The answer has another shape, or there are too few.
        ContentFilterError: A content filter blocked one of them, or cut it off.
    """
    if chat and wanted == 1 and (plain := _plain_completion(answer)) is not None:
        return (plain,)
    try:
        choices = _in_order(answer.get("choices") or [])
        if len(choices) < wanted:
            raise TransientError(f"{len(choices)} of {wanted} completions arrived", "malformed")
        if chat:
            completions = tuple(_chat_completion(choice, scored) for choice in choices[:wanted])
        else:
            completions = tuple(
                _text_completion(choice, echoed, scored or echoed) for choice in choices[:wanted]
            )
    except ClientError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        detail = f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else str(error)
        raise TransientError(f"the server's answer has an unexpected shape ({detail})", "malformed") from None
    refuse_blocked(completions)
    if not any(c.text or c.thinking for c in completions):
        _refuse_other_answers(answer, choices[:wanted], chat=chat)
    return completions


def _refuse_other_answers(answer: Mapping[str, Any], choices: list[Mapping[str, Any]], *, chat: bool) -> None:
    """Nothing, if completions that say nothing are all there is.

    Raises:
        TransientError: There is an answer in a field that is not read, besides the one that is.
    """
    names = _OTHER_ANSWERS if chat else (*_OTHER_ANSWERS, "message")
    for holder in (answer, *choices):
        if (other := next((name for name in names if holder.get(name)), None)) is not None:
            raise TransientError(f"the answer is in '{other}', and its text is empty", "malformed")


def _plain_completion(answer: Mapping[str, Any]) -> Completion | None:
    """The completion of an answer as most are: one choice, a text, and an end. None for any other.

    The way through every check takes six times as long, which is felt where a server answers at once.
    """
    choices = answer.get("choices")
    if type(choices) is not list or len(choices) != 1 or answer.get("error"):
        return None
    choice = choices[0]
    if type(choice) is not dict or type(message := choice.get("message")) is not dict:
        return None
    text, ended = message.get("content"), choice.get("finish_reason")
    reason = _PLAIN_ENDS.get(ended) if type(ended) is str else None
    if reason is None or type(text) is not str or not text or not _UNUSUAL.isdisjoint(choice):
        return None
    if choice.get("logprobs") or message.get("reasoning_content") or message.get("reasoning"):
        return None
    if message.get("role", "assistant") != "assistant":
        return None
    return Completion(text, reason)


def _in_order(choices: Any) -> list[Mapping[str, Any]]:
    """The choices, by their index where each has one."""
    if not isinstance(choices, list) or not all(isinstance(choice, Mapping) for choice in choices):
        raise TypeError("'choices' is not a list of objects")
    places = [choice.get("index") for choice in choices]
    if len(choices) > 1 and sorted(map(str, places)) == [str(place) for place in range(len(choices))]:
        return sorted(choices, key=lambda choice: int(choice["index"]))
    return choices


def failure_in(answer: Mapping[str, Any]) -> Any:
    """The error in an answer that is none: that of a choice which broke off, or of the whole.

    A key that is there says nothing; gateways send `choices` as null, as an empty list, or with an empty
    message, besides the error that explains it.
    """
    choices = answer.get("choices")
    if _is_plain(answer, choices):
        return None
    listed = [c for c in choices if isinstance(c, Mapping)] if isinstance(choices, list) else []
    for choice in listed:
        reason = choice.get("finish_reason")
        if choice.get("error") or is_broken_off(reason):
            return choice.get("error") or {"message": f"the server ended the answer early ({reason})"}
    # Besides choices that came to their end an error says nothing of them.
    if (error := answer.get("error")) and not _UNFINISHED.isdisjoint(map(_end_of, listed)):
        return error
    if any(_says_something(choice) for choice in listed):
        return None
    messages = [m for choice in listed if isinstance(m := choice.get("message"), Mapping)]
    if error := next((m["error"] for m in messages if m.get("error")), None):
        return error
    feedback = answer.get("prompt_feedback") or answer.get("promptFeedback")
    if isinstance(feedback, Mapping) and (why := feedback.get("block_reason") or feedback.get("blockReason")):
        return {"message": f"the prompt was blocked: {why}", "type": "content_filter"}
    if listed and answer.get("status") in _FAILED:
        return {"message": f"the server says that it is {answer['status']}"}
    if answer.get("success") is False:
        return answer
    return answer.get("error") if listed else error_in(answer)


def _is_plain(answer: Mapping[str, Any], choices: Any) -> bool:
    """Whether an answer is one text that came to its end, with no error next to it; most are."""
    if answer.get("error") or type(choices) is not list or len(choices) != 1 or type(choices[0]) is not dict:
        return False
    choice = choices[0]
    message, ended = choice.get("message"), choice.get("finish_reason")
    is_text = type(message) is dict and bool(message.get("content")) and type(ended) is str
    return is_text and ended in _PLAIN_ENDS and not choice.get("error")


def _end_of(choice: Mapping[str, Any]) -> FinishReason:
    return finish_reason(choice.get("finish_reason"))


def _says_something(choice: Mapping[str, Any]) -> bool:
    message = choice.get("message")
    fields = ("content", "refusal", "tool_calls", *_THINKING_FIELDS)
    in_message = isinstance(message, Mapping) and any(message.get(name) for name in fields)
    return in_message or bool(choice.get("text"))


def usage_of(usage: Any, *, wrote: bool) -> Usage:
    """Tokens billed; not reported where the server does not say, or says what can't be.

    Args:
        usage: What it says.
        wrote: Whether it has written a text, which takes tokens.
    """
    if not isinstance(usage, Mapping) or not (prompt := token_count(usage.get("prompt_tokens"))):
        return Usage()
    completion = usage.get("completion_tokens")
    if completion is None and (total := token_count(usage.get("total_tokens"))) is not None:
        completion = total - prompt  # some leave out a zero
    counted = token_count(completion)
    return Usage() if counted is None or (wrote and not counted) else Usage(prompt, counted)


def has_thought(usage: Any) -> bool:
    """Whether tokens went into thinking, shown or not."""
    details = usage.get("completion_tokens_details") if isinstance(usage, Mapping) else None
    return isinstance(details, Mapping) and num_tokens(details.get("reasoning_tokens")) > 0


def _chat_completion(choice: Mapping[str, Any], scored: bool) -> Completion:
    message, reason = choice.get("message"), _reason(choice)
    if not isinstance(message, Mapping):
        raise TypeError("a choice has no 'message'")
    refuse_other_speaker(message.get("role"))
    content, thoughts = _content(message.get("content"))
    text = _text(message.get("refusal") or "") if content is None else content
    stated = next((value for name in _THINKING_FIELDS if (value := message.get(name))), None)
    if stated is not None and not isinstance(stated, str):
        raise TypeError(f"the thinking is {type(stated).__name__}, not a string")
    if content is None and reason == "unknown" and not (text or stated or message.get("tool_calls")):
        raise ValueError("it has neither a text nor a reason why it ended")
    if not text and (other := _unread(message)) is not None:
        raise ValueError(f"the answer is in '{other}', and its content is empty")
    tokens = _readable(choice.get("logprobs"), scored=scored)
    if not _covers(tokens, text + (stated or thoughts if not text else "")):
        tokens = None
    logprob = None if tokens is None else total_logprob(tokens)
    return Completion(text, reason, logprob, tokens, stated or thoughts or None)


def _unread(message: Mapping[str, Any]) -> str | None:
    """The field of a message without a text that may hold one all the same."""
    for name, value in message.items():
        if name not in _BESIDE_CONTENT and isinstance(value, str | list | Mapping) and value:
            return name
    return None


def _reason(choice: Mapping[str, Any]) -> FinishReason:
    """Why a choice ended; Azure also says what its filters found in it."""
    found = choice.get("content_filter_results")
    if isinstance(found, Mapping) and any(
        isinstance(f, Mapping) and f.get("filtered") for f in found.values()
    ):
        return "content_filter"
    return finish_reason(choice.get("finish_reason"))


def _content(content: Any) -> tuple[str | None, str]:
    """Text and thinking of a message's content, which is a string, null, or a list of typed parts.

    Raises:
        ValueError: It has parts of another type: what they say would be lost.
    """
    if content is None or isinstance(content, str):
        return content, ""
    if not isinstance(content, list):
        raise TypeError(f"the content is {type(content).__name__}")
    texts, thoughts = [], []
    for part in content:
        kind = "text" if isinstance(part, str) else part["type"]
        if kind in _TEXT_PARTS:
            texts.append(_text(part if isinstance(part, str) else part[_TEXT_PARTS[kind]]))
        elif kind in ("thinking", "reasoning"):
            inner = part.get("thinking") or part.get("reasoning") or part.get("text") or ""
            thoughts.append(inner if isinstance(inner, str) else "".join(_text(p["text"]) for p in inner))
        else:
            raise ValueError(f"a part of the content is '{kind}'")
    return "".join(texts), "".join(thoughts)


def _text_completion(choice: Mapping[str, Any], echoed: bool, scored: bool) -> Completion:
    text = _text(choice.get("text"))
    tokens = _readable(choice.get("logprobs"), scored=scored, echoed=echoed)
    if not _covers(tokens, text):
        tokens = None
    logprob = None if tokens is None else total_logprob(tokens)
    thinking = choice.get("reasoning_content") or choice.get("reasoning") or None
    return Completion(text, _reason(choice), logprob, tokens, thinking)


def _readable(logprobs: Any, *, scored: bool, echoed: bool = False) -> tuple[Token, ...] | None:
    """The tokens; None where they can't be read and the request did not ask for them."""
    try:
        return _tokens(logprobs, echoed)
    except (KeyError, TypeError, AttributeError, ValueError):
        if scored:
            raise
        return None


def _tokens(logprobs: Any, echoed: bool) -> tuple[Token, ...] | None:
    """The tokens of an answer, which servers report in two shapes; None where they report none.

    OpenAI has one shape for chats and one for completions. Others (llama.cpp, Together) use one for both.

    Raises:
        ValueError: They are reported in a third.
    """
    if not logprobs:
        return None
    if not isinstance(logprobs, Mapping):
        raise ValueError(f"log-probabilities as {type(logprobs).__name__}")
    if content := logprobs.get("content"):
        if not isinstance(content, list):
            raise ValueError(f"log-probabilities with 'content' as {type(content).__name__}")
        return tuple(
            Token(
                _text(t["token"]), _token_logprob(t["logprob"], echoed), _alternatives(t.get("top_logprobs"))
            )
            for t in content
        )
    if logprobs.get("tokens") is not None:
        return _listed_tokens(logprobs, echoed)
    if any(value for name, value in logprobs.items() if name not in ("content", "refusal")):
        raise ValueError(f"log-probabilities as {sorted(logprobs)}")
    return None if content is None else ()


def _covers(tokens: tuple[Token, ...] | None, text: str) -> bool:
    """Whether tokens are those of a text, and not of a part: of what they lack nothing is known.

    Servers spell parts of characters and blanks in their own ways, but not half of a text.
    """
    if tokens is None or not text:
        return True
    num_signs, num_spelled = len("".join(text.split())), sum(len("".join(t.text.split())) for t in tokens)
    return num_spelled > 0 if num_signs == 0 else 2 * num_spelled >= num_signs


def _listed_tokens(listed: Mapping[str, Any], echoed: bool) -> tuple[Token, ...]:
    """Tokens as lists of equal length."""
    texts, values = listed["tokens"], listed["token_logprobs"]
    tops = listed.get("top_logprobs")
    for name, values_there in (("tokens", texts), ("token_logprobs", values), ("top_logprobs", tops or [])):
        if not isinstance(values_there, list):
            raise ValueError(f"'{name}' is {type(values_there).__name__}, not a list")
    tops = tops or [None] * len(texts)
    if not len(texts) == len(values) == len(tops):
        raise ValueError(
            f"{len(texts)} tokens with {len(values)} log-probabilities and {len(tops)} lists of alternatives"
        )
    return tuple(
        Token(_text(text), _token_logprob(value, echoed), _alternatives(top))
        for text, value, top in zip(texts, values, tops, strict=True)
    )


def _token_logprob(value: Any, echoed: bool) -> float | None:
    """Only tokens of an echoed prompt may lack their log-probability."""
    return None if value is None and echoed else _logprob(value)


def _alternatives(tops: Any) -> dict[str, float] | None:
    """Alternatives by their text, an object or a list of objects; of those spelled alike the likeliest.

    One without a log-probability is none.
    """
    if not tops:
        return None
    pairs = tops.items() if isinstance(tops, Mapping) else ((top["token"], top["logprob"]) for top in tops)
    likeliest: dict[str, float] = {}
    for text, value in pairs:
        if value is None:
            continue
        logprob = _logprob(value)
        if text not in likeliest or logprob > likeliest[text]:
            likeliest[_text(text)] = logprob
    return likeliest


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text is {type(value).__name__}, not a string")
    return value


def _logprob(value: Any) -> float:
    """A log-probability; rounding may put certainty slightly above 0.

    Raises:
        ValueError: It is not one: a probability, say.
    """
    try:
        logprob = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"a log-probability is {value!r}") from None
    if isinstance(value, bool) or not logprob <= _HIGHEST_LOGPROB:
        raise ValueError(f"a log-probability is {value}")
    return min(logprob, 0.0) if logprob > 0 else logprob
