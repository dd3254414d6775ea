"""A metric that fails on some answers: its scores are missing there, others count, and `score` mends them."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import evalkit
from evalkit.execution.journal import Journal
from evalkit.execution.journal_index import owner_of, read_winners, scan_journal
from evalkit.response import Failure
from evalkit.results.run_directory import RunDirectory, read_lines, write_lines
from tests.cli.conftest import Call
from tests.old_format import made_old

PLUGIN = '''
from pathlib import Path

import evalkit
from evalkit.run_specs.simple import simple_mcqa
from evalkit.specs.run_spec import metric_specs

WORDS = Path("broken")


@evalkit.metric("brittle")
class Brittle(evalkit.Metric):
    """Raises for the instances that a file names."""

    run_level_names = ("brittle_sum",)

    def _check(self, unit, what):
        if WORDS.exists() and f"{what} {unit.instance.id}" in WORDS.read_text().splitlines():
            raise ValueError(f"can't read {unit.instance.id}")

    def score(self, unit):
        self._check(unit, "score")
        return {"brittle": 1.0, "brittle_too": 0.5}

    def run_level_row(self, unit):
        self._check(unit, "row")
        return (1,)

    def run_level_scores(self, rows):
        return {"brittle_sum": sum(row[0] for row in rows)}


@evalkit.run_spec_function("brittle_mcqa")
def brittle_mcqa() -> evalkit.RunSpec:
    """Choices, and a metric that breaks."""
    spec = simple_mcqa()
    return spec.model_copy(
        update={"name": "brittle_mcqa", "metric_specs": (*spec.metric_specs, *metric_specs("brittle"))}
    )
'''
RUN = ("run", "-r", "brittle_mcqa:model=evalkit/echo", "-m", 6, "-o", "out", "--suite", "s", "-q")
PLUG = ("--plugin", "brittle_plugin.py")
FOLDER = Path("out/runs/s/brittle_mcqa:model=evalkit_echo")


@pytest.fixture
def directory(call: Call) -> RunDirectory:
    """A run of six instances in which the metric failed on two, and its row on a third."""
    Path("brittle_plugin.py").write_text(PLUGIN)
    assert call(*RUN, *PLUG, "--suite", "first").code == 0
    ids = [row["id"] for row in read_lines(Path("out/runs/first", FOLDER.name, "instances.jsonl"))]
    Path("broken").write_text(f"score {ids[1]}\nscore {ids[4]}\nrow {ids[2]}\n")
    called = call(*RUN, *PLUG)
    assert called.code == 1
    assert "partial" in called.err
    assert "3 not scored (brittle: 2, brittle_sum: 3, brittle_too: 2)" in called.err
    return RunDirectory(FOLDER)


def rows_of(directory: RunDirectory) -> list[dict[str, Any]]:
    return list(read_lines(directory.scores_path))


def counts_of(rows: list[dict[str, Any]]) -> dict[str, tuple[int, int, int]]:
    return {row["metric"]: (row["n"], row["n_failed"], row["n_total"]) for row in rows}


BROKEN = {
    "exact_match": (6, 0, 6),
    "brittle": (4, 2, 6),
    "brittle_too": (4, 2, 6),
    "brittle_sum": (3, 3, 6),
}


def test_other_scores_count_and_each_failure_is_kept(call: Call, directory: RunDirectory) -> None:
    manifest = directory.manifest()
    assert manifest is not None
    assert (manifest.status, manifest.counts["num_unscored"]) == ("partial", 3)
    rows = rows_of(directory)
    assert [row["status"] for row in rows] == ["scored"] * 6
    assert all("exact_match" in row["scores"] for row in rows)
    failed = [[*row.get("failed_scores", {})] for row in rows]
    every = ["brittle", "brittle_too", "brittle_sum"]
    assert failed == [[], every, ["brittle_sum"], [], every, []]
    why = rows[1]["failed_scores"]["brittle"]
    assert why["reason"] == "metric_error"
    assert why["message"].startswith("metric 'brittle': ValueError: can't read ")
    shown = counts_of(json.loads(call("summarize", FOLDER, "--json").out))
    assert {name: shown[name] for name in BROKEN} == BROKEN
    assert "4 of 6" in call("summarize", FOLDER).out
    records = list(evalkit.load_run(FOLDER).records())
    assert [record.status for record in records] == ["scored"] * 6
    assert [*records[1].failed_scores] == every
    assert records[1].failed_scores == rows[1]["failed_scores"]
    assert "exact_match" in records[1].scores
    assert call("verify", FOLDER).code == 0


def test_score_mends_what_failed_without_asking(call: Call, directory: RunDirectory) -> None:
    journal = directory.journal_path.read_bytes()
    called = call("score", FOLDER, *PLUG)
    assert called.code == 1
    assert "3 not scored (brittle: 2" in called.err
    Path("broken").unlink()
    called = call("score", FOLDER, *PLUG, "--json")
    assert called.code == 0
    shown = counts_of(json.loads(called.out))
    assert {shown[name] for name in BROKEN} == {(6, 0, 6)}
    assert directory.journal_path.read_bytes() == journal
    manifest = directory.manifest()
    assert manifest is not None
    assert (manifest.status, manifest.message, manifest.counts["num_unscored"]) == ("complete", "", 0)
    assert not any("failed_scores" in row for row in rows_of(directory))
    assert call("verify", FOLDER).code == 0
    assert "nothing to send" in call(*RUN[:-1], *PLUG).err
    # As of a run in which nothing ever failed.
    first = Path("out/runs/first", FOLDER.name)
    assert directory.scores_path.read_bytes() == (first / "scores.jsonl").read_bytes()


def test_a_run_of_an_earlier_evalkit_gets_the_scores_that_it_lost(
    call: Call, directory: RunDirectory
) -> None:
    """A metric that raised took all scores of the instance with it then."""
    old = []
    for row in rows_of(directory):
        if failed := row.pop("failed_scores", None):
            why = next(iter(failed.values()))
            row |= {"status": "failed", "scores": {}, **why}
        old.append(row)
    write_lines(directory.scores_path, old)
    made_old(directory)
    path = directory.path / "manifest.json"
    path.write_text(path.read_text().replace(str(directory.manifest().message), "3 not scored"))  # type: ignore[union-attr]
    records = list(evalkit.load_run(FOLDER).records())
    assert [record.status for record in records].count("failed") == 3
    assert not any(record.failed_scores for record in records)
    assert call("verify", FOLDER).code == 0
    assert call("score", FOLDER, *PLUG).code == 1
    shown = counts_of(json.loads(call("summarize", FOLDER, "--json").out))
    assert {name: shown[name] for name in BROKEN} == BROKEN
    manifest = directory.manifest()
    assert manifest is not None
    assert manifest.message.startswith("3 not scored (brittle: 2")
    Path("broken").unlink()
    assert call("score", FOLDER, *PLUG).code == 0
    manifest = directory.manifest()
    assert manifest is not None
    assert (manifest.status, manifest.message) == ("complete", "")


def test_the_same_command_mends_it_too_and_sends_nothing(call: Call, directory: RunDirectory) -> None:
    journal = directory.journal_path.read_bytes()
    assert call(*RUN, *PLUG).code == 1
    Path("broken").unlink()
    assert call(*RUN, *PLUG).code == 0
    assert directory.journal_path.read_bytes() == journal
    first = Path("out/runs/first", FOLDER.name)
    assert directory.scores_path.read_bytes() == (first / "scores.jsonl").read_bytes()


@pytest.mark.parametrize("lost", ["scores.jsonl", "stats.json", "manifest.json"])
def test_a_repair_keeps_the_failures(call: Call, directory: RunDirectory, lost: str) -> None:
    before = {name: (FOLDER / name).read_bytes() for name in ("scores.jsonl", "stats.json")}
    (FOLDER / lost).unlink()
    call("verify", FOLDER, "--repair")
    assert {name: (FOLDER / name).read_bytes() for name in before} == before
    manifest = directory.manifest()
    assert manifest is not None
    assert (manifest.status, manifest.counts["num_unscored"]) == ("partial", 3)


def test_a_number_with_a_failure_beside_it_is_damage(call: Call, directory: RunDirectory) -> None:
    rows = rows_of(directory)
    rows[1]["scores"]["brittle"] = 1.0
    write_lines(directory.scores_path, rows)
    made_old(directory)
    called = call("verify", FOLDER)
    assert called.code == 1
    assert "a line is not a score of an instance" in called.out


def test_helm_gets_the_scores_that_are_there(call: Call, directory: RunDirectory) -> None:
    called = call("export", "helm", FOLDER, "--output-path", "helm")
    assert called.code == 0
    assert "2 instances left out of brittle: its metric failed" in called.err
    path = next(Path("helm").glob("runs/*/*/per_instance_stats.json"))
    stats = [{stat["name"]["name"] for stat in one["stats"]} for one in json.loads(path.read_text())]
    assert ["brittle" in names for names in stats] == [True, False, True, True, False, True]
    assert all("exact_match" in names for names in stats)


def test_a_right_answer_that_a_metric_fails_on_is_a_problem(call: Call, directory: RunDirectory) -> None:
    called = call("validate", "-r", RUN[2], *PLUG)
    assert called.code == 1
    first = rows_of(directory)[1]["instance_id"]
    assert (
        f"{first}: metric_error: metric 'brittle': ValueError: can't read {first}" in called.out + called.err
    )
    Path("broken").unlink()
    assert call("validate", "-r", RUN[2], *PLUG).code == 0


@pytest.mark.parametrize("wrong", ['"failed_scores": 3', '"failed_scores": ["a"]', '"scores": 1'])
def test_lines_of_another_shape_are_damage(call: Call, directory: RunDirectory, wrong: str) -> None:
    lines = directory.scores_path.read_text().splitlines(keepends=True)
    plain = json.loads(lines[1]) | json.loads(f"{{{wrong}}}")
    directory.scores_path.write_text("".join([lines[0], json.dumps(plain) + "\n", *lines[2:]]))
    made_old(directory)
    called = call("verify", FOLDER)
    assert called.code == 1
    assert "a line is not a score of an instance" in called.out


@pytest.mark.parametrize(("reason", "status"), [("timeout", "partial"), ("content_filter", "complete")])
def test_a_run_that_lacks_answers_too_is_not_made_complete(
    call: Call, directory: RunDirectory, reason: str, status: str
) -> None:
    path = directory.journal_path
    owner, records = owner_of(path), list(read_winners(path, scan_journal(path)))
    assert owner is not None
    path.unlink()
    with Journal.open(path, owner) as journal:
        for record in records[:-1]:
            journal.append(record.state, record.outcome)
        journal.append(records[-1].state, Failure(reason, "no answer"))
    manifest = directory.manifest()
    assert manifest is not None
    counts = {**manifest.counts, "num_answered": 5, "num_failed": 1}
    message = f"1 {reason}, {manifest.message}"
    directory.write_manifest(replace(manifest, counts=counts, files={}, message=message))
    assert call("score", FOLDER, *PLUG, "--allow-fewer").code == 1
    told = directory.manifest()
    assert told is not None
    assert (told.status, told.message) == ("partial", message)
    Path("broken").unlink()
    call("score", FOLDER, *PLUG)
    mended = directory.manifest()
    assert mended is not None
    assert (mended.status, mended.message) == (status, f"1 {reason}")


def test_any_damage_to_what_can_be_made_anew_leaves_the_failures(call: Call, directory: RunDirectory) -> None:
    good = {file.name: file.read_bytes() for file in FOLDER.iterdir() if file.is_file()}
    draw = random.Random(10)
    for _ in range(40):
        name = draw.choice(["scores.jsonl", "stats.json", "manifest.json"])
        content = bytearray(good[name])
        start = draw.randrange(len(content))
        how = draw.choice(["change", "cut", "drop"])
        if how == "change":
            content[start] ^= 1 << draw.randrange(7)
        elif how == "cut":
            del content[start:]
        else:
            del content[start : start + draw.randrange(1, 200)]
        (FOLDER / name).write_bytes(content)
        call("verify", FOLDER, "--repair")
        assert call("verify", FOLDER).code == 0, (name, how, start)
        assert (FOLDER / "scores.jsonl").read_bytes() == good["scores.jsonl"], (name, how, start)
        assert (FOLDER / "stats.json").read_bytes() == good["stats.json"], (name, how, start)
        manifest = directory.manifest()
        assert manifest is not None
        assert (manifest.status, manifest.counts["num_unscored"]) == ("partial", 3), (name, how, start)
        for file, before in good.items():
            (FOLDER / file).write_bytes(before)
