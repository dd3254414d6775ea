"""What the real SDK logged is read back by its own public API, on another machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.end_to_end.workspace import until
from tests.wandb_server.conftest import Machine
from tests.wandb_server.faults import Fault
from tests.wandb_server.sdk import needs_wandb, surroundings
from tests.wandb_server.server import WandbServer

pytestmark = needs_wandb
LOG = """
run = wandb.init(
    project="p", entity="team", id="r1", name="Run 1", config={"a": 1, "b": {"c": [1, 2]}},
    tags=["x", "y"], group="g", job_type="evaluation", mode=sys.argv[1], notes="of 日本",
)
for i in range(50):
    run.log({"loss": 1.5 * i, "n": i})
rows = [[1, "日本", 0.5], [2, None, 2.0], [2**60 + 1, "", 1e300]]
run.log({"tab": wandb.Table(columns=["a", "b", "c"], data=rows)})
run.summary["best"] = 0.5
Path("folder").mkdir()
Path("folder/f.txt").write_text("hello")
Path("folder/g ü.bin").write_bytes(bytes(range(256)) * 1000)
artifact = wandb.Artifact("data", "dataset", metadata={"version": "1.0"}, description="two files")
artifact.add_dir("folder")
run.log_artifact(artifact, aliases=["latest", "production"])
Path("kept.txt").write_text("kept")
run.save("kept.txt")
run.finish()
"""
READ = """
api = wandb.Api()
run = api.run("team/p/r1")
summary = {k: v for k, v in dict(run.summary).items() if k in ("loss", "n", "best", "_step")}
run.file("kept.txt").download(root="files")
artifact = api.artifact("team/p/data:production")
folder = Path(artifact.download(root="artifact"))
table = api.artifact("team/p/run-r1-tab:latest").get("tab")
print(json.dumps({
    "run": [run.name, run.state, run.group, run.job_type, sorted(run.tags), run.notes],
    "config": dict(run.config),
    "summary": summary,
    "scan": [[row["n"], row["loss"]] for row in run.scan_history(keys=["n", "loss"])],
    "steps": [row["_step"] for row in run.scan_history()],
    "sampled": len(run.history(keys=["loss"], pandas=False)),
    "files": [name for name in sorted(f.name for f in run.files(per_page=2)) if "media" not in name],
    "kept": Path("files/kept.txt").read_text(),
    "logged": sorted(a.name for a in run.logged_artifacts()),
    "artifact": [artifact.type, artifact.version, artifact.metadata, artifact.description, artifact.size],
    "by": artifact.logged_by().id,
    "content": [(folder / "f.txt").read_text(), len((folder / "g ü.bin").read_bytes())],
    "artifact files": sorted(f.name for f in artifact.files()),
    "table": [table.columns, table.data],
}))
"""
LOGGED = {
    "run": ["Run 1", "finished", "g", "evaluation", ["x", "y"], "of 日本"],
    "config": {"a": 1, "b": {"c": [1, 2]}},
    "summary": {"loss": 73.5, "n": 49, "best": 0.5, "_step": 50},
    "scan": [[n, 1.5 * n] for n in range(50)],
    "steps": list(range(51)),
    "sampled": 50,
    "kept": "kept",
    "logged": ["data:v0", "run-r1-tab:v0"],
    "artifact": ["dataset", "v0", {"version": "1.0"}, "two files", 256005],
    "by": "r1",
    "content": ["hello", 256000],
    "artifact files": ["f.txt", "g ü.bin"],
    "table": [["a", "b", "c"], [[1, "日本", 0.5], [2, None, 2.0], [2**60 + 1, "", 1e300]]],
}


def unlike(read: dict[str, Any], logged: dict[str, Any] = LOGGED) -> dict[str, Any]:
    """What was read back otherwise than it was logged."""
    return {name: read[name] for name, value in logged.items() if read[name] != value}


def test_a_run_is_read_back_as_it_was_logged(machine: Machine, server: WandbServer) -> None:
    machine("writer").run(LOG, "online")
    server.stop()
    server.start()  # everything comes from disk
    read = machine("reader").run(READ)
    assert unlike(read) == {}
    assert {"config.yaml", "kept.txt", "requirements.txt", "wandb-summary.json"} <= set(read["files"])


def test_an_offline_folder_is_synced_later(machine: Machine, server: WandbServer) -> None:
    writer = machine("writer")
    writer.run(LOG, "offline")
    assert not server.asked
    (folder,) = (writer.folder / "wandb_dir" / "wandb").glob("offline-run-*-r1")
    synced = writer.command("sync", str(folder))
    assert synced.returncode == 0, synced.stderr
    assert unlike(machine("reader").run(READ)) == {}


def test_faults_that_pass_lose_nothing(machine: Machine, server: WandbServer) -> None:
    server.faults.set(
        Fault("status", ("graphql",), 500, times=1),
        Fault("drop", ("graphql",), times=1),
        Fault("status", ("stream",), 429, times=1),
        Fault("lost", ("stream",), times=1),
        Fault("status", ("storage",), 503, times=1),
        Fault("drop", ("storage",), times=1),
    )
    machine("writer").run(LOG, "online")
    assert server.faults.num_shown == 6
    assert unlike(machine("reader").run(READ)) == {}


def test_a_run_is_resumed(machine: Machine, server: WandbServer) -> None:
    machine("writer").run(LOG, "online")
    resumed = machine("other").run("""
run = wandb.init(project="p", entity="team", id="r1", resume="must")
came_back = [run.starting_step, run.config["b"], run.summary["best"]]
run.log({"n": 1000})
run.summary["more"] = 1
run.finish()
print(json.dumps(came_back))
""")
    assert resumed == [51, {"c": [1, 2]}, 0.5]
    read = machine("reader").run(READ.replace('"best", "_step"', '"best", "_step", "more"'))
    changed = unlike(read)
    assert changed.pop("summary") == {**LOGGED["summary"], "n": 1000, "_step": 51, "more": 1}  # type: ignore[dict-item]
    assert changed == {"steps": list(range(52))}


VERSIONS = """
run = wandb.init(project="p", entity="team", id="w")
def log(text, *aliases):
    Path("changes.txt").write_text(text)
    artifact = wandb.Artifact("data", "dataset", metadata={"text": text})
    artifact.add_file("changes.txt")
    artifact.add_file("stays.txt")
    run.log_artifact(artifact, aliases=["latest", *aliases]).wait()
Path("stays.txt").write_text("stays")
log("one", "production")
log("two")
log("two")
log("three", "production")
run.finish()
"""
VERSIONS_READ = """
run = wandb.init(project="p", entity="team", id="reader", job_type="reads")
used = run.use_artifact("data:v1")
text = (Path(used.download()) / "changes.txt").read_text() + (Path(used.download()) / "stays.txt").read_text()
run.finish()
api = wandb.Api()
versions = {a.version: sorted(a.aliases) for a in api.artifacts("dataset", "team/p/data", per_page=2)}
first = api.artifact("team/p/data:v0")
first.aliases.append("best")
first.save()
print(json.dumps({
    "text": text,
    "versions": versions,
    "best": api.artifact("team/p/data:best").metadata,
    "used": [a.name for a in api.run("team/p/reader").used_artifacts()],
    "by": [r.id for r in used.used_by()],
    "is there": [api.artifact_exists(f"team/p/data:{name}") for name in ("v2", "v3", "latest", "nope")],
}))
"""


def test_artifacts_have_versions_aliases_and_lineage(machine: Machine, server: WandbServer) -> None:
    machine("writer").run(VERSIONS)
    # What an earlier version has is not sent again, nor is a version with the same content.
    puts = [asked.name for asked in server.asked if asked.method == "PUT" and "/artifacts/" in asked.name]
    assert [name.rpartition("/")[2] for name in sorted(puts)] == [
        *("changes.txt", "stays.txt"),
        *("changes.txt", "changes.txt"),
    ]
    assert machine("reader").run(VERSIONS_READ) == {
        "text": "twostays",
        "versions": {"v0": [], "v1": [], "v2": ["latest", "production"]},
        "best": {"text": "one"},
        "used": ["data:v1"],
        "by": ["reader"],
        "is there": [True, False, True, False],
    }


def test_runs_are_found_by_filters_in_order_and_page_by_page(machine: Machine) -> None:
    machine("writer").run("""
for i in range(5):
    run = wandb.init(project="p", entity="team", id=f"r{i}", config={"a": i % 2}, tags=["odd"] * (i % 2))
    run.summary["score"] = 10 - i
    run.finish(exit_code=int(i == 4))
""")
    found = machine("reader").run("""
api = wandb.Api()
def ids(filters, order="+created_at"):
    return [run.id for run in api.runs("team/p", filters=filters, order=order, per_page=2)]
print(json.dumps([
    ids({}, "+summary_metrics.score"),
    ids({"config.a": 1}, "-summary_metrics.score"),
    ids({"$and": [{"tags": "odd"}, {"summary_metrics.score": {"$gt": 8}}]}),
    ids({"$or": [{"state": "failed"}, {"display_name": {"$regex": "^r0$"}}]}, "+summary_metrics.score"),
]))
""")
    assert found == [["r4", "r3", "r2", "r1", "r0"], ["r1", "r3"], ["r1"], ["r4", "r0"]]


def test_a_server_that_is_started_again_under_a_run_loses_nothing(
    machine: Machine, server: WandbServer, tmp_path: Path
) -> None:
    writer = machine("writer")
    writer.folder.mkdir()
    code = """
import time, wandb
from pathlib import Path
settings = wandb.Settings(x_file_stream_transmit_interval=1)
run = wandb.init(project="p", entity="team", id="r", settings=settings)
for i in range(100):
    run.log({"n": i})
while not Path("restarted").exists():
    time.sleep(0.02)
for i in range(100, 200):
    run.log({"n": i})
run.finish()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=writer.folder,
        env=surroundings(writer.folder, server.url, writer.key),
    )
    until(lambda: any(server.state.lines(run, "history") for run in server.state.runs.values()))
    server.stop()
    server.start()
    (writer.folder / "restarted").touch()
    assert process.wait(300) == 0
    read = machine("reader").run("""
print(json.dumps([row["n"] for row in wandb.Api().run("team/p/r").scan_history(keys=["n"])]))
""")
    assert read == list(range(200))


def test_a_wrong_key_is_not_let_in(machine: Machine) -> None:
    wrong = machine("writer", WANDB_API_KEY="x" * 40)
    refused = wrong.run("""
try:
    wandb.init(project="p", entity="team", settings=wandb.Settings(init_timeout=30))
except wandb.errors.Error as error:
    print(json.dumps(type(error).__name__))
""")
    assert refused in ("CommError", "AuthenticationError")
