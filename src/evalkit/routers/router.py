"""The base of all routers, and how one is made from a routed deployment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from evalkit.errors import UsageError
from evalkit.instance import Instance
from evalkit.models.routed import RoutedDeployment
from evalkit.models.secret_fields import refuse_secrets, written
from evalkit.parameters import bind_arguments
from evalkit.registry import ROUTERS


class Router:
    """Chooses who answers an instance. Parameters of `__init__` after `members` are what a file may set.

    evalkit asks once for each instance, and for each perturbed copy of one. It keeps the choice before it
    uses it, so a run that goes on never asks again. All requests about the instance go to that member.

    Args:
        members: The names of the members, in the order of the file.

    Attributes:
        version: Raise it when the choices change for the same arguments; it is part of a run's identity.
    """

    version: ClassVar[int] = 1

    def __init__(self, members: Sequence[str]) -> None:
        self.members = tuple(members)

    def choose(self, instance: Instance) -> str:
        """The name of the member that answers the instance: the same each time it is asked.

        Raises:
            DataError: The instance lacks what the rule goes by.
        """
        raise NotImplementedError


def build_router(deployment: RoutedDeployment) -> Router:
    """The router of a routed deployment.

    Raises:
        UsageError: There is no such router, or an argument is unknown, missing, wrong, or holds a secret.
    """
    name, args = deployment.router_spec.name, deployment.router_spec.args
    try:
        target = ROUTERS.get(name)
        refuse_secrets(args)
        bound = bind_arguments("router", name, target, args, skip=("members",))
        return cast("Router", target(members=deployment.members, **bound))
    except UsageError as error:
        raise UsageError(f"routed deployment '{deployment.name}': {error}") from None


def routed_identity(
    deployment: RoutedDeployment, member_identities: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Everything about a routed deployment that can change an answer, as plain data: for digests.

    Args:
        deployment: The deployment.
        member_identities: What identifies each member, in order.

    Raises:
        UsageError: As `build_router`.
    """
    spec, version = deployment.router_spec, build_router(deployment).version
    return {
        "name": deployment.name,
        "model_name": deployment.model_name,
        "router": {"name": spec.name, "version": version, "args": written(spec.args)},
        "members": list(member_identities),
    }
