"""One request on its way through the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from evalkit.clients.local.prompting import Prompt
from evalkit.request import Request
from evalkit.response import Response

JobKind = Literal["generate", "score", "embed"]

Answer = Response | Exception
"""What became of a job: the response, or the error of this request alone."""

NO_PROMPT = Prompt((), ())
"""The prompt of a job that was not tokenised yet."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How tokens are drawn. Requests with other settings are never computed together.

    Attributes:
        num_tops: How many alternatives per token are wanted; 1: none.
        top_k: Draw from this many tokens; 0: from all.
        repetition_penalty: Of tokens that are in the prompt or the answer; 1: none.
    """

    temperature: float
    top_p: float
    presence_penalty: float
    frequency_penalty: float
    num_tops: int
    top_k: int = 0
    repetition_penalty: float = 1.0

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is taken each time, and all completions are the same."""
        return self.temperature <= 0


@dataclass(slots=True, eq=False)
class Job:
    """A request, its prompt as tokens, and where its answer goes. Compared by identity.

    Attributes:
        finish: Takes the answer, or the error in its place; called once, from the engine's thread.
        queued_s: When it was submitted, by `time.perf_counter`.
        cancelled: Set from outside when the request was cancelled; the engine then drops the job.
    """

    request: Request
    prompt: Prompt
    finish: Callable[[Answer], None]
    queued_s: float
    cancelled: bool = False

    @property
    def kind(self) -> JobKind:
        """What is to be computed."""
        if self.request.embedding:
            return "embed"
        return "score" if self.request.echo_prompt else "generate"

    @property
    def settings(self) -> Settings | None:
        """How its tokens are drawn; None where nothing is generated."""
        if self.kind != "generate":
            return None
        asked = self.request
        if asked.temperature <= 0:
            # Without a draw there is nothing to draw from.
            top_p, top_k = 1.0, 0
        else:
            top_p, top_k = asked.top_p, asked.top_k
        return Settings(
            max(0.0, asked.temperature),
            top_p,
            asked.presence_penalty,
            asked.frequency_penalty,
            asked.top_k_per_token,
            top_k,
            asked.repetition_penalty,
        )

    @property
    def num_rows(self) -> int:
        """How many sequences it takes in a batch: one per completion, where they can differ."""
        settings = self.settings
        return 1 if settings is None or settings.is_greedy else max(1, self.request.num_completions)

    @property
    def width_tokens(self) -> int:
        """Its prompt and the longest completion it may get."""
        return len(self.prompt.ids) + (self.request.max_tokens if self.kind == "generate" else 0)
