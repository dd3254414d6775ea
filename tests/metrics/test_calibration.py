from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from evalkit.metrics.calibration import calibration_error, platt_scaling, selective_accuracy
from evalkit.response import Completion
from tests.scoring.units import built, instance, over_run, unit


def test_all_numbers_are_helms(golden: Callable[[str], Any]) -> None:
    observed = golden("metrics.json")["calibration"]
    rows = [(p, right, True) for p, right in zip(observed["max_probs"], observed["correct"], strict=True)]
    found = built("calibration").run_level_scores(rows)
    for name in (
        "ece_10_bin",
        "ece_1_bin",
        "platt_coef",
        "platt_intercept",
        "platt_ece_10_bin",
        "platt_ece_1_bin",
    ):
        assert found[name] == pytest.approx(observed[name], abs=1e-9), name
    area, top = observed["selective"]
    assert found["selective_cov_acc_area"] == pytest.approx(area, abs=1e-9)
    assert found["selective_acc@10"] == pytest.approx(top, abs=1e-9)


def test_evidence_is_probability_and_rightness() -> None:
    metric = built("calibration")
    asked = instance("Rome")
    assert metric.run_level_row(unit(asked, Completion(" Rome", logprob=math.log(0.5)))) == (
        pytest.approx(0.5),
        1,
        True,
    )
    assert metric.run_level_row(unit(asked, Completion("Oslo", logprob=0.0))) == (1.0, 0, False)
    assert metric.run_level_row(unit(asked, "Rome")) is None


def test_without_a_log_probability_below_zero_there_is_nothing() -> None:
    metric = built("calibration")
    assert over_run(metric, [unit(instance("x"), Completion("x", logprob=0.0))]) == {}


def test_all_right_needs_no_scaling() -> None:
    found = built("calibration").run_level_scores([(0.5, 1, True), (0.75, 1, True)])
    assert found["platt_coef"] == found["platt_ece_10_bin"] == 0
    assert found["ece_1_bin"] == pytest.approx(0.375)


def test_platt_scaling_can_be_left_out() -> None:
    metric = built("calibration", platt=False)
    assert "platt_coef" not in metric.run_level_scores([(0.5, 1, True), (0.5, 0, True)])
    assert "platt_coef" not in metric.run_level_names


def test_parts() -> None:
    assert calibration_error([0.2, 0.2, 0.8, 0.8], [0, 0, 1, 1], 2) == pytest.approx(0.2)
    assert calibration_error([0.5], [1], 10) == 0.5
    assert selective_accuracy([0.1, 0.9], [0, 1]) == (0.75, 1.0)
    slope, _ = platt_scaling([0.1, 0.2, 0.8, 0.9, 0.7, 0.3], [0, 1, 1, 1, 0, 0])
    assert slope > 0
