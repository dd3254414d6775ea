"""The file stream: lines of history, system metrics and output, and the summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.wandb_server.graphql import NotImplementedHere, Refused
from tests.wandb_server.state import STREAMS, RunState, State, now

_KNOWN = {"files", "uploaded", "complete", "exitcode", "dropped", "preempting", "fileUpdates"}


def take(state: State, run: RunState, message: Mapping[str, Any]) -> None:
    """Keep what a message of the stream holds.

    Raises:
        NotImplementedHere: It holds more than this server knows.
        Refused: Lines before these never came.
    """
    if unknown := set(message) - _KNOWN:
        raise NotImplementedHere(f"a file stream with {sorted(unknown)}")
    run.heartbeat_at = now()
    for name, chunk in (message.get("files") or {}).items():
        if name == "wandb-summary.json":
            run.summary = chunk["content"][-1]
        elif name in STREAMS:
            _take_lines(state, run, STREAMS[name], chunk)
        else:
            raise NotImplementedHere(f"a file stream with {name}")
    if "exitcode" in message and message.get("complete"):
        run.exit_code = message["exitcode"]
        run.state = "finished" if run.exit_code == 0 else "failed"
    elif message.get("files") and run.state != "running":
        run.state = "running"
    state.save()


def _take_lines(state: State, run: RunState, stream: str, chunk: Mapping[str, Any]) -> None:
    offset, lines = chunk["offset"], chunk["content"]
    missing = offset - len(state.lines(run, stream))
    if missing > 0 and stream != "output":
        raise Refused(f"{missing} lines of {stream} before line {offset} never came")
    if missing > 0:
        state.write_lines(run, stream, offset - missing, [""] * missing)
    state.write_lines(run, stream, offset, lines)
