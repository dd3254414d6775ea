"""Every run spec, expansion and run name that was observed of HELM, compared in every field.

Nothing is passed over: what was compared is counted, a difference that `docs/helm_deviations.json` does not
declare fails, and so does a declared one that is no longer met.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from evalkit.errors import UsageError
from evalkit.plugins import load_builtins
from evalkit.registry import RUN_SPECS
from evalkit.specs.conf import ConfEntry
from evalkit.specs.entry import parse_run_entry
from evalkit.specs.expand import ExpandOptions, expand_entries
from tests.helm.comparison import ABSENT, Deviations, Difference, UnknownToComparisonError, differences
from tests.helm.models import expanded
from tests.specs.conftest import FakeModels

Golden = Callable[[str], Any]
NOT_PORTED = "is not ported yet"
# HELM needed a network to name these.
UNRESOLVED = "unresolved"
OPTIONS = ("max_eval_instances", "num_train_trials")


@pytest.fixture(autouse=True)
def builtins() -> None:
    load_builtins()


def observed_run_specs(golden: Golden, file: str) -> Iterator[Difference]:
    for row in golden(f"{file}.json"):
        name = row.get("run_spec_name", row.get("name"))
        options = row.get("options", {"max_eval_instances": 100})
        known = {key: options[key] for key in OPTIONS if key in options}
        try:
            made = expanded(row["entry"], name, **known)
        except UsageError as error:
            yield Difference(file, row["entry"], "refused", "run spec", _reason(error))
            continue
        found = [run_spec for run_spec in made if run_spec.name == name] or made
        assert len(found) == 1, row["entry"]
        yield from differences(file, row["entry"], found[0], row, name)


def observed_expansions(golden: Golden) -> Iterator[Difference]:
    models = FakeModels()
    for row in golden("run_expanders.json"):
        assert row.keys() <= {"description", "options", "run_specs", "error", "message"}
        description, options = row["description"], dict(row["options"])
        entry = ConfEntry(description, groups=tuple(options.pop("groups", ())))
        expected = row.get("run_specs") or []
        try:
            runs = expand_entries([entry], models, ExpandOptions(**options)).run_specs
        except UsageError as error:
            if expected:
                yield Difference("run_expanders", description, "refused", "run spec", _reason(error))
            continue
        if len(runs) != len(expected):
            yield Difference("run_expanders", description, "number of runs", len(expected), len(runs))
            continue
        for run, spec in zip(runs, expected, strict=True):
            yield from differences("run_expanders", description, run.run_spec, spec, spec["name"])


def observed_names(golden: Golden, counts: Counter[str]) -> Iterator[Difference]:
    rows = csv.DictReader(io.StringIO(golden("run_names.tsv")), delimiter="\t", quoting=csv.QUOTE_NONE)
    for row in rows:
        assert row.keys() == {"conf", "description", "priority", "run_names"}
        description, names = row["description"], row["run_names"]
        try:
            made = " | ".join(run.name for run in expanded(description, names))
        except UsageError as error:
            if NOT_PORTED not in str(error):
                yield Difference("run_names", description, "refused", names, _reason(error))
            counts["not ported" if NOT_PORTED in str(error) else "refused"] += 1
            assert parse_run_entry(description).name not in RUN_SPECS or "dataset=apps" in description
            continue
        if names == UNRESOLVED:
            counts["unresolved"] += 1
            continue
        counts["compared"] += 1
        if made != names:
            yield Difference("run_names", description, "name", names, made)


def _reason(error: UsageError) -> str:
    return str(error).splitlines()[0]


def test_nothing_differs_but_what_the_table_declares(golden: Golden) -> None:
    counts: Counter[str] = Counter()
    found = [
        *observed_run_specs(golden, "run_specs"),
        *observed_run_specs(golden, "requests"),
        *observed_expansions(golden),
        *observed_names(golden, counts),
    ]
    deviations = Deviations.load()
    assert deviations.unexplained(found) == []
    assert deviations.unused() == []
    # HELM named all entries but 20, for which it needed a network; 2,120 are of families not ported.
    assert counts == {"compared": 645, "not ported": 2120, "unresolved": 20}
    rows = {file: len(golden(f"{file}.json")) for file in ("run_specs", "requests", "run_expanders")}
    assert rows == {"run_specs": 469, "requests": 94, "run_expanders": 155}


def test_each_scenario_class_of_helm_is_one_scenario_here(golden: Golden) -> None:
    pairs: set[tuple[str, str]] = set()
    for row in golden("run_specs.json"):
        if "dataset=apps" not in row["entry"]:
            (made, *_) = expanded(row["entry"], row["name"])
            pairs.add((row["scenario_class"], made.scenario_spec.name))
    theirs, ours = Counter(pair[0] for pair in pairs), Counter(pair[1] for pair in pairs)
    # HELM asks with one class for two tasks about parity.
    assert {name for name, count in theirs.items() if count > 1} <= {
        "SimpleMCQAScenario",
        "CommonSenseScenario",
    }
    assert {name for name, count in ours.items() if count > 1} == set()
    assert len(pairs) >= 28


ROW: Mapping[str, Any] = {
    "name": "n",
    "adapter_spec": {},
    "scenario_args": {},
    "metrics": [{"class": "BasicGenerationMetric", "args": {"names": ["exact_match"]}}],
    "groups": [],
}


@pytest.mark.parametrize(
    "change",
    [
        {"something_new": 1},
        {"metrics": [{"class": "NewMetric", "args": {}}]},
        {"metrics": [{"class": "BBQMetric", "args": {"k": 1}}]},
        {"metrics": [{"class": "BasicGenerationMetric", "args": {"names": [], "more": 1}}]},
        {"perturbations": [{"class": "NewPerturbation", "args": {}}]},
    ],
)
def test_what_the_comparison_does_not_know_fails(change: Mapping[str, Any]) -> None:
    (made,) = expanded("simple_mcqa")
    with pytest.raises(UnknownToComparisonError):
        list(differences("run_specs", "simple_mcqa", made, {**ROW, **change}, "n"))


def test_arguments_of_metrics_are_compared() -> None:
    (made,) = expanded("code:dataset=humaneval,timeout=5")
    metrics = [
        {"class": "BasicGenerationMetric", "args": {"names": ["code_eval_acc", "pass"]}},
        {"class": "BasicReferenceMetric", "args": {}},
    ]
    found = {d.field: d for d in differences("x", "code", made, {**ROW, "metrics": metrics}, "n")}
    assert (found["metrics.pass.timeout"].helm, found["metrics.pass.timeout"].evalkit) == (ABSENT, 5.0)
