"""Perturbed copies all through a run: planned, asked, kept, scored, read back."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import evalkit
import evalkit.specs.augmentation
from evalkit.checks.gold_answers import validate_run
from evalkit.data import DataStore
from evalkit.errors import EntryError
from evalkit.registry import isolated_registries
from evalkit.results.run_directory import RunDirectory
from evalkit.results.scores import score_run
from evalkit.results.summary import summary_rows
from evalkit.runs.load import load_instances
from evalkit.runs.options import read_options
from evalkit.runs.plan import make_plan, open_plan_context

ENTRY = "simple_mcqa:model=simple/model1,max_eval_instances=4,data_augmentation="


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    with isolated_registries():
        yield


@pytest.fixture
def options(data: DataStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("EVALKIT_CACHE_DIR", str(tmp_path / "cache"))
    return {
        "output_path": tmp_path / "out",
        "data_dir": data.mirror,
        "offline": True,
        "unverified_data": True,
    }


def journal_keys(path: Path) -> list[str]:
    lines = [json.loads(line) for line in (path / "journal.jsonl").read_text().splitlines()]
    return [line["key"] for line in lines if "key" in line]


def test_copies_are_asked_kept_and_scored(options: dict[str, Any]) -> None:
    (result,) = evalkit.run(ENTRY + "lower", **options)
    assert result.status == "complete"
    assert result.name.endswith(",max_eval_instances=4,data_augmentation=lower")
    assert result.path is not None
    keys = journal_keys(result.path)
    assert len(keys) == len(set(keys)) == 8
    assert {key for key in keys if "~" in key} == {f"{key}~lowercase" for key in keys if "~" not in key}

    records = list(evalkit.load_run(result.path).records())
    assert [record.perturbation for record in records] == [None, "lowercase"] * 4
    for original, copy in zip(records[::2], records[1::2], strict=True):
        assert (copy.instance_id, copy.input) == (original.instance_id, original.input.lower())
        assert copy.prompts[0].endswith(f"Question: {copy.input}\nA. Even\nB. Odd\nAnswer:")
        assert "Question: Is" in copy.prompts[0]  # the few-shot examples are as they were

    run = evalkit.load_run(result.path)
    assert run.stat("exact_match").n_total == 4
    assert score_run(RunDirectory(result.path)).stats == run.stats


def test_the_same_command_again_has_nothing_to_do(options: dict[str, Any]) -> None:
    (first,) = evalkit.run(ENTRY + "lower", **options)
    (again,) = evalkit.run(ENTRY + "lower", **options)
    assert first.path is not None
    assert again.path == first.path
    assert len(journal_keys(first.path)) == 8


def test_instances_survive_reading_back(options: dict[str, Any]) -> None:
    (result,) = evalkit.run(ENTRY + "art", **options)
    assert result.path is not None
    context = open_plan_context(read_options(None, {**options, "run_entries": (ENTRY + "art",)}))
    loaded = load_instances(make_plan(context).runs[0], context)
    assert RunDirectory(result.path).instances() == loaded.instances
    assert len(loaded.instances) == 4 * 7
    assert loaded.num_requests == len(list(loaded.requests())) == 4 * 7


def test_summaries_show_the_worst_cases(options: dict[str, Any]) -> None:
    (result,) = evalkit.run(ENTRY + "lower", **options)
    assert result.path is not None
    directory = RunDirectory(result.path)

    def parts(by_split: bool) -> list[str]:
        rows = summary_rows([directory], by_split=by_split)
        return [row["split"] for row in rows if row["metric"] == "exact_match"]

    assert parts(by_split=False) == ["all", "all, lowercase: worst", "all, robustness: worst"]
    assert parts(by_split=True) == [
        "all",
        "all, lowercase: perturbed",
        "all, lowercase: original",
        "all, lowercase: worst",
        "all, robustness: worst",
    ]


def test_word_lists_are_part_of_what_a_run_is(options: dict[str, Any], data: DataStore) -> None:
    entry = ENTRY + "misspelling_hard"
    (before,) = evalkit.plan(entry, **options).runs
    assert before.identity["versions"]["perturbation.misspellings"] == 1
    assert before.identity["data_augmenter_spec"]["perturbation_specs"][0]["name"] == "misspellings"
    assert data.mirror is not None
    path = data.mirror / before.files()[0].path
    path.write_text('{"even": ["evne"]}')
    (after,) = evalkit.plan(entry, **options).runs
    assert before.digest is not None
    assert after.digest is not None
    assert before.digest.requests != after.digest.requests


def test_a_missing_word_list_stops_the_run_before_it_starts(
    options: dict[str, Any], data: DataStore, tmp_path: Path
) -> None:
    assert data.mirror is not None
    shutil.rmtree(data.mirror / "perturbations" / "dialect")
    (planned,) = evalkit.plan(ENTRY + "canonical", **options).runs
    assert planned.digest is None
    (result,) = evalkit.run(ENTRY + "canonical", **options)
    assert result.status == "error"
    assert re.search(r"'perturbations/dialect/.*' is missing: .* offline", result.message)
    assert not (tmp_path / "out").exists()


def test_a_missing_library_is_told_with_the_entry(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evalkit.perturbations.translation.find_spec", lambda name: None)
    with pytest.raises(EntryError, match="'translate' needs Google's library"):
        evalkit.plan(ENTRY + "spanish", **options)


def test_right_answers_get_full_marks_on_copies_too(options: dict[str, Any]) -> None:
    context = open_plan_context(read_options(None, {**options, "run_entries": (ENTRY + "lower",)}))
    validation = validate_run(make_plan(context).runs[0], context)
    assert validation.ok
    assert validation.num_instances == 8
    assert validation.means["exact_match"] == 1.0
