"""A damaged result is never shown as a result, and what is said of it is what is so."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import evalkit
from evalkit.errors import DamageError
from evalkit.execution.lock import RunLock
from evalkit.results.run_directory import RunDirectory
from tests.cli.conftest import Call

NUM_REQUESTS = 10
BOTH = ("run", "-r", "simple_mcqa", "--models-to-run", "evalkit/random", "evalkit/majority")
REST = ("-m", NUM_REQUESTS, "-o", "out", "--suite", "s", "--quiet")
HOME = Path("out/runs/s")
GOOD, BAD = "simple_mcqa:model=evalkit_majority", "simple_mcqa:model=evalkit_random"
EXPORT = ("export", "helm", "out", "-o", "helm")


@pytest.fixture
def damaged(call: Call, in_an_empty_directory: None) -> RunDirectory:
    """One of two complete runs: the one that a test damages."""
    assert call(*BOTH, *REST).code == 0
    return RunDirectory(HOME / BAD)


def change_mean(path: Path) -> None:
    """Another number, in valid JSON of the same length."""
    text = path.read_text()
    changed = re.sub(r'"mean": 0\.(\d)', lambda found: f'"mean": 0.{9 - int(found[1])}', text, count=1)
    assert changed != text
    path.write_text(changed)


def change_score(path: Path) -> None:
    text = path.read_text()
    changed = text.replace('"exact_match":0.0', '"exact_match":1.0', 1)
    assert changed != text
    path.write_text(changed)


def change_case(path: Path) -> None:
    path.write_bytes(path.read_bytes().swapcase())


def change_answer(path: Path) -> None:
    """The text of one answer; the checksum of its line is then wrong."""
    raw = path.read_bytes()
    place = raw.index(b'"text":"', raw.index(b'"response":')) + len(b'"text":"')
    path.write_bytes(raw[:place] + bytes((raw[place] ^ 1,)) + raw[place + 1 :])


Change = Callable[[Path], None]
NUMBERS: list[Change] = [change_mean, change_case, Path.unlink]


@pytest.mark.parametrize("change", NUMBERS, ids=lambda change: change.__name__)
@pytest.mark.parametrize(
    "flags",
    [(), ("--json",), ("-f", "csv"), ("-f", "latex"), ("-f", "markdown"), ("--usage",), ("--efficiency",)],
    ids=" ".join,
)
def test_damaged_numbers_are_left_out_of_a_summary(
    damaged: RunDirectory, call: Call, flags: tuple[str, ...], change: Change
) -> None:
    change(damaged.path / "stats.json")
    called = call("summarize", "-o", "out", *flags)
    assert called.code == 1
    assert BAD not in called.out
    assert (GOOD in called.out.replace("\\_", "_").replace("\\", "")) or "--efficiency" in flags
    assert f"stats.json {'is missing' if change is Path.unlink else 'was changed'}" in called.err
    assert f"`evalkit verify {damaged.path} --repair`" in called.err

    assert call("verify", damaged.path, "--repair").code == 0
    again = call("summarize", "-o", "out", *flags)
    assert again.code == 0
    assert "damaged" not in again.err


@pytest.mark.parametrize(
    ("name", "change"),
    [("stats.json", change_mean), ("run_spec.json", change_case), ("scores.jsonl", change_score)],
    ids=["stats", "spec", "scores"],
)
def test_damaged_numbers_are_left_out_of_groups(
    damaged: RunDirectory, call: Call, name: str, change: Change
) -> None:
    change(damaged.path / name)
    called = call("summarize", "-o", "out", "--groups", "--json")
    assert called.code == 1
    assert name in called.err
    assert {row["model"] for row in json.loads(called.out)["rows"]} == {"evalkit/majority"}


@pytest.mark.parametrize("flags", [(), ("--groups",), ("--efficiency",)], ids=" ".join)
def test_a_summary_of_damaged_runs_only_ends_with_1(
    damaged: RunDirectory, call: Call, flags: tuple[str, ...]
) -> None:
    change_mean(damaged.path / "stats.json")
    called = call("summarize", damaged.path, *flags)
    assert called.code == 1
    assert "0." not in called.out


def test_a_run_without_a_manifest_is_left_out(damaged: RunDirectory, call: Call) -> None:
    (damaged.path / "manifest.json").unlink()
    called = call("summarize", "-o", "out")
    assert (called.code, BAD in called.out, GOOD in called.out) == (1, False, True)
    assert "manifest.json" in called.err


def test_the_library_raises_before_it_gives_a_damaged_number(damaged: RunDirectory) -> None:
    for name in ("stats.json", "scores.jsonl", "instances.jsonl", "journal.jsonl"):
        path = damaged.path / name
        whole = path.read_bytes()
        assert len(list(evalkit.load_run(damaged.path).records())) == NUM_REQUESTS
        path.write_bytes(whole.replace(b"0", b"1", 1))
        with pytest.raises(DamageError, match=f"{name} was changed"):
            list(evalkit.load_run(damaged.path).records())
        path.write_bytes(whole)


def test_a_run_that_is_written_just_now_is_shown(damaged: RunDirectory, call: Call) -> None:
    change_mean(damaged.path / "stats.json")
    with RunLock(damaged.lock_path):
        assert call("summarize", "-o", "out").code == 0


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("scores.jsonl", change_score),
        ("scores.jsonl", Path.unlink),
        ("instances.jsonl", change_case),
        ("instances.jsonl", Path.unlink),
        ("journal.jsonl", change_answer),
        ("run_spec.json", change_case),
        ("manifest.json", Path.unlink),
    ],
)
def test_a_damaged_run_is_not_exported(damaged: RunDirectory, call: Call, name: str, change: Change) -> None:
    change(damaged.path / name)
    called = call(*EXPORT)
    assert called.code == 1
    assert "wrote 1 run to helm/runs/s" in called.out
    assert name in called.err
    assert "left out a damaged run" in called.err
    assert [path.name for path in Path("helm/runs/s").iterdir() if not path.name.startswith(".")] == [GOOD]

    alone = call("export", "helm", damaged.path, "-o", "helm")
    assert (alone.code, alone.out) == (1, "")
    assert "wrote 0 runs: every run is damaged" in alone.err


def test_a_damaged_line_that_no_manifest_covers_is_not_exported(damaged: RunDirectory, call: Call) -> None:
    plain = json.loads((damaged.path / "manifest.json").read_text())
    del plain["files"], plain["crc32"]  # as evalkit 0.1 wrote it
    (damaged.path / "manifest.json").write_text(json.dumps(plain))
    assert call(*EXPORT).code == 0
    change_answer(damaged.journal_path)
    called = call(*EXPORT)
    assert called.code == 1
    assert "its checksum is wrong" in called.err


def test_instances_and_manifest_lost_are_both_reported_until_a_run(damaged: RunDirectory, call: Call) -> None:
    (damaged.path / "manifest.json").unlink()
    damaged.instances_path.unlink()
    for flags in ((), ("--repair",), ("--repair",), ()):
        called = call("verify", damaged.path, "--json", *flags)
        assert called.code == 1
        (report,) = json.loads(called.out)
        found = {finding["file"]: finding["remedy"] for finding in report["findings"] if finding["is_damage"]}
        assert found["manifest.json"] == found["instances.jsonl"] == "run"
    assert not (damaged.path / "manifest.json").exists(), "nobody knows how many instances there were"
    assert call(*BOTH, *REST).code == 0
    assert call("verify", "out").code == 0
    counts = json.loads((damaged.path / "manifest.json").read_text())["counts"]
    assert counts["num_instances"] == counts["num_answered"] == NUM_REQUESTS


def test_a_manifest_of_an_earlier_repair_does_not_hide_lost_instances(
    damaged: RunDirectory, call: Call
) -> None:
    (damaged.path / "manifest.json").unlink()
    assert call("verify", damaged.path, "--repair").code == 0
    damaged.instances_path.unlink()
    called = call("verify", damaged.path)
    assert (called.code, "instances.jsonl" in called.out) == (1, True)


def test_no_request_belongs_to_a_header(damaged: RunDirectory, call: Call) -> None:
    raw = damaged.journal_path.read_bytes()
    damaged.journal_path.write_bytes(raw.replace(b'"requests":"', b'"requests":"f', 1))
    called = call("verify", damaged.path, "--json")
    (report,) = json.loads(called.out)
    assert (called.code, report["num_owed"]) == (1, 0)
    assert {finding["remedy"] for finding in report["findings"]} == {"repair"}
    resumed = call(*BOTH, *REST)
    assert resumed.code == 0
    assert "the header is damaged; the journal has another" in resumed.err
    assert "asked again" not in resumed.err
    verified = call("verify", damaged.path)
    assert verified.code == 0
    assert "1 damaged line; no answer is missing" in verified.out


def test_lines_asked_again_are_no_damage_without_their_manifest(damaged: RunDirectory, call: Call) -> None:
    change_answer(damaged.journal_path)
    assert call(*BOTH, *REST).code == 0
    assert call("verify", damaged.path).code == 0
    scored = call("score", damaged.path)
    assert (scored.code, scored.err) == (0, "")
    (damaged.path / "manifest.json").unlink()
    repaired = call("verify", damaged.path, "--repair")
    assert repaired.code == 0, repaired.out
    assert "1 damaged line; no answer is missing" in repaired.out
    assert "cost, until `evalkit run`" in repaired.out
    manifest = json.loads((damaged.path / "manifest.json").read_text())
    assert manifest["status"] == "complete"


def test_repair_is_the_remedy_where_repair_helps(damaged: RunDirectory, call: Call) -> None:
    (damaged.path / "stats.json").unlink()
    with damaged.journal_path.open("ab") as file:
        file.write(b'{"key":"t0/')
    (report,) = json.loads(call("verify", damaged.path, "--json").out)
    assert {(one["file"], one["remedy"]) for one in report["findings"]} == {
        ("stats.json", "repair"),
        ("journal.jsonl", "repair"),
    }
    assert call("verify", damaged.path, "--repair").code == 0
    assert call("verify", "out").out == "2 runs: 2 sound\n"


@pytest.mark.parametrize("has_stats", [True, False])
def test_after_a_repair_counts_and_message_agree(damaged: RunDirectory, call: Call, has_stats: bool) -> None:
    raw = damaged.journal_path.read_bytes()
    damaged.journal_path.write_bytes(raw[:-30])
    if not has_stats:
        (damaged.path / "stats.json").unlink()
    repaired = call("verify", damaged.path, "--repair")
    assert repaired.code == 1
    manifest = json.loads((damaged.path / "manifest.json").read_text())
    assert manifest["counts"]["num_answered"] == NUM_REQUESTS - 1
    assert manifest["status"] == "partial"
    assert "owed: 1 request;" in manifest["message"]
    assert call("verify", damaged.path).code == 1, "until a run has asked again"
    assert call(*BOTH, *REST).code == 0
    assert call("verify", "out").code == 0


def test_an_export_that_writes_nothing_ends_with_1(damaged: RunDirectory, call: Call, tmp_path: Path) -> None:
    results = tmp_path / "results_1.json"
    results.write_text(
        json.dumps(
            {
                "results": {"arc": {"alias": "arc", "acc,none": 0.5}},
                "configs": {"arc": {"task": "arc"}},
                "versions": {"arc": 1},
                "n-shot": {"arc": 0},
                "config": {"model": "hf", "model_args": "pretrained=m"},
                "n-samples": {"arc": {"original": 4, "effective": 4}},
            }
        )
    )
    imported = call("import", "lm-eval", results, "-o", "numbers")
    assert imported.code == 0, imported.err
    assert "imported 1 run to" in imported.out
    assert call("verify", "numbers").code == 0
    called = call("export", "helm", "numbers", "-o", "helm")
    assert (called.code, called.out) == (1, "")
    assert "it has no instances, only numbers" in called.err
    assert "wrote 0 runs" in called.err
