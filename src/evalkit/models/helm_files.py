"""HELM's own model files, read as they are.

`model_deployments.yaml`, `model_metadata.yaml` and `tokenizer_configs.yaml` of a HELM installation or of its
`prod_env`. Client classes become clients of evalkit by a table; a deployment whose client or arguments have
no counterpart is kept by name, so that runs can be planned, and says why it can't be asked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import Field

from evalkit.errors import ConfigError
from evalkit.models.deployment import ClientSpec, ModelDeployment
from evalkit.models.metadata import ModelMetadata
from evalkit.models.provider import PROVIDERS
from evalkit.models.tokenizers import is_tokenizer
from evalkit.models.yaml_entries import read_entries
from evalkit.specs.spec import Spec
from evalkit.yaml_text import read_text

_NAMES = ("model_metadata.yaml", "tokenizer_configs.yaml")
_CLASS_NAME = re.compile(r"""class_name:\s*["']?helm\.""")


@dataclass(frozen=True, slots=True)
class HelmFile:
    """What a file of HELM's says, as evalkit's objects.

    Attributes:
        notes: What could not be taken over, one line each.
    """

    models: tuple[ModelMetadata, ...] = ()
    deployments: tuple[ModelDeployment, ...] = ()
    notes: tuple[str, ...] = ()


class _HelmModel(ModelMetadata):
    deployment_names: tuple[str, ...] = ()
    release: date | str | None = None
    """How HELM's own file misspells `release_date` in places; some are not dates."""
    num_parameters: int | None = Field(default=None, ge=0)
    """0 where HELM does not know."""


class _HelmClientSpec(ClientSpec):
    deployment: str | None = None
    """Where HELM's own file has a client argument one level too high."""


class _HelmDeployment(Spec):
    name: str
    client_spec: _HelmClientSpec
    model_name: str = ""
    tokenizer_name: str | None = None
    window_service_spec: ClientSpec | None = None
    max_sequence_length: int | None = None
    max_request_length: int | None = None
    max_sequence_and_generated_tokens_length: int | None = None
    deprecated: bool = False
    args: dict[str, Any] = Field(default_factory=dict)
    """Where HELM's own file has client arguments one level too high."""


class _HelmTokenizer(Spec):
    name: str
    tokenizer_spec: ClientSpec
    end_of_text_token: str | None = None
    prefix_token: str | None = None


_SECTIONS: dict[str, type[Spec]] = {
    "models": _HelmModel,
    "model_deployments": _HelmDeployment,
    "tokenizer_configs": _HelmTokenizer,
}


@dataclass(frozen=True, slots=True)
class _Counterpart:
    """What a client class of HELM is here.

    Attributes:
        provider: The API, from the table of providers.
        model_arg: The argument of HELM's class that says what the API is asked for.
        args: More arguments of our client.
        ignored: Arguments that say how weights are loaded; here the server's business.
    """

    provider: str
    model_arg: str = ""
    args: Mapping[str, Any] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


_COMPLETIONS = {"mode": "completions"}
_LOADING = ("device_map", "torch_dtype", "trust_remote_code", "attn_implementation")
# What HELM's class that loads weights itself calls the arguments of our engine.
_ENGINE_ARGS = {
    "pretrained_model_name_or_path": "model",
    "torch_dtype": "dtype",
    "device_map": "device_map",
    "trust_remote_code": "trust_remote_code",
    "apply_chat_template": "chat_prompts",
}

_COUNTERPARTS: Mapping[str, _Counterpart] = {
    "anthropic_client.AnthropicMessagesClient": _Counterpart("anthropic", "anthropic_model_name"),
    "azure_openai_client.AzureOpenAIClient": _Counterpart("azure", "azure_openai_deployment_name"),
    "cohere_client.CohereChatClient": _Counterpart("cohere"),
    "google_genai_client.GoogleGenAIClient": _Counterpart("google", "genai_model"),
    "grok_client.GrokChatClient": _Counterpart("xai", "openai_model_name"),
    "huggingface_client.HuggingFaceClient": _Counterpart(
        "huggingface", "pretrained_model_name_or_path", _COMPLETIONS, _LOADING
    ),
    "huggingface_inference_providers_client.HuggingFaceInferenceProvidersClient": _Counterpart(
        "huggingface-inference-providers", "huggingface_model_name"
    ),
    "litellm_client.LiteLLMCompletionClient": _Counterpart("litellm", "litellm_model"),
    "mistral_client.MistralAIClient": _Counterpart("mistralai", "mistral_model"),
    "nvidia_nim_client.NvidiaNimClient": _Counterpart("nvidia"),
    "openai_client.OpenAIClient": _Counterpart("openai", "openai_model_name"),
    "openai_client.OpenAILegacyCompletionsClient": _Counterpart("openai", "openai_model_name", _COMPLETIONS),
    "openai_responses_client.OpenAIResponseClient": _Counterpart("openai", "openai_model_name"),
    "openrouter_client.OpenRouterClient": _Counterpart("openrouter", "openrouter_model_name"),
    "together_client.TogetherChatClient": _Counterpart("together", "together_model"),
    "together_client.TogetherClient": _Counterpart("together", "together_model", _COMPLETIONS),
    "vllm_client.VLLMChatClient": _Counterpart("vllm", "vllm_model_name"),
    "vllm_client.VLLMClient": _Counterpart("vllm", "vllm_model_name", _COMPLETIONS),
}
"""Client class of HELM, without `helm.clients.`, to its counterpart; its SimpleClient is `simple` here."""


def is_helms(path: Path) -> bool:
    """Whether this is a file of HELM's: by its name, or by HELM's class names in it."""
    if path.name in _NAMES:
        return True
    try:
        return _CLASS_NAME.search(read_text(path)) is not None
    except ConfigError:
        return False  # whoever reads it next says what is wrong


def read_helm_file(path: Path) -> HelmFile:
    """What a file of HELM's says.

    An entry that follows another of the same name takes its place, as in HELM.

    Raises:
        ConfigError: The file can't be read or is not YAML, or has a key that HELM does not have.
    """
    models: dict[str, ModelMetadata] = {}
    deployments: dict[str, ModelDeployment] = {}
    twice: list[str] = []
    unknown_tokenizers = 0
    for entry in read_entries(path, _SECTIONS, last_key_holds=True):
        if isinstance(entry.value, _HelmModel):
            twice += [entry.value.name] * (entry.value.name in models)
            models[entry.value.name] = _model(entry.value)
        elif isinstance(entry.value, _HelmDeployment):
            twice += [entry.value.name] * (entry.value.name in deployments)
            deployments[entry.value.name] = _deployment(entry.value, entry.place)
            unknown_tokenizers += not is_tokenizer(entry.value.tokenizer_name)
        elif isinstance(entry.value, _HelmTokenizer):
            unknown_tokenizers += not is_tokenizer(entry.value.name)
    notes = _notes(path, deployments.values(), twice, unknown_tokenizers)
    return HelmFile(tuple(models.values()), tuple(deployments.values()), tuple(notes))


def _model(model: _HelmModel) -> ModelMetadata:
    plain = model.model_dump(exclude={"deployment_names", "release"})
    misspelt = model.release if isinstance(model.release, date) else None
    plain["release_date"] = model.release_date or misspelt
    plain["num_parameters"] = model.num_parameters or None
    return ModelMetadata.model_validate(plain)


def _deployment(given: _HelmDeployment, place: str) -> ModelDeployment:
    """The deployment with a client of ours, or one that says why there is none."""
    args = {**given.client_spec.args, **given.args}
    revision = args.pop("revision", None)
    plain = given.model_dump(exclude={"client_spec", "window_service_spec", "args", "tokenizer_name"})
    try:
        return ModelDeployment.model_validate(
            {
                **plain,
                "client_spec": _client(given.client_spec.class_name, args, given.model_name or given.name),
                "tokenizer_name": given.tokenizer_name if is_tokenizer(given.tokenizer_name) else None,
                "revision": None if revision is None else str(revision),
            }
        )
    except ValueError as error:
        raise ConfigError(f"{place}: the deployment '{given.name}' is not valid: {error}") from None


def _client(class_name: str, args: dict[str, Any], model_name: str) -> ClientSpec:
    short = class_name.removeprefix("helm.clients.")
    if short == "simple_client.SimpleClient":
        return ClientSpec(class_name="simple")
    found = _COUNTERPARTS.get(short)
    if found is None:
        return _unavailable(f"HELM's client {short} has no counterpart")
    provider = PROVIDERS[found.provider]
    if found.provider == "huggingface" and provider.loads_models:
        return _engine(short, args, model_name)
    named_url = args.pop("base_url", None) or args.pop("endpoint", None)
    own = {"model": _served(found, model_name), "api_key_env": provider.api_key_env, **provider.args}
    own |= found.args
    own["base_url"] = named_url or provider.base_url
    for name, value in args.items():
        if name == found.model_arg:
            own["model"] = value
        elif name == "reasoning_effort":
            own["extra_body"] = {"reasoning_effort": value}
        elif name == "apply_chat_template":
            own["mode"] = "chat" if value else "completions"
        elif name not in found.ignored:
            return _unavailable(f"'{name}' of HELM's client {short} has no counterpart")
    if not own["base_url"]:
        return _unavailable(f"HELM's client {short} needs its base_url here")
    return ClientSpec(class_name=provider.client, args={k: v for k, v in own.items() if v is not None})


def _engine(short: str, args: Mapping[str, Any], model_name: str) -> ClientSpec:
    """The engine in this process, for weights that HELM loads itself."""
    own: dict[str, Any] = {"model": model_name}
    for name, value in args.items():
        if name in _ENGINE_ARGS:
            own[_ENGINE_ARGS[name]] = str(value).removeprefix("torch.") if name == "torch_dtype" else value
        elif name != "attn_implementation":
            return _unavailable(f"'{name}' of HELM's client {short} has no counterpart")
    return ClientSpec(class_name="transformers", args=own)


def _served(found: _Counterpart, model_name: str) -> str:
    """What the API is asked for where no argument says it: on open platforms the whole name."""
    open_platforms = (
        "together",
        "huggingface",
        "huggingface-inference-providers",
        "vllm",
        "nvidia",
        "litellm",
    )
    return model_name if found.provider in (*open_platforms, "openrouter") else model_name.split("/", 1)[-1]


def _unavailable(reason: str) -> ClientSpec:
    return ClientSpec(class_name="unavailable", args={"reason": reason})


def _notes(path: Path, deployments: Any, twice: list[str], unknown_tokenizers: int) -> list[str]:
    reasons = Counter(
        d.client_spec.args["reason"] for d in deployments if d.client_spec.class_name == "unavailable"
    )
    notes = []
    if reasons:
        shown = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))
        more = f"; and {len(reasons) - 3} other reasons" if len(reasons) > 3 else ""
        notes.append(
            f"{path}: {reasons.total()} of {len(deployments)} deployments can't be used: {shown}{more}"
        )
    if unknown_tokenizers:
        notes.append(
            f"{path}: {unknown_tokenizers} deployments name a tokenizer that evalkit does not have; "
            "evalkit does not fit their prompts to the window"
        )
    if twice:
        notes.append(f"{path}: {len(twice)} names occur twice and the later entry counts, such as {twice[0]}")
    return notes
