"""Where a completed text is thinking, and where it is the answer.

Models that think write their thinking between marks, or in channels, before the answer. The marks are those
that public model cards and the documentation of vLLM's and SGLang's reasoning parsers name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from evalkit.errors import UsageError

Span = tuple[int, int]
"""From where to where in a text."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What stands before and after thinking.

    Attributes:
        opening: Before it.
        closing: After it.
        label: What the thinking itself may begin with and is not part of it.
        answer: What may stand before and after the answer.
    """

    opening: str
    closing: str
    label: str = ""
    answer: tuple[str, str] | None = None


KNOWN_MARKS = (
    # DeepSeek R1, Qwen 3, QwQ, GLM 4.5, MiniMax, Nemotron, OLMo 3, Phi 4, Kimi K2, …
    Marks("<think>", "</think>"),
    Marks("[THINK]", "[/THINK]"),  # Mistral
    Marks(
        "<|START_THINKING|>", "<|END_THINKING|>", answer=("<|START_RESPONSE|>", "<|END_RESPONSE|>")
    ),  # Cohere
    Marks("<seed:think>", "</seed:think>"),  # Seed-OSS
    Marks("◁think▷", "◁/think▷"),  # Kimi 1.5
    Marks(
        "<|open|>think<|sep|>",  # Kimi K3
        "<|close|>think<|sep|>",
        answer=("<|open|>response<|sep|>", "<|close|>response<|sep|>"),
    ),
    Marks("<|channel>", "<channel|>", label="thought"),  # Gemma 4
    Marks("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    Marks("<longcat_think>", "</longcat_think>"),
    Marks("<thought>", "</thought>"),  # EXAONE Deep
    Marks("<thinking>", "</thinking>"),
)
"""Looked for in every completion, in this order. Besides them, the channels of gpt-oss are known."""

_FIRST_SIGNS = frozenset(marks.opening[0] for marks in KNOWN_MARKS)
"""All marks begin with one of these, closing ones too."""

_CHANNEL = re.compile(r"<\|channel\|>\s*(\w*)")
_MESSAGE = "<|message|>"
_BETWEEN_MESSAGES = re.compile(r"<\|(?:start|end|return|call)\|>")
_OPEN_CHANNEL = re.compile(r"(?:<\|start\|>\w*)?<\|channel\|>(?!final)\w+\s*(?:<\|message\|>)?$")
# What is left of the channels of gpt-oss where a server drops the marks.
_BARE_CHANNELS = re.compile(r"\s*analysis(.*?)assistantfinal", re.DOTALL)
_BARE_FIRST = re.compile(r"\s*analysis")
_BLANK_LINES = re.compile(r"(?:[ \t\r]*\n)+")
# Longer than any opening mark with the blanks behind it.
_LONGEST_END = 80

# Models that think unless they are asked not to; their servers may apply stop sequences to the thinking.
_THINKERS = re.compile(
    r"deepseek-r1|deepseek-reasoner|(^|[/_-])r1([._-]|$)|qwq|magistral|gpt-oss|seed-oss|"
    r"glm-(4\.[5-9]|5)|minimax-m[1-9]|"
    r"(?<!non-)(?<!hide-)(?<!no-)(thinking|reasoning)"
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What is what in a text.

    Attributes:
        answer: Where the answer stands; several places where thinking comes between.
        thinking: What was thought, blanks around it left out; None: there was no thinking.
        is_open: Whether the text ends before an answer began.
        answer_from: Where the first thinking has ended; 0 where there is none.
    """

    answer: tuple[Span, ...]
    thinking: str | None = None
    is_open: bool = False
    answer_from: int = 0

    def first_stop(self, text: str, stops: Sequence[str]) -> int | None:
        """Where the answer meets a stop sequence; thinking is passed over."""
        for start, end in self.answer:
            begin = max(start, self.answer_from)
            found = [at for stop in stops if stop and (at := text.find(stop, begin, end)) >= 0]
            if found:
                return min(found)
        return None

    def cut_at(self, place: int) -> tuple[Span, ...]:
        """Where the answer stands up to a place."""
        return tuple((start, min(end, place)) for start, end in self.answer if start < place)


@dataclass(frozen=True)
class ThinkingStyle:
    """How a model thinks.

    Attributes:
        marks: What may enclose its thinking; none: its whole texts are answers.
        is_known: Whether it is known to think. Its stop sequences are then applied to the answer here, and
            not by a server, which may apply them to the thinking.
        begins_open: Whether its prompts end with the opening mark: a completion begins with thinking.
    """

    marks: tuple[Marks, ...] = KNOWN_MARKS
    is_known: bool = False
    begins_open: bool = False

    @cached_property
    def last_signs(self) -> frozenset[str]:
        """With which signs the thinking may end."""
        return frozenset(">" + "".join(marks.closing[-1] for marks in self.marks))

    @cached_property
    def opening_signs(self) -> frozenset[str]:
        """With which signs a prompt ends that opens thinking; ">" is also that of channels."""
        return frozenset(">" + "".join(opening[-1] for opening in self._openings))

    @cached_property
    def _openings(self) -> tuple[str, ...]:
        """How a prompt that opens thinking may end."""
        return tuple({end for m in self.marks for end in (m.opening, m.opening + m.label)})

    @cached_property
    def _signs(self) -> tuple[str, ...]:
        """A text that has none of these has no thinking in it."""
        own = {mark for m in self.marks[: -len(KNOWN_MARKS)] for mark in (m.opening, m.closing)}
        return (*own, *_FIRST_SIGNS)

    @staticmethod
    def of(declared: bool | Mapping[str, Any] | None, model: str | None = None) -> ThinkingStyle:
        """What a deployment's argument `thinking` says.

        Args:
            declared: `true`: it thinks; `false`: it does not, and its whole texts are answers; or its
                marks, `{open: …, close: …}`, with `begins_open: true` where the prompt ends with the opening
                one. None: what the model's name says.
            model: The model's name.

        Raises:
            UsageError: The marks are not complete, or something else is named.
        """
        if declared is None:
            return ThinkingStyle(is_known=model is not None and thinks_by_name(model))
        if isinstance(declared, bool):
            return ThinkingStyle(is_known=True) if declared else ThinkingStyle(())
        known = {"open", "close", "begins_open"}
        given = {name for name, value in declared.items() if value}
        if wrong := sorted(set(declared) - known):
            raise UsageError(f"thinking: unknown '{wrong[0]}'; it may have open, close and begins_open")
        marks: tuple[Marks, ...] = KNOWN_MARKS
        if given & {"open", "close"}:
            if not {"open", "close"} <= given:
                raise UsageError("thinking needs both marks, open and close")
            marks = (Marks(str(declared["open"]), str(declared["close"])), *KNOWN_MARKS)
        return ThinkingStyle(marks, is_known=True, begins_open=bool(declared.get("begins_open")))

    def opened_by(self, prompt: str) -> str:
        """The mark with which a prompt ends, so that its completion begins with thinking; "" if none."""
        if not self.marks:
            return ""
        end = prompt[-_LONGEST_END:].rstrip()
        if end.endswith(self._openings):
            return next(m.opening for m in self.marks if end.endswith((m.opening, m.opening + m.label)))
        found = _OPEN_CHANNEL.search(end) if "<|channel|>" in end else None
        return found[0] if found else ""

    def is_plain(self, text: str) -> bool:
        """Whether a text is sure to have no thinking in it; if not, `read` tells."""
        for sign in self._signs:
            if sign in text:
                return False
        return not self.begins_open and not _BARE_FIRST.match(text)

    def opened_in(self, text: str) -> str:
        """The mark that a text, which the completion continues, leaves open; "" if none."""
        reading = self.read(text)
        if not reading.is_open:
            return ""
        return next((m.opening for m in self.marks if m.opening in text), "") or self.opened_by(text)

    def read(self, text: str, opened: str = "") -> Reading:
        """What is thinking in a text, and what the answer.

        Thinking is what stands between an opening mark at the beginning and its closing mark; between two
        marks further on; and, where the text has a closing mark only, all up to that mark, since the prompt
        has opened it. Of several closing marks in a row the last one counts. An opening mark within a text
        that is closed by none is text like any other.

        Args:
            text: As the model wrote it.
            opened: The mark that the prompt has opened (see `opened_by`).
        """
        plain = Reading(((0, len(text)),))
        if not self.marks or (not opened and self.is_plain(text)):
            return plain
        if not opened and self.begins_open:
            opened = self.marks[0].opening
        if "<|channel|>" in text or "<|channel|>" in opened:
            return _read_channels(text, opened)
        marks = self._marks_in(text, opened)
        if marks is not None:
            return _read_marks(text, marks, begins_open=bool(opened))
        if found := _BARE_CHANNELS.match(text):
            return Reading(((found.end(), len(text)),), found[1].strip() or None, answer_from=found.end())
        return plain

    def _marks_in(self, text: str, opened: str) -> Marks | None:
        """The marks that a text uses."""
        if opened:
            return next((marks for marks in self.marks if marks.opening == opened), None)
        start = _skip(text, 0)
        for marks in self.marks:
            if text.startswith(marks.opening, start):
                return marks
        return next((marks for marks in self.marks if marks.closing in text), None)


KNOWN_STYLE = ThinkingStyle()
"""Of a model of which nothing is known."""


def thinks_by_name(model: str) -> bool:
    """Whether a model's name says that it thinks unless it is asked not to."""
    return _THINKERS.search(model.lower()) is not None


def without_thinking(text: str) -> str:
    """The answer in a text that may have thinking before it; "" if the thinking never ends."""
    reading = KNOWN_STYLE.read(text)
    return "".join(text[start:end] for start, end in reading.answer)


def is_only_thinking(text: str) -> bool:
    """Whether a text begins with thinking and ends before an answer."""
    return text.lstrip()[:1] in _FIRST_SIGNS and KNOWN_STYLE.read(text).is_open


def after_blank_lines(text: str) -> str:
    """A text without the blank lines at its beginning, which stand between thinking and answer."""
    found = _BLANK_LINES.match(text)
    return text[found.end() :] if found else text


def _read_marks(text: str, marks: Marks, *, begins_open: bool) -> Reading:
    answer: list[Span] = []
    thoughts: list[str] = []
    start = 0
    first, closing = text.find(marks.opening), text.find(marks.closing)
    if begins_open:
        # Some models repeat the mark that the prompt ends with.
        at = _skip(text, 0)
        start = at + len(marks.opening) if text.startswith(marks.opening, at) else 0
    elif first >= 0 and not 0 <= closing < first:
        if text[:first].strip():
            answer.append((0, first))
        start = first + len(marks.opening)
    answer_from = 0
    while True:
        closed = text.find(marks.closing, start)
        if closed < 0:
            if answer:  # a mark within a text, like any other
                return Reading(((0, len(text)),))
            return Reading((), _thought(text[start:], marks), is_open=True, answer_from=len(text))
        opened = text.find(marks.opening, closed)
        closed = text.rfind(marks.closing, start, opened if opened >= 0 else len(text))
        thoughts.append(_thought(text[start:closed], marks))
        begin = closed + len(marks.closing)
        answer_from = answer_from or begin
        if opened < 0 or text.find(marks.closing, opened) < 0:
            break
        answer.append(_trimmed(text, begin, opened, marks))
        start = opened + len(marks.opening)
    answer.append(_trimmed(text, begin, len(text), marks))
    kept = tuple(span for span in answer if span[0] < span[1])
    return Reading(kept, "\n\n".join(filter(None, thoughts)) or None, answer_from=answer_from)


def _thought(text: str, marks: Marks) -> str:
    return text.strip().removeprefix(marks.label).strip() if marks.label else text.strip()


def _trimmed(text: str, start: int, end: int, marks: Marks) -> Span:
    """An answer without the blank lines before it, and without its own marks."""
    if marks.answer is not None:
        before, after = marks.answer
        at = _skip(text, start)
        if text.startswith(before, at):
            start = at + len(before)
            if (closed := text.find(after, start, end)) >= 0:
                end = closed
    found = _BLANK_LINES.match(text, start, end)
    return (found.end() if found else start, end)


def _skip(text: str, start: int) -> int:
    """The first place from `start` on that is not a blank."""
    while start < len(text) and text[start].isspace():
        start += 1
    return start


def _read_channels(text: str, opened: str) -> Reading:
    """gpt-oss's messages: those of the channel `final`, or of none, are the answer."""
    whole, before = opened + text, len(opened)
    answer: list[Span] = []
    thoughts: list[str] = []
    for start, end in _messages(whole):
        body = whole.find(_MESSAGE, start, end)
        header = whole[start : end if body < 0 else body]
        channel = _CHANNEL.search(header)
        if body < 0 and (channel or header.strip() in ("", "assistant")):
            continue  # cut within its header
        content = start if body < 0 else body + len(_MESSAGE)
        if channel is None or channel[1] in ("final", ""):
            found = _BLANK_LINES.match(whole, content, end) if thoughts else None
            answer.append(((found.end() if found else content) - before, end - before))
        else:
            thoughts.append(whole[content:end].strip())
    kept = tuple((max(0, start), end) for start, end in answer if end > max(0, start))
    thinking = "\n\n".join(filter(None, thoughts)) or None
    answer_from = max(0, answer[0][0]) if answer and thoughts else 0
    return Reading(kept, thinking, is_open=not answer, answer_from=answer_from if answer else len(text))


def _messages(text: str) -> Iterator[Span]:
    start = 0
    for found in _BETWEEN_MESSAGES.finditer(text):
        if found.start() > start:
            yield (start, found.start())
        start = found.end()
    if start < len(text):
        yield (start, len(text))
