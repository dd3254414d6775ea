"""The tokens of a scored prompt, checked: a metric counts nothing that the server did not compute."""

from __future__ import annotations

from collections.abc import Sequence

from evalkit.clients.prompt_logprobs import scored_prompt
from evalkit.errors import BadRequestError, DataError
from evalkit.response import Token
from evalkit.scoring.unit import Answer


def prompt_tokens(answer: Answer) -> Sequence[Token]:
    """The tokens of a scored prompt, without start tokens before it and generated ones behind it.

    Only the first token of the prompt may lack a log-probability. Where the request says from which character
    on the prompt is scored, tokens before that may be missing.

    Raises:
        DataError: There are no tokens, they do not spell the prompt, or some have no log-probability.
    """
    request, completions = answer.state.request, answer.response.completions
    tokens = completions[0].tokens if completions else None
    if not tokens:
        raise DataError(f"the answer to '{answer.state.key}' has no token log-probabilities")
    if request.scored_from is not None and _is_end_of(tokens, request.prompt, request.scored_from):
        return tokens
    try:
        return scored_prompt(completions[0], request.prompt).tokens or ()
    except BadRequestError as error:
        raise DataError(f"the answer to '{answer.state.key}' can't be used: {error}") from None


def _is_end_of(tokens: Sequence[Token], prompt: str, scored_from: int) -> bool:
    """Whether the tokens are the end of the prompt from where it is scored on, all with log-probabilities."""
    text = "".join(token.text for token in tokens)
    reaches = len(text) >= len(prompt) - scored_from
    is_whole = len(text) == len(prompt)
    known = all(token.logprob is not None for token in (tokens[1:] if is_whole else tokens))
    return reaches and known and prompt.endswith(text)
