"""Files that vanish or are replaced under a run that goes on, and answers that no reader expects."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from evalkit.execution.journal_index import scan_journal
from evalkit.results.run_directory import RunDirectory
from tests.end_to_end.conftest import Serve
from tests.end_to_end.servers import Double, refusing
from tests.end_to_end.workspace import Finished, Workspace, timeless_stats, until

NUM_REQUESTS = 60
ENTRY = f"arithmetic:num_test={NUM_REQUESTS},model=test/a"
RUN = ("run", "-r", ENTRY, "-q")


def under_way(
    workspace: Workspace, serve: Serve, harm: Callable[[RunDirectory], None], num_lines: int = 20
) -> tuple[Finished, Double, RunDirectory]:
    """A run that is harmed when its journal has some lines, and then goes on."""
    server = serve()
    server.gate.hold_after(num_lines)
    workspace.deploy("test/a", server.url, limits={"max_concurrency": 8})
    process = workspace.start(*RUN)
    until(lambda: workspace.num_lines() >= num_lines)
    directory = workspace.run()
    harm(directory)
    server.gate.open()
    finished = workspace.finish(process)
    assert "Traceback" not in finished.err
    return finished, server, directory


def is_whole(workspace: Workspace, directory: RunDirectory) -> bool:
    """Whether the run has all its answers, the right number, and nothing is damaged."""
    index = scan_journal(directory.journal_path)
    assert len(index.answered) == NUM_REQUESTS
    assert workspace.stored().stat("exact_match").mean == 1.0
    return not index.damage and workspace.evalkit("verify", directory.path).code == 0


def test_a_journal_that_is_removed_under_a_run_is_written_anew(workspace: Workspace, serve: Serve) -> None:
    finished, server, directory = under_way(workspace, serve, lambda run: run.journal_path.unlink())
    assert finished.code == 0, finished.err
    assert "was removed while the run was going; it was written anew" in finished.err
    assert server.num_answered == NUM_REQUESTS
    assert is_whole(workspace, directory)
    assert workspace.evalkit("score", directory.path).code == 0


def replaced_by_an_editor(run: RunDirectory) -> None:
    """As an editor saves a file: a new one, renamed over the old."""
    copy = run.path / "journal.copy"
    shutil.copyfile(run.journal_path, copy)
    copy.rename(run.journal_path)


def test_a_journal_that_is_replaced_stops_the_run_and_nothing_is_lost(
    workspace: Workspace, serve: Serve
) -> None:
    finished, server, directory = under_way(workspace, serve, replaced_by_an_editor)
    assert finished.code == 3
    assert "was replaced by another file while the run was going" in finished.err + finished.out
    (beside,) = directory.path.glob("journal.jsonl.*")
    num_saved = len(scan_journal(beside).answered)
    assert num_saved >= 20
    verified = workspace.evalkit("verify", directory.path)
    assert verified.code == (1 if num_saved > 20 else 0)
    beside.rename(directory.journal_path)
    num_before = server.num_answered
    assert workspace.evalkit(*RUN).code == 0
    assert server.num_answered - num_before == NUM_REQUESTS - num_saved
    assert is_whole(workspace, directory)


@pytest.mark.parametrize("is_removed", [True, False], ids=["removed", "renamed"])
def test_a_folder_that_goes_away_stops_the_run(workspace: Workspace, serve: Serve, is_removed: bool) -> None:
    def harm(run: RunDirectory) -> None:
        if is_removed:
            shutil.rmtree(run.path)
        else:
            run.path.rename(workspace.path / "elsewhere")

    finished, _, directory = under_way(workspace, serve, harm)
    assert finished.code == 3
    assert "was removed while the run was going" in finished.err + finished.out
    if not is_removed:
        assert len(scan_journal(workspace.path / "elsewhere" / "journal.jsonl").answered) >= 20
        shutil.rmtree(directory.path, ignore_errors=True)
        (workspace.path / "elsewhere").rename(directory.path)
    assert workspace.evalkit(*RUN).code == 0
    assert is_whole(workspace, directory)


def test_a_lock_file_that_is_removed_lets_no_second_process_in(workspace: Workspace, serve: Serve) -> None:
    server = serve()
    server.gate.hold_after(10)
    workspace.deploy("test/a", server.url, limits={"max_concurrency": 8})
    first = workspace.start(*RUN)
    until(lambda: workspace.num_lines() >= 10)
    directory = workspace.run()
    directory.lock_path.unlink()
    second = workspace.evalkit(*RUN)
    assert second.code == 3
    assert "another process" in second.err + second.out or "in use" in second.err + second.out
    server.gate.open()
    assert workspace.finish(first).code in (0, 3)
    assert server.num_answered <= NUM_REQUESTS
    assert workspace.evalkit(*RUN).code == 0
    assert server.num_answered == NUM_REQUESTS, "no request was paid for twice"
    assert is_whole(workspace, directory)


USAGES = (
    '{"prompt_tokens": 10.5, "completion_tokens": 1.5}',
    '{"prompt_tokens": 10.0, "completion_tokens": 2.0}',
    '{"prompt_tokens": true, "completion_tokens": false}',
    '{"prompt_tokens": NaN, "completion_tokens": Infinity}',
    '{"prompt_tokens": 1e30, "completion_tokens": -1000}',
    '{"prompt_tokens": "12", "completion_tokens": [1]}',
    '"12 tokens"',
)


@pytest.mark.parametrize("usage", USAGES)
def test_whatever_a_server_says_of_usage_what_is_kept_is_read_again(workspace: Workspace, usage: str) -> None:
    body = f'{{"choices": [{{"message": {{"content": "4"}}, "finish_reason": "stop"}}], "usage": {usage}}}'
    server = refusing(200, body.encode())
    server.start()
    try:
        workspace.deploy("test/a", server.url, limits={"max_attempts": 1})
        finished = workspace.evalkit("run", "-r", ENTRY, "-q", "-m", 4)
        directory = workspace.run()
        first = timeless_stats(directory)
        answered = len(scan_journal(directory.journal_path).answered)
        assert (finished.code, answered) in ((0, 4), (1, 0), (3, 0)), finished.err
        scored = workspace.evalkit("score", directory.path)
        assert "can't be read" not in scored.err
        assert timeless_stats(directory) == first
        num_lines = workspace.num_lines()
        again = workspace.evalkit("run", "-r", ENTRY, "-q", "-m", 4)
        assert again.code == finished.code
        assert "asked again" not in again.err
        assert answered == 0 or workspace.num_lines() == num_lines, "what is answered is paid for once"
        assert workspace.evalkit("verify", directory.path).code == 0
    finally:
        server.close()


def test_a_cached_answer_of_another_shape_is_asked_anew(workspace: Workspace, serve: Serve) -> None:
    server = serve()
    workspace.deploy("test/a", server.url)
    assert workspace.evalkit(*RUN, "--cache", "--suite", "first").code == 0
    (path,) = (workspace.path / "benchmark_output").glob("cache.sqlite")
    with sqlite3.connect(path) as database:
        (table,) = database.execute("select name from sqlite_master where type = 'table'").fetchone()
        columns = [row[1] for row in database.execute(f"pragma table_info({table})")]
        value = columns[1]
        rows = database.execute(f"select rowid, {value} from {table}").fetchall()
        bad = [b'{"completions": 7}', b"[1]", b'{"completions": [{"text": 3}]}', b"\x00"]
        for (rowid, _), other in zip(rows, bad, strict=False):
            database.execute(f"update {table} set {value} = ? where rowid = ?", (other, rowid))
        rowid, raw = rows[len(bad)]
        changed = json.dumps({**json.loads(raw), "prompt_tokens": 10.5})
        database.execute(f"update {table} set {value} = ? where rowid = ?", (changed.encode(), rowid))
    finished = workspace.evalkit(*RUN, "--cache", "--suite", "second")
    assert finished.code == 0, finished.err
    assert server.num_answered == NUM_REQUESTS + len(bad) + 1
    assert timeless_stats(workspace.run("second"))[0] == timeless_stats(workspace.run("first"))[0]
    assert workspace.evalkit("verify", Path("benchmark_output")).code == 0
