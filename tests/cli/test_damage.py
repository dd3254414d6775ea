"""A stored run whose files were lost or changed: nothing passes unsaid, and the next start makes it good."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalkit.execution.journal_index import scan_journal
from evalkit.results.run_directory import RunDirectory
from tests.cli.conftest import Call
from tests.interchange.harnesses import helm_stat, helm_state, write_helm_run
from tests.old_format import made_old

NUM_REQUESTS = 40
RUN = ("run", "-r", "simple_mcqa:model=evalkit/random", "-m", NUM_REQUESTS, "-o", "out", "--quiet")
FOLDER = Path("out/runs/default/simple_mcqa:model=evalkit_random")


@pytest.fixture
def directory(call: Call, in_an_empty_directory: None) -> RunDirectory:
    """A complete run."""
    called = call(*RUN)
    assert called.code == 0, called.err
    return RunDirectory(FOLDER)


def numbers(directory: RunDirectory) -> list[dict[str, Any]]:
    stats = directory.stats()
    return [stat for stat in stats if stat["name"] != "latency_s" and stat["kind"] != "efficiency"]


def num_lines(directory: RunDirectory) -> int:
    return directory.journal_path.read_bytes().count(b"\n")


def replace_in_line(path: Path, pattern: bytes, replacement: bytes, number: int = 20) -> int:
    """Change the first match in one line; returns where the line begins."""
    lines = path.read_bytes().splitlines(keepends=True)
    changed = re.sub(pattern, replacement, lines[number], count=1)
    assert changed != lines[number]
    lines[number] = changed
    path.write_bytes(b"".join(lines))
    return sum(map(len, lines[:number]))


LINES = {
    "name of a field": (rb'"finish_reason"', b'"finizh_reason"'),
    "instance of no run": (rb'"instance_id":"', b'"instance_id":"zz'),
    "trial of no run": (rb'"trial":0', b'"trial":7'),
    "key alone": (rb'"key":"t0/', b'"key":"t0/x'),
    "sample a text": (rb"^\{", b'{"sample":"one",'),
    "sample of no run": (rb"^\{", b'{"sample":3,'),
    "time a text": (rb'"latency_s":[\d.]+', b'"latency_s":"long"'),
    "size of its unit": (rb"^\{", b'{"unit_size":5,'),
    "negative usage": (rb'"prompt_tokens":\d+', b'"prompt_tokens":-1000000'),
}


@pytest.mark.parametrize("is_old", [False, True], ids=["with checksums", "of evalkit 0.1"])
@pytest.mark.parametrize("what", LINES)
def test_a_line_that_does_not_fit_is_told_and_asked_again(
    directory: RunDirectory, call: Call, what: str, is_old: bool
) -> None:
    good = numbers(directory)
    if is_old:
        made_old(directory)
    offset = replace_in_line(directory.journal_path, *LINES[what])

    verified = call("verify", directory.path)
    assert verified.code == 1
    assert f"{offset:,}" in verified.out
    scored = call("score", directory.path)
    assert scored.code == 1
    assert f"the line at byte {offset} " in scored.err
    assert numbers(directory) == good, "good numbers are not replaced by fewer answers"
    resumed = call(*RUN)

    assert resumed.code == 0, resumed.err
    assert f"the line at byte {offset} " in resumed.err
    assert numbers(directory) == good
    counts = json.loads((directory.path / "manifest.json").read_text())["counts"]
    assert counts["num_answered"] == counts["num_requests"] == NUM_REQUESTS
    sent = num_lines(directory)
    again = call(*RUN)
    assert (again.code, again.err) == (0, "")
    assert num_lines(directory) == sent, "it is asked again once"
    assert call("verify", directory.path).code == 0


@pytest.mark.parametrize("pattern", [rb'"text":"', rb'"prompt":"'], ids=["answer", "prompt"])
def test_a_changed_letter_is_noticed(directory: RunDirectory, call: Call, pattern: bytes) -> None:
    good = numbers(directory)
    offset = replace_in_line(directory.journal_path, pattern + b".", pattern + b"~")
    assert call("score", directory.path).code == 1
    resumed = call(*RUN)
    assert (resumed.code, f"byte {offset} " in resumed.err) == (0, True)
    assert numbers(directory) == good


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def no_object(path: Path) -> None:
    path.write_bytes(b"[1, 2]\n")


LOSSES: tuple[Callable[[Path], None], ...] = (Path.unlink, emptied, zeroed, halved, no_object)


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
@pytest.mark.parametrize(
    "name", ["manifest.json", "run_spec.json", "instances.jsonl", "scores.jsonl", "stats.json"]
)
def test_all_but_the_journal_is_made_anew_and_nothing_asked_twice(
    directory: RunDirectory, call: Call, name: str, lose: Callable[[Path], None]
) -> None:
    good, sent = numbers(directory), num_lines(directory)
    lose(directory.path / name)
    verified = call("verify", "out")
    assert (verified.code, name in verified.out) == (1, True)

    resumed = call(*RUN)

    assert resumed.code == 0, resumed.err
    assert name.partition(".")[0].split("_")[0] in resumed.err
    assert numbers(directory) == good
    assert num_lines(directory) == sent
    assert sorted(path.name for path in Path("out/runs/default").iterdir()) == [FOLDER.name]
    assert call("verify", "out").code == 0


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
@pytest.mark.parametrize("name", ["manifest.json", "run_spec.json", "scores.jsonl", "stats.json"])
def test_repair_needs_no_run_where_journal_and_spec_give_it(
    directory: RunDirectory, call: Call, name: str, lose: Callable[[Path], None]
) -> None:
    good = numbers(directory)
    lose(directory.path / name)

    repaired = call("verify", "out", "--repair")

    assert repaired.code == 0, repaired.out
    assert f"repaired {FOLDER.name}: " in repaired.out
    assert numbers(directory) == good
    assert call("verify", "out").code == 0
    sent = num_lines(directory)
    assert call(*RUN).code == 0
    assert (num_lines(directory), numbers(directory)) == (sent, good)


def damaged_lines(path: Path) -> None:
    for number in range(5, 20):
        replace_in_line(path, rb'"text":"', b'"text":"~', number)


def one_line_cut_out(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:9] + lines[10:]))


FEWER: tuple[Callable[[Path], None], ...] = (damaged_lines, halved, emptied, one_line_cut_out, Path.unlink)


@pytest.mark.parametrize("lose", FEWER, ids=lambda lose: lose.__name__)
def test_fewer_answers_never_replace_good_numbers_unsaid(
    directory: RunDirectory, call: Call, lose: Callable[[Path], None]
) -> None:
    good = numbers(directory)
    lose(directory.journal_path)

    scored = call("score", "out")
    assert scored.code != 0
    assert scored.err
    assert numbers(directory) == good
    repaired = call("verify", "out", "--repair")
    assert repaired.code == 1
    assert "`evalkit run`" in repaired.out
    assert numbers(directory) == good
    if directory.journal_path.stat().st_size > 2000:
        assert "owed" in repaired.out
        manifest = json.loads((directory.path / "manifest.json").read_text())
        assert manifest["status"] == "partial"
        assert "owed" in manifest["message"]
    resumed = call(*RUN)
    assert resumed.code == 0, resumed.err
    assert numbers(directory) == good
    assert call("verify", "out").code == 0


def test_the_journal_of_another_model_is_refused(directory: RunDirectory, call: Call) -> None:
    good = numbers(directory)
    other = tuple(str(word).replace("evalkit/random", "evalkit/majority") for word in RUN)
    assert call(*other).code == 0
    theirs = FOLDER.with_name("simple_mcqa:model=evalkit_majority") / "journal.jsonl"
    shutil.copyfile(theirs, directory.journal_path)

    for command in (RUN, ("score", directory.path), ("verify", directory.path, "--repair")):
        called = call(*command)
        assert called.code in (1, 3), called
        assert "that of another run" in called.out + called.err
        assert numbers(directory) == good
    assert directory.journal_path.read_bytes() == theirs.read_bytes(), "no answer is removed"


def test_lines_of_another_run_are_no_answers_of_this(directory: RunDirectory, call: Call) -> None:
    good = numbers(directory)
    other = tuple(str(word).replace("evalkit/random", "evalkit/majority") for word in RUN)
    assert call(*other).code == 0
    theirs = FOLDER.with_name("simple_mcqa:model=evalkit_majority") / "journal.jsonl"
    lines = directory.journal_path.read_bytes().splitlines(keepends=True)
    lines[5:15] = theirs.read_bytes().splitlines(keepends=True)[5:15]
    directory.journal_path.write_bytes(b"".join(lines))

    resumed = call(*RUN)

    assert resumed.code == 0
    assert resumed.err.count("its checksum is wrong") == 10
    assert numbers(directory) == good


@pytest.mark.parametrize("name", [".x", ".replaced", "..y"])
def test_an_imported_run_is_found_whatever_its_name(call: Call, tmp_path: Path, name: str) -> None:
    source = write_helm_run(
        tmp_path / "theirs",
        [helm_state("id3", "2+2?", "4", " 4")],
        {("id3", 0): {"exact_match": 1.0}},
        (helm_stat("exact_match", 1.0),),
    )
    home = source.with_name(name)
    source.rename(home)
    spec = json.loads((home / "run_spec.json").read_text())
    (home / "run_spec.json").write_text(json.dumps({**spec, "name": name}))
    assert call("import", "helm", home, "-o", "out").code == 0
    rows = json.loads(call("summarize", "-o", "out", "--json").out)
    assert {row["metric"] for row in rows} >= {"exact_match"}
    assert call("verify", "out").code == 0


def test_an_imported_run_that_was_damaged_is_imported_again(call: Call, tmp_path: Path) -> None:
    source = write_helm_run(
        tmp_path / "theirs",
        [helm_state("id3", "2+2?", "4", " 4")],
        {("id3", 0): {"exact_match": 1.0}},
        (helm_stat("exact_match", 1.0), helm_stat("perplexity", 4.5)),
    )
    command = ("import", "helm", source, "-o", "out")
    assert call(*command).code == 0
    (manifest,) = Path("out").glob("runs/*/*/manifest.json")
    for name in ("imported/stats.jsonl", "imported/source.json", "journal.jsonl", "instances.jsonl"):
        path = manifest.parent / name
        path.write_bytes(path.read_bytes().replace(b"4", b"5"))
        verified = call("verify", "out")
        assert verified.code == 1, name
        assert "import it again" in verified.out
        assert call(*command).code == 0
        assert call("verify", "out").code == 0, name


def test_answers_left_in_a_journal_are_scanned_as_the_run_wrote_them(directory: RunDirectory) -> None:
    index = scan_journal(directory.journal_path)
    assert (len(index.answered), index.damage) == (NUM_REQUESTS, [])
