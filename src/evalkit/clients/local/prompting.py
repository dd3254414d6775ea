"""From a request to the tokens a local model is given, the same for every engine.

A chat goes through the chat template, which writes its special tokens itself. A plain prompt gets what the
model's tokenizer puts before a text, once: not again where the text starts with it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from evalkit.clients.local.template_date import DEFAULT_DAY, asks_for_date, on_day
from evalkit.clients.local.tokenizers import beginning_of, tokens_without_rows
from evalkit.errors import BadRequestError
from evalkit.request import Request
from evalkit.response import Token

_NUM_SHOWN = 4


@dataclass(frozen=True, slots=True)
class ChatStyle:
    """How chats are put to a model.

    Attributes:
        template: The chat template in Jinja; None: the model has none.
        args: More variables for the template (`enable_thinking`, …).
        wrap: Put a plain prompt into the template too, as the user's message.
        day: The date that evalkit gives to a template that asks for it, such as 2024-07-26.
    """

    template: str | None = None
    args: Mapping[str, Any] | None = None
    wrap: bool = False
    day: str = DEFAULT_DAY


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as tokens.

    Attributes:
        ids: The tokens.
        pieces: The texts of the scored tokens, which together are the prompt's end; those of others are "".
        first_scored: The first token whose log-probability is wanted, for a request with `echo_prompt`.
    """

    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    first_scored: int = 0

    def tokens(
        self, logprobs: Sequence[float | None], tops: Sequence[Mapping[str, float] | None] | None = None
    ) -> tuple[Token, ...]:
        """The scored tokens with their log-probabilities, which are of `ids[first_scored:]`.

        That of the first token of a text is None: it follows nothing and has no probability.
        """
        alternatives = tops or [None] * len(logprobs)
        return tuple(
            Token(piece, logprob, top)
            for piece, logprob, top in zip(
                self.pieces[self.first_scored :], logprobs, alternatives, strict=True
            )
        )


class Prompter:
    """Makes prompts for one model.

    Args:
        tokenizer: Its tokenizer, from transformers.
        chat: How chats are put to it.
        num_rows: How many tokens the model knows; None: all that the tokenizer makes.

    Attributes:
        notes: What the user should know: tokens that the model lacks, a template that writes the date.
    """

    def __init__(self, tokenizer: Any, chat: ChatStyle, num_rows: int | None = None) -> None:
        self._tokenizer, self._chat = tokenizer, chat
        self._template = None if chat.template is None else on_day(chat.template, chat.day)
        self._beginning = list(beginning_of(tokenizer))
        tokens = tokenizer.convert_ids_to_tokens(self._beginning)
        # Tokenizers that write a blank between special tokens read it as its own token.
        self._spellings = ("".join(tokens), " ".join(tokens)) if tokens else ()
        self._unknown = {} if num_rows is None else tokens_without_rows(tokenizer, num_rows)
        self.notes = self._notes(num_rows)

    def _notes(self, num_rows: int | None) -> tuple[str, ...]:
        notes = []
        if unknown := self._unknown:
            names = ", ".join(list(unknown.values())[:_NUM_SHOWN])
            more = f" and {len(unknown) - _NUM_SHOWN} more" if len(unknown) > _NUM_SHOWN else ""
            notes.append(
                f"the model has {num_rows:,} embeddings, and none for some tokens of its tokenizer "
                f"({names}{more}); evalkit refuses prompts with one of them"
            )
        if asks_for_date(self._chat.template):
            notes.append(
                f"its chat template writes a date; evalkit gives it {self._chat.day} in all runs (chat_date)"
            )
        return tuple(notes)

    def prompts(self, requests: Sequence[Request]) -> list[Prompt | BadRequestError]:
        """The prompts of many requests, tokenised in one call; an error where one has none."""
        made: list[Prompt | BadRequestError | None] = [None] * len(requests)
        texts: list[tuple[int, str, bool]] = []
        for index, request in enumerate(requests):
            try:
                text, is_chat = self._text(request)
            except BadRequestError as error:
                made[index] = error
                continue
            texts.append((index, text, is_chat))
        if texts:
            encoded = self._encode([text for _, text, _ in texts])
            for (index, text, is_chat), (ids, ends) in zip(texts, encoded, strict=True):
                made[index] = self._prompt(requests[index], text, is_chat, ids, ends)
        return [prompt for prompt in made if prompt is not None]

    def _text(self, request: Request) -> tuple[str, bool]:
        if request.messages is None and not self._chat.wrap:
            return request.prompt, False
        if request.echo_prompt:
            raise BadRequestError(
                "a chat can't be scored: the text that its template adds is not part of the prompt"
            )
        messages = [{"role": m.role, "content": m.content} for m in request.messages or ()]
        return self._rendered(messages or [{"role": "user", "content": request.prompt}]), True

    def _rendered(self, messages: list[dict[str, str]]) -> str:
        if self._template is None:
            raise BadRequestError("the model has no chat template; name one with chat_template")
        continues = messages[-1]["role"] == "assistant"
        try:
            rendered: str = self._tokenizer.apply_chat_template(
                messages,
                chat_template=self._template,
                tokenize=False,
                add_generation_prompt=not continues,
                continue_final_message=continues,
                **(self._chat.args or {}),
            )
        except Exception as error:  # a template may raise whatever it likes
            raise BadRequestError(f"the chat template refuses this chat: {error}") from error
        return rendered

    def _encode(self, texts: Sequence[str]) -> list[tuple[list[int], list[int]]]:
        """Tokens of each text, and where in the text each ends."""
        tokenizer = self._tokenizer
        if tokenizer.is_fast:
            encoded = tokenizer(
                list(texts), add_special_tokens=False, return_offsets_mapping=True, verbose=False
            )
            offsets = [[end for _, end in spans] for spans in encoded["offset_mapping"]]
            return list(zip(encoded["input_ids"], offsets, strict=True))
        # Not verbose: the client itself says what becomes of prompts that are too long.
        many = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        # Without offsets the text of the first k tokens says where the k-th ends.
        ends = [[len(tokenizer.decode(ids[: k + 1])) for k in range(len(ids))] for ids in many]
        return list(zip(many, ends, strict=True))

    def _prompt(
        self, request: Request, text: str, is_chat: bool, ids: Sequence[int], ends: Sequence[int]
    ) -> Prompt | BadRequestError:
        first_scored, pieces = 0, [""] * len(ids)
        if request.echo_prompt:
            # Only these have a text to tell: cutting up a long context takes longer than scoring an option.
            reached = list(accumulate(ends, max))
            first_scored = 0 if request.scored_from is None else bisect_right(reached, request.scored_from)
            starts = [0, *reached]
            for place in range(first_scored, len(ids)):
                pieces[place] = text[starts[place] : reached[place]]
            if first_scored < len(ids):
                pieces[-1] += text[reached[-1] :]
        if self._beginning and not is_chat and not self._begins(text, ids):
            ids, pieces = [*self._beginning, *ids], [*[""] * len(self._beginning), *pieces]
            first_scored += len(self._beginning)
        if not ids:
            return BadRequestError("the prompt has no tokens")
        if self._unknown and (token := next(filter(self._unknown.__contains__, ids), None)) is not None:
            return BadRequestError(
                f"the prompt has the token {self._unknown[token]!r} ({token}), for which the model has no "
                "embedding: its tokenizer has added tokens that the model lacks"
            )
        return Prompt(tuple(ids), tuple(pieces), first_scored)

    def _begins(self, text: str, ids: Sequence[int]) -> bool:
        """Whether a text spells itself what the tokenizer puts before texts."""
        return list(ids[: len(self._beginning)]) == self._beginning or text.startswith(self._spellings)
