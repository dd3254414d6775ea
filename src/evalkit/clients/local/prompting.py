"""From a request to the tokens a local model is given, the same for every engine.

A chat goes through the chat template, which writes its special tokens itself. A plain prompt gets the
beginning token that the model's tokenizer adds, once: not again where the text starts with it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from evalkit.clients.client import ModelFacts
from evalkit.errors import BadRequestError
from evalkit.models.weights import (
    chat_template,
    digest_text,
    find_model,
    fingerprint,
    is_folder,
    is_template_file,
    max_length_tokens,
)
from evalkit.request import Request
from evalkit.response import Token


@dataclass(frozen=True, slots=True)
class ChatStyle:
    """How chats are put to a model.

    Attributes:
        template: The chat template in Jinja; None: the model has none.
        args: More variables for the template (`enable_thinking`, …).
        wrap: Put a plain prompt into the template too, as the user's message.
    """

    template: str | None = None
    args: Mapping[str, Any] | None = None
    wrap: bool = False


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
    """

    def __init__(self, tokenizer: Any, chat: ChatStyle) -> None:
        self._tokenizer, self._chat = tokenizer, chat
        added = tokenizer("", add_special_tokens=True)["input_ids"]
        begins = bool(added) and added[0] == tokenizer.bos_token_id
        self._bos = tokenizer.bos_token if begins else None

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
            raise BadRequestError("a chat can't be scored: what its template adds is no part of the prompt")
        messages = [{"role": m.role, "content": m.content} for m in request.messages or ()]
        return self._rendered(messages or [{"role": "user", "content": request.prompt}]), True

    def _rendered(self, messages: list[dict[str, str]]) -> str:
        if self._chat.template is None:
            raise BadRequestError("the model has no chat template; name one with chat_template")
        continues = messages[-1]["role"] == "assistant"
        try:
            rendered: str = self._tokenizer.apply_chat_template(
                messages,
                chat_template=self._chat.template,
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
            encoded = tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=True)
            offsets = [[end for _, end in spans] for spans in encoded["offset_mapping"]]
            return list(zip(encoded["input_ids"], offsets, strict=True))
        many = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
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
        if self._bos is not None and not is_chat and not text.startswith(self._bos):
            ids, pieces = [self._tokenizer.bos_token_id, *ids], ["", *pieces]
            first_scored += 1
        if not ids:
            return BadRequestError("the prompt has no tokens")
        return Prompt(tuple(ids), tuple(pieces), first_scored)


def model_facts(args: Mapping[str, Any]) -> ModelFacts:
    """What the files of a local engine's model say: `Client.facts` of the engines.

    The tokenizer does not count the beginning token that a prompt is given, so one token less may be sent.

    Args:
        args: The arguments, with `model` and perhaps `revision` and `max_length`.

    Raises:
        UsageError: `model` is a folder that holds no model.
    """
    model, revision = str(args["model"]), args.get("revision")
    folder, length = find_model(model, revision), args.get("max_length")
    if folder is None:
        return ModelFacts(max_sequence_length=length)
    if is_folder(model):
        tokenizer_name = str(folder.absolute())
    else:
        tokenizer_name = f"huggingface/{model}" + (f"@{revision}" if revision else "")
    length = length or max_length_tokens(folder)
    return ModelFacts(tokenizer_name, length, None if length is None else length - 1)


def model_identity(args: Mapping[str, Any], transport: frozenset[str]) -> dict[str, Any]:
    """What of a local engine's arguments can change an answer: `Client.identity` of the engines.

    Files that lie on this machine count by what is in them, wherever they lie; a model of the Hub counts by
    its name and revision, whether it is here already or not. A chat template counts by its text.

    Args:
        args: The arguments, with `model` and perhaps `revision`, `chat_template` and `adapter`.
        transport: Names of those that can't change an answer.

    Raises:
        UsageError: A folder or a chat template can't be read.
    """
    kept = {name: value for name, value in args.items() if name not in transport and value is not None}
    for name in ("model", "adapter"):
        if (named := args.get(name)) is not None and is_folder(named):
            folder = find_model(named) if name == "model" else Path(named).expanduser()
            kept[name] = f"sha256:{fingerprint(folder)}" if folder is not None else named
    template = args.get("chat_template")
    if template is not None and is_template_file(template):
        kept["chat_template"] = f"sha256:{digest_text(chat_template(None, template))}"
    return kept
