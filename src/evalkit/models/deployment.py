"""Where a model is served, how, under which limits, and for how much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from evalkit.models.secret_fields import written
from evalkit.response import Usage
from evalkit.specs.spec import Spec

MAX_ANSWER_MB = 64.0


def without_variant(name: str) -> str:
    """The name of the deployment that another one is a variant of: what stands before the first `+`.

    A variant asks the same model at the same place, in another way for some benchmarks.
    """
    return name.partition("+")[0]


class Limits(Spec):
    """How hard a deployment may be pushed. Never part of a run's identity."""

    max_concurrency: int = Field(default=64, ge=1)
    """Requests in flight at once, at most."""
    initial_concurrency: int = Field(default=16, ge=1)
    """Requests in flight at the start, before the limit adapts; never more than `max_concurrency`."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """Requests sent per minute, at most."""
    tokens_per_minute: float | None = Field(default=None, gt=0)
    """Prompt and completion tokens per minute, at most."""
    timeout_s: float = Field(default=300.0, gt=0)
    """An attempt that takes longer has failed."""
    max_answer_mb: float = Field(default=MAX_ANSWER_MB, gt=0)
    """A longer answer is none: its bytes, unpacked, in millions."""
    max_attempts: int = Field(default=6, ge=1)
    """How often one request is sent before it counts as failed."""
    backoff_s: float = Field(default=0.5, ge=0)
    """Pause before the second attempt; doubles from there."""
    max_backoff_s: float = Field(default=60.0, ge=0)
    """Longest pause between two attempts."""


class Prices(Spec):
    """What tokens cost."""

    input_usd_per_million_tokens: float = Field(ge=0)
    output_usd_per_million_tokens: float = Field(ge=0)

    def cost_usd(self, usage: Usage) -> float:
        """The price of one response, in US dollars."""
        return (
            usage.prompt_tokens * self.input_usd_per_million_tokens
            + usage.completion_tokens * self.output_usd_per_million_tokens
        ) / 1_000_000


class ClientSpec(Spec):
    """Which client, with its arguments. Field names are HELM's."""

    class_name: str
    """The name a client is registered under (`openai`, `anthropic`, …)."""
    args: dict[str, Any] = Field(default_factory=dict)
    """The client's parameters; checked against its signature when the client is looked up."""


class ModelDeployment(Spec):
    """A model at a place where it can be asked. Field names are HELM's where HELM has them."""

    name: str = Field(pattern=r"^[^\s,=:][^\s,=]*$")
    """What run entries and results call it."""
    client_spec: ClientSpec
    """Who sends the requests."""
    model_name: str = Field(default="", pattern=r"^[^\s,=]*$")
    """The model that is served; the deployment's own name if left out."""
    tokenizer_name: str | None = None
    """Counts tokens when prompts are fitted to the window; None: token counts are estimated."""
    max_sequence_length: int | None = Field(default=None, ge=1)
    """Longest prompt and completion together, in tokens; None: not known."""
    max_request_length: int | None = Field(default=None, ge=1)
    """Longest prompt that may be sent, in tokens; `max_sequence_length` if left out."""
    max_sequence_and_generated_tokens_length: int | None = Field(default=None, ge=1)
    """Longest prompt and completion together where that differs from `max_sequence_length`."""
    deprecated: bool = False
    """Left out of wildcards, and chosen for a model only where nothing else serves it."""
    revision: str | None = None
    """Says exactly what is served (a commit, a snapshot, a quantisation) where the name alone does not."""
    limits: Limits = Field(default_factory=Limits)
    prices: Prices | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        filled = dict(data)
        if not filled.get("model_name"):
            filled["model_name"] = filled.get("name", "")
        if filled.get("max_request_length") is None:
            filled["max_request_length"] = filled.get("max_sequence_length")
        return filled

    def without_window(self) -> ModelDeployment:
        """A copy whose context window is not known, so that prompts are never fitted to it."""
        lengths = ("max_sequence_length", "max_request_length", "max_sequence_and_generated_tokens_length")
        return self.model_copy(update=dict.fromkeys(lengths))

    def identity(self) -> dict[str, Any]:
        """Everything here that can change an answer, as plain data: what digests and cache keys are made of.

        Limits, prices and where the key comes from are not in it, and headers only by name. `base_url` is in
        it only while there is no `revision`: once a revision says what is served, the URL is mere transport
        and may change freely.
        """
        transport = () if self.revision is None else ("base_url",)
        return {
            "name": self.name,
            "model_name": self.model_name,
            "client": self.client_spec.class_name,
            "args": {k: v for k, v in written(self.client_spec.args).items() if k not in transport},
            "tokenizer_name": self.tokenizer_name,
            "max_sequence_length": self.max_sequence_length,
            "max_request_length": self.max_request_length,
            "max_sequence_and_generated_tokens_length": self.max_sequence_and_generated_tokens_length,
            "revision": self.revision,
        }
