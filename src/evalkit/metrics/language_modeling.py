"""How likely a model finds what it wrote, or a text it was shown: HELM's Basic* language-modelling stats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

from evalkit.errors import DataError
from evalkit.metrics.prompt_logprobs import prompt_tokens
from evalkit.registry import Output, metric
from evalkit.response import Token
from evalkit.scoring.metric import Metric, asks_per_reference
from evalkit.scoring.run_level import Row
from evalkit.scoring.unit import Unit, likeliest_first
from evalkit.specs.run_spec import AdapterSpec

_BYTES = "bytes:"


@metric("basic_generation")
class BasicGeneration(Metric):
    r"""Log-probability, tokens and bytes of the first completion, and perplexity over all units.

    Gives, per unit, `max_prob` (probability of the likeliest completion), `logprob` (natural log, summed
    over the tokens), `num_perplexity_tokens` and `num_bytes` (UTF-8; a token written `bytes:\xe2\x80` has as
    many as it lists). Over all units, from the sums: `perplexity` per token, `bits_per_byte` and
    `logprob_per_byte`.

    Of a scored prompt, its own tokens count, and of a text that is asked in several windows those of all
    windows; `max_prob` is then the probability of all tokens that count. Left out are tokens that only
    condition the text (`num_conditioning_tokens` of the request state), and a first token without a
    log-probability, which HELM counts as one of probability 1. A scored prompt without any log-probability
    has no score. What the server does not report of a generated text is left out: without tokens all but
    `max_prob`.
    """

    takes: ClassVar[frozenset[Output] | None] = frozenset({"generated_text", "prompt_logprobs"})

    def __init__(self, adapter_spec: AdapterSpec) -> None:
        if not asks_per_reference(adapter_spec):
            self.run_level_names = ("perplexity", "bits_per_byte", "logprob_per_byte")

    def score(self, unit: Unit) -> Mapping[str, float]:
        """`max_prob`, `logprob`, `num_perplexity_tokens` and `num_bytes`, as far as they are known.

        Raises:
            DataError: The prompt was to be scored, and its tokens or log-probabilities did not come back.
        """
        if unit.per_reference:
            return {}
        scores = {}
        sums = _sums(unit)
        best = likeliest_first(unit.answers[0].response.completions)[:1]
        if sums is not None and unit.answers[0].state.request.echo_prompt:
            scores["max_prob"] = math.exp(sums[0])
        elif best and best[0].logprob is not None:
            scores["max_prob"] = math.exp(best[0].logprob)
        if sums is not None:
            scores["logprob"], scores["num_perplexity_tokens"], scores["num_bytes"] = sums
        return scores

    def run_level_row(self, unit: Unit) -> Row | None:
        """Log-probability, tokens and bytes of the unit."""
        return _sums(unit)

    def run_level_scores(self, rows: Sequence[Row]) -> Mapping[str, float]:
        """`perplexity`, `bits_per_byte` and `logprob_per_byte`; those of nothing are left out."""
        logprob = math.fsum(row[0] for row in rows)
        num_tokens, num_bytes = sum(row[1] for row in rows), sum(row[2] for row in rows)
        found: dict[str, float] = {}
        if num_tokens:
            found |= _perplexity(-logprob / num_tokens)
        if num_bytes:
            found["bits_per_byte"] = -logprob / num_bytes / math.log(2)
            found["logprob_per_byte"] = logprob / num_bytes
        return found


def _perplexity(nats_per_token: float) -> dict[str, float]:
    """The perplexity; left out where it is beyond every number (more than 709 nats for each token)."""
    try:
        return {"perplexity": math.exp(nats_per_token)}
    except OverflowError:
        return {}


def count_bytes(tokens: Sequence[Token]) -> int:
    r"""The UTF-8 length of the tokens; one written `bytes:\xe2\x80` is the bytes it lists."""
    return sum(
        t.text.count("\\x") if t.text.startswith(_BYTES) else len(t.text.encode("utf-8", "replace"))
        for t in tokens
    )


def _sums(unit: Unit) -> tuple[float, int, int] | None:
    """Log-probability, tokens and bytes of the first completions; None where no tokens are known.

    Raises:
        DataError: The prompt was to be scored, and its tokens or log-probabilities did not come back.
    """
    if unit.per_reference:
        return None
    tokens: list[Token] = []
    is_scored_prompt = False
    for answer in unit.answers:
        completions = answer.response.completions
        if answer.state.request.echo_prompt:
            is_scored_prompt = True
            tokens += prompt_tokens(answer)[answer.state.num_conditioning_tokens :]
        elif not completions or completions[0].tokens is None:
            return None
        else:
            tokens += completions[0].tokens[answer.state.num_conditioning_tokens :]
    scored = [token for token in tokens if token.logprob is not None]
    if is_scored_prompt and not scored:
        raise DataError(
            f"no token of instance '{unit.instance.id}' has a log-probability: only its first token was "
            "scored, which follows nothing"
        )
    return math.fsum(token.logprob or 0.0 for token in scored), len(scored), count_bytes(scored)
