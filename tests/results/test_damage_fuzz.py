"""Damages every file of a run directory in every way, and starts the run again.

Afterwards the numbers are those of the unbroken run, or the run says what is missing. There is never a
traceback, and never a difference that nobody is told of.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import compress
from pathlib import Path
from typing import Any

import pytest

from evalkit import Observer
from evalkit.codec import decode
from evalkit.errors import EvalkitError
from evalkit.execution.journal_index import scan_journal
from evalkit.results.repair import repair_run
from evalkit.results.run_directory import RunDirectory
from evalkit.results.run_result import RunResult
from evalkit.results.scores import score_run
from evalkit.results.verification import RunReport, verify_run
from evalkit.runs.options import RunOptions
from evalkit.runs.plan import Plan, PlanContext, make_plan, open_plan_context
from evalkit.runs.runner import run_all
from tests.old_format import made_old

# One request per unit; one per reference, with and without the question, in two train trials; and
# conversations of three turns. Six units each, or two: of a short file, an edit damages as much as it can.
ENTRIES = (
    "arithmetic:num_test=6,model=evalkit/echo",
    "odd_or_even:max_eval_instances=3,model=evalkit/random",
    "running_total:num_instances=2,model=evalkit/echo",
    "odd_or_even:max_eval_instances=3,model=test/both",
    "judged_numbers:num_test=5,model=evalkit/echo,judge=evalkit/echo",
)
PLUGINS = (
    str(Path(__file__).with_name("odd_or_even.py")),
    str(Path(__file__).parents[2] / "examples" / "running_total.py"),
    str(Path(__file__).with_name("judged_numbers.py")),
)
ROUTED = """
model_deployments:
  - name: test/other
    client_spec: {class_name: random_choice}
routed_deployments:
  - name: test/both
    members: [evalkit/random, test/other]
    router_spec: {name: hash}
"""
FILES = (
    "run_spec.json",
    "manifest.json",
    "instances.jsonl",
    "routes.jsonl",
    "journal.jsonl",
    "scores.jsonl",
    "stats.json",
    "judgements/last_digit.jsonl",
)
STATES = ("complete", "interrupted", "complete, found", "interrupted, found")
OLD_STATES = ("complete, old", "interrupted, old", "complete, mixed", "interrupted, mixed")
IDS = ("generation", "references", "conversations", "routed", "judged")
# Before checksums no deployment was routed, and no run was judged.
CASES = [
    pytest.param(entry, state, id=f"{name}-{state}")
    for entry, name in zip(ENTRIES, IDS, strict=True)
    for state in (STATES if name in ("routed", "judged") else (*STATES, *OLD_STATES))
]
NUM_EDITS = 252
IS_LETTER = bytes(chr(byte).isalnum() for byte in range(256))
Edit = Callable[[bytearray, random.Random], None]


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is damaged here is damaged by an edit, and never by a machine that stops."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr("evalkit.execution.journal._sync_data", lambda _: None)


class Notes(Observer):
    """Remembers the remarks."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@dataclass
class Bench:
    """A run whose directory can be set to a state and started again, as often as wanted."""

    place: PlanContext
    plan: Plan
    kept: Path
    directory: RunDirectory
    good: list[Any] = field(default_factory=list)

    def start(self) -> tuple[RunResult, list[str]]:
        """Start the run once more."""
        observer = Notes()
        (result,) = asyncio.run(run_all(self.plan, self.place, observer))
        return result, observer.notes

    def restore(self) -> None:
        """The directory as it was kept, and nothing beside it."""
        suite = self.directory.path.parent
        shutil.rmtree(suite)
        suite.mkdir()
        shutil.copytree(self.kept, self.directory.path)

    def keep(self) -> None:
        """Take the directory as it is now."""
        shutil.rmtree(self.kept, ignore_errors=True)
        shutil.copytree(self.directory.path, self.kept)


def numbers(directory: RunDirectory) -> list[Any]:
    """The numbers that do not measure time."""
    plain = directory.stats()
    return [stat for stat in plain if stat["name"] != "latency_s" and stat["kind"] != "efficiency"]


def prepared(folder: Path, entry: str, state: str) -> Bench:
    """A run in one state: `complete` or `interrupted`, in today's format, the one before, or half of each.

    With `found`, an earlier run has answered some of its requests, or all of them.
    """
    deployments = folder / "deployments.yaml"
    deployments.write_text(ROUTED)
    options = RunOptions(
        run_entries=(entry,),
        output_path=folder / "out",
        max_eval_instances=None if "num_test" in entry else 6,
        plugins=PLUGINS,
        model_deployments=(deployments,),
    )
    place = open_plan_context(options)
    plan = make_plan(place)
    bench = Bench(place, plan, folder / "kept", RunDirectory(folder))
    if "found" in state:
        begin_earlier(options, entry)
    result, notes = bench.start()
    assert result.status == "complete", (result, notes)
    assert result.path is not None
    assert ("num_found" in result.counts) == ("found" in state)
    bench.directory = RunDirectory(Path(result.path))
    bench.good = numbers(bench.directory)
    path = bench.directory.journal_path
    if "old" in state or "mixed" in state:
        made_old(bench.directory)
    if "mixed" in state:
        interrupt(bench.directory, len(path.read_bytes().splitlines()) // 2)
        assert bench.start()[0].status == "complete"
        assert numbers(bench.directory) == bench.good
    if "interrupted" in state:
        interrupt(bench.directory, len(path.read_bytes().splitlines()) * 2 // 3)
    bench.keep()
    report = verify_run(bench.directory)
    assert report.is_sound, report
    return bench


def begin_earlier(options: RunOptions, entry: str) -> None:
    """Do a run over fewer instances, and leave the name to the run that comes."""
    few = entry.replace("max_eval_instances=3", "max_eval_instances=2")
    if "num_test" in entry:
        few = entry.replace(",model=", ",max_eval_instances=4,model=")
    fewer = {"run_entries": (few,), "max_eval_instances": options.max_eval_instances and 4}
    place = open_plan_context(options.model_copy(update=fewer))
    (result,) = asyncio.run(run_all(make_plan(place), place, Notes()))
    assert result.path is not None
    result.path.rename(result.path.with_name("earlier"))


def interrupt(directory: RunDirectory, num_lines: int) -> None:
    """As if the run had been killed when its journal had so many lines."""
    lines = directory.journal_path.read_bytes().splitlines(keepends=True)
    directory.journal_path.write_bytes(b"".join(lines[:num_lines]))
    manifest = directory.manifest()
    assert manifest is not None
    counts = {**manifest.counts, "num_answered": 0}
    sealed = ("run_spec.json", "instances.jsonl", "routes.jsonl")
    files = {name: left for name, left in manifest.files.items() if name in sealed}
    directory.write_manifest(replace(manifest, status="running", counts=counts, files=files))
    for name in ("scores.jsonl", "stats.json"):
        (directory.path / name).unlink()


def flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 1, 3, 20))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def cut_out(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.choice((1, 30, 1000))]


def nul(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    data[start:] = bytes(len(data) - start)


def letter(data: bytearray, rng: random.Random) -> None:
    """Another letter or digit, which nearly always is JSON as before."""
    places = list(compress(range(len(data)), data.translate(IS_LETTER)))
    data[rng.choice(places)] = rng.choice(b"0123456789abcXYZ")


def on_lines(
    change: Callable[[list[bytes], random.Random], None],
) -> Callable[[bytearray, random.Random], None]:
    def edit(data: bytearray, rng: random.Random) -> None:
        lines = bytes(data).splitlines(keepends=True)
        change(lines, rng)
        data[:] = b"".join(lines)

    edit.__name__ = change.__name__
    return edit


@on_lines
def double(lines: list[bytes], rng: random.Random) -> None:
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))


@on_lines
def swap(lines: list[bytes], rng: random.Random) -> None:
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]


@on_lines
def drop(lines: list[bytes], rng: random.Random) -> None:
    del lines[rng.randrange(len(lines))]


@on_lines
def graft(lines: list[bytes], rng: random.Random) -> None:
    """The end of one line on the beginning of another."""
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    middle = rng.randrange(len(lines[a]))
    lines[a] = lines[a][:middle] + lines[b][middle:]


EDITS: tuple[Edit, ...] = (*(flip, flip, letter, letter, cut, cut_out, nul, double, swap, drop, graft),)


def damage(directory: RunDirectory, rng: random.Random) -> tuple[str, str]:
    """Damage one file; returns which, and how."""
    names = [name for name in FILES if (directory.path / name).exists()]
    name = rng.choice([*names, "journal.jsonl", "journal.jsonl", "manifest.json"])
    path = directory.path / name
    how = rng.random()
    if how < 0.03:
        path.unlink()
        return name, "removed"
    if how < 0.05:
        path.write_bytes(b"")
        return name, "emptied"
    edit = rng.choice(EDITS)
    data = bytearray(path.read_bytes())
    edit(data, rng)
    path.write_bytes(data)
    return name, edit.__name__


def is_as_kept(bench: Bench, name: str) -> bool:
    """Whether a file is what it was; of a JSON file, whether it says what it said."""
    was, path = (bench.kept / name).read_bytes(), bench.directory.path / name
    if not path.exists():
        return False
    if name != "manifest.json":
        return path.read_bytes() == was
    with suppress(ValueError):
        return bool(decode(path.read_bytes()) == decode(was))
    return False


def is_scored(directory: RunDirectory) -> bool:
    """Whether `score` finds nothing wrong."""
    try:
        return not score_run(directory).problems
    except EvalkitError:
        return False


def repair_and_compare(bench: Bench, place: str) -> None:
    """Repair the run: no answer gets lost, and where all is well then, the numbers are the unbroken run's."""
    path = bench.directory.journal_path
    answers = winning_lines(path)
    report = repair_run(bench.directory)
    assert answers <= winning_lines(path), place
    again = verify_run(bench.directory)
    assert (again.is_sound, again.num_owed) == (report.is_sound, report.num_owed), place
    if report.is_sound and report.status == "complete":
        assert numbers(bench.directory) == bench.good or is_unchecked(report), place
    else:
        assert report.num_owed or not report.is_sound or report.status != "complete", place


def winning_lines(path: Path) -> set[bytes]:
    """The lines of a journal that count."""
    with suppress(EvalkitError, FileNotFoundError):
        raw = path.read_bytes()
        return {raw[at:].partition(b"\n")[0] for at in scan_journal(path).winners.values()}
    return set()


def is_unchecked(report: RunReport) -> bool:
    """Whether the report says that not every change could be seen."""
    return any("have no checksums" in finding.problem for finding in report.findings)


def refuse(error: Exception) -> str:
    """What `run` makes of an exception that nobody expected."""
    raise AssertionError(f"an exception that is no message for the user: {error!r}") from error


@pytest.mark.parametrize(("entry", "state"), CASES)
def test_no_damage_passes_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, state: str
) -> None:
    monkeypatch.setattr("evalkit.runs.runner.described", refuse)
    bench = prepared(tmp_path, entry, state)
    has_old_lines = "old" in state or "mixed" in state
    for seed in range(NUM_EDITS // 2 if has_old_lines or "found" in state else NUM_EDITS):
        rng = random.Random(f"{state} {seed}")
        bench.restore()
        name, how = damage(bench.directory, rng)
        place = f"seed {seed}: {name} {how}"
        report = verify_run(bench.directory)
        is_changed = not is_as_kept(bench, name)
        # A changed byte is found in every file; with checksums only, and in a run that had come to an end.
        assert report.is_sound <= (not is_changed or has_old_lines or "interrupted" in state), place
        assert is_changed or report.is_sound, (place, report)
        chance = rng.random()
        if chance < 0.3:
            is_torn = any("incomplete" in finding.problem for finding in report.findings)
            # A line without a checksum may say what no line can, and look whole.
            is_unchecked = has_old_lines and name == "journal.jsonl"
            is_whole = report.is_sound and not is_torn and not is_unchecked
            assert is_scored(bench.directory) >= is_whole, (place, report)
        elif chance < 0.6:
            repair_and_compare(bench, place)
        result, notes = bench.start()
        if chance >= 0.3 and result.path is not None and Path(result.path) == bench.directory.path:
            # A start makes instances anew before it looks at the journal; routes are whole after a repair.
            is_mended = name == "instances.jsonl" or (name == "routes.jsonl" and chance < 0.6)
            if not is_mended:
                lines = [f for f in report.findings if f.length is not None and "incomplete" not in f.problem]
                again = [note for note in notes if ".jsonl: the line at byte " in note]
                assert len(lines) == len(again), (place, report, notes)
            telling = [note for note in notes if "an earlier evalkit scored it" not in note]
            assert report.is_sound <= (not telling), (place, report, notes)
        assert result.path is not None or result.message, place
        if result.path is None or result.status != "complete":
            # A header or a manifest that says it is of a newer evalkit; nothing is lost by that. And lines
            # without a checksum that say something else than they did: a unit that can't be scored, say.
            unchecked = has_old_lines and name == "journal.jsonl" and result.message
            assert unchecked or "newer evalkit" in result.message, (place, result)
            continue
        is_equal = numbers(RunDirectory(result.path)) == bench.good
        # Only what has no checksum can say something else than it did, and nobody can know.
        assert is_equal or (has_old_lines and name in ("journal.jsonl", "instances.jsonl")), (place, notes)
        assert is_equal or notes or "interrupted" in state, (place, notes)
        if rng.random() < 0.1:
            once_more, notes = bench.start()
            assert (once_more.status, notes) == ("complete", []), place
            assert verify_run(RunDirectory(result.path)).is_sound, place


@pytest.mark.parametrize(("entry", "state"), CASES)
def test_two_damages_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, state: str) -> None:
    monkeypatch.setattr("evalkit.runs.runner.described", refuse)
    bench = prepared(tmp_path, entry, state)
    has_checksums = "old" not in state and "mixed" not in state
    for seed in range(60):
        rng = random.Random(f"two {state} {seed}")
        bench.restore()
        place = [damage(bench.directory, rng)]
        # Of what is gone or empty already, no more can be damaged.
        with suppress(ValueError, IndexError, FileNotFoundError):
            place.append(damage(bench.directory, rng))
        verify_run(bench.directory)
        report = repair_run(bench.directory)
        if has_checksums and report.is_sound and report.status == "complete":
            assert numbers(bench.directory) == bench.good, (seed, place)
        result, _ = bench.start()
        if result.path is None or result.status != "complete":
            continue
        directory = RunDirectory(result.path)
        assert not has_checksums or numbers(directory) == bench.good, (seed, place)
        assert verify_run(directory).is_sound, (seed, place)
