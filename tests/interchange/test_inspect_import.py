"""Logs of Inspect, read in."""

from __future__ import annotations

import json
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import StoreError, UsageError
from evalkit.interchange.import_writer import keep_run
from evalkit.interchange.imported_run import ImportedRun
from evalkit.interchange.inspect_import import find_inspect_logs, read_inspect_log
from evalkit.response import Failure, Response
from evalkit.results.stored_run import StoredRun
from tests.interchange.harnesses import inspect_header, inspect_sample, write_inspect


def read(tmp_path: Path, *samples: dict[str, Any], **header: Any) -> ImportedRun:
    return read_inspect_log(write_inspect(tmp_path / "log.eval", inspect_header(**header), samples))


def test_a_sample_becomes_instance_request_and_answer(tmp_path: Path) -> None:
    run = read(tmp_path, inspect_sample(1, "ANSWER: A", "C"))
    instance, (state, outcome) = run.instances[0], run.records[0]
    assert instance.input == "Is 2 even?"
    assert [(r.text, r.is_correct) for r in instance.references] == [("yes", True), ("no", False)]
    assert instance.extra == {"topic": "numbers"}
    assert state.request.messages is not None
    assert [m.role for m in state.request.messages] == ["system", "user"]
    assert (state.request.prompt, state.request.temperature) == ("Is 2 even? A) yes B) no", 0.5)
    assert isinstance(outcome, Response)
    assert outcome.completions[0].text == "ANSWER: A"
    assert outcome.completions[0].finish_reason == "length"
    assert (outcome.usage.prompt_tokens, outcome.latency_s) == (7, 0.5)
    assert outcome.served_model == "mockllm/model-1"


def test_scores_are_numbers_as_inspect_reads_them(tmp_path: Path) -> None:
    values = ["C", "I", "P", "N", True, 0.25, "Yes", {"a": 1, "b": "no"}, [1, 2], "odd"]
    samples = [inspect_sample(i, "A", value) for i, value in enumerate(values)]
    run = read(tmp_path, *samples, samples=len(values))
    expected = [1.0, 0.0, 0.5, 0.0, 1.0, 0.25, 1.0]
    given = [scores for _, scores in sorted(run.given.items(), key=lambda item: int(item[0].instance_id))]
    assert [scores["choice"] for scores in given[:7]] == expected
    assert given[7] == {"choice/a": 1.0, "choice/b": 0.0}
    assert given[8:] == [{}, {}]
    assert run.leftovers[9]["scores"]["choice"]["value"] == "odd"


def test_epochs_are_samples_of_one_instance(tmp_path: Path) -> None:
    samples = [inspect_sample(1, "A", value, epoch) for epoch, value in ((1, "C"), (2, "I"))]
    run = read(tmp_path, *samples, samples=1, epochs=2)
    assert [state.sample for state, _ in run.records] == [0, 1]
    assert len(run.instances) == 1
    stat = StoredRun.open(keep_run(run, tmp_path / "runs").path).stat("choice")
    assert (stat.mean, stat.n, stat.num_clusters) == (0.5, 2, 1)


def test_an_error_is_a_failure_and_no_score(tmp_path: Path) -> None:
    broken = inspect_sample(2, "", "I", error={"message": "boom\nand more"}, scores={})
    run = read(tmp_path, inspect_sample(1, "A", "C"), broken)
    assert run.records[1][1] == Failure("sample_error", "boom")
    stored = StoredRun.open(keep_run(run, tmp_path / "runs").path)
    assert (stored.stat("choice").mean, stored.stat("choice").n_failed) == (1.0, 1)
    assert stored.manifest.status == "partial"


def test_samples_that_are_missing_are_told(tmp_path: Path) -> None:
    run = read(tmp_path, inspect_sample(1, "A", "C"), samples=3, status="cancelled")
    assert run.notes == [
        "2 of 3 samples are not in the log (cancelled)",
        "Inspect's status of the run: cancelled",
    ]


def test_a_number_and_its_digits_are_two_ids(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    samples = [inspect_sample(1, "A", "C"), inspect_sample("1", "A", "I")]
    path.write_text(json.dumps({**inspect_header(), "samples": samples}))
    assert [i.id for i in read_inspect_log(path).instances] == ["1", '"1"']


def test_old_json_logs_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text(json.dumps({**inspect_header(), "samples": [inspect_sample(1, "A", "C")]}))
    (tmp_path / "other.json").write_text("{}")
    write_inspect(tmp_path / "sub" / "a.eval", inspect_header(), [])
    assert find_inspect_logs(tmp_path) == [path, tmp_path / "sub" / "a.eval"]
    assert len(read_inspect_log(path).records) == 1


def test_a_log_that_was_cut_off_has_its_start_only(tmp_path: Path) -> None:
    path = write_inspect(tmp_path / "log.eval", inspect_header(), [inspect_sample(1, "A", "C")])
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(tmp_path / "cut.eval", "w") as cut:
        for name in whole.namelist():
            if name != "header.json":
                cut.writestr(name, whole.read(name))
    run = read_inspect_log(tmp_path / "cut.eval")
    assert "Inspect's status of the run: started" in run.notes


def test_logs_compressed_with_zstandard_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zstandard = pytest.importorskip("zstandard")
    path = write_inspect(tmp_path / "log.eval", inspect_header(), [inspect_sample(1, "A", "C")])
    _recompress(path, zstandard.ZstdCompressor().compress)
    assert len(read_inspect_log(path).records) == 1

    # None in its place makes the import fail, as where it is not installed.
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(UsageError, match="compressed with Zstandard: pip install"):
        read_inspect_log(path)


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.eval"
    path.write_text("no log")
    with pytest.raises(StoreError, match="is not a log of Inspect"):
        read_inspect_log(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "")
    with pytest.raises(StoreError, match=r"it has no header\.json"):
        read_inspect_log(path)
    with pytest.raises(UsageError, match="does not exist"):
        find_inspect_logs(tmp_path / "nowhere")


def _recompress(path: Path, compress: Any) -> None:
    """The archive with all members as Zstandard, which Python's zipfile writes from 3.14 on only."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, compress(content))
    raw = bytearray(path.read_bytes())
    # Where method, checksum and unpacked size are, in a member's own header and in the directory.
    for signature, method, checksum, size in ((b"PK\x03\x04", 8, 14, 22), (b"PK\x01\x02", 10, 16, 24)):
        at = 0
        for content in members.values():
            at = raw.index(signature, at)
            raw[at + method : at + method + 2] = (93).to_bytes(2, "little")
            raw[at + checksum : at + checksum + 4] = zlib.crc32(content).to_bytes(4, "little")
            raw[at + size : at + size + 4] = len(content).to_bytes(4, "little")
            at += 4
    path.write_bytes(raw)
