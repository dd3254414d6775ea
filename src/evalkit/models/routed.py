"""A deployment whose requests are answered by others: a router chooses which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator, model_validator

from evalkit.models.deployment import ModelDeployment
from evalkit.specs.spec import Spec


class RouterSpec(Spec):
    """Which router, with its arguments."""

    name: str
    """The name a router is registered under (`hash`, `field`, …)."""
    args: dict[str, Any] = Field(default_factory=dict)
    """The router's parameters; checked against its signature when a run is planned."""


class RoutedDeployment(Spec):
    """Several deployments under one name. Limits, retries, budget and prices are those of the members."""

    name: str = Field(pattern=r"^[^\s,=:][^\s,=]*$")
    """What run entries and results call it."""
    members: tuple[str, ...] = Field(min_length=1)
    """The names of the deployments that answer."""
    router_spec: RouterSpec
    """Who chooses which of them answers an instance."""
    model_name: str = Field(default="", pattern=r"^[^\s,=]*$")
    """The model that they are together; the deployment's own name if left out."""
    deprecated: bool = False
    """Left out of wildcards, and chosen for a model only where nothing else serves it."""

    @field_validator("members")
    @classmethod
    def _each_once(cls, members: tuple[str, ...]) -> tuple[str, ...]:
        if twice := [name for name in members if members.count(name) > 1]:
            raise ValueError(f"'{twice[0]}' is there twice")
        return members

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and not data.get("model_name"):
            return {**data, "model_name": data.get("name", "")}
        return data


Deployment = ModelDeployment | RoutedDeployment
