"""What clients do with thinking: it is set apart, and stop sequences end the answer only."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from evalkit.clients.completion_parsing import cut_at_stop
from evalkit.errors import CutThinkingError
from evalkit.request import Request
from evalkit.response import Completion, Response, Token, total_logprob
from evalkit.thinking import KNOWN_STYLE, Span, ThinkingStyle, after_blank_lines


class AnswerReader:
    """Makes answers of what a server sends, and says who applies stop sequences: the server, or we.

    A server applies them to all that the model writes, thinking included. So those of a model that is known
    to think, or is expected to by the request, are not sent. Where a completion shows that a stop sequence
    has cut the thinking of any other model, that attempt has failed, and this reader sends none from then on.

    Args:
        declared: The deployment's argument `thinking` (see `ThinkingStyle.of`).
        model: The model's name.
        server_stops: Whether the server takes stop sequences at all.
        is_chat: Whether a prompt is a message, and not the beginning of the completion.

    Attributes:
        special: Special tokens that the server spells, and that are left out of answers.

    Raises:
        UsageError: `declared` is not what it may be.
    """

    def __init__(
        self,
        declared: bool | Mapping[str, Any] | None,
        model: str | None = None,
        *,
        server_stops: bool = True,
        is_chat: bool = False,
    ) -> None:
        self._style = ThinkingStyle.of(declared, model)
        self._stops_here = self._style.is_known or not server_stops
        self._is_chat = is_chat
        self.special: tuple[str, ...] = ()

    def sent_stops(self, request: Request) -> tuple[str, ...]:
        """The stop sequences that the server may apply."""
        return () if self._stops_here or request.expects_thinking else request.stop_sequences

    def stop_here(self) -> None:
        """From now on, send no stop sequences: the server does not take them."""
        self._stops_here = True

    async def ask(self, request: Request, attempt: Callable[[Request], Awaitable[Response]]) -> Response:
        """The response to a request.

        Args:
            request: What is asked.
            attempt: Sends a request with `sent_stops`.

        Raises:
            CutThinkingError: A stop sequence has cut the thinking; the next time none is sent.
        """
        sent = self.sent_stops(request)
        response = await attempt(request)
        for completion in response.completions if sent else ():
            if self._is_cut(request, completion):
                self._stops_here = True
                raise CutThinkingError("a stop sequence has cut the thinking", response.usage)
        return response

    def answer(self, request: Request, completion: Completion, *, has_thought: bool = False) -> Completion:
        """A completion with its thinking apart and its answer cut at the request's stop sequences.

        Args:
            request: What was asked.
            completion: As it came.
            has_thought: Whether the model has thought, even where the server does not show what.
        """
        if request.echo_prompt:
            return completion
        if has_thought and completion.thinking is None and not completion.text.strip():
            completion = replace(completion, thinking="")
        answer = settled(completion, request.stop_sequences, self._style, self._opened_by(request))
        return _without(self.special, answer) if self.special else answer

    def _is_cut(self, request: Request, completion: Completion) -> bool:
        """Whether a stop sequence of the server has ended the thinking."""
        if completion.finish_reason not in ("stop", "unknown") or not completion.lacks_answer:
            return False
        raw = completion.raw
        return raw is None or self._style.read(raw, self._opened_by(request)).is_open

    def _opened_by(self, request: Request) -> str:
        """The mark of thinking that a request's own text leaves open; "" if none."""
        if request.messages is None:
            return "" if self._is_chat else self._style.opened_by(request.prompt)
        last = request.messages[-1]
        return self._style.opened_in(last.content) if last.role == "assistant" else ""


def settled(
    completion: Completion, stops: Sequence[str], style: ThinkingStyle = KNOWN_STYLE, opened: str = ""
) -> Completion:
    """A completion with its thinking apart, and its answer cut before the first of the stop sequences.

    The whole text is kept in `raw` where the answer is less. Tokens that lie wholly outside the answer go,
    and the log-probability is summed anew.

    Args:
        completion: As it came, its thinking within the text or already apart.
        stops: Where the answer ends.
        style: How the model thinks.
        opened: The mark that the prompt has opened.
    """
    text = completion.text
    if not opened and completion.thinking is None and style.is_plain(text):
        return cut_at_stop(completion, stops)
    reading = style.read(text, "" if completion.thinking is not None else opened)
    if completion.thinking and reading.answer and not reading.answer_from:
        # The blank lines that some servers leave between thinking and answer would meet a stop sequence.
        begin = len(text) - len(after_blank_lines(text))
        reading = replace(reading, answer=((begin, len(text)),) if begin < len(text) else ())
    stop = reading.first_stop(text, stops)
    spans = reading.answer if stop is None else reading.cut_at(stop)
    if sum(end - start for start, end in spans) == len(text):
        return completion
    tokens, logprob = completion.tokens, completion.logprob
    if tokens is not None:
        tokens = _tokens_in(tokens, spans, text)
        logprob = total_logprob(tokens)
    return replace(
        completion,
        text="".join(text[start:end] for start, end in spans),
        finish_reason=completion.finish_reason if stop is None else "stop",
        logprob=logprob,
        tokens=tokens,
        thinking=_joined(completion.thinking, reading.thinking),
        raw=text,
    )


def _without(special: Sequence[str], answer: Completion) -> Completion:
    """An answer without the special tokens in it."""
    found = [name for name in special if name in answer.text or name in (answer.thinking or "")]
    if not found:
        return answer
    pattern = re.compile("|".join(map(re.escape, found)))
    tokens = answer.tokens
    if tokens is not None:
        tokens = tuple(replace(token, text=pattern.sub("", token.text)) for token in tokens)
    return replace(
        answer,
        text=pattern.sub("", answer.text),
        tokens=tokens,
        thinking=None if answer.thinking is None else pattern.sub("", answer.thinking),
        raw=answer.text if answer.raw is None else answer.raw,
    )


def lies_in(start: int, end: int, spans: Sequence[Span]) -> bool:
    """Whether a token from `start` to `end` is one of the answer's.

    A token without a text is the beginning of a character, and belongs to what follows it.
    """
    if start == end:
        return any(first <= start < last for first, last in spans)
    return any(start < last and end > first for first, last in spans)


def _tokens_in(tokens: Sequence[Token], spans: Sequence[Span], text: str) -> tuple[Token, ...]:
    spelt = "".join(token.text for token in tokens)
    # The tokens of thinking that the server gives apart from the text may come first.
    place = -(len(spelt) - len(text)) if spelt.endswith(text) else 0
    kept = []
    for token in tokens:
        end = place + len(token.text)
        if lies_in(place, end, spans):
            kept.append(token)
        place = end
    return tuple(kept)


def _joined(first: str | None, second: str | None) -> str | None:
    if first is None or second is None:
        return second if first is None else first
    return "\n\n".join(filter(None, (first, second)))
