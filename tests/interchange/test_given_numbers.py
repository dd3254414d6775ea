"""Numbers of which only mean and standard error are known: an interval that is right, or none."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from evalkit.interchange.import_writer import keep_run
from evalkit.interchange.imported_run import whole_run_stat
from evalkit.interchange.lm_eval_import import read_lm_eval
from evalkit.results.stored_run import StoredRun
from evalkit.scoring.interval import spread_of
from tests.interchange.harnesses import write_lm_eval

CONFIG = {"mc": {"output_type": "multiple_choice", "test_split": "test"}}


@pytest.mark.parametrize(("right", "n"), [(0, 2), (2, 3), (3, 3), (30, 1000), (999, 1000), (1000, 1000)])
def test_right_and_wrong_answers_have_the_interval_that_their_values_would_have(right: int, n: int) -> None:
    values = [1.0] * right + [0.0] * (n - right)
    known = spread_of(values, range(n))
    stat = whole_run_stat("acc", right / n, n=n, stderr=known.stderr)
    assert stat.ci95 == pytest.approx(known.ci95)
    assert stat.ci95_method == known.method == "wilson"


@pytest.mark.parametrize(
    ("mean", "stderr", "n"),
    [
        (0.9, 0.1, 3),  # was 0.470 to 1.330
        (0.99, 0.02, 500),
        (0.01, 0.02, 500),
        (99.5, 2.0, 50),
        (0.7, 0.0, 100),
        (0.9, 0.1, 0),
        (0.9, 0.1, 1),
        (0.5, math.inf, 100),
        (3.0, 1.0, 5),
    ],
)
def test_no_interval_is_better_than_one_that_cannot_be(mean: float, stderr: float, n: int) -> None:
    stat = whole_run_stat("acc", mean, n=n, stderr=stderr)
    assert (stat.ci95, stat.ci95_method, stat.stderr) == (None, None, stderr)


def test_a_mean_over_many_values_keeps_its_interval() -> None:
    stat = whole_run_stat("mc2", 0.45, n=817, stderr=0.014)
    assert stat.ci95 == pytest.approx((0.45 - 1.9629 * 0.014, 0.45 + 1.9629 * 0.014), abs=1e-4)
    assert stat.ci95_method == "t"
    assert whole_run_stat("word_perplexity", 412.0, n=100, stderr=9.0).ci95 is not None


def test_an_lm_eval_number_without_samples_has_no_interval_that_leaves_its_range(tmp_path: Path) -> None:
    results = {"mc": {"acc,none": 0.9, "acc_stderr,none": 0.1}}
    (run,) = read_lm_eval(write_lm_eval(tmp_path / "in", results, CONFIG, {}))
    stat = StoredRun.open(keep_run(run, tmp_path / "runs").path).stat("acc")
    assert (stat.mean, stat.stderr, stat.n, stat.ci95) == (0.9, 0.1, 3, None)
