"""From a deployment to the client that serves it."""

from __future__ import annotations

from typing import Any, cast

from evalkit.clients.client import Client
from evalkit.errors import UsageError
from evalkit.models.deployment import ModelDeployment
from evalkit.models.provider import served_name
from evalkit.parameters import bind_arguments, parameters_of
from evalkit.registry import CLIENTS


def build_client(deployment: ModelDeployment) -> Client:
    """The deployment's client, keys read and time-out set; nothing is opened or sent yet.

    Raises:
        UsageError: The client is unknown, an argument is wrong, or the key is missing; names the deployment.
    """
    args = check_client(deployment)
    try:
        built = cast("Client", CLIENTS.get(deployment.client_spec.class_name)(**args))
    except UsageError as error:
        raise UsageError(f"model deployment '{deployment.name}': {error}") from None
    built.configure(timeout_s=deployment.limits.timeout_s)
    return built


def check_client(deployment: ModelDeployment) -> dict[str, Any]:
    """The arguments for the deployment's client, checked against its signature; reads no key.

    `model` is filled in where the client takes one and the deployment names none.

    Raises:
        UsageError: The client is unknown, or an argument is unknown, missing or of the wrong type.
    """
    name, args = deployment.client_spec.class_name, dict(deployment.client_spec.args)
    try:
        target = CLIENTS.get(name)
        if args.get("model") is None and any(p.name == "model" for p in parameters_of(target)):
            args["model"] = served_name(deployment)
        return bind_arguments("client", name, target, args)
    except UsageError as error:
        raise UsageError(f"model deployment '{deployment.name}': {error}") from None
