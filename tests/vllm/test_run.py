"""Whole runs with vLLM: killed, interrupted, beside transformers, and one that can't start."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

import evalkit
from evalkit import Observer
from evalkit.cli import main
from evalkit.execution.journal_index import JournalIndex, scan_journal
from evalkit.response import Outcome, Response
from evalkit.results.run_directory import RunDirectory
from evalkit.results.run_result import RunResult
from tests.vllm.conftest import ARGS

pytestmark = pytest.mark.slow
# Entries, and how many requests each makes.
TASKS = {"arithmetic:num_test=100": 100, "arithmetic:num_test=40,operation=multiply": 40}
MANY = 1000
JOURNALS = "runs/*/*/journal.jsonl"
COMMAND = Path(sys.executable).with_name("evalkit")
# Generous: only reached when something hangs.
_ENDS_WITHIN_S = 400.0


def deploy(folder: Path, **clients: Mapping[str, Any]) -> Path:
    """A file with one deployment per client, `test/<client>`; `plain` is one of the transformers engine."""
    path = folder / "deployments.yaml"
    classes = {"plain": "transformers"}
    deployments = [
        {"name": f"test/{name}", "client_spec": {"class_name": classes.get(name, name), "args": dict(args)}}
        for name, args in clients.items()
    ]
    path.write_text(yaml.safe_dump({"model_deployments": deployments}))
    return path


def journal_of(result: RunResult) -> JournalIndex:
    assert result.path is not None
    return scan_journal(RunDirectory(Path(result.path)).journal_path)


class Killer(Observer):
    """Kills vLLM's engine when so many requests of runs on it have been answered."""

    def __init__(self, after: int) -> None:
        self.before = {process.pid for process in multiprocessing.active_children()}
        self.outcomes: list[Outcome] = []
        self.killed: list[int] = []
        self._after = after

    def finished_request(self, name: str, outcome: Outcome, cost_usd: float | None) -> None:
        if "test_vllm" not in name:
            return
        self.outcomes.append(outcome)
        if len(self.outcomes) == self._after:
            for process in multiprocessing.active_children():
                if process.pid is not None and process.pid not in self.before:
                    self.killed.append(process.pid)
                    os.kill(process.pid, signal.SIGKILL)


class SideBySide(NamedTuple):
    """The same entries on two engines with one adapter, at the same time; vLLM's was killed on the way."""

    killer: Killer
    results: dict[tuple[str, str], RunResult]

    def texts(self, task: str, engine: str) -> dict[str, Any]:
        path = self.results[task, engine].path
        assert path is not None
        return {record.instance_id: record.outputs for record in evalkit.load_run(path).records()}


@pytest.fixture(scope="module")
def side_by_side(
    model_folder: Path, adapter_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> SideBySide:
    folder = tmp_path_factory.mktemp("side_by_side")
    model = {"model": str(model_folder), "adapter": str(adapter_folder)}
    deployments = deploy(
        folder,
        vllm={**model, **ARGS},
        transformers={**model, "dtype": "float32"},
        plain={"model": str(model_folder), "dtype": "float32"},
    )
    keys = [(task, engine) for task in TASKS for engine in ("vllm", "transformers", "plain")]
    killer = Killer(after=20)
    results = evalkit.run(
        [f"{task},model=test/{engine}" for task, engine in keys],
        model_deployments=deployments,
        output_path=folder / "out",
        max_loaded_models=2,
        observer=killer,
    )
    return SideBySide(killer, dict(zip(keys, results, strict=True)))


def test_an_engine_that_is_killed_is_started_again(side_by_side: SideBySide) -> None:
    killer = side_by_side.killer
    assert len(killer.killed) == 1
    assert all(isinstance(outcome, Response) for outcome in killer.outcomes)
    for task, number in TASKS.items():
        result = side_by_side.results[task, "vllm"]
        assert result.status == "complete", result
        index = journal_of(result)
        assert len(index.answered) == index.num_lines == number
    attempts = [outcome.attempts for outcome in killer.outcomes if isinstance(outcome, Response)]
    assert attempts[:20] == [1] * 20
    assert max(attempts) == 2


def test_two_engines_say_the_same_side_by_side(side_by_side: SideBySide) -> None:
    first, second = TASKS
    for task, number in TASKS.items():
        texts = side_by_side.texts(task, "vllm")
        assert len(texts) == number
        assert texts == side_by_side.texts(task, "transformers")
    assert side_by_side.texts(first, "vllm") != side_by_side.texts(second, "vllm")


def test_an_adapter_is_put_on_top(side_by_side: SideBySide) -> None:
    for task in TASKS:
        assert side_by_side.texts(task, "vllm") != side_by_side.texts(task, "plain")


def test_ctrl_c_keeps_what_is_in_flight_and_nothing_of_vllm_is_printed(
    model_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    args = {"model": str(model_folder), **ARGS, "max_num_seqs": 8}
    deployments = deploy(tmp_path, vllm=args)
    entry = f"arithmetic:num_test={MANY},model=test/vllm"
    words = [str(COMMAND), "run", "-r", entry, "--output-path", str(tmp_path)]
    words += ["--model-deployments", str(deployments)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    ends_s = time.monotonic() + _ENDS_WITHIN_S
    while not any(path.stat().st_size > 2000 for path in tmp_path.glob(JOURNALS)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < ends_s
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=_ENDS_WITHIN_S)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    [journal] = tmp_path.glob(JOURNALS)
    index = scan_journal(journal)
    assert not index.damage
    assert 0 < len(index.answered) == index.num_lines < MANY

    capfd.readouterr()
    [result] = evalkit.run(entry, model_deployments=deployments, output_path=tmp_path)
    assert result.status == "complete", result
    index = scan_journal(journal)
    assert len(index.answered) == index.num_lines == MANY
    here = capfd.readouterr()
    assert here.out + here.err == ""
    printed = (out + err).replace(str(tmp_path), "")
    for word in ("INFO", "WARN", "pid=", "Triton", "checkpoint", "Gloo", "EngineCore"):
        assert word not in printed
    assert not _processes_of(process.pid)


def _processes_of(session: int) -> list[int]:
    """Processes that were started by one that is gone, and are still there."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = status.read_text()
        except OSError:
            continue
        parent = int(text.rpartition(")")[2].split()[1])
        if parent == session:
            found.append(int(status.parent.name))
    return found


def test_why_an_engine_does_not_start_is_told(model_folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in model_folder.iterdir():
        if path.suffix == ".json":
            (broken / path.name).write_bytes(path.read_bytes())
    (broken / "model.safetensors").write_bytes(b"\x00" * 64)
    deployments = deploy(tmp_path, vllm={"model": str(broken), **ARGS})
    [result] = evalkit.run(
        "arithmetic:num_test=3,model=test/vllm",
        model_deployments=deployments,
        output_path=tmp_path / "out",
    )
    assert result.status == "stopped"
    assert "vLLM can't start" in result.message
    assert "its log ends with" in result.message
    assert "safetensor" in result.message.lower() or "header" in result.message.lower()


def test_the_shipped_model_is_the_same_in_both_engines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["check-engines", "evalkit/tiny", "--engines", "transformers,vllm", "--json"]
    words += ["-r", "arithmetic:digits=2", "functions:num_test=20", "-m", "16"]
    monkeypatch.setattr(sys, "argv", ["evalkit", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"]
    assert found["num_texts"] == 32
    assert found["num_logprobs"] > 32
    assert found["largest_difference"] < 1e-3
    right = {name: scores for name, scores in found["scores"].items() if name.endswith(" exact_match")}
    assert len(right) == 2
    assert all(ours == theirs > 0.7 for ours, theirs in right.values())
