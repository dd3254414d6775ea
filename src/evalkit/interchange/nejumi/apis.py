"""The API kinds of Nejumi's configs, each with the provider that evalkit asks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from evalkit.errors import UsageError, nearest_names
from evalkit.models.catalog import ModelCatalog
from evalkit.models.deployment import ClientSpec, ModelDeployment
from evalkit.models.families import as_its_family
from evalkit.models.provider import PROVIDERS
from evalkit.redaction import shown_name


@dataclass(frozen=True, slots=True)
class ApiKind:
    """An API as configs name it.

    Attributes:
        names: Its spellings.
        prefix: The provider: the first part of a deployment's name.
        key_variables: Where Nejumi looks for the key; read only where evalkit's own variable is not set.
        remark: What differs from Nejumi.
    """

    names: tuple[str, ...]
    prefix: str
    key_variables: tuple[str, ...] = ()
    remark: str = ""


API_KINDS = (
    ApiKind(("openai", "openai_chat"), "openai"),
    ApiKind(("openai_responses",), "openai", remark="chat completions, not the Responses API"),
    ApiKind(("azure-openai", "azure"), "azure", ("AZURE_OPENAI_KEY",)),
    ApiKind(("anthropic", "anthoropic"), "anthropic"),
    ApiKind(("google",), "google", ("GOOGLE_API_KEY",), "Gemini's OpenAI-compatible endpoint"),
    ApiKind(("cohere",), "cohere", remark="Cohere's OpenAI-compatible endpoint"),
    ApiKind(("mistral",), "mistral"),
    ApiKind(
        ("amazon_bedrock", "bedrock"),
        "bedrock",
        remark="or signed with AWS's keys; all models through Converse",
    ),
    ApiKind(("xai",), "xai"),
    ApiKind(("upstage",), "upstage"),
    ApiKind(
        ("openai-compatible", "vllm-external"),
        "openai-compatible",
        ("VLLM_API_KEY",),
        "`base_url`, or `OPENAI_COMPATIBLE_BASE_URL`; a key only where a variable holds one",
    ),
)
ENGINES = ("vllm", "vllm-docker", "vllm-local")
"""Spellings of vLLM, which evalkit runs in its own process."""


def api_kind(name: str) -> ApiKind:
    """The API of this name.

    Raises:
        UsageError: There is none.
    """
    for kind in API_KINDS:
        if name in kind.names:
            return kind
    known = list(_names())
    nearest = nearest_names(name, known, limit=1)
    right = f"did you mean '{nearest[0]}'?" if nearest else f"known: {', '.join(known)}"
    raise UsageError(f"unknown API '{shown_name(name)}'; {right}")


def api_deployment(
    kind: ApiKind, model: str, catalog: ModelCatalog, base_url: str | None = None
) -> ModelDeployment:
    """The deployment of an API's model; the key is read from the variable that is set on this machine.

    Args:
        kind: The API.
        model: What the API calls the model.
        catalog: A deployment of the user that has this name takes its place.
        base_url: Where it is, if not at its usual address.

    Raises:
        UsageError: Only the environment can say where the API is, and it does not; or the name has blanks.
    """
    name = f"{kind.prefix}/{model}"
    if catalog.is_given(name):
        return catalog.deployment(name)
    known = catalog.deployment(name) if base_url is None else _at(kind, name, model, base_url)
    spec = known.client_spec
    args = {key: value for key, value in spec.args.items() if key != "api_key_env"}
    if (variable := _key_variable(kind)) is not None:
        args["api_key_env"] = variable
    return known.model_copy(update={"client_spec": spec.model_copy(update={"args": args})})


def _at(kind: ApiKind, name: str, model: str, base_url: str) -> ModelDeployment:
    """The deployment at the address that a config names."""
    provider = PROVIDERS[kind.prefix]
    args = {"model": model, "base_url": base_url, **provider.args}
    try:
        return as_its_family(
            ModelDeployment(
                name=name,
                model_name="/".join(name.split("/")[-2:]),
                client_spec=ClientSpec(class_name=provider.client, args=args),
            )
        )
    except ValidationError:
        raise UsageError(f"'{model}' can't be the name of a model: no blanks, ',' and '='") from None


def _key_variable(kind: ApiKind) -> str | None:
    own = PROVIDERS[kind.prefix].api_key_env
    candidates = [name for name in (own, *kind.key_variables) if name is not None]
    for name in candidates:
        if os.environ.get(name, "").strip():
            return name
    # A server of the user's may want no key.
    return None if kind.prefix == "openai-compatible" else own


def _names() -> Iterator[str]:
    for kind in API_KINDS:
        yield from kind.names
    yield from ENGINES
