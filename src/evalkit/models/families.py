"""What a family of models refuses, whoever serves it: a property of the model, not of a deployment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from evalkit.models.deployment import ModelDeployment
from evalkit.models.provider import served_name


class Family(NamedTuple):
    """Models that are asked alike.

    Attributes:
        pattern: What their names look like, without creator and provider.
        creators: Before the name, where something is before it; another creator's model may be called alike.
        omit_fields: By client, the request fields they refuse.
        reasoning_tokens: Room for thinking on top of the length limit.
    """

    pattern: re.Pattern[str]
    creators: tuple[str, ...]
    omit_fields: Mapping[str, tuple[str, ...]]
    reasoning_tokens: int


_SAMPLING = ("temperature", "top_p")

FAMILIES = (
    # https://platform.openai.com/docs/guides/reasoning; `gpt-5-chat-latest` does not reason.
    Family(
        re.compile(r"(o[1-9]|gpt-5)(?![a-z0-9])(?!.*-chat)"),
        ("openai", "azure"),
        {
            "openai": (
                *(*_SAMPLING, "presence_penalty", "frequency_penalty"),
                *("stop", "logprobs", "top_logprobs"),
            )
        },
        8192,
    ),
    # Sampling parameters are gone since Opus 4.7.
    Family(
        re.compile(r"claude-(opus-4[.-][7-9](?!\d)|[a-z]+-([5-9]|\d\d)(?!\d))"),
        ("anthropic",),
        {"anthropic": _SAMPLING, "openai": _SAMPLING},
        8192,
    ),
)


def family_of(name: str) -> Family | None:
    """The family of a model by its name: `o3-mini-2025-01-31`, `openai/o3-mini`, `azure/o3-mini`."""
    *before, last = name.casefold().split("/")
    for family in FAMILIES:
        if family.pattern.match(last) and (not before or before[-1] in family.creators):
            return family
    return None


def as_its_family(deployment: ModelDeployment) -> ModelDeployment:
    """The deployment with what its model's family refuses left out, where it says nothing of its own.

    What it does say stands: `omit_fields: []` and `reasoning_tokens: 0` send everything as it is asked for.
    """
    spec = deployment.client_spec
    served = spec.args.get("model") or served_name(deployment)
    family = family_of(str(served)) or family_of(deployment.model_name)
    fields = None if family is None else family.omit_fields.get(spec.class_name)
    if family is None or fields is None or spec.args.get("mode", "chat") != "chat":
        return deployment
    known: dict[str, Any] = {"omit_fields": list(fields), "reasoning_tokens": family.reasoning_tokens}
    args = {**known, **spec.args}
    return deployment.model_copy(update={"client_spec": spec.model_copy(update={"args": args})})
