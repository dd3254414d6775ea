"""APIs and engines that need no configuration: a name such as `openrouter/meta/llama-4` says all there is."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from evalkit.errors import UsageError
from evalkit.models.deployment import ClientSpec, ModelDeployment


@dataclass(frozen=True, slots=True)
class Provider:
    """An API, or an engine on this machine, as one row of the table.

    Attributes:
        client: The registered client that speaks its protocol.
        base_url: Where it is; empty where everyone has their own address, or the client knows it.
        api_key_env: The environment variable with its key; None where it wants none.
        args: More client arguments, for what this API does differently.
        base_url_env: The environment variable that says where it is, before `base_url`.
        base_path: What comes after the address that `base_url_env` holds.
        engine: The client that loads the model itself, where no address says that a server has it.
    """

    client: str
    base_url: str
    api_key_env: str | None
    args: Mapping[str, Any] = field(default_factory=dict)
    base_url_env: str | None = None
    base_path: str = ""
    engine: str | None = None

    @property
    def loads_models(self) -> bool:
        """Whether the model is loaded on this machine: there is an engine, and no address of a server."""
        return self.engine is not None and not self._named_address

    @property
    def _named_address(self) -> str:
        return os.environ.get(self.base_url_env, "").strip() if self.base_url_env else ""

    def address(self) -> str:
        """Where the API is.

        Raises:
            UsageError: Only the environment can say, and it does not.
        """
        if named := self._named_address:
            return named.rstrip("/") + self.base_path
        if not self.base_url:
            raise UsageError(f"the environment variable {self.base_url_env} is not set; it must hold the URL")
        return self.base_url


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
    "upstage": Provider("openai", "https://api.upstage.ai/v1", "UPSTAGE_API_KEY", _NO_LOGPROBS),
    "bedrock": Provider("bedrock", "", None),
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
    "cohere": Provider(
        "openai",
        "https://api.cohere.ai/compatibility/v1",
        "COHERE_API_KEY",
        {"omit_fields": ["n", "logprobs", "top_logprobs"]},
    ),
    "azure": Provider(
        "openai",
        "",
        "AZURE_OPENAI_API_KEY",
        {"max_tokens_field": "max_completion_tokens"},
        base_url_env="AZURE_OPENAI_ENDPOINT",
        base_path="/openai/v1",
    ),
    "fireworks": Provider("openai", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
    "cerebras": Provider("openai", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    "nvidia": Provider("openai", "https://integrate.api.nvidia.com/v1", "NVIDIA_API_KEY"),
    "huggingface-inference-providers": Provider("openai", "https://router.huggingface.co/v1", "HF_TOKEN"),
    "huggingface": Provider("openai", "", None, base_url_env="HUGGINGFACE_BASE_URL", engine="transformers"),
    "transformers": Provider("transformers", "", None, engine="transformers"),
    "vllm": Provider("openai", "", None, base_url_env="VLLM_BASE_URL", engine="vllm"),
    "vllm-server": Provider("vllm_server", "", None, engine="vllm_server"),
    "ollama": Provider("openai", "http://localhost:11434/v1", None, base_url_env="OLLAMA_BASE_URL"),
    "litellm": Provider(
        "openai", "http://localhost:4000/v1", "LITELLM_API_KEY", base_url_env="LITELLM_BASE_URL"
    ),
    "openai-compatible": Provider(
        "openai", "", "OPENAI_COMPATIBLE_API_KEY", base_url_env="OPENAI_COMPATIBLE_BASE_URL"
    ),
}
"""First component of a name to its API."""


def prefixed_deployment(name: str) -> ModelDeployment | None:
    """The deployment that a name of the shape `provider/[organization/]model` means.

    Its model is the last two components; what the API is asked for, or the engine loads, is everything after
    the provider. An engine also takes a folder: `transformers/./out/mine`, `vllm//models/mine`. None where
    the first component is not a provider.

    Raises:
        UsageError: Only the environment can say where this API is, and it does not.
    """
    prefix, _, served = name.partition("/")
    provider = PROVIDERS.get(prefix)
    if provider is None:
        return None
    if provider.loads_models and re.fullmatch(r"/?[^\s,=/]+(/[^\s,=/]+)*", served):
        named = [part for part in name.split("/") if part not in ("", ".", "..")]
        spec = ClientSpec(class_name=provider.engine or "", args={"model": served})
        return ModelDeployment(name=name, model_name="/".join(named[-2:]), client_spec=spec)
    if not re.fullmatch(r"[^\s,=/]+(/[^\s,=/]+)*", served):
        return None
    args: dict[str, Any] = {"model": served, **provider.args}
    if provider.base_url or provider.base_url_env is not None:
        args = {"model": served, "base_url": provider.address(), **provider.args}
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


def described_by_name(name: str) -> ModelDeployment | None:
    """The deployment that a name describes by itself; None where it describes none, or not completely."""
    try:
        return prefixed_deployment(name)
    except UsageError:
        return None


def place_of(deployment: ModelDeployment) -> str:
    """The host and port that a deployment asks; without its own address, its client's, or the client.

    Two places are the same exactly if these are.
    """
    spec = deployment.client_spec
    address = spec.args.get("base_url")
    if not isinstance(address, str):
        known = PROVIDERS.get(spec.class_name)
        address = known.base_url if known is not None else ""
    host = urlsplit(address.strip()).netloc.rpartition("@")[2].lower()
    return host or f"the client '{spec.class_name}'"
