"""Scored prompts: which of the tokens that a server sends back are the prompt's own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from evalkit.errors import BadRequestError
from evalkit.response import Completion, Response, Token, total_logprob

# Servers put a start token before the prompt (GLM's tokenizer two), and never a whole text.
_MAX_START_TOKENS = 4
# How vocabularies spell a blank and a line break, where a server sends their entries as they are.
_VOCABULARY_SIGNS = str.maketrans({"▁": " ", "Ġ": " ", "Ċ": "\n", "ĉ": "\t"})
_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_PARTIAL = "\ufffd"
# Exactly 0 is certainty beyond single precision. What begins a text is never that certain for so long; what
# stands further on may be, where it repeats what has been there before.
_MOST_CERTAIN_AT_START = 7
_MOST_CERTAIN = 15
# What vLLM and others send for minus infinity, which JSON has not.
_LOWEST_LOGPROB = -9999.0


def scored_prompt(completion: Completion, prompt: str) -> Completion:
    """The completion with the prompt's own tokens only; start tokens before and generated ones after it go.

    A token that follows nothing has no probability, so that of a text's first token may be missing. Servers
    that send exactly 0 for it mean the same.

    Raises:
        BadRequestError: The tokens do not spell the prompt, one behind the first has no probability, or
            too many in a row have exactly 0 to be computed. A server that does not score prompts never
            does, so evalkit does not ask it again.
    """
    tokens = completion.tokens
    if not tokens:
        raise _not_scored("it gave no tokens with log-probabilities")
    if (place := _place([token.text for token in tokens], prompt)) is None:
        start = "".join(token.text for token in tokens[:20])[:60]
        raise _not_scored(f"its tokens do not spell the prompt; they begin with {start!r}")
    first, spelled = place
    kept = [
        token if token.text == text else replace(token, text=text)
        for token, text in zip(tokens[first:], spelled, strict=False)
    ]
    if first == 0 and kept and kept[0].logprob == 0:
        kept[0] = replace(kept[0], logprob=None)
    unknown = sum(token.logprob is None for token in kept[1:]) + (first > 0 and kept[0].logprob is None)
    if unknown or (len(kept) > 1 and not any(map(_is_computed, kept))):
        raise _not_scored(
            f"{unknown or len(kept)} of the prompt's {len(kept)} tokens have no log-probability"
        )
    if num_zeros := _not_computed(kept):
        raise _not_scored(
            f"{num_zeros} tokens of the prompt in a row have a log-probability of exactly 0, which no model "
            "gives; it did not compute them"
        )
    return replace(completion, text=prompt, tokens=tuple(kept), logprob=total_logprob(kept) if kept else None)


def restored(response: Response, prompt: str) -> Response:
    """A scored prompt from a journal, as `scored_prompt` gives it.

    evalkit up to 0.1 wrote 0 where a log-probability was missing, and kept tokens that were not the prompt's.
    What can't be put right is left as it is, but for answers without any log-probability: those lose their
    tokens, so that no metric takes them for certain.
    """
    return replace(response, completions=tuple(_restored(c, prompt) for c in response.completions))


def _restored(completion: Completion, prompt: str) -> Completion:
    tokens = completion.tokens
    if not tokens or tokens[0].logprob != 0:
        return completion
    if len(tokens) > 1 and all(token.logprob == 0 for token in tokens):
        return replace(completion, tokens=None, logprob=None)
    try:
        return scored_prompt(completion, prompt)
    except BadRequestError:
        return completion


def _not_computed(tokens: Sequence[Token]) -> int:
    """The length of a run of exact zeros that no model gives; 0 if there is none."""
    start = 1  # the first token follows nothing
    while start < len(tokens):
        end = start
        while end < len(tokens) and tokens[end].logprob == 0:
            end += 1
        most = _MOST_CERTAIN_AT_START if start == 1 else _MOST_CERTAIN
        if end - start > most and (start == 1 or not _repeats(tokens, start, end)):
            return end - start
        start = end + 1
    return 0


def _repeats(tokens: Sequence[Token], start: int, end: int) -> bool:
    """Whether what these tokens spell has been in the text before."""
    before = "".join(token.text for token in tokens[:start])
    run = "".join(token.text for token in tokens[start:end])
    return (before + run).find(run) < len(before)


def _is_computed(token: Token) -> bool:
    """Whether a log-probability may be a model's. Alone it always may; where all are like this, none is."""
    return token.logprob is not None and _LOWEST_LOGPROB < token.logprob < 0


def _not_scored(why: str) -> BadRequestError:
    return BadRequestError(f"the server did not score the prompt: {why}", "malformed")


def _place(texts: Sequence[str], prompt: str) -> tuple[int, list[str]] | None:
    """The prompt's first token, and the texts of its tokens; None where they do not spell it."""
    # Start tokens may be spelled as nothing: the prompt begins with the first token that spells something.
    empty = next((index for index, text in enumerate(texts) if text), len(texts)) if prompt else 0
    firsts = range(empty, min(max(_MAX_START_TOKENS, empty), len(texts)) + 1)
    for spell in (_exactly, _loosely):
        for first in firsts:
            if (spelled := spell(texts[first:], prompt)) is not None:
                return first, spelled
    return None


def _exactly(texts: Sequence[str], prompt: str) -> list[str] | None:
    at = 0
    for index, text in enumerate(texts):
        if at == len(prompt):
            return list(texts[:index])
        if not prompt.startswith(text, at):
            return None
        at += len(text)
    return list(texts) if at == len(prompt) else None


def _loosely(texts: Sequence[str], prompt: str) -> list[str] | None:
    """The same where a server spells tokens one by one: blanks get lost, and parts of a character are "�".

    The tokens get the prompt's spelling; those of a text with parts of characters keep their own.
    """
    spelled: list[str] = []
    at, partial = 0, False
    for text in texts:
        plain = _plain(text)
        signs = "".join(plain.split())
        if at == len(prompt) and not (partial and set(signs) == {_PARTIAL}):
            break
        if at < len(prompt) and signs and not prompt[at:].strip():
            break
        start, partial = at, partial or _PARTIAL in signs
        at = _after(prompt, at, signs, partial) if signs else _behind_blanks(prompt, at, len(plain))
        if at < 0:
            return None
        spelled.append(prompt[start:at])
    if prompt[at:].strip() or not spelled:
        return None
    if partial:
        return list(texts[: len(spelled)])
    spelled[-1] += prompt[at:]
    return spelled


def _after(prompt: str, at: int, signs: str, partial: bool) -> int:
    """Where in the prompt these signs end, blanks before each passed over; -1 where others stand there."""
    for sign in signs:
        next_at = _behind_blanks(prompt, at, len(prompt))
        if prompt[next_at : next_at + 1] == sign:
            at = next_at + 1
        elif partial and sign == _PARTIAL:
            while next_at < len(prompt) and not prompt[next_at].isascii():
                next_at += 1
            at = next_at
        elif not (partial and not sign.isascii() and not prompt[at - 1 : at].isascii()):
            return -1  # but a whole character may follow parts of one, which have taken its place
    return at


def _behind_blanks(prompt: str, at: int, most: int) -> int:
    end = min(len(prompt), at + most)
    while at < end and prompt[at].isspace():
        at += 1
    return at


def _plain(text: str) -> str:
    """A token as text; what is not whole is "�"."""
    if text.startswith("bytes:"):
        return _PARTIAL
    return _BYTE_PIECE.sub(_byte, text).translate(_VOCABULARY_SIGNS)


def _byte(found: re.Match[str]) -> str:
    code = int(found[1], 16)
    return chr(code) if code < 128 else _PARTIAL
