"""Every observed expansion of HELM whose run spec and expanders exist here."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from evalkit.errors import UsageError
from evalkit.registry import EXPANDERS
from evalkit.specs.conf import ConfEntry
from evalkit.specs.entry import parse_run_entry
from evalkit.specs.expand import ExpandOptions, expand_entries
from evalkit.specs.run_spec import MetricSpec, RunSpec

if TYPE_CHECKING:
    from tests.specs.conftest import FakeModels

Golden = Callable[[str], Any]

NO_LETTER_FOR_ANYTHING = "an unknown format was taken as 'answer with a letter'; refused here"
# The other families have tests of their own beside their run specs.
FAMILIES = ("gsm", "mmlu", "simple1", "simple_mcqa", "simple_short_answer_qa", "simple_classification")
DEVIATIONS = {
    "gsm:model=huggingface/gpt2": "the name of a deployment names its model; HELM wants three components",
    "mmlu:subject=anatomy,model=openai/gpt2,output_format_instructions=bogus": NO_LETTER_FOR_ANYTHING,
    "mmlu:subject=anatomy,model=openai/gpt2,output_format_instructions=wmt_14_suffix_no_prefix": (
        NO_LETTER_FOR_ANYTHING
    ),
}


def exists(description: str) -> bool:
    """Whether the run spec and all its arguments are known here."""
    entry = parse_run_entry(description)
    known = {"subject", "method", *EXPANDERS}
    return entry.name in FAMILIES and all(arg.key in known for arg in entry.args)


# Metrics of HELM that come with a later part; run specs leave them out until then.
NOT_HERE_YET: set[str] = set()


def flat_metrics(metrics: Iterable[Mapping[str, Any]]) -> list[str]:
    names: list[str] = []
    for metric in metrics:
        name, args = metric.get("class", metric.get("class_name", "").rpartition(".")[2]), metric["args"]
        if name == "BasicGenerationMetric":
            names += [name for name in args["names"] if name not in NOT_HERE_YET]
        elif name == "BasicReferenceMetric":
            names.append("basic_reference")
        elif name == "OutputProcessingMetric":
            names += [args["processor"], *flat_metrics(args["metric_specs"])]
    return names


def own_metrics(metrics: Iterable[MetricSpec]) -> list[str]:
    names: list[str] = []
    for metric in metrics:
        if metric.name == "output_processing":
            inner = [MetricSpec.model_validate(spec) for spec in metric.args["metric_specs"]]
            names += [metric.args["processor"], *own_metrics(inner)]
        else:
            names.append(metric.name)
    return names


def assert_as_helm(run_spec: RunSpec, observed: Mapping[str, Any], name: str) -> None:
    assert run_spec.name == name
    adapter = run_spec.adapter_spec.model_dump(mode="json", exclude_none=True)
    assert adapter == observed["adapter_spec"]
    assert run_spec.scenario_spec.args == observed["scenario_args"]
    assert own_metrics(run_spec.metric_specs) == flat_metrics(observed["metrics"])
    assert list(run_spec.groups) == observed["groups"]


def test_every_observed_expander_does_as_in_helm(golden: Golden, models: FakeModels) -> None:
    compared = 0
    for row in golden("run_expanders.json"):
        description, options = row["description"], dict(row["options"])
        if not exists(description) or description in DEVIATIONS:
            continue
        entry = ConfEntry(description, groups=tuple(options.pop("groups", ())))
        if not row.get("run_specs"):
            with pytest.raises(UsageError):
                expand_entries([entry], models, ExpandOptions(**options))
        else:
            made = [
                run.run_spec for run in expand_entries([entry], models, ExpandOptions(**options)).run_specs
            ]
            assert len(made) == len(row["run_specs"]), description
            for run_spec, observed in zip(made, row["run_specs"], strict=True):
                assert_as_helm(run_spec, observed, observed["name"])
        compared += 1
    assert compared >= 120


def test_the_deviations_still_deviate(golden: Golden, models: FakeModels) -> None:
    rows = {row["description"]: row for row in golden("run_expanders.json")}
    for description in DEVIATIONS:
        observed = [run_spec["name"] for run_spec in rows[description].get("run_specs", ())]
        try:
            made = expand_entries([ConfEntry(description)], models, ExpandOptions()).run_specs
        except UsageError:
            made = []
        assert [run.run_spec.name for run in made] != observed, description


def test_run_names_of_the_shipped_conf_files_are_helms(golden: Golden, models: FakeModels) -> None:
    rows = csv.DictReader(io.StringIO(golden("run_names.tsv")), delimiter="\t", quoting=csv.QUOTE_NONE)
    compared = 0
    for row in rows:
        if not exists(row["description"]):
            continue
        to_run = ("openai/gpt2",) if "model=openai/gpt2" in row["description"] else ("simple/model1",)
        groups = row["run_names"].partition(",groups=")[2]
        entry = ConfEntry(row["description"], groups=tuple(groups.split("-")) if groups else ())
        expansion = expand_entries([entry], models, ExpandOptions(models_to_run=to_run))
        assert " | ".join(run.run_spec.name for run in expansion.run_specs) == row["run_names"]
        compared += 1
    assert compared >= 152


@pytest.mark.parametrize("file", ["run_specs.json", "requests.json"])
def test_run_specs_are_helms(golden: Golden, models: FakeModels, file: str) -> None:
    compared = 0
    for row in golden(file):
        if not exists(row["entry"]):
            continue
        name = row.get("run_spec_name", row.get("name"))
        groups = name.partition(",groups=")[2]
        options = row.get("options", {"max_eval_instances": 100})
        options = {key: options[key] for key in ("max_eval_instances", "num_train_trials") if key in options}
        made = expand_entries(
            [ConfEntry(row["entry"], groups=tuple(groups.split("-")) if groups else ())],
            models,
            ExpandOptions(models_to_run=("simple/model1",), **options),
        ).run_specs
        assert len(made) == 1
        assert_as_helm(made[0].run_spec, row, name)
        compared += 1
    assert compared >= {"run_specs.json": 202, "requests.json": 41}[file]
