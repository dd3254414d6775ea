"""The numbers that a log of Inspect gives for its whole run are compared and carried over."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalkit.interchange.import_writer import ImportReport, keep_run
from evalkit.interchange.inspect_import import read_inspect_log
from evalkit.interchange.inspect_numbers import reduce_epochs
from evalkit.results.scores import score_run
from evalkit.results.stored_run import StoredRun
from tests.interchange.harnesses import inspect_header, inspect_sample, write_inspect

EPOCHS = {1: "CII", 2: "ICI"}


def score(reducer: str | None, **metrics: float) -> dict[str, Any]:
    return {
        "name": "match",
        "scorer": "match",
        "reducer": reducer,
        "scored_samples": 2,
        "metrics": {name: {"name": name, "value": value} for name, value in metrics.items()},
    }


def imported(
    tmp_path: Path, scores: Sequence[Mapping[str, Any]], values: Mapping[int, str] = EPOCHS
) -> ImportReport:
    header = inspect_header(epochs=3)
    header["results"]["scores"] = scores
    samples = [
        inspect_sample(sample_id, "A", "", epoch, scores={"match": {"value": value}})
        for sample_id, row in values.items()
        for epoch, value in enumerate(row, 1)
    ]
    run = read_inspect_log(write_inspect(tmp_path / "log.eval", header, samples))
    return keep_run(run, tmp_path / "runs")


def test_the_reduced_number_is_shown_beside_the_mean_of_all_epochs(tmp_path: Path) -> None:
    kept = imported(tmp_path, [score("max", accuracy=1.0, stderr=0.0)])
    stored = StoredRun.open(kept.path)
    assert stored.stat("match").mean == pytest.approx(1 / 3)
    stat = stored.stat("match/accuracy,max")
    assert (stat.mean, stat.n, stat.stderr) == (1.0, 2, 0.0)
    assert (kept.num_compared, kept.num_different, kept.num_carried) == (1, 0, 1)
    assert kept.notes == (
        "match/accuracy,max: Inspect says 1 (over epochs reduced by max); "
        "the mean of all epochs is 0.333333 here",
    )
    score_run(stored.directory)
    assert StoredRun.open(kept.path).stat("match/accuracy,max").mean == 1.0


def test_the_plain_mean_is_compared_and_not_repeated(tmp_path: Path) -> None:
    kept = imported(tmp_path, [score("mean", accuracy=1 / 3, stderr=0.1)])
    assert (kept.num_compared, kept.num_different, kept.num_carried, kept.notes) == (1, 0, 0, ())
    kept = imported(tmp_path / "early", [score(None, accuracy=1 / 3)])
    assert (kept.num_compared, kept.num_carried) == (1, 0)


def test_a_number_that_its_samples_do_not_give_is_kept_and_said(tmp_path: Path) -> None:
    kept = imported(tmp_path, [score("mean", accuracy=0.9), score("mode", accuracy=0.5)])
    assert (kept.num_compared, kept.num_different, kept.num_carried) == (2, 2, 2)
    assert "match/accuracy: Inspect says 0.9, its samples give 0.333333; kept as given" in kept.notes
    assert StoredRun.open(kept.path).stat("match/accuracy").mean == 0.9
    assert StoredRun.open(kept.path).stat("match/accuracy,mode").mean == 0.5


def test_custom_and_grouped_numbers_are_carried_over_as_named(tmp_path: Path) -> None:
    numbers = {"accuracy": 1 / 3, "my_f1": 0.7, "accuracy_easy": 0.25, "broken": float("nan")}
    kept = imported(tmp_path, [score(None, **numbers)])
    stored = StoredRun.open(kept.path)
    assert stored.stat("match/my_f1").mean == 0.7
    assert stored.stat("match/accuracy_easy").mean == 0.25
    assert (kept.num_compared, kept.num_carried) == (1, 2)


def test_early_logs_have_one_scorer(tmp_path: Path) -> None:
    header = inspect_header()
    header["results"] = {
        "scorer": {"name": "choice"},
        "metrics": {"accuracy": {"name": "accuracy", "value": 0.9}},
    }
    run = read_inspect_log(write_inspect(tmp_path / "log.eval", header, [inspect_sample(1, "A", "C")]))
    assert StoredRun.open(keep_run(run, tmp_path / "runs").path).stat("choice/accuracy").mean == 0.9


def test_values_of_one_scorer_are_compared_under_its_name(tmp_path: Path) -> None:
    header = inspect_header()
    header["results"]["scores"] = [{**score(None, mean=0.5), "name": "a", "scorer": "choice"}]
    samples = [inspect_sample(i, "A", {"a": i, "b": 1}) for i in (0, 1)]
    run = read_inspect_log(write_inspect(tmp_path / "log.eval", header, samples))
    kept = keep_run(run, tmp_path / "runs")
    assert (kept.num_compared, kept.num_different, kept.num_carried) == (1, 0, 0)


@pytest.mark.parametrize(
    ("reducer", "values", "reduced"),
    [
        ("mean", [1, 0, 0], 1 / 3),
        ("median", [1, 0, 0.5], 0.5),
        ("mode", [0.5, 1, 0.5], 0.5),
        ("max", [0, 0.5], 0.5),
        ("at_least_2", [1, 0, 1], 1),
        ("at_least_2", [1, 0, 0], 0),
        ("pass_at_1", [1, 0, 0], 1 / 3),
        ("pass_at_2", [1, 0, 0], 2 / 3),
        ("pass_at_3", [1, 0, 0], 1),
        ("my_own", [1], None),
    ],
)
def test_reducers(reducer: str, values: Sequence[float], reduced: float | None) -> None:
    assert reduce_epochs(reducer, values) == (None if reduced is None else pytest.approx(reduced))


def test_a_sample_that_failed_is_not_in_the_mean_that_is_compared(tmp_path: Path) -> None:
    """Inspect scored a sample that ended with an error, which is a failure here: the log's number differs."""
    header = inspect_header()
    header["results"]["scores"] = [score(None, accuracy=0.5)]
    samples = [
        inspect_sample(1, "A", "C", scores={"match": {"value": "C"}}),
        inspect_sample(2, "", "I", error={"message": "boom"}, scores={"match": {"value": "I"}}),
    ]
    kept = keep_run(
        read_inspect_log(write_inspect(tmp_path / "log.eval", header, samples)), tmp_path / "runs"
    )
    stored = StoredRun.open(kept.path)
    assert (stored.stat("match").mean, stored.stat("match/accuracy").mean) == (1.0, 0.5)
    assert (kept.num_compared, kept.num_different) == (1, 1)


def test_a_value_of_one_scorer_is_not_taken_for_the_other_scorer_of_its_name(tmp_path: Path) -> None:
    header = inspect_header()
    metrics = {"accuracy": {"name": "accuracy", "value": 0.0}}
    header["results"]["scores"] = [
        score(None, accuracy=1.0),
        {"name": "match", "scorer": "two", "metrics": metrics},
    ]
    scores = {"match": {"value": "C"}, "two": {"value": {"match": 0}}}
    samples = [inspect_sample(i, "A", "", scores=scores) for i in (1, 2)]
    kept = keep_run(
        read_inspect_log(write_inspect(tmp_path / "log.eval", header, samples)), tmp_path / "runs"
    )
    assert (kept.num_compared, kept.num_different, kept.num_carried) == (2, 0, 0)


def test_early_logs_have_one_score_per_sample(tmp_path: Path) -> None:
    header = inspect_header()
    metrics = {"accuracy": {"name": "accuracy", "value": 0.5}}
    header["results"] = {"scorer": {"name": "match"}, "metrics": metrics}
    samples = [inspect_sample(i, "A", "", scores={}, score={"value": v}) for i, v in ((1, "C"), (2, "I"))]
    kept = keep_run(
        read_inspect_log(write_inspect(tmp_path / "log.eval", header, samples)), tmp_path / "runs"
    )
    stat = StoredRun.open(kept.path).stat("match")
    assert (stat.mean, stat.n, kept.num_compared, kept.num_different) == (0.5, 2, 1, 0)


def test_what_an_earlier_evalkit_imported_is_imported_anew(tmp_path: Path) -> None:
    """evalkit 0.1 dropped the numbers over the whole run."""
    kept = imported(tmp_path, [score("max", accuracy=1.0)])
    directory = StoredRun.open(kept.path).directory
    source = directory.imported_path / "source.json"
    source.write_text(json.dumps({k: v for k, v in json.loads(source.read_text()).items() if k != "rules"}))
    directory.write_stats([stat for stat in directory.stats() if not stat["name"].startswith("match/")])
    (directory.imported_path / "stats.jsonl").unlink()
    manifest = directory.manifest()
    assert manifest is not None
    directory.write_manifest(replace(manifest, files={}))

    again = imported(tmp_path, [score("max", accuracy=1.0)])
    assert (again.already_there, again.path) == (False, kept.path)
    assert StoredRun.open(again.path).stat("match/accuracy,max").mean == 1.0
    assert any("imported it again" in note for note in again.notes)
    assert any("set aside" in note for note in again.notes)
    assert imported(tmp_path, [score("max", accuracy=1.0)]).already_there
