"""All models and deployments: those shipped, those of the user's files, and those a name alone describes."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import cache
from itertools import chain
from pathlib import Path

from evalkit.errors import ConfigError, UnknownNameError, UsageError
from evalkit.models.deployment import ModelDeployment
from evalkit.models.families import as_its_family
from evalkit.models.helm_files import is_helms, read_helm_file
from evalkit.models.metadata import (
    ABLATION,
    DEFAULT_TAGS,
    RETIRED_WILDCARDS,
    WILDCARDS,
    ModelMetadata,
    undescribed,
)
from evalkit.models.provider import PROVIDERS, described_by_name, place_of, prefixed_deployment
from evalkit.models.routed import Deployment, RoutedDeployment
from evalkit.models.yaml_entries import Entry, checked_entries, read_entries
from evalkit.specs.conf import ConfFile
from evalkit.specs.fixups import FIX_UPS
from evalkit.specs.spec import Spec

SHIPPED = (Path(__file__).with_name("models.yaml"), Path(__file__).with_name("models_helm.yaml"))

_LIKELY_A_SLIP = 0.9
_QUIRKS = frozenset(tag for fixup in FIX_UPS for tag in fixup.tags)
"""Tags of models that want their prompts otherwise."""

_SECTIONS: dict[str, type[Spec]] = {
    "models": ModelMetadata,
    "model_deployments": ModelDeployment,
    "routed_deployments": RoutedDeployment,
}


class ModelCatalog:
    """Models and deployments by name, in order of registration (implements `specs.model_names.ModelNames`).

    A name that no file has but that starts with a provider (`openai/`, `openrouter/`, …) describes itself;
    see `evalkit.models.provider`.

    Attributes:
        notes: What the user should know of the files that were read.
        moved: Names of deployments that a file sends elsewhere than evalkit does, and a remark on each.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.moved: dict[str, str] = {}
        self._models: dict[str, ModelMetadata] = {}
        self._deployments: dict[str, Deployment] = {}
        self._by_model: dict[str, list[Deployment]] = {}
        self._wildcards: dict[str, list[str]] = {}
        self._places: dict[tuple[str, str], str] = {}

    @classmethod
    def load(cls, files: Sequence[Path] = (), confs: Sequence[ConfFile] = ()) -> ModelCatalog:
        """The shipped models, then those of `files` (the keys `models:`, `model_deployments:` and so on).

        Conf files may describe models too, and repeat what a file says.

        What a file says of a shipped name takes its place. HELM's own files (`model_deployments.yaml`,
        `model_metadata.yaml`, `tokenizer_configs.yaml`) are read too; of what they say of names that are
        known already, nothing is taken over.

        Raises:
            ConfigError: A file is wrong, a name is there twice, or a routed deployment has a member that is
                unknown or routed itself; file and line are in the message.
        """
        catalog = cls()
        shipped = _shipped()
        catalog._models = dict(shipped._models)
        catalog._deployments = dict(shipped._deployments)
        catalog._by_model = {model: list(served) for model, served in shipped._by_model.items()}
        for path in files:
            if is_helms(path):
                catalog._add_helm_file(path)
            else:
                catalog._add_file(path)
        for conf in confs:
            entries = checked_entries(conf.source, conf.models, conf.lines, _SECTIONS)
            catalog._add([entry for entry in entries if not catalog._says(entry.value)])
        catalog._check_members()
        for deployment in catalog._deployments.values():
            if deployment.model_name not in catalog._models:
                catalog._models[deployment.model_name] = catalog._undescribed(deployment)
        return catalog

    def _add_file(self, path: Path) -> None:
        """What a file says."""
        self._add(read_entries(path, _SECTIONS))

    def _add(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if isinstance(entry.value, ModelMetadata):
                self.add_model(entry.value, entry.place)
            elif isinstance(entry.value, ModelDeployment | RoutedDeployment):
                self.add_deployment(entry.value, entry.place)

    def is_given(self, name: str) -> bool:
        """Whether a file of the user, not evalkit or the name alone, defines the deployment of this name."""
        return ("model deployment", name) in self._places

    def given(self) -> list[str]:
        """The names of all deployments that a file of the user defines."""
        return [name for kind, name in self._places if kind == "model deployment"]

    def is_described(self, name: str) -> bool:
        """Whether a file of the user describes the model of this name."""
        return ("model", name) in self._places

    def _says(self, value: Spec) -> bool:
        """Whether a model or deployment is registered already, just as it is here."""
        if isinstance(value, ModelMetadata):
            return self._models.get(value.name) == value
        if not isinstance(value, ModelDeployment | RoutedDeployment):
            return False
        asked = as_its_family(value) if isinstance(value, ModelDeployment) else value
        return self._deployments.get(value.name) == asked

    def _add_helm_file(self, path: Path) -> None:
        """What a file of HELM's adds."""
        read = read_helm_file(path)
        self.notes += read.notes
        known = [m.name for m in read.models if m.name in self._models]
        known += [d.name for d in read.deployments if d.name in self._deployments]
        if known:
            self.notes.append(
                f"{path}: {len(known)} names are known already and stay as they are, such as {known[0]}"
            )
        for model in read.models:
            if model.name not in self._models:
                self.add_model(model, str(path))
        for deployment in read.deployments:
            if deployment.name not in self._deployments:
                self.add_deployment(deployment, str(path))

    def add_model(self, model: ModelMetadata, place: str = "code") -> None:
        """Describe a model.

        Raises:
            ConfigError: A model of this name is described already, and not by evalkit.
        """
        self._claim("model", model.name, place)
        self._models.pop(model.name, None)  # order is that of registration
        self._models[model.name] = model
        self._wildcards.clear()

    def add_deployment(self, deployment: Deployment, place: str = "code") -> None:
        """Add a place where a model is served.

        Raises:
            ConfigError: A deployment of this name is there already, and not by evalkit.
        """
        self._claim("model deployment", deployment.name, place)
        if (replaced := self._deployments.pop(deployment.name, None)) is not None:
            self._by_model[replaced.model_name].remove(replaced)
        if isinstance(deployment, ModelDeployment):
            known = replaced or described_by_name(deployment.name)
            there = place_of(known) if isinstance(known, ModelDeployment) else None
            if there is not None and there != (here := place_of(deployment)):
                name = deployment.name
                self.moved[name] = f"{place}: '{name}' sends requests to {here}, not to {there}"
            deployment = as_its_family(deployment)
        self._deployments[deployment.name] = deployment
        self._by_model.setdefault(deployment.model_name, []).append(deployment)
        self._wildcards.clear()

    def resolve(self, name: str) -> tuple[str, str]:
        """Model name and deployment name for the name of either.

        A deployment's name means that deployment. Any other model's name means its last registered deployment
        that is not deprecated, else its last one, as in HELM.

        Raises:
            UnknownNameError: Nothing has this name, or it is a retired model's, which no API serves.
        """
        if name in self._deployments:
            return self._deployments[name].model_name, name
        served = self.deployments_of(name)
        if served:
            return name, next((d for d in reversed(served) if not d.deprecated), served[-1]).name
        known = self._models.get(name)
        if known is not None and known.retired:
            hint = "(its maker no longer serves it; add a deployment of your own to use it)"
            raise UnknownNameError("model deployment of the retired model", name, (), hint)
        deployment = self._deployment(name)
        return deployment.model_name, deployment.name

    def tags(self, model: str) -> tuple[str, ...]:
        """The tags of a model; those of a plain text model where nothing is known of it."""
        known = self._models.get(model)
        return known.tags if known is not None else DEFAULT_TAGS

    def tokenizer_name(self, deployment: str) -> str | None:
        """The tokenizer of a deployment; None where it names none, or its members have not all the same.

        Raises:
            UnknownNameError: There is no such deployment.
        """
        names = {member.tokenizer_name for member in self.members(deployment)}
        return names.pop() if len(names) == 1 else None

    def wildcard(self, name: str) -> list[str] | None:
        """The models that a wildcard matches, in order of registration; None if `name` is not a wildcard.

        Left out are models tagged as deprecated or unsupported and those that no usable deployment serves.
        """
        plain = "all" if name == "ablation" else name.removeprefix("ablation_")
        if plain in RETIRED_WILDCARDS:
            return []
        tags = WILDCARDS.get(plain)
        if tags is None:
            return None
        if name not in self._wildcards:
            self._wildcards[name] = self._tagged(tags, with_ablation=plain != name)
        return list(self._wildcards[name])

    def _tagged(self, tags: tuple[str, ...], *, with_ablation: bool) -> list[str]:
        """The usable models that have one of the tags, tag by tag; all where there are no tags."""
        served = self._served()
        usable = [m for m in self._models.values() if not m.retired and m.name in served]
        if with_ablation:
            usable = [m for m in usable if ABLATION in m.tags]
        if not tags:
            return [m.name for m in usable]
        return list(dict.fromkeys(m.name for tag in tags for m in usable if tag in m.tags))

    def members(self, name: str) -> tuple[ModelDeployment, ...]:
        """The deployments that answer for this one: the members of a routed one, else itself.

        Raises:
            UnknownNameError: There is none.
        """
        routed = self.routed(name)
        return (self.deployment(name),) if routed is None else tuple(map(self.deployment, routed.members))

    def routed(self, name: str) -> RoutedDeployment | None:
        """The routed deployment of this name; None if there is none."""
        found = self._deployments.get(name)
        return found if isinstance(found, RoutedDeployment) else None

    def deployment(self, name: str) -> ModelDeployment:
        """The deployment of this name, registered or described by the name itself.

        Raises:
            UnknownNameError: There is none.
            UsageError: It is a routed one, which answers nothing itself.
        """
        found = self._deployment(name)
        if isinstance(found, RoutedDeployment):
            raise UsageError(
                f"'{name}' is a routed deployment; name one of its members: {', '.join(found.members)}"
            )
        return found

    def _deployment(self, name: str) -> Deployment:
        found = self._deployments.get(name)
        if found is None and (described := prefixed_deployment(name)) is not None:
            found = as_its_family(described)
        if found is None:
            raise self._unknown(name)
        return found

    def likely_meant(self, name: str) -> str | None:
        """A registered name that differs from an unregistered one by so little that it may be a slip."""
        if name in self._deployments or name in self._models:
            return None
        close = difflib.get_close_matches(name, self.names(), n=1, cutoff=_LIKELY_A_SLIP)
        return close[0] if close else None

    def deployments_of(self, model: str) -> list[Deployment]:
        """The registered deployments of a model, deprecated ones included, in order of registration."""
        return list(self._by_model.get(model, ()))

    def metadata(self, name: str) -> ModelMetadata:
        """What is known of the model that `name` (of a model or a deployment) means.

        Raises:
            UnknownNameError: Nothing has this name.
        """
        if name in self._models:
            return self._models[name]
        deployment = self._deployment(name)
        return self._models.get(deployment.model_name) or self._undescribed(deployment)

    def names(self) -> list[str]:
        """Every registered name of a model or a deployment, in order of registration."""
        return list(dict.fromkeys([*self._models, *self._deployments]))

    def _check_members(self) -> None:
        """See that the members of each routed deployment are there and answer themselves.

        Raises:
            ConfigError: One is not, or does not.
        """
        for routed in self._deployments.values():
            if not isinstance(routed, RoutedDeployment):
                continue
            place = self._places.get(("model deployment", routed.name), "code")
            for name in routed.members:
                try:
                    member = self._deployment(name)
                except UnknownNameError as error:
                    raise ConfigError(f"{place}: member of '{routed.name}': {error}") from None
                if isinstance(member, RoutedDeployment):
                    whose = "itself" if member is routed else f"'{name}', which is routed too"
                    raise ConfigError(
                        f"{place}: '{routed.name}' has the member {whose}; members must answer themselves: "
                        "name the deployments in model_deployments or of a provider"
                    )

    def _undescribed(self, deployment: Deployment) -> ModelMetadata:
        """What is known of a model that no file describes; of a routed one, what its members tell."""
        plain = undescribed(deployment.model_name)
        if isinstance(deployment, ModelDeployment):
            return plain
        tags = [self.tags(member.model_name) for member in self.members(deployment.name)]
        shared = [tag for tag in tags[0] if all(tag in others for others in tags)]
        # What one member can't read must not be sent, since any instance may go to it.
        quirks = [tag for tag in chain.from_iterable(tags) if tag in _QUIRKS]
        return plain.model_copy(update={"tags": tuple(dict.fromkeys([*shared, *quirks]))})

    def _claim(self, kind: str, name: str, place: str) -> None:
        if first := self._places.get((kind, name)):
            raise ConfigError(f"{place}: the {kind} '{name}' is already defined at {first}; rename one")
        self._places[kind, name] = place

    def _served(self) -> set[str]:
        """The models with a deployment that is not deprecated, or whose name describes one."""
        registered = {d.model_name for d in self._deployments.values()}
        served = {d.model_name for d in self._deployments.values() if not d.deprecated}
        return served | {m for m in self._models.keys() - registered if prefixed_deployment(m) is not None}

    def _unknown(self, name: str) -> UnknownNameError:
        if name in WILDCARDS:
            hint = f"('{name}' means a group of models in a run entry: model={name})"
            return UnknownNameError("model or model deployment", name, (), hint)
        hint = f"(names that start with one of these need no registration: {', '.join(PROVIDERS)})"
        known = chain(self._models, self._deployments, WILDCARDS)
        return UnknownNameError("model or model deployment", name, known, hint)


@cache
def _shipped() -> ModelCatalog:
    """What evalkit's own files say, read once; a name of theirs may be defined anew."""
    catalog = ModelCatalog()
    for path in SHIPPED:
        catalog._add_file(path)
    return catalog
