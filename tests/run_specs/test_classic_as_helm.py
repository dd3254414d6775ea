"""Run specs of HELM Classic's and Capabilities' families agree with HELM's in every field."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

import evalkit.run_specs.babi_qa
import evalkit.run_specs.bbq
import evalkit.run_specs.blimp
import evalkit.run_specs.code
import evalkit.run_specs.disinformation
import evalkit.run_specs.dyck_language
import evalkit.run_specs.gpqa
import evalkit.run_specs.ifeval
import evalkit.run_specs.mmlu_pro
import evalkit.run_specs.synthetic_reasoning
import evalkit.run_specs.truthful_qa  # noqa: F401 - these imports register the plugins
from evalkit.errors import EntryError
from evalkit.specs.entry import parse_run_entry
from tests.run_specs.test_lite_as_helm import UNRESOLVED, expanded

Golden = Callable[[str], Any]
FAMILIES = {
    *("truthful_qa", "bbq", "babi_qa", "blimp", "dyck_language", "synthetic_reasoning"),
    *("synthetic_reasoning_natural", "disinformation", "code", "mmlu_pro", "gpqa", "ifeval"),
}
NOT_PORTED = "dataset=apps"
# Ours of HELM's metric classes; left out is DisinformationHumanEvalMetrics.
OURS = {
    "BasicReferenceMetric": "basic_reference",
    "BBQMetric": "bbq",
    "GPQAChainOfThoughtMetric": "chain_of_thought_correctness",
    "IFEvalMetric": "ifeval",
}


def flat_metrics(metrics: Iterable[Mapping[str, Any]]) -> list[str]:
    names: list[str] = []
    for metric in metrics:
        if metric["class"] == "DisinformationMetric":
            names.append(metric["args"]["name"])
        else:
            names += metric["args"].get("names", ())
        if metric["class"] in OURS:
            names.append(OURS[metric["class"]])
    return names


def of_families(rows: Iterable[Mapping[str, Any]], key: str) -> list[Mapping[str, Any]]:
    return [row for row in rows if parse_run_entry(row[key]).name in FAMILIES and NOT_PORTED not in row[key]]


@pytest.mark.parametrize(("file", "at_least"), [("run_specs.json", 100), ("requests.json", 25)])
def test_run_specs_are_helms(golden: Golden, file: str, at_least: int) -> None:
    rows = of_families(golden(file), "entry")
    for row in rows:
        name = row.get("run_spec_name", row.get("name"))
        options = row.get("options", {"max_eval_instances": 100})
        options = {key: options[key] for key in ("max_eval_instances", "num_train_trials") if key in options}
        (made,) = (run for run in expanded(row["entry"], name, **options) if run.name == name)
        assert made.adapter_spec.model_dump(mode="json", exclude_none=True) == row["adapter_spec"]
        assert made.scenario_spec.args == row["scenario_args"]
        assert [m.name for m in made.metric_specs] == flat_metrics(row["metrics"])
        assert list(made.groups) == row["groups"]
    assert {row["entry"].split(":")[0] for row in rows} >= FAMILIES - {"dyck_language"}
    assert len(rows) >= at_least


def test_run_names_are_helms(golden: Golden) -> None:
    plain = csv.DictReader(io.StringIO(golden("run_names.tsv")), delimiter="\t", quoting=csv.QUOTE_NONE)
    rows = [row for row in of_families(plain, "description") if row["run_names"] != UNRESOLVED]
    for row in rows:
        names = [made.name for made in expanded(row["description"], row["run_names"])]
        assert " | ".join(names) == row["run_names"], row["description"]
    compared = Counter(row["description"].split(":")[0] for row in rows)
    assert set(compared) == FAMILIES
    assert sum(compared.values()) >= 101


def test_apps_is_told_to_be_missing() -> None:
    with pytest.raises(EntryError, match=r"'code:dataset=apps' is not ported yet.*code:dataset=humaneval"):
        expanded("code:dataset=apps", "")


def test_reasoning_of_mmlu_pro_examples_is_in_the_name() -> None:
    (made,) = expanded("mmlu_pro:subject=law,use_few_shot=true,with_reasoning=true", "")
    assert made.name == (
        "mmlu_pro:subset=law,use_chain_of_thought=true,use_few_shot=true,with_reasoning=true,"
        "model=simple_model1"
    )
    assert made.scenario_spec.args == {"subject": "law", "with_reasoning": True}
