"""Run directories written as HELM's, and HELM's way of aggregating."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evalkit.instance import PerturbationDescription
from evalkit.interchange.helm_export import export_run, perturbation_to_helm
from evalkit.interchange.helm_import import read_helm_run
from evalkit.interchange.helm_names import (
    SCENARIO_CLASSES,
    metrics_from_helm,
    metrics_to_helm,
    perturbation_class,
    perturbation_name,
    scenario_class,
    scenario_name,
)
from evalkit.interchange.helm_stats import Aggregation, Context, HelmStat, UnitStats
from evalkit.interchange.import_writer import keep_run
from evalkit.results.run_directory import RunDirectory
from evalkit.specs.run_spec import MetricSpec, metric_specs
from tests.interchange.harnesses import helm_run_spec, helm_stat, helm_state, write_helm_run

TEST = Context("test")


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def exported(tmp_path: Path, states: list[dict[str, Any]], **adapter: Any) -> Path:
    scores = {(s["instance"]["id"], s["train_trial_index"]): {"toxic_frac": 0.5} for s in states}
    path = write_helm_run(
        tmp_path / "theirs", states, scores, [helm_stat("exact_match", 0.5)], helm_run_spec(**adapter)
    )
    kept = keep_run(read_helm_run(path), tmp_path / "runs" / "v1")
    return export_run(RunDirectory(kept.path), tmp_path / "out" / "runs" / "v1").path


def test_the_five_files_of_helm_are_there(tmp_path: Path) -> None:
    path = exported(tmp_path, [helm_state("id0", "2+2?", "4", "4")])
    assert {file.name for file in path.iterdir()} == {
        "run_spec.json",
        "scenario.json",
        "scenario_state.json",
        "per_instance_stats.json",
        "stats.json",
    }


def test_what_helm_wrote_comes_back_as_it_was(tmp_path: Path) -> None:
    state = helm_state("id0", "2+2?", "4", "4")
    path = exported(tmp_path, [state])
    again = load(path / "scenario_state.json")["request_states"][0]
    # HELM's reason for an end of text is one of those that only the leftovers keep.
    state["result"]["completions"][0]["finish_reason"] = {"reason": "stop"}
    again["result"]["request_datetime"] = state["result"]["request_datetime"]
    assert again == state
    spec = load(path / "run_spec.json")
    assert spec["scenario_spec"]["class_name"] == "helm.benchmark.scenarios.gsm_scenario.GSM8KScenario"
    assert spec["metric_specs"][0]["args"] == {"names": ["exact_match", "quasi_exact_match"]}
    assert spec["groups"] == ["tiny"]


def test_stats_are_means_over_trials_with_bookkeeping(tmp_path: Path) -> None:
    states = [
        helm_state(f"id{i}", "?", "a", text, trial)
        for trial, texts in enumerate(("aab", "abb"))
        for i, text in enumerate(texts)
    ]
    path = exported(tmp_path, states, num_train_trials=2)
    stats = {s["name"]["name"]: s for s in load(path / "stats.json") if "perturbation" not in s["name"]}
    exact = stats["exact_match"]
    assert exact["count"] == 2
    assert exact["mean"] == pytest.approx(0.5)
    assert (exact["min"], exact["max"]) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert stats["num_instances"]["mean"] == 3
    assert stats["num_train_instances"]["mean"] == 2
    assert stats["finish_reason_stop"]["mean"] == 1
    assert stats["perplexity"]["mean"] == pytest.approx(math.exp(0.5))
    assert stats["max_prob"]["mean"] == pytest.approx(math.exp(-0.5))
    assert "mean" not in stats["training_co2_cost"]
    worst = [s for s in load(path / "stats.json") if s["name"]["name"] == "exact_match"]
    assert {s["name"]["perturbation"]["name"] for s in worst if "perturbation" in s["name"]} == {
        "robustness",
        "fairness",
    }


def test_a_failure_is_left_out_and_counted(tmp_path: Path) -> None:
    states = [helm_state("id0", "?", "a", "a"), helm_state("id1", "?", "a", None)]
    path = write_helm_run(tmp_path / "theirs", states, {}, [helm_stat("exact_match", 0.5)])
    kept = keep_run(read_helm_run(path), tmp_path / "runs" / "v1")
    done = export_run(RunDirectory(kept.path), tmp_path / "out")
    assert (done.num_requests, done.num_left_out, done.num_unscored) == (1, 1, 1)
    assert len(load(done.path / "scenario_state.json")["request_states"]) == 1
    assert [row["instance_id"] for row in load(done.path / "per_instance_stats.json")] == ["id0"]


def test_a_run_kept_beside_its_namesake_keeps_its_own_name_there(tmp_path: Path) -> None:
    for text in ("a", "b"):
        path = exported(tmp_path, [helm_state("id0", "?", "a", text)])
        assert load(path / "run_spec.json")["name"] == path.name


@pytest.mark.parametrize("name", sorted(SCENARIO_CLASSES))
def test_scenario_names_go_to_helm_and_back(name: str) -> None:
    assert scenario_class(name).startswith("helm.benchmark.scenarios.")
    assert scenario_name(scenario_class(name)) == name


def test_names_that_helm_has_not_survive_the_way_there_and_back() -> None:
    assert scenario_name(scenario_class("my_own")) == "my_own"
    assert scenario_name(scenario_class("some.where.Scenario")) == "some.where.Scenario"
    specs = [*metric_specs("exact_match", "f1_score"), MetricSpec(name="my_own", args={"k": 2})]
    assert metrics_from_helm(metrics_to_helm(specs)) == specs
    assert perturbation_name(perturbation_class("my_own")) == "my_own"
    assert perturbation_name("helm.benchmark.augmentations.suffix_perturbation.SuffixPerturbation") == "style"


def test_two_metrics_of_one_class_are_one_spec_there() -> None:
    specs = metric_specs("classification_macro_f1", "classification_micro_f1", "calibration")
    plain = metrics_to_helm(specs)
    assert [spec["class_name"].rpartition(".")[2] for spec in plain] == [
        "ClassificationMetric",
        "InstancesPerSplitMetric",
    ]
    assert metrics_from_helm(plain) == list(specs[:2])


def test_scenario_classes_are_those_observed(golden: Any) -> None:
    observed = {row["scenario_class"] for row in golden("run_specs.json")}
    known = {name.rpartition(".")[2] for name in SCENARIO_CLASSES.values()}
    assert observed <= known


def test_worst_cases_are_the_smallest_over_original_and_copies() -> None:
    description = {"name": "typos", "robustness": True, "fairness": False, "computed_on": "perturbed"}
    copy = Context("test", None, tuple(description.items()))
    aggregation = Aggregation(has_copies=True)
    for instance_id, original, perturbed in (("a", 1.0, 0.0), ("b", 0.0, 1.0), ("c", 1.0, 1.0)):
        aggregation.add(UnitStats(instance_id, 0, TEST, {"em": HelmStat.of(original)}))
        aggregation.add(UnitStats(instance_id, 0, copy, {"em": HelmStat.of(perturbed)}))
    means = {
        (p.get("name"), p.get("computed_on")): s["mean"]
        for s in aggregation.stats()
        if s["name"]["name"] == "em"
        for p in [s["name"].get("perturbation", {})]
    }
    assert means == {
        (None, None): pytest.approx(2 / 3),
        ("typos", "perturbed"): pytest.approx(2 / 3),
        ("typos", "original"): pytest.approx(2 / 3),
        ("typos", "worst"): pytest.approx(1 / 3),
        ("robustness", "worst"): pytest.approx(1 / 3),
        # No copy is flagged as fairness: the worst of nothing but the originals.
        ("fairness", "worst"): pytest.approx(2 / 3),
    }


def test_a_perturbations_variant_becomes_fields_of_helms_description() -> None:
    plain = perturbation_to_helm(PerturbationDescription("misspellings", "prob=0.5,kind=b", True, False, 3))
    assert plain == {
        "name": "misspellings",
        "robustness": True,
        "fairness": False,
        "computed_on": "perturbed",
        "seed": 3,
        "prob": 0.5,
        "kind": "b",
    }


def kept_run(tmp_path: Path) -> RunDirectory:
    """A run of one question."""
    path = write_helm_run(
        tmp_path / "theirs", [helm_state("id0", "2+2?", "4", "4")], {("id0", 0): {"toxic_frac": 0.5}}, ()
    )
    return RunDirectory(keep_run(read_helm_run(path), tmp_path / "runs" / "v1").path)


def test_an_export_that_breaks_off_leaves_the_earlier_one_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = tmp_path / "helm" / "runs" / "s"
    directory = kept_run(tmp_path)
    target = export_run(directory, suite).path
    before = {path.name: path.read_bytes() for path in target.iterdir()}

    def break_off(*_: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr("evalkit.interchange.helm_export._per_instance", break_off)
    with pytest.raises(KeyboardInterrupt):
        export_run(directory, suite)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    assert [path.name for path in suite.iterdir()] == [target.name]


def test_what_a_killed_export_left_is_hidden_and_goes_with_the_next(tmp_path: Path) -> None:
    suite = tmp_path / "helm" / "runs" / "s"
    directory = kept_run(tmp_path)
    script = (
        "import os, sys; from pathlib import Path; from evalkit.interchange import helm_export as h;"
        "from evalkit.results.run_directory import RunDirectory;"
        "h._per_instance = lambda *_: os.kill(os.getpid(), 9);"
        "h.export_run(RunDirectory(Path(sys.argv[1])), Path(sys.argv[2]))"
    )
    killed = subprocess.run([sys.executable, "-c", script, directory.path, suite], check=False)
    assert killed.returncode == -9
    assert all(path.name.startswith(".") for path in suite.iterdir())
    target = export_run(directory, suite).path
    assert [path.name for path in suite.iterdir()] == [target.name]
    assert all(not path.name.startswith(".") for path in target.iterdir())
