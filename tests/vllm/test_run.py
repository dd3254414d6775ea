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
from typing import Any

import pytest
import yaml

import evalkit
from evalkit.engine.journal import JournalIndex, scan_journal
from evalkit.observer import Observer
from evalkit.response import Outcome, Response
from evalkit.results.run_directory import RunDirectory
from evalkit.results.run_result import RunResult
from tests.vllm.conftest import ARGS

pytestmark = pytest.mark.slow
ENTRY = "arithmetic:num_test=200,model=test/vllm"
MANY = 3000
JOURNALS = "runs/*/*/journal.jsonl"
COMMAND = Path(sys.executable).with_name("evalkit")
# Generous: only reached when something hangs.
_ENDS_WITHIN_S = 400.0


def deploy(folder: Path, **clients: Mapping[str, Any]) -> Path:
    """A file with one deployment per client, `test/<client>`."""
    path = folder / "deployments.yaml"
    deployments = [
        {"name": f"test/{name}", "client_spec": {"class_name": name, "args": dict(args)}}
        for name, args in clients.items()
    ]
    path.write_text(yaml.safe_dump({"model_deployments": deployments}))
    return path


def journal_of(result: RunResult) -> JournalIndex:
    assert result.path is not None
    return scan_journal(RunDirectory(Path(result.path)).journal_path)


class Killer(Observer):
    """Kills the engine when so many requests have been answered."""

    def __init__(self, after: int) -> None:
        self.before = {process.pid for process in multiprocessing.active_children()}
        self.outcomes: list[Outcome] = []
        self.killed: list[int] = []
        self._after = after

    def finished_request(self, name: str, outcome: Outcome, cost_usd: float | None) -> None:
        self.outcomes.append(outcome)
        if len(self.outcomes) == self._after:
            for process in multiprocessing.active_children():
                if process.pid is not None and process.pid not in self.before:
                    self.killed.append(process.pid)
                    os.kill(process.pid, signal.SIGKILL)


def test_an_engine_that_is_killed_is_started_again(model_folder: Path, tmp_path: Path) -> None:
    deployments = deploy(tmp_path, vllm={"model": str(model_folder), **ARGS})
    killer = Killer(after=20)
    [result] = evalkit.run(
        ENTRY, model_deployments=deployments, output_path=tmp_path / "out", observer=killer
    )
    assert len(killer.killed) == 1
    assert result.status == "complete", result
    assert all(isinstance(outcome, Response) for outcome in killer.outcomes)
    index = journal_of(result)
    assert len(index.answered) == index.num_lines == 200
    attempts = [outcome.attempts for outcome in killer.outcomes if isinstance(outcome, Response)]
    assert attempts[:20] == [1] * 20
    assert max(attempts) == 2


def test_two_engines_answer_side_by_side(model_folder: Path, tmp_path: Path) -> None:
    deployments = deploy(
        tmp_path,
        vllm={"model": str(model_folder), **ARGS},
        transformers={"model": str(model_folder), "dtype": "float32"},
    )
    entries = [
        f"{task},model=test/{engine}"
        for task in ("arithmetic:num_test=40", "arithmetic:num_test=40,operation=multiply")
        for engine in ("vllm", "transformers")
    ]
    results = evalkit.run(
        entries, model_deployments=deployments, output_path=tmp_path / "out", max_loaded_models=2
    )
    assert [result.status for result in results] == ["complete"] * 4
    texts = []
    for result in results:
        assert result.path is not None
        records = evalkit.load_run(result.path).records()
        texts.append({record.instance_id: record.outputs for record in records})
    assert len(texts[0]) == 40
    assert texts[0] == texts[1]
    assert texts[2] == texts[3]
    assert texts[0] != texts[2]


def test_ctrl_c_keeps_what_is_in_flight_and_nothing_of_vllm_is_printed(
    model_folder: Path, tmp_path: Path
) -> None:
    args = {"model": str(model_folder), **ARGS, "max_num_seqs": 8}
    deployments = deploy(tmp_path, vllm=args)
    words = [
        str(COMMAND),
        "run",
        "-r",
        f"arithmetic:num_test={MANY},model=test/vllm",
        "--output-path",
        str(tmp_path),
    ]
    words += ["--model-deployments", str(deployments)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    ends_s = time.monotonic() + _ENDS_WITHIN_S
    while not any(path.stat().st_size > 2000 for path in tmp_path.glob(JOURNALS)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < ends_s
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=_ENDS_WITHIN_S)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    [journal] = tmp_path.glob(JOURNALS)
    index = scan_journal(journal)
    assert not index.damage
    assert 0 < len(index.answered) == index.num_lines < MANY

    finished = subprocess.run(words, capture_output=True, text=True, timeout=_ENDS_WITHIN_S, check=False)
    assert finished.returncode == 0, finished.stderr
    index = scan_journal(journal)
    assert len(index.answered) == index.num_lines == MANY
    printed = (finished.stdout + finished.stderr + err).replace(str(tmp_path), "")
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
        ENTRY, model_deployments=deployments, output_path=tmp_path / "out", max_eval_instances=3
    )
    assert result.status == "stopped"
    assert "vLLM can't start" in result.message
    assert "its log ends with" in result.message
    assert "safetensor" in result.message.lower() or "header" in result.message.lower()


def test_the_shipped_model_is_the_same_in_both_engines(tmp_path: Path) -> None:
    command = [str(COMMAND), "check-engines", "evalkit/tiny", "--engines", "transformers,vllm", "--json"]
    entries = ["-r", "arithmetic:digits=2", "functions:num_test=20", "-m", "16"]
    done = subprocess.run(
        [*command, *entries],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=_ENDS_WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["ok"]
    assert found["num_texts"] == 32
    assert found["num_logprobs"] > 32
    assert found["largest_difference"] < 1e-3
    right = {name: scores for name, scores in found["scores"].items() if name.endswith(" exact_match")}
    assert len(right) == 2
    assert all(ours == theirs > 0.7 for ours, theirs in right.values())
