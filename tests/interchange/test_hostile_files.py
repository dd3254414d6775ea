"""Files of other harnesses that would take all memory, never end, or lead out of their folder."""

from __future__ import annotations

import json
import os
import resource
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from evalkit.bounded_reads import VARIABLE
from evalkit.errors import EvalkitError, StoreError, UsageError
from evalkit.interchange.foreign_files import ForeignFiles
from evalkit.interchange.helm_import import find_helm_runs, read_helm_run
from evalkit.interchange.import_writer import keep_run, keep_runs
from evalkit.interchange.inspect_import import find_inspect_logs, read_inspect_log
from evalkit.interchange.lm_eval_import import find_lm_eval_results, read_lm_eval
from evalkit.results.run_directory import find_runs
from tests.interchange.harnesses import (
    helm_run_spec,
    helm_stat,
    helm_state,
    inspect_header,
    inspect_sample,
    lm_eval_choice,
    write_helm_run,
    write_inspect,
    write_json,
    write_lm_eval,
)

CONFIG = {"mc": {"output_type": "multiple_choice", "test_split": "test"}}
MORE_MEMORY_KB = 300_000


def small_log(tmp_path: Path, **header: Any) -> Path:
    return write_inspect(tmp_path / "log.eval", inspect_header(**header), [inspect_sample(1, "A", "C")])


def small_results(tmp_path: Path, **more: Any) -> Path:
    lines = [lm_eval_choice(i, "?", 0, [-0.2, -0.9]) for i in range(3)]
    return write_lm_eval(tmp_path / "out", {"mc": {"acc,none": 1.0}}, CONFIG, {"mc": lines}, **more)


def small_helm_run(tmp_path: Path, **spec: Any) -> Path:
    return write_helm_run(
        tmp_path,
        [helm_state("id0", "?", "a", "a")],
        {("id0", 0): {"exact_match": 1.0}},
        [helm_stat("exact_match", 1.0)],
        {**helm_run_spec(), **spec},
    )


def zip_bomb(path: Path, megabytes: int) -> Path:
    sample = json.dumps(inspect_sample(1, "@", "C")).encode()
    start, end = sample.split(b"@", 1)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", json.dumps(inspect_header()))
        with archive.open("samples/1_epoch_1.json", "w") as member:
            member.write(start)
            for _ in range(megabytes):
                member.write(b"x" * (1 << 20))
            member.write(end)
    return path


def test_a_text_of_400_mb_in_389_kb_is_refused_and_costs_nothing(tmp_path: Path) -> None:
    path = zip_bomb(tmp_path / "bomb.eval", 400)
    assert path.stat().st_size < 500_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(
        StoreError, match=r"unpacked, can't be read: it has 400\.0 MB, and at most 256 MB are"
    ):
        read_inspect_log(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MORE_MEMORY_KB


def test_an_archive_that_says_less_than_it_holds_is_refused(tmp_path: Path) -> None:
    path = zip_bomb(tmp_path / "bomb.eval", 20)
    raw = bytearray(path.read_bytes())
    at = raw.rindex(b"PK\x01\x02")
    raw[at + 24 : at + 28] = struct.pack("<I", 1000)
    path.write_bytes(raw)
    with pytest.raises(StoreError, match=r"samples/1_epoch_1\.json is damaged"):
        read_inspect_log(path, ForeignFiles(1 << 20))


def test_zstandard_is_unpacked_in_bounded_steps_too(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    path = small_log(tmp_path)
    packed = zstandard.ZstdCompressor().compress(b" " * (64 << 20))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("header.json", packed)
    raw = bytearray(path.read_bytes())
    for signature, method, size in ((b"PK\x03\x04", 8, 22), (b"PK\x01\x02", 10, 24)):
        at = raw.index(signature)
        raw[at + method : at + method + 2] = (93).to_bytes(2, "little")
        raw[at + size : at + size + 4] = struct.pack("<I", 1000)
    path.write_bytes(raw)
    with pytest.raises(StoreError, match="unpacked, can't be read: it has more than the 4 MB"):
        read_inspect_log(path, ForeignFiles(4 << 20))


@pytest.mark.parametrize("piece", ["[]", "{}", '"ab"', "1.5"])
def test_many_small_values_in_a_small_archive_are_refused(tmp_path: Path, piece: str) -> None:
    """60 MB of lists in 60 kB would take more than a GB."""
    start, end = json.dumps({**inspect_sample(1, "A", "C"), "store": {"x": "@"}}).encode().split(b'"@"')
    block = f"{piece},".encode() * (1 << 18)
    with zipfile.ZipFile(tmp_path / "log.eval", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", json.dumps(inspect_header()))
        with archive.open("samples/1_epoch_1.json", "w") as member:
            member.write(start + b"[")
            for _ in range(110):
                member.write(block)
            member.write(b"0]" + end)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(
        StoreError, match=r"samples/1_epoch_1\.json can't be read: .* more than 26,843,545 values"
    ):
        read_inspect_log(tmp_path / "log.eval")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2 * MORE_MEMORY_KB


def test_an_archive_of_very_many_members_is_refused(tmp_path: Path) -> None:
    path = small_log(tmp_path)
    raw = path.read_bytes()
    at = raw.rindex(b"PK\x05\x06")
    entry = raw[raw.index(b"PK\x01\x02") :][:46]
    bare = entry[:28] + bytes(6) + entry[34:]
    members = bare * 800_000
    end = raw[at : at + 12] + struct.pack("<II", len(members), raw.index(b"PK\x01\x02")) + bytes(2)
    path.write_bytes(raw[: raw.index(b"PK\x01\x02")] + members + end)
    with pytest.raises(StoreError, match=r"is damaged: its list of members would have 36800000 bytes"):
        read_inspect_log(path)


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_unpacks_without_a_limit_is_refused(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "log.eval"
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr("header.json", json.dumps(inspect_header()))
    with pytest.raises(
        StoreError, match=r"header\.json is encrypted or compressed in a way that Inspect does"
    ):
        read_inspect_log(path)


def test_a_file_over_the_limit_is_one_line_with_the_flag(tmp_path: Path) -> None:
    said = r"it has 0\.0 MB, and at most .* MB are read; --max-file-mb or EVALKIT_MAX_FILE_MB allows more"
    tight = ForeignFiles(200)
    with pytest.raises(StoreError, match=said):
        list(read_lm_eval(small_results(tmp_path), tight))
    with pytest.raises(StoreError, match=said):
        read_helm_run(small_helm_run(tmp_path), tight)
    with pytest.raises(StoreError, match=said):
        read_inspect_log(small_log(tmp_path), tight)


def test_the_variable_sets_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "0.0001")
    with pytest.raises(StoreError, match="EVALKIT_MAX_FILE_MB allows more"):
        read_inspect_log(small_log(tmp_path))
    monkeypatch.setenv(VARIABLE, "1")
    assert len(read_inspect_log(small_log(tmp_path)).records) == 1
    monkeypatch.setenv(VARIABLE, "much")
    with pytest.raises(UsageError, match="EVALKIT_MAX_FILE_MB: 'much' is not a number of MB above 0"):
        read_inspect_log(small_log(tmp_path))


@pytest.mark.parametrize("name", ["run_spec", "stats", "scenario_state", "per_instance_stats"])
def test_a_fifo_in_a_helm_run_is_refused_at_once(tmp_path: Path, name: str) -> None:
    path = small_helm_run(tmp_path)
    (path / f"{name}.json").unlink()
    os.mkfifo(path / f"{name}.json")
    with pytest.raises(EvalkitError, match=r"not a regular file but a FIFO|has no HELM runs"):
        [read_helm_run(each) for each in find_helm_runs(tmp_path)]
    with pytest.raises(EvalkitError, match="not a regular file but a FIFO"):
        read_helm_run(path)


def test_a_fifo_among_results_and_logs_is_refused_at_once(tmp_path: Path) -> None:
    results = small_results(tmp_path)
    samples = next(results.parent.glob("samples_*"))
    samples.unlink()
    os.mkfifo(samples)
    with pytest.raises(StoreError, match=r"samples_mc_.*not a regular file but a FIFO"):
        list(read_lm_eval(results))
    results.unlink()
    os.mkfifo(results)
    for path in find_lm_eval_results(tmp_path):
        with pytest.raises(StoreError, match=r"results_.*not a regular file but a FIFO"):
            list(read_lm_eval(path))
    os.mkfifo(tmp_path / "log.eval")
    os.mkfifo(tmp_path / "log.json")
    (found,) = find_inspect_logs(tmp_path)
    with pytest.raises(StoreError, match=r"log\.eval can't be read: it is not a regular file but a FIFO"):
        read_inspect_log(found)
    for find in (find_helm_runs, find_lm_eval_results, find_inspect_logs):
        with pytest.raises(UsageError, match="is neither a file nor a folder"):
            find(tmp_path / "log.json")


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/tty"])
def test_a_device_is_no_log(tmp_path: Path, device: str) -> None:
    if not Path(device).exists():
        pytest.skip("there is none")
    (tmp_path / "log.eval").symlink_to(device)
    with pytest.raises(StoreError, match="can't be read"):
        read_inspect_log(tmp_path / "log.eval")


def test_many_epochs_in_a_header_are_refused(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(StoreError, match="has 1 requests and claims 100,000,000 units or more"):
        keep_run(read_inspect_log(small_log(tmp_path, epochs=10**8)), tmp_path / "runs")
    with pytest.raises(StoreError, match=r"eval\.config\.epochs: Input should be less than or equal to"):
        read_inspect_log(small_log(tmp_path, epochs=10**30))
    path = write_inspect(tmp_path / "e.eval", inspect_header(), [inspect_sample(1, "A", "C", 900_000)])
    with pytest.raises(StoreError, match="claims 900,000 units"):
        keep_run(read_inspect_log(path), tmp_path / "runs")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MORE_MEMORY_KB
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("field", ["num_train_trials", "num_trials"])
def test_many_trials_in_a_run_spec_are_refused(tmp_path: Path, field: str) -> None:
    path = write_helm_run(
        tmp_path,
        [helm_state("id0", "?", "a", "a")],
        {},
        [helm_stat("exact_match", 1.0)],
        helm_run_spec() | {"adapter_spec": {**helm_run_spec()["adapter_spec"], field: 10**8}},
    )
    with pytest.raises(StoreError, match="claims 100,000,000 units or more"):
        keep_run(read_helm_run(path), tmp_path / "runs")


def test_a_log_that_was_cut_off_says_so(tmp_path: Path) -> None:
    path = small_log(tmp_path)
    raw = path.read_bytes()
    for length in (len(raw) - 1, len(raw) // 2, 40):
        path.write_bytes(raw[:length])
        with pytest.raises(StoreError, match=r"log\.eval is cut off: .* its end is missing"):
            read_inspect_log(path)


def test_flipped_bits_in_an_archive_are_damage(tmp_path: Path) -> None:
    path = small_log(tmp_path)
    raw = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("samples/1_epoch_1.json").header_offset
        end = start + archive.getinfo("samples/1_epoch_1.json").compress_size
    # Behind the local header, whose times and sizes nobody reads.
    for at in range(start + 60, end, 7):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 16]) + raw[at + 1 :])
        with pytest.raises(StoreError, match=r"log\.eval: samples/1_epoch_1\.json is damaged"):
            read_inspect_log(path)


def test_members_of_one_name_are_reported(tmp_path: Path) -> None:
    path = small_log(tmp_path, samples=1)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("samples/1_epoch_1.json", json.dumps(inspect_sample(1, "B", "I")))
    run = read_inspect_log(path)
    assert [scores["choice"] for scores in run.given.values()] == [0.0]
    assert run.notes == ["log.eval has 1 members twice; the last one of each counts, as for Inspect"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"metadata": ["a"]}, r"metadata: Input should be a valid dictionary, not \['a'\]"),
        ({"epoch": 0}, "epoch: Input should be greater than or equal to 1, not 0"),
        ({"epoch": "1"}, "epoch: Input should be a valid integer, not '1'"),
        ({"input": 3}, "input.str: Input should be a valid string, not 3"),
        ({"scores": [1]}, "scores: Input should be a valid dictionary"),
        ({"output": {"choices": [{}]}}, "output.choices.0.message: Field required"),
        ({"id": None}, "id.int: Input should be a valid integer"),
    ],
)
def test_a_sample_of_another_shape_is_named_with_its_field(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    sample = {**inspect_sample(1, "A", "C"), **change}
    path = write_json_log(tmp_path / "log.json", sample)
    with pytest.raises(StoreError, match=rf"log\.json: samples\.0: .*{said}"):
        read_inspect_log(path)


def write_json_log(path: Path, *samples: dict[str, Any]) -> Path:
    write_json(path, {**inspect_header(), "samples": samples})
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"resps": []}, "resps: List should have at least 1 item"),
        ({"resps": [[["-0.2", "False"]]]}, "ValueError"),
        ({"arguments": {}}, "arguments"),
        ({"doc_id": None}, "doc_id.int: Input should be a valid integer"),
    ],
)
def test_a_line_of_another_shape_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    line = {**lm_eval_choice(0, "?", 0, [-0.2, -0.9]), **change}
    path = write_lm_eval(tmp_path, {"mc": {"acc,none": 1.0}}, CONFIG, {"mc": [line]})
    with pytest.raises(StoreError, match=said):
        list(read_lm_eval(path))


def test_settings_of_another_type_are_refused_with_their_field(tmp_path: Path) -> None:
    config = {"mc": {**CONFIG["mc"], "generation_kwargs": {"do_sample": True, "temperature": "hot"}}}
    path = write_lm_eval(tmp_path, {"mc": {"acc,none": 1.0}}, config, {})
    with pytest.raises(StoreError, match=r"configs\.mc\.generation_kwargs\.temperature.* not 'hot'"):
        list(read_lm_eval(path))


def test_groups_in_a_circle_are_each_named_once(tmp_path: Path) -> None:
    (run,) = read_lm_eval(small_results(tmp_path, group_subtasks={"a": ["b"], "b": ["a", "mc"]}))
    assert run.run_spec.groups == ("a", "b", "mc")


@pytest.mark.parametrize("task", ["a/b", "../../x", "a\0b", "x" * 300, "*", "[a", "a\nb\x1b[2J", "..", ""])
def test_a_task_may_be_called_anything(tmp_path: Path, task: str) -> None:
    path = write_lm_eval(tmp_path / "in", {task: {"acc,none": 1.0}}, {task: CONFIG["mc"]}, {})
    (kept,) = keep_runs(read_lm_eval(path), tmp_path / "out" / "runs" / "s")
    assert kept.path.parent == tmp_path / "out" / "runs" / "s"
    assert [run.path for run in find_runs(tmp_path / "out")] == [kept.path]
    assert "evalkit imported only the numbers" in kept.notes[0]


@pytest.mark.parametrize(
    "name",
    ["..", ".", ".x", ".replaced", ".importing", "", "a\0b", "\x1b[2Jx", "a\nb", "/etc/x", "a/../../b"],
)
def test_runs_of_any_name_stay_in_their_suite_and_are_found(tmp_path: Path, name: str) -> None:
    states, stats = [helm_state("id0", "?", "a", "a")], [helm_stat("exact_match", 1.0)]
    path = write_helm_run(tmp_path / "in", states, {}, stats)
    write_json(path / "run_spec.json", {**helm_run_spec(), "name": name})
    header = inspect_header(task=name)
    logs = write_inspect(tmp_path / "log.eval", header, [inspect_sample(1, "A", "C")])
    suite = tmp_path / "out" / "runs" / "s"
    kept = [*keep_runs([read_helm_run(path)], suite), *keep_runs([read_inspect_log(logs)], suite)]
    assert sorted(run.path for run in find_runs(tmp_path / "out")) == sorted(each.path for each in kept)
    assert {each.path.parent for each in kept} == {suite}
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in", "log.eval", "out"]


def test_deep_nesting_is_refused_whatever_its_kind(tmp_path: Path) -> None:
    for nested in ('{"a":' * 101 + "1" + "}" * 101, "[" * 5_000 + "]" * 5_000, "[" * 200_000):
        path = tmp_path / "log.json"
        path.write_text(f'{{"eval": {{}}, "status": "success", "x": {nested}}}')
        with pytest.raises(StoreError, match=r"nested too deeply|is not a log of Inspect"):
            read_inspect_log(path)


def test_the_command_refuses_a_bomb_within_little_memory(tmp_path: Path) -> None:
    """In a process of its own, so that memory is that of the command."""
    path = zip_bomb(tmp_path / "bomb.eval", 400)
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "from evalkit.cli import main\n"
        "sys.argv = ['evalkit', 'import', 'inspect', sys.argv[1], '-o', sys.argv[2]]; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path, tmp_path / "out"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 3
    assert done.stderr.startswith(f"error: {path}, unpacked, can't be read: it has 400.0 MB")
    assert not (tmp_path / "out").exists()
