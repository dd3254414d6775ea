"""Run entries expanded as HELM's were observed: every model is known, wildcards are one model."""

from __future__ import annotations

from typing import Any

from evalkit.models.metadata import DEFAULT_TAGS
from evalkit.specs.conf import ConfEntry
from evalkit.specs.expand import ExpandOptions, expand_entries
from evalkit.specs.run_spec import RunSpec

MODEL, OTHER_MODEL = "simple/model1", "openai/gpt2"


class AnyModel:
    """Every name is a model served under the same name, every name without a slash a wildcard."""

    def wildcard(self, name: str) -> list[str] | None:
        return None if "/" in name else [MODEL]

    def resolve(self, name: str) -> tuple[str, str]:
        return name, name

    def tags(self, model: str) -> tuple[str, ...]:
        return DEFAULT_TAGS

    def tokenizer_name(self, deployment: str) -> str | None:
        return None


def expanded(description: str, name: str = "", **options: Any) -> list[RunSpec]:
    """The run specs of an entry of a conf file, in the groups that the name of its runs ends with."""
    groups = name.partition(",groups=")[2]
    entry = ConfEntry(description, groups=tuple(groups.split("-")) if groups else (), source="run_entries:1")
    to_run = OTHER_MODEL if f"model={OTHER_MODEL}" in description else MODEL
    runs = expand_entries([entry], AnyModel(), ExpandOptions(models_to_run=(to_run,), **options)).run_specs
    return [run.run_spec for run in runs]
