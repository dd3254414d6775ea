"""The W&B tracker with the real SDK: what it uploads, and that no fault of W&B touches the runs."""

from __future__ import annotations

import json
import re
import shlex
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from evalkit.results.stored_run import StoredRun
from evalkit.trackers.wandb.tables import instance_tables
from tests.end_to_end.conftest import Serve
from tests.end_to_end.servers import solve_two_of_three
from tests.end_to_end.test_planted_keys import STYLES, deploy, plant, repeating
from tests.end_to_end.workspace import PROC, Workspace, until
from tests.planted import Planted
from tests.scenarios.jaster_files import write_dataset
from tests.wandb_server.faults import Fault
from tests.wandb_server.sdk import Sdk, needs_wandb, surroundings
from tests.wandb_server.server import WandbServer

pytestmark = needs_wandb
ENTRIES = ("arithmetic:num_test=40,model=test/a", "arithmetic:operation=subtract,num_test=30,model=test/a")
RUN = ("run", "-q", "-r", *ENTRIES)
READ = """
read = []
for run in wandb.Api().runs("team/p"):
    tables = {}
    for artifact in run.logged_artifacts():
        name, _, version = artifact.name.partition(":")
        if artifact.type == "run_table":
            table = artifact.get(name.removeprefix(f"run-{run.id}-"))
            tables[name.removeprefix(f"run-{run.id}-")] = [version, table.columns, table.data]
    summary = json.loads(json.dumps(dict(run.summary), default=dict))
    history = [row for row in run.scan_history() if any(key.startswith("so_far/") for key in row)]
    about = [run.name, run.state, run.group, run.job_type, sorted(run.tags)]
    files = sorted(file.name for file in run.files())
    read.append({"id": run.id, "about": about, "config": dict(run.config), "summary": summary,
                 "tables": tables, "history": history, "files": files})
print(json.dumps(read))
"""


@pytest.fixture
def wandb(tmp_path: Path, workspace: Workspace, planted: Planted) -> Iterator[WandbServer]:
    """A W&B server; the commands of the workspace know it, and its key."""
    with WandbServer(tmp_path / "server", workspace.plant("WANDB_API_KEY", "of W&B")) as server:
        variables = surroundings(workspace.path / "sdk", server.url, "")
        for name in ("WANDB_BASE_URL", "WANDB_CONFIG_DIR", "HOME"):
            workspace.env[name] = variables[name]
        yield server


def read_back(wandb: WandbServer, workspace: Workspace) -> list[dict[str, Any]]:
    """All runs of the project, as W&B's own API reads them."""
    reader = Sdk(workspace.path / "reader", wandb, workspace.env["WANDB_API_KEY"], {})
    runs: list[dict[str, Any]] = reader.run(READ)
    return runs


def expected_tables(workspace: Workspace) -> dict[str, Any]:
    """The instances of all runs of the suite, by the operation in the name of the run."""
    tables = {}
    for directory in workspace.runs():
        stored = StoredRun.open(directory.path)
        (table,) = instance_tables(stored)
        operation = stored.run_spec.scenario_spec.args["operation"]
        tables[operation] = [[name for name, _ in table.columns], table.rows]
    return tables


def check_uploaded(run: dict[str, Any], workspace: Workspace) -> None:
    """What W&B has of a suite is what its directory has."""
    assert run["about"][:2] == ["test/a", "finished"]
    tables = expected_tables(workspace)
    found = {name: table[1:] for name, table in run["tables"].items() if name != "scores_table"}
    assert {name.split("_")[2]: table for name, table in found.items()} == tables
    for directory in workspace.runs():
        stored = StoredRun.open(directory.path)
        operation = stored.run_spec.scenario_spec.args["operation"]
        (task,) = (name.removesuffix("_output_table") for name in found if f"_{operation}_" in name)
        assert run["config"][task]["run_spec"] == stored.run_spec.model_dump(mode="json")
        assert run["config"][task]["digest"] == stored.manifest.digest
        stat = stored.stat("exact_match")
        assert stat.ci95 is not None
        assert run["summary"][task]["status"] == "complete"
        assert run["summary"][task]["exact_match"] == {
            "mean": stat.mean,
            "ci95_low": stat.ci95[0],
            "ci95_high": stat.ci95[1],
            "n": stat.n,
            "n_failed": 0,
            "n_total": stat.n_total,
        }
        _, columns, rows = run["tables"]["scores_table"]
        mean = columns.index("mean")
        (row,) = (row for row in rows if row[:4] == [task, "exact_match", "score", "all"])
        assert row[mean] == stat.mean


def processes_of(workspace: Workspace) -> list[str]:
    """The commands of the processes that work in the workspace."""
    found = []
    for folder in PROC.glob("[0-9]*"):
        with suppress(OSError):
            if (folder / "cwd").resolve() == workspace.path.resolve():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return [command for command in found if "wandb" in command]


def later_command(workspace: Workspace, said: str) -> list[str]:
    """What evalkit says that uploads later."""
    (command,) = set(re.findall(r"upload later with `evalkit ([^`]*)`", said))
    return shlex.split(command)


def test_runs_are_on_wandb_as_their_directories_have_them(
    workspace: Workspace, serve: Serve, wandb: WandbServer, tmp_path: Path
) -> None:
    server = serve(answers=solve_two_of_three)
    workspace.deploy("test/a", server.url)
    done = workspace.evalkit(*RUN, "--tracker", "wandb:project=p,entity=team,tags=x|y,group=g")
    assert (done.code, done.err) == (0, "")
    (run,) = read_back(wandb, workspace)
    check_uploaded(run, workspace)
    assert run["about"] == ["test/a", "finished", "g", "evaluation", ["x", "y"]]
    assert run["history"], "no scores so far"
    assert all(key.startswith(("so_far/arithmetic", "_")) for row in run["history"] for key in row)
    # Neither the machine nor its packages, nor where the model is served.
    assert run["files"] == sorted(
        ["config.yaml", "wandb-summary.json", *(name for name in run["files"] if name.startswith("media/"))]
    )
    endpoint = server.url.partition("://")[2].encode()
    places = [
        path for path in (tmp_path / "server").rglob("*") if path.is_file() and endpoint in path.read_bytes()
    ]
    assert not places
    assert not processes_of(workspace)


def test_track_uploads_what_ran_without_a_tracker_and_once(
    workspace: Workspace, serve: Serve, wandb: WandbServer
) -> None:
    workspace.deploy("test/a", serve(answers=solve_two_of_three).url)
    plain = workspace.evalkit(*RUN)
    assert plain.code == 0
    assert not wandb.asked
    for _ in range(2):
        tracked = workspace.evalkit("track", "benchmark_output", "--wandb", "team/p")
        assert (tracked.code, tracked.out, tracked.err) == (0, "", "")
        (run,) = read_back(wandb, workspace)
        check_uploaded(run, workspace)
    # The same content is the same version.
    assert {table[0] for table in run["tables"].values()} == {"v0"}


# All of them take evalkit's whole wait for trackers; what the fast ones cover differs most.
FAULTS = {"500s": Fault("status", status=500), "hang": Fault("hang")}
SLOW_FAULTS = {
    "429s": Fault("status", status=429),
    "quota": Fault("status", status=403, message="over quota"),
    "quota in an answer": Fault("errors", ("graphql",), message="over quota"),
    "drop": Fault("drop"),
    "storage": Fault("status", ("storage",), status=500),
    "stream": Fault("status", ("stream",), status=500),
}
ALL_FAULTS = [
    *(pytest.param(fault, id=name) for name, fault in FAULTS.items()),
    *(pytest.param(fault, id=name, marks=pytest.mark.slow) for name, fault in SLOW_FAULTS.items()),
]


@pytest.mark.parametrize("fault", ALL_FAULTS)
def test_faults_of_wandb_leave_the_runs_alone_and_the_named_command_uploads_later(
    workspace: Workspace, serve: Serve, wandb: WandbServer, fault: Fault
) -> None:
    workspace.deploy("test/a", serve(answers=solve_two_of_three).url)
    wandb.faults.set(fault)
    done = workspace.evalkit(*RUN, "--wandb", "team/p")
    assert done.code == 0, done.err
    assert "kept in" in done.out
    (note,) = done.err.splitlines()
    assert note.startswith("note: tracker 'wandb' ")
    assert wandb.faults.num_shown
    until(lambda: not processes_of(workspace))
    wandb.faults.clear()
    later = workspace.evalkit(*later_command(workspace, note))
    assert (later.code, later.err) == (0, "")
    (run,) = read_back(wandb, workspace)
    check_uploaded(run, workspace)


def test_an_outage_of_the_whole_run(workspace: Workspace, serve: Serve, wandb: WandbServer) -> None:
    workspace.deploy("test/a", serve(answers=solve_two_of_three).url)
    wandb.stop()
    done = workspace.evalkit(*RUN, "--tracker", "wandb:project=p,entity=team,tags=x|y,group=g")
    assert done.code == 0, done.err
    command = later_command(workspace, done.err)
    failed = workspace.evalkit(*command)
    assert failed.code == 3
    assert "tracker 'wandb' failed: " in failed.err
    wandb.start()
    assert workspace.evalkit(*command).code == 0
    (run,) = read_back(wandb, workspace)
    check_uploaded(run, workspace)
    assert run["about"][2:] == ["g", "evaluation", ["x", "y"]]


@pytest.mark.parametrize("key", ["missing", "short", "wrong"])
def test_a_bad_key_leaves_the_runs_alone(
    workspace: Workspace, serve: Serve, wandb: WandbServer, key: str
) -> None:
    workspace.deploy("test/a", serve(answers=solve_two_of_three).url)
    good = workspace.env["WANDB_API_KEY"]
    workspace.env["WANDB_API_KEY"] = {"missing": "", "short": good[:20], "wrong": good[:-1]}[key]
    done = workspace.evalkit(*RUN, "--wandb", "team/p")
    assert done.code == 0, done.err
    assert "note: tracker 'wandb' " in done.err
    assert later_command(workspace, done.err)[0] == "track"
    workspace.env["WANDB_API_KEY"] = good
    assert not processes_of(workspace)


def test_a_killed_run_leaves_no_process_and_the_next_start_goes_on_in_the_same_run(
    workspace: Workspace, serve: Serve, wandb: WandbServer
) -> None:
    server = serve(answers=solve_two_of_three)
    workspace.deploy("test/a", server.url, limits={"max_concurrency": 4})
    server.gate.hold_after(20)
    process = workspace.start(*RUN, "--wandb", "team/p")
    until(lambda: bool(wandb.state.runs) or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    until(lambda: not processes_of(workspace))
    server.gate.open()
    assert workspace.evalkit(*RUN, "--wandb", "team/p").code == 0
    (run,) = read_back(wandb, workspace)
    check_uploaded(run, workspace)


def test_offline_folders_are_synced_by_the_sdk_and_disabled_does_nothing(
    workspace: Workspace, serve: Serve, wandb: WandbServer
) -> None:
    workspace.deploy("test/a", serve(answers=solve_two_of_three).url)
    done = workspace.evalkit(*RUN, "--tracker", "wandb:project=p,entity=team,mode=offline,directory=kept")
    assert (done.code, done.err) == (0, "")
    disabled = workspace.evalkit(*RUN, "--tracker", "wandb:project=p,mode=disabled")
    assert (disabled.code, disabled.err) == (0, "")
    assert not wandb.asked
    (folder,) = (workspace.path / "kept" / "wandb").glob("offline-run-*")
    sdk = Sdk(workspace.path / "syncs", wandb, workspace.env["WANDB_API_KEY"], {})
    assert sdk.command("sync", str(folder)).returncode == 0
    (run,) = read_back(wandb, workspace)
    check_uploaded(run, workspace)


def test_no_key_is_in_what_is_uploaded(workspace: Workspace, wandb: WandbServer) -> None:
    plant(workspace)
    with repeating(list(STYLES.values())) as server:
        deploy(workspace, server.url)
        done = workspace.evalkit(
            "run", "-q", "-r", "arithmetic:num_test=60,model=test/a", "--wandb", "team/p"
        )
        tracked = workspace.evalkit("track", workspace.suite(), "--wandb", "team/p")
    # The server repeated the keys of models, and all that W&B has is searched at the end of the test.
    assert tracked.code == 0, done.err + tracked.err
    (run,) = read_back(wandb, workspace)
    assert '"failed", "bad_request"' in json.dumps(run["tables"])


KINDS = ("output", "leaderboard", "radar")


def test_neos_tables_are_made_on_request(workspace: Workspace, serve: Serve, wandb: WandbServer) -> None:
    for dataset in ("jnli", "janli", "jcommonsenseqa"):
        write_dataset(workspace.path / "data", dataset)
    workspace.deploy("test/a", serve(answers=lambda prompt: "neutral").url)
    entries = [
        f"{entry},model=test/a"
        for entry in (
            *("jnli:shots=0", "janli:shots=0", "jcommonsenseqa:shots=0"),
            *("jnli:shots=4", "jnli:shots=0,split=dev"),
        )
    ]
    tracker = "wandb:project=p,entity=team,name=My Model,nejumi=true"
    done = workspace.evalkit("run", "-q", "--data-dir", "data", "-r", *entries, "--tracker", tracker)
    assert (done.code, done.err) == (0, ""), done.err
    (run,) = read_back(wandb, workspace)
    tables = {name: (columns, rows) for name, (_, columns, rows) in run["tables"].items()}
    made = {name for name in tables if name.startswith(("jaster_", "leaderboard", "mtbench"))}
    assert made == {
        *(f"jaster_{kind}_table_ja_{shots}shot" for kind in KINDS for shots in (0, 4)),
        *("jaster_output_table_dev_ja_0shot", "leaderboard_table"),
    }
    columns, rows = tables["jaster_output_table_ja_0shot"]
    assert columns[:6] == ["run_name", "basemodel_name", "target_dataset", "num_few_shots", "data_type", "id"]
    assert {row[2] for row in rows} == {"jnli", "janli", "jcommonsenseqa"}
    assert {(row[0], row[1], row[3], row[4], row[7]) for row in rows} == {
        ("My Model", "test/a", 0, "test", "neutral")
    }
    assert {row[4] for row in tables["jaster_output_table_dev_ja_0shot"][1]} == {"dev"}
    exact = columns.index("exact")
    means = {
        dataset: fmean(row[exact] for row in rows if row[2] == dataset)
        for dataset in {row[2] for row in rows}
    }
    assert means["jnli"] > 0
    columns, (row,) = tables["jaster_leaderboard_table_ja_0shot"]
    cells = dict(zip(columns, row, strict=True))
    nli = (means["jnli"] + means["janli"]) / 2
    assert cells == {
        "model_name": "My Model",
        **{dataset: pytest.approx(mean) for dataset, mean in means.items()},
        "NLI": pytest.approx(nli),
        "MC": pytest.approx(means["jcommonsenseqa"]),
        "AVG": pytest.approx((nli + means["jcommonsenseqa"]) / 2),
    }
    columns, axes = tables["jaster_radar_table_ja_0shot"]
    assert columns == ["category", "score"]
    assert dict(axes) == {"NLI": cells["NLI"], "MC": cells["MC"]}
    columns, (row,) = tables["leaderboard_table"]
    whole = dict(zip(columns, row, strict=True))
    assert whole["AVG_jaster_ja_0shot"] == cells["AVG"]
    columns, (row,) = tables["jaster_leaderboard_table_ja_4shot"]
    assert whole["jnli_jaster_ja_4shot"] == row[columns.index("jnli")]
