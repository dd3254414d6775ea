"""Models in this process: loaded once, let go after their last run, never mixed; nothing finished is lost."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import evalkit
from evalkit import Observer
from evalkit.response import Response
from evalkit.results.run_directory import RunDirectory
from evalkit.runs.events import Event, ModelLoaded, ModelLoading, RequestFinished, RunsPlanned
from evalkit.testing.models import make_model
from tests.end_to_end.workspace import Workspace, index_of, records_of, until

OPERATIONS = ("add", "subtract", "multiply")
MANY = 300


@dataclass
class Notes(Observer):
    """Remembers the remarks."""

    notes: list[str] = field(default_factory=list)

    def note(self, message: str) -> None:
        self.notes.append(message)


def deploy(folder: Path, **models: Mapping[str, object]) -> Path:
    """A deployment file with one transformers deployment per name."""
    listed = [
        {"name": f"test/{name}", "client_spec": {"class_name": "transformers", "args": args}}
        for name, args in models.items()
    ]
    path = folder / "model_deployments.yaml"
    path.write_text(json.dumps({"model_deployments": listed}))
    return path


def answers(directory: RunDirectory) -> dict[str, list[str]]:
    """Request to the texts that came back."""
    return {
        record.state.key: [completion.text for completion in record.outcome.completions]
        for record in records_of(directory)
        if isinstance(record.outcome, Response)
    }


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two models of one shape with other weights."""
    folder = tmp_path_factory.mktemp("models")
    return {name: make_model(folder / name, seed=seed) for seed, name in enumerate("ab")}


def test_a_model_is_loaded_once_for_all_its_runs_and_one_after_the_other(
    models: dict[str, Path], tmp_path: Path
) -> None:
    deployments = deploy(tmp_path, **{name: {"model": str(path)} for name, path in models.items()})
    notes = Notes()
    results = evalkit.run(
        [f"arithmetic:operation={op},num_test=5,model=test/{name}" for name in "ab" for op in OPERATIONS],
        observer=notes,
        model_deployments=deployments,
        output_path=tmp_path / "out",
    )
    assert [result.status for result in results] == ["complete"] * 6
    told = [note.split(" in ")[0] for note in notes.notes if "load" in note]
    assert told == [
        "test/a: loading the model",
        "test/a: loaded",
        "test/b: loading the model",
        "test/b: loaded",
    ]
    again = Notes()
    evalkit.run(
        "arithmetic:operation=add,num_test=5,model=test/a",
        observer=again,
        model_deployments=deployments,
        output_path=tmp_path / "out",
    )
    assert again.notes == []  # a finished run loads nothing


def test_two_models_at_once_never_see_each_others_requests_or_settings(
    models: dict[str, Path], tmp_path: Path
) -> None:
    deployments = deploy(tmp_path, **{name: {"model": str(path)} for name, path in models.items()})
    entries = {
        (name, kind): f"arithmetic:operation={op},num_test=20,{settings}model=test/{name}"
        for name in models
        for op, kind, settings in (("add", "greedy", ""), ("multiply", "sampled", "temperature=0.9,"))
    }
    # Handed over in turn: a, b, a, b.
    mixed = [entries[name, kind] for kind in ("greedy", "sampled") for name in models]
    evalkit.run(mixed, model_deployments=deployments, output_path=tmp_path / "mixed", max_loaded_models=2)
    together = {path.name: path for path in (tmp_path / "mixed" / "runs" / "default").iterdir()}
    assert len(together) == 4
    texts = {}
    for key, entry in entries.items():
        (alone,) = evalkit.run(entry, model_deployments=deployments, output_path=tmp_path / "alone")
        assert alone.status == "complete"
        assert alone.path is not None
        texts[key] = answers(RunDirectory(Path(alone.path)))
        assert answers(RunDirectory(together[alone.name])) == texts[key]
    assert texts["a", "greedy"] != texts["b", "greedy"]
    assert texts["a", "sampled"] != texts["b", "sampled"]


@pytest.mark.parametrize(
    "entry", ["arithmetic:num_test=40", "arithmetic:num_test=20,temperature=1.2,num_outputs=3"]
)
def test_the_size_of_batches_changes_neither_answers_nor_identity(
    entry: str, models: dict[str, Path], tmp_path: Path
) -> None:
    found = []
    for size in (1, 32):
        folder = tmp_path / str(size)
        folder.mkdir()
        deployments = deploy(folder, a={"model": str(models["a"]), "max_batch_size": size})
        (result,) = evalkit.run(f"{entry},model=test/a", model_deployments=deployments, output_path=folder)
        directory = RunDirectory(Path(str(result.path)))
        manifest = directory.manifest()
        assert manifest is not None
        found.append((manifest.digest, answers(directory), directory.scores_path.read_bytes()))
    assert found[0] == found[1]


def test_other_weights_in_the_same_folder_are_another_run(tmp_path: Path) -> None:
    deployments = deploy(tmp_path, a={"model": str(tmp_path / "model")})
    digests = set()
    for seed in range(2):
        make_model(tmp_path / "model", seed=seed)
        (run,) = evalkit.plan("arithmetic:num_test=5,model=test/a", model_deployments=deployments).runs
        assert run.digest is not None
        digests.add(run.digest.full)
    assert len(digests) == 2


@pytest.mark.slow
def test_a_killed_process_loses_nothing_that_was_finished(
    models: dict[str, Path], workspace: Workspace
) -> None:
    workspace.heavy = True
    deploy(workspace.path, a={"model": str(models["a"]), "max_batch_size": 4})
    entry = f"arithmetic:digits=3,num_test={MANY},model=test/a"
    process = workspace.start("run", "-r", entry, "-q")
    until(lambda: workspace.num_lines() >= 20 or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    kept = {record.state.key: record.outcome for record in records_of(workspace.run())}
    assert 20 <= len(kept) < MANY

    finished = workspace.evalkit("run", "-r", entry, "-q")
    assert finished.code == 0, finished.err
    index = index_of(workspace.run())
    assert len(index.answered) == index.num_lines == MANY
    after = {record.state.key: record.outcome for record in records_of(workspace.run())}
    assert {key: after[key] for key in kept} == kept

    unbroken = workspace.evalkit("run", "-r", entry, "-q", "--suite", "unbroken")
    assert unbroken.code == 0, unbroken.err
    assert workspace.run().scores_path.read_bytes() == workspace.run("unbroken").scores_path.read_bytes()


def test_ctrl_c_keeps_what_is_finished_and_the_same_command_goes_on(
    models: dict[str, Path], workspace: Workspace
) -> None:
    workspace.heavy = True
    deploy(workspace.path, a={"model": str(models["a"]), "max_batch_size": 2})
    entry = f"arithmetic:digits=3,num_test={MANY},model=test/a"
    process = workspace.start("run", "-r", entry, "-q")
    until(lambda: workspace.num_lines() >= 10 or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    num_kept = workspace.num_lines()
    # What the engine was given may still be finished; the second one ends that.
    until(lambda: workspace.num_lines() > num_kept or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    interrupted = workspace.finish(process)
    assert interrupted.code == 130, interrupted.err
    assert 10 <= workspace.num_lines() < MANY
    finished = workspace.evalkit("run", "-r", entry, "-q")
    assert finished.code == 0, finished.err
    assert index_of(workspace.run()).num_lines == MANY


def test_events_say_when_a_model_is_loaded_and_for_which_runs(
    models: dict[str, Path], tmp_path: Path
) -> None:
    heard: list[Event] = []
    results = evalkit.run(
        [f"arithmetic:operation={op},num_test=5,model=test/a" for op in OPERATIONS],
        observer=heard.append,
        model_deployments=deploy(tmp_path, a={"model": str(models["a"])}),
        output_path=tmp_path / "out",
    )
    names = [result.name for result in results]
    (loading,) = (event for event in heard if isinstance(event, ModelLoading))
    (loaded,) = (event for event in heard if isinstance(event, ModelLoaded))
    planned = heard[0]
    assert isinstance(planned, RunsPlanned)
    assert loading.runs == loaded.runs == planned.runs
    assert [run.name for run in loading.runs] == names
    assert loading.deployment == loaded.deployment == "test/a"
    assert loaded.seconds > 0
    first = next(number for number, event in enumerate(heard) if isinstance(event, RequestFinished))
    assert heard.index(loading) < heard.index(loaded) < first
