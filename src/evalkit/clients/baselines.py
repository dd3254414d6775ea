"""Clients that need no model: offline tests, and the floor that a model must beat."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from random import Random
from typing import Any, ClassVar

from evalkit.clients.allowance import Allowance
from evalkit.clients.client import Client
from evalkit.models.tokenizers import estimate_tokens
from evalkit.registry import client
from evalkit.request import Hints, Request
from evalkit.response import Completion, Response, Token, Usage, total_logprob

_NO_HINTS = Hints()


class Baseline(Client):
    """A client that heeds no `max_tokens`: it answers with a part of the prompt."""

    is_free: ClassVar[bool] = True

    @classmethod
    def allowance(cls, args: Mapping[str, Any], request: Request) -> Allowance:
        """As long as the longest of what it may answer."""
        return Allowance(cls._most_tokens(request) * request.num_completions)

    @classmethod
    def _most_tokens(cls, request: Request) -> int:
        return max(estimate_tokens(request.prompt), estimate_tokens(prompt_text(request)))


class GuessingBaseline(Baseline):
    """A baseline that answers with what the hints name, where they name anything."""

    @classmethod
    def _most_tokens(cls, request: Request) -> int:
        hints = request.hints or _NO_HINTS
        known = hints.choices or hints.train_outputs
        of_prompt = 0 if known and not request.echo_prompt else super()._most_tokens(request)
        return max(of_prompt, _longest(known))


@client("simple")
class SimpleClient(Baseline):
    """Answers with the last words of the prompt, last word first: what HELM's `simple/model1` does.

    Words are what single spaces separate. Equal words count once, so there may be fewer completions than
    asked for.
    """

    async def send(self, request: Request) -> Response:
        """As many words as completions are asked for; the i-th has log-probability -i."""
        words = prompt_text(request).split(" ")[-request.num_completions :]
        logprobs = {word: -float(i) for i, word in enumerate(reversed(words))}
        completions = (
            Completion(word, "stop", logprob, (Token(word, logprob),)) for word, logprob in logprobs.items()
        )
        return _response(request, tuple(completions))


@client("random_choice")
class RandomChoiceClient(GuessingBaseline):
    """Answers at random, the same for the same request on any machine: the chance baseline.

    Drawn from the options, else from the distinct outputs of the train split, else from the words of
    the prompt. Asked to score a prompt, it gives its words random log-probabilities.
    """

    async def send(self, request: Request) -> Response:
        """One draw per completion."""
        random = Random(f"{request.random}\0{prompt_text(request)}")
        if request.echo_prompt:
            return _response(request, (_random_echo(request.prompt, random),))
        hints = request.hints or _NO_HINTS
        options: Sequence[str] = (
            hints.choices
            or tuple(dict.fromkeys(hints.train_outputs))
            or prompt_text(request).split()
            or ("",)
        )
        drawn = [random.choice(options) for _ in range(request.num_completions)]
        chance = -math.log(len(options))
        return _response(
            request, tuple(Completion(text, "stop", chance, (Token(text, chance),)) for text in drawn)
        )


@client("majority")
class MajorityClient(GuessingBaseline):
    """Answers with the most frequent output of the train split, among the options if there are any.

    Of equally frequent ones the alphabetically first; nothing where nothing is known.
    """

    def __init__(self) -> None:
        self._counted: tuple[str, ...] = ()
        self._counts: Counter[str] = Counter()

    async def send(self, request: Request) -> Response:
        """The same answer for each completion."""
        hints = request.hints or _NO_HINTS
        # All requests of a run share one tuple; counting it for each would be quadratic.
        if hints.train_outputs is not self._counted:
            self._counted, self._counts = hints.train_outputs, Counter(hints.train_outputs)
        options = hints.choices or tuple(self._counts)
        answer = min(options, key=lambda option: (-self._counts[option], option), default="")
        return _response(request, (Completion(answer, "stop"),) * request.num_completions)


@client("echo")
class EchoClient(Baseline):
    """Answers with the last line of the prompt that is not blank."""

    async def send(self, request: Request) -> Response:
        """The same answer for each completion."""
        line = prompt_text(request).rstrip().rsplit("\n", 1)[-1]
        return _response(request, (Completion(line, "stop"),) * request.num_completions)


def prompt_text(request: Request) -> str:
    """The prompt, or the last message of a chat."""
    return request.messages[-1].content if request.messages else request.prompt


@lru_cache(maxsize=8)
def _longest(outputs: tuple[str, ...]) -> int:
    return max(map(estimate_tokens, outputs), default=0)


def _random_echo(prompt: str, random: Random) -> Completion:
    """The prompt with a random log-probability for each word and the blanks before it."""
    tokens = tuple(Token(word, -random.expovariate(1.0)) for word in re.findall(r"\s*\S+|\s+", prompt))
    return Completion(prompt, "stop", total_logprob(tokens), tokens)


def _response(request: Request, completions: tuple[Completion, ...]) -> Response:
    prompt = request.prompt if request.messages is None else "".join(m.content for m in request.messages)
    usage = Usage(estimate_tokens(prompt), sum(estimate_tokens(c.text) for c in completions))
    return Response(completions, usage)
