"""Routed deployments over models on this machine that can't be in memory together: each is loaded once."""

from __future__ import annotations

import json
import re
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import evalkit
from evalkit import Observer
from evalkit.response import Response
from evalkit.results.run_directory import RunDirectory
from evalkit.runs.events import Event, ModelLoading
from evalkit.testing.models import make_model
from tests.end_to_end.conftest import Serve
from tests.end_to_end.workspace import Workspace, index_of, records_of, timeless_stats

NUM_TEST = 60
NAMES = "abc"
LOADED = re.compile(r"(test/\w): loading the model")


class Loading(Observer):
    """Remembers which models were loaded, in order."""

    def __init__(self) -> None:
        self.models: list[str] = []

    def on_event(self, event: Event) -> None:
        if isinstance(event, ModelLoading):
            self.models.append(event.deployment)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three models of one shape with other weights."""
    folder = tmp_path_factory.mktemp("models")
    return {name: make_model(folder / name, seed=seed) for seed, name in enumerate(NAMES)}


def deploy(
    folder: Path, models: dict[str, Path], api: str = "", batch_size: int = 8, **routed: list[str]
) -> Path:
    """A file with one deployment per model, an API, and routed deployments over some of them."""
    plain = [
        {
            "name": f"test/{name}",
            "client_spec": {
                "class_name": "transformers",
                "args": {"model": str(path), "max_batch_size": batch_size},
            },
        }
        for name, path in models.items()
    ]
    if api:
        args = {"base_url": f"{api}/v1", "model": "double"}
        plain.append({"name": "test/api", "client_spec": {"class_name": "openai", "args": args}})
    spec = {"name": "hash"}
    both = [
        {"name": f"test/{name}", "members": [f"test/{member}" for member in members], "router_spec": spec}
        for name, members in routed.items()
    ]
    path = folder / "model_deployments.yaml"
    path.write_text(json.dumps({"model_deployments": plain, "routed_deployments": both}))
    return path


def entry(model: str, operation: str = "add", num_test: int = NUM_TEST) -> str:
    return f"arithmetic:operation={operation},num_test={num_test},model=test/{model}"


def texts_of(directory: RunDirectory, member: str | None = None) -> dict[str, list[str]]:
    """Request to the texts that came back, of one member if it is named."""
    return {
        record.state.key: [completion.text for completion in record.outcome.completions]
        for record in records_of(directory)
        if isinstance(record.outcome, Response) and member in (None, record.state.member)
    }


def members_of(directory: RunDirectory) -> Counter[str | None]:
    return Counter(record.state.member for record in records_of(directory))


def test_member_by_member_and_then_another_model(models: dict[str, Path], tmp_path: Path) -> None:
    loading = Loading()
    results = evalkit.run(
        [entry("ab"), entry("c")],
        observer=loading,
        model_deployments=deploy(tmp_path, models, ab=["a", "b"]),
        output_path=tmp_path / "out",
        max_loaded_models=1,
    )
    assert [result.status for result in results] == ["complete"] * 2, results
    assert loading.models == ["test/a", "test/b", "test/c"]
    assert results[0].path is not None
    assert members_of(RunDirectory(results[0].path)).total() == NUM_TEST
    # Each as when it is asked alone.
    (alone,) = evalkit.run(
        entry("b"),
        model_deployments=tmp_path / "model_deployments.yaml",
        output_path=tmp_path / "alone",
    )
    assert alone.path is not None
    texts = texts_of(RunDirectory(alone.path))
    of_b = texts_of(RunDirectory(results[0].path), "test/b")
    assert of_b
    assert of_b == {key: texts[key] for key in of_b}


@pytest.mark.parametrize("max_loaded", [1, 2, 3])
def test_many_runs_that_share_members_end_and_load_each_model_once(
    models: dict[str, Path], tmp_path: Path, serve: Serve, max_loaded: int
) -> None:
    """Runs of members alone, runs that differ in their metrics only, other orders of members, and an API."""
    api = serve(answers=lambda _: "7")
    deployments = deploy(
        tmp_path, models, api.url, ab=["a", "b"], bc=["b", "c"], ca=["c", "a"], all=["c", "api", "b", "a"]
    )
    wanted = [("c", 9), ("ab", 9), ("ab", 12), ("bc", 9), ("ca", 9), ("b", 9), ("all", 15), ("all", 20)]
    loading = Loading()
    results = evalkit.run(
        [entry(model, num_test=number) for model, number in wanted],
        observer=loading,
        model_deployments=deployments,
        output_path=tmp_path / "out",
        max_loaded_models=max_loaded,
    )
    assert [result.status for result in results] == ["complete"] * len(wanted), results
    assert sorted(loading.models) == ["test/a", "test/b", "test/c"]
    for (_, number), result in zip(wanted, results, strict=True):
        assert result.counts["num_answered"] == number


def test_a_start_that_owes_nothing_to_a_member_does_not_load_it(
    models: dict[str, Path], tmp_path: Path
) -> None:
    deployments = deploy(tmp_path, models, ab=["a", "b"])
    options: dict[str, Any] = {
        "model_deployments": deployments,
        "output_path": tmp_path / "out",
        "max_loaded_models": 1,
    }
    (result,) = evalkit.run(entry("ab"), **options)
    assert result.path is not None
    directory = RunDirectory(result.path)
    before = directory.scores_path.read_bytes()
    lines = directory.journal_path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if b'"member":"test/b"' not in line]
    assert len(kept) < len(lines)
    directory.journal_path.write_bytes(b"".join(kept))

    loading = Loading()
    (result,) = evalkit.run(entry("ab"), observer=loading, **options)

    assert (result.status, loading.models) == ("complete", ["test/b"])
    assert directory.scores_path.read_bytes() == before


@pytest.mark.slow
def test_killed_in_each_phase_it_loads_each_model_once_and_repeats_nothing(
    models: dict[str, Path], workspace: Workspace
) -> None:
    workspace.heavy = True
    number = 240
    deploy(workspace.path, models, batch_size=4, ab=["a", "b"])
    command = ("run", "-r", entry("ab", num_test=number), entry("c", num_test=20), "--max-loaded-models", 1)

    def run() -> RunDirectory:
        return next(directory for directory in workspace.runs() if directory.routes_path.exists())

    def answered() -> Counter[str | None]:
        return members_of(run()) if any(workspace.suite().glob("*/routes.jsonl")) else Counter()

    kept: dict[str, object] = {}
    for member in ("test/a", "test/b"):
        process = workspace.start(*command)
        while answered()[member] < 12:
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        _, err = process.communicate()
        assert process.returncode == -signal.SIGKILL
        loaded = LOADED.findall(err)
        assert len(set(loaded)) == len(loaded)
        assert loaded == (["test/a"] if member == "test/a" else ["test/a", "test/b"])
        now = {record.state.key: record.outcome for record in records_of(run())}
        assert {key: now[key] for key in kept} == kept
        kept = dict(now)
    routes = run().routes_path.read_bytes()
    assert len(kept) < number

    finished = workspace.evalkit(*command)

    assert finished.code == 0, finished.err
    assert LOADED.findall(finished.err) == ["test/b", "test/c"]
    assert run().routes_path.read_bytes() == routes
    index = index_of(run())
    assert len(index.answered) == index.num_lines == number
    after = {record.state.key: record.outcome for record in records_of(run())}
    assert {key: after[key] for key in kept} == kept
    unbroken = workspace.evalkit(*command, "--suite", "unbroken")
    assert unbroken.code == 0, unbroken.err
    other = next(each for each in workspace.runs("unbroken") if each.routes_path.exists())
    assert run().scores_path.read_bytes() == other.scores_path.read_bytes()
    assert timeless_stats(run()) == timeless_stats(other)
