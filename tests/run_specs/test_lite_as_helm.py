"""Run specs of HELM Lite's families, boolq and imdb agree with HELM's in every field."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

import evalkit.run_specs.boolq
import evalkit.run_specs.commonsense
import evalkit.run_specs.imdb
import evalkit.run_specs.legalbench
import evalkit.run_specs.math
import evalkit.run_specs.med_qa
import evalkit.run_specs.narrative_qa
import evalkit.run_specs.natural_qa
import evalkit.run_specs.wmt_14
import evalkit.specs.augmentation  # noqa: F401 - these imports register the plugins
from evalkit.models.metadata import DEFAULT_TAGS
from evalkit.parameters import parameters_of
from evalkit.registry import EXPANDERS, RUN_SPECS
from evalkit.specs.conf import ConfEntry
from evalkit.specs.entry import parse_run_entry
from evalkit.specs.expand import ExpandOptions, expand_entries
from evalkit.specs.run_spec import RunSpec

Golden = Callable[[str], Any]
FAMILIES = (
    "commonsense",
    "legalbench",
    "math",
    "med_qa",
    "narrative_qa",
    "natural_qa",
    "wmt_14",
    "boolq",
    "imdb",
)
MODEL, OTHER_MODEL = "simple/model1", "openai/gpt2"
# HELM needed a network to name these.
UNRESOLVED = "unresolved"
# BiasMetric, of boolq, is left out.
FLAT = {
    "BasicReferenceMetric": ("basic_reference",),
    "ClassificationMetric": ("classification_macro_f1", "classification_micro_f1"),
}


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


def of_families(rows: Iterable[Mapping[str, Any]], key: str) -> list[Mapping[str, Any]]:
    """The rows of these families whose arguments are all known."""
    found = []
    for row in rows:
        entry = parse_run_entry(row[key])
        if entry.name in FAMILIES:
            known = {p.name for p in parameters_of(RUN_SPECS.get(entry.name))}
            if all(arg.key in known or arg.key in EXPANDERS for arg in entry.args):
                found.append(row)
    return found


def expanded(description: str, name: str, **options: Any) -> list[RunSpec]:
    groups = name.partition(",groups=")[2]
    entry = ConfEntry(description, groups=tuple(groups.split("-")) if groups else ())
    to_run = OTHER_MODEL if f"model={OTHER_MODEL}" in description else MODEL
    runs = expand_entries([entry], AnyModel(), ExpandOptions(models_to_run=(to_run,), **options)).run_specs
    return [run.run_spec for run in runs]


def flat_metrics(metrics: Iterable[Mapping[str, Any]]) -> list[str]:
    names: list[str] = []
    for metric in metrics:
        names += metric["args"].get("names") or FLAT.get(metric["class"], ())
    return names


@pytest.mark.parametrize(("file", "at_least"), [("run_specs.json", 135), ("requests.json", 28)])
def test_run_specs_are_helms(golden: Golden, file: str, at_least: int) -> None:
    rows = of_families(golden(file), "entry")
    for row in rows:
        name = row.get("run_spec_name", row.get("name"))
        options = row.get("options", {"max_eval_instances": 100})
        options = {key: options[key] for key in ("max_eval_instances", "num_train_trials") if key in options}
        (made,) = (run for run in expanded(row["entry"], name, **options) if run.name == name)
        assert made.adapter_spec.model_dump(mode="json", exclude_none=True) == row["adapter_spec"]
        args = {
            key: {"True": True}.get(value, value) if key == "only_contrast" else value
            for key, value in row["scenario_args"].items()
        }
        assert made.scenario_spec.args == args
        assert [metric.name for metric in made.metric_specs] == flat_metrics(row["metrics"])
        assert list(made.groups) == row["groups"]
    assert {row["entry"].split(":")[0] for row in rows} == set(FAMILIES)
    assert len(rows) >= at_least


def test_run_names_are_helms(golden: Golden) -> None:
    plain = csv.DictReader(io.StringIO(golden("run_names.tsv")), delimiter="\t", quoting=csv.QUOTE_NONE)
    rows = [row for row in of_families(plain, "description") if row["run_names"] != UNRESOLVED]
    for row in rows:
        names = [made.name for made in expanded(row["description"], row["run_names"])]
        assert " | ".join(names) == row["run_names"]
    compared = Counter(row["description"].split(":")[0] for row in rows)
    assert set(compared) == set(FAMILIES) - {"legalbench"}
    assert sum(compared.values()) >= 276
