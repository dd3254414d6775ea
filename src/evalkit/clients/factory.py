"""From a deployment to the client that serves it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast
from urllib.parse import urlsplit

from evalkit.clients.allowance import Allowance
from evalkit.clients.client import Client
from evalkit.errors import UsageError
from evalkit.models.deployment import ModelDeployment
from evalkit.models.provider import served_name
from evalkit.models.secret_fields import refuse_secrets, written
from evalkit.models.weights import fetch_description
from evalkit.parameters import bind_arguments, parameters_of
from evalkit.redaction import one_line
from evalkit.registry import CLIENTS
from evalkit.request import Request


def build_client(deployment: ModelDeployment) -> Client:
    """The deployment's client, keys read and time-out set; nothing is opened or sent yet.

    Raises:
        UsageError: The client is unknown, an argument is wrong, the key is missing, or a library that it
            needs is not installed; names the deployment.
    """
    args = check_client(deployment)
    try:
        target = CLIENTS.get(deployment.client_spec.class_name)
        _check_installed(target)
        built = cast("Client", target(**args))
    except UsageError as error:
        raise UsageError(f"model deployment '{deployment.name}': {error}") from None
    built.max_answer_mb = deployment.limits.max_answer_mb
    built.configure(timeout_s=deployment.limits.timeout_s)
    return built


def check_client(deployment: ModelDeployment) -> dict[str, Any]:
    """The arguments for the deployment's client, checked against its signature; reads no key.

    `model` and `revision` are filled in where the client takes them and `args` names none.

    Raises:
        UsageError: The client is unknown, or an argument is unknown, missing or of the wrong type, or holds a
            secret.
    """
    name, args = deployment.client_spec.class_name, dict(deployment.client_spec.args)
    try:
        target = CLIENTS.get(name)
        refuse_secrets(args)
        if getattr(target, "over_http", False):
            _check_address(args.get("base_url"))
        known = {p.name for p in parameters_of(target)}
        if args.get("model") is None and "model" in known:
            args["model"] = served_name(deployment)
        if args.get("revision") is None and "revision" in known and deployment.revision is not None:
            args["revision"] = deployment.revision
        return bind_arguments("client", name, target, args)
    except UsageError as error:
        raise UsageError(f"model deployment '{deployment.name}': {error}") from None


def _check_address(address: Any) -> None:
    if isinstance(address, str) and not address.startswith(("http://", "https://")):
        raise UsageError(f"base_url must start with http:// or https://, and is '{one_line(address)}'")
    if isinstance(address, str) and not urlsplit(address).hostname:
        raise UsageError(f"base_url has no host: '{one_line(address)}'")


def with_model_facts(deployment: ModelDeployment, *, fetch: bool = False) -> ModelDeployment:
    """The deployment with what the files of its model say where it says nothing: tokenizer and lengths.

    Args:
        deployment: As registered.
        fetch: Download those files if they are missing; without it, no socket is opened.

    Raises:
        UsageError: As `check_client`; or the model's files can't be read.
    """
    client_class, args = _client_class(deployment), check_client(deployment)
    if fetch and client_class.resident and isinstance(model := args.get("model"), str):
        fetch_description(model, args.get("revision"))
    facts = client_class.facts(args)
    update: dict[str, Any] = {}
    if deployment.tokenizer_name is None and facts.tokenizer_name is not None:
        update["tokenizer_name"] = facts.tokenizer_name
    if deployment.max_sequence_length is None and facts.max_sequence_length is not None:
        update["max_sequence_length"] = facts.max_sequence_length
        update["max_request_length"] = (
            deployment.max_request_length or facts.max_request_length or facts.max_sequence_length
        )
    return deployment.model_copy(update=update) if update else deployment


def identity_of(deployment: ModelDeployment) -> dict[str, Any]:
    """Everything about a deployment that can change an answer, as plain data: for digests and cache keys.

    It is the deployment's own identity, with the arguments as its client sees them: those that only say how
    are left out, and a local model counts by what is in its files, wherever they are.

    Raises:
        UsageError: As `check_client`.
    """
    identity, client_class = deployment.identity(), _client_class(deployment)
    if not client_class.resident:
        return identity
    args = check_client(deployment)
    named = identity["tokenizer_name"]
    if named is not None and named == client_class.facts(args).tokenizer_name:
        identity["tokenizer_name"] = None  # the model's own, which its files say
    return {**identity, "args": written(client_class.identity(args))}


def costs_nothing(deployment: ModelDeployment) -> bool | None:
    """Whether nobody bills its answers: it runs on this machine, or is a baseline; None: not known yet."""
    target = CLIENTS.get(deployment.client_spec.class_name)
    if isinstance(target, type) and issubclass(target, Client):
        return target.resident or target.is_free
    return None


def is_resident(deployment: ModelDeployment) -> bool:
    """Whether its client holds a model in memory; asks the client's class, and makes none."""
    return _client_class(deployment).resident


def allowances(
    deployment: ModelDeployment, client_class: type[Client] | None = None
) -> Callable[[Request], Allowance]:
    """What each request to a deployment allows it to bill; reads no key.

    Where no length limit is sent, the model's window is one, if it is known.

    Args:
        deployment: The deployment.
        client_class: That of its client, where there is one already.

    Raises:
        UsageError: As `check_client`.
    """
    args = check_client(deployment)
    client = client_class or _client_class(deployment)
    window = deployment.max_sequence_and_generated_tokens_length or deployment.max_sequence_length

    def allowance(request: Request) -> Allowance:
        allowed = client.allowance(args, request)
        if allowed.completion_tokens is None and window is not None:
            return replace(allowed, completion_tokens=window * request.num_completions)
        return allowed

    return allowance


def _client_class(deployment: ModelDeployment) -> type[Client]:
    target = CLIENTS.get(deployment.client_spec.class_name)
    # A plugin may register a function that makes its client.
    return target if isinstance(target, type) and issubclass(target, Client) else Client


def _check_installed(target: Any) -> None:
    modules, extra = getattr(target, "needs", ((), ""))
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise UsageError(f"it needs {' and '.join(missing)}; run: pip install 'evalkit[{extra}]'")
