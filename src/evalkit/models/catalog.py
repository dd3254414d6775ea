"""All models and deployments: those shipped, those of the user's files, and those a name alone describes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evalkit.errors import ConfigError, UnknownNameError
from evalkit.models.deployment import ModelDeployment
from evalkit.models.entries import read_entries
from evalkit.models.metadata import ABLATION, WILDCARDS, ModelMetadata, undescribed
from evalkit.models.provider import PROVIDERS, prefixed_deployment
from evalkit.specs.run_spec import Spec

SHIPPED = Path(__file__).with_name("models.yaml")

_SECTIONS: dict[str, type[Spec]] = {"models": ModelMetadata, "model_deployments": ModelDeployment}


class ModelCatalog:
    """Models and deployments by name, in order of registration (implements `specs.model_names.ModelNames`).

    A name that no file has but that starts with a provider (`openai/`, `openrouter/`, …) describes itself;
    see `evalkit.models.provider`.
    """

    def __init__(self) -> None:
        self._models: dict[str, ModelMetadata] = {}
        self._deployments: dict[str, ModelDeployment] = {}
        self._places: dict[tuple[str, str], str] = {}

    @classmethod
    def load(cls, files: Sequence[Path] = ()) -> ModelCatalog:
        """The shipped models, then those of `files` (keys `models:` and `model_deployments:`).

        Raises:
            ConfigError: A file is wrong, or a name is there twice; file and line are in the message.
        """
        catalog = cls()
        for path in (SHIPPED, *files):
            for entry in read_entries(path, _SECTIONS):
                if isinstance(entry.value, ModelMetadata):
                    catalog.add_model(entry.value, entry.place)
                elif isinstance(entry.value, ModelDeployment):
                    catalog.add_deployment(entry.value, entry.place)
        for deployment in catalog._deployments.values():
            catalog._models.setdefault(deployment.model_name, undescribed(deployment.model_name))
        return catalog

    def add_model(self, model: ModelMetadata, place: str = "code") -> None:
        """Describe a model.

        Raises:
            ConfigError: A model of this name is described already.
        """
        self._claim("model", model.name, place)
        self._models[model.name] = model

    def add_deployment(self, deployment: ModelDeployment, place: str = "code") -> None:
        """Add a place where a model is served.

        Raises:
            ConfigError: A deployment of this name is there already.
        """
        self._claim("model deployment", deployment.name, place)
        self._deployments[deployment.name] = deployment

    def resolve(self, name: str) -> tuple[str, str]:
        """Model name and deployment name for the name of either.

        A deployment's name means that deployment. Any other model's name means its last registered deployment
        that is not deprecated.

        Raises:
            UnknownNameError: Nothing has this name, or all deployments of the model are deprecated.
        """
        if name in self._deployments:
            return self._deployments[name].model_name, name
        usable = [d for d in self.deployments_of(name) if not d.deprecated]
        if usable:
            return name, usable[-1].name
        deployment = self.deployment(name)
        return deployment.model_name, deployment.name

    def wildcard(self, name: str) -> list[str] | None:
        """The models a wildcard stands for, in order of registration; None if `name` is none.

        Left out are models tagged as deprecated or unsupported and those that no usable deployment serves.
        """
        plain = "all" if name == "ablation" else name.removeprefix("ablation_")
        tags = WILDCARDS.get(plain)
        if tags is None:
            return None
        usable = [m for m in self._models.values() if not m.retired and self._is_served(m.name)]
        if plain != name:
            usable = [m for m in usable if ABLATION in m.tags]
        if not tags:
            return [m.name for m in usable]
        return list(dict.fromkeys(m.name for tag in tags for m in usable if tag in m.tags))

    def deployment(self, name: str) -> ModelDeployment:
        """The deployment of this name, registered or described by the name itself.

        Raises:
            UnknownNameError: There is none.
        """
        found = self._deployments.get(name) or prefixed_deployment(name)
        if found is None:
            raise self._unknown(name)
        return found

    def deployments_of(self, model: str) -> list[ModelDeployment]:
        """The registered deployments of a model, deprecated ones included, in order of registration."""
        return [d for d in self._deployments.values() if d.model_name == model]

    def metadata(self, name: str) -> ModelMetadata:
        """What is known of the model that `name` (of a model or a deployment) means.

        Raises:
            UnknownNameError: Nothing has this name.
        """
        if name in self._models:
            return self._models[name]
        model = self.deployment(name).model_name
        return self._models.get(model) or undescribed(model)

    def names(self) -> list[str]:
        """Every registered name of a model or a deployment, in order of registration."""
        return list(dict.fromkeys([*self._models, *self._deployments]))

    def _claim(self, kind: str, name: str, place: str) -> None:
        if first := self._places.get((kind, name)):
            raise ConfigError(f"{place}: the {kind} '{name}' is already defined at {first}; rename one")
        self._places[kind, name] = place

    def _is_served(self, model: str) -> bool:
        served = self.deployments_of(model)
        return any(not d.deprecated for d in served) if served else prefixed_deployment(model) is not None

    def _unknown(self, name: str) -> UnknownNameError:
        deprecated = [d.name for d in self.deployments_of(name)]
        if deprecated:
            hint = f"(deprecated, usable by the deployment's name only: {', '.join(deprecated)})"
        else:
            hint = f"(names that start with one of these need no registration: {', '.join(PROVIDERS)})"
        return UnknownNameError("model or model deployment", name, [*self.names(), *WILDCARDS], hint)
