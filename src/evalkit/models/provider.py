"""APIs that need no configuration: a name such as `openrouter/meta/llama-4` says all there is to say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from evalkit.models.deployment import ClientSpec, ModelDeployment


@dataclass(frozen=True, slots=True)
class Provider:
    """An API, as one row of the table.

    Attributes:
        client: The registered client that speaks its protocol.
        api_key_env: The environment variable with its key; None where it wants none.
        args: More client arguments, for what this API does differently.
    """

    client: str
    base_url: str
    api_key_env: str | None
    args: Mapping[str, Any] = field(default_factory=dict)


_NO_LOGPROBS = {"omit_fields": ["logprobs", "top_logprobs"]}

PROVIDERS: Mapping[str, Provider] = {
    "openai": Provider(
        "openai",
        "https://api.openai.com/v1",
        "OPENAI_API_KEY",
        {"max_tokens_field": "max_completion_tokens"},
    ),
    "anthropic": Provider("anthropic", "https://api.anthropic.com", "ANTHROPIC_API_KEY"),
    "openrouter": Provider("openai", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "together": Provider("openai", "https://api.together.xyz/v1", "TOGETHER_API_KEY"),
    "deepseek": Provider("openai", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "mistral": Provider(
        "openai",
        "https://api.mistral.ai/v1",
        "MISTRAL_API_KEY",
        {"omit_fields": ["seed", "logprobs", "top_logprobs"]},
    ),
    "mistralai": Provider(
        "openai",
        "https://api.mistral.ai/v1",
        "MISTRAL_API_KEY",
        {"omit_fields": ["seed", "logprobs", "top_logprobs"]},
    ),
    "xai": Provider("openai", "https://api.x.ai/v1", "XAI_API_KEY"),
    "groq": Provider(
        "openai",
        "https://api.groq.com/openai/v1",
        "GROQ_API_KEY",
        {"omit_fields": ["n", "logprobs", "top_logprobs"]},
    ),
    "gemini": Provider(
        "openai",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "GEMINI_API_KEY",
        _NO_LOGPROBS,
    ),
    "google": Provider(
        "openai",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "GEMINI_API_KEY",
        _NO_LOGPROBS,
    ),
    "fireworks": Provider("openai", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
    "cerebras": Provider("openai", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    "nvidia": Provider("openai", "https://integrate.api.nvidia.com/v1", "NVIDIA_API_KEY"),
    "huggingface-inference-providers": Provider("openai", "https://router.huggingface.co/v1", "HF_TOKEN"),
    "ollama": Provider("openai", "http://localhost:11434/v1", None),
}
"""First component of a name to the API it stands for."""


def prefixed_deployment(name: str) -> ModelDeployment | None:
    """The deployment that a name of the shape `provider/[organization/]model` stands for.

    Its model is the last two components; what the API is asked for is everything after the provider.
    None where the first component is no provider.
    """
    prefix, _, served = name.partition("/")
    provider = PROVIDERS.get(prefix)
    if provider is None or not re.fullmatch(r"[^\s,=/]+(/[^\s,=/]+)*", served):
        return None
    args: dict[str, Any] = {"model": served, "base_url": provider.base_url, **provider.args}
    if provider.api_key_env is not None:
        args["api_key_env"] = provider.api_key_env
    return ModelDeployment(
        name=name,
        model_name="/".join(name.split("/")[-2:]),
        client_spec=ClientSpec(class_name=provider.client, args=args),
    )


def served_name(deployment: ModelDeployment) -> str:
    """What a server is asked for if the deployment's `args` name no `model`.

    The model name without its first component where that is the provider's (`openai/gpt-4o` is `gpt-4o` to
    OpenAI), else the whole (`meta-llama/Llama-3.1-8B` is just that to a local server).
    """
    prefix, _, rest = deployment.model_name.partition("/")
    return (
        rest
        if rest and prefix in PROVIDERS and deployment.name.startswith(f"{prefix}/")
        else (deployment.model_name)
    )
