"""The part of the W&B tracker next to the runs: it starts the process that uploads, and feeds it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from evalkit.codec import decode, encode
from evalkit.errors import EvalkitError, UsageError
from evalkit.models.secret_names import says_secret
from evalkit.redaction import one_line, remember
from evalkit.registry import tracker
from evalkit.runs.events import Event, RunFinished, RunStarted, Scored
from evalkit.trackers.event_json import event_to_json
from evalkit.trackers.tracker import Tracker
from evalkit.trackers.wandb.options import Mode, Options

_OWN_VARIABLES = "WANDB_"
_QUIET = {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
_KEY = "WANDB_API_KEY"
_TOLD = (RunStarted, Scored, RunFinished)


@tracker("wandb")
class WandbTracker(Tracker):
    """Reports runs to Weights & Biases: one W&B run per deployment of a suite.

    A process with W&B's SDK does it, from the run directories, so that the runs never wait for W&B. The key
    is the SDK's: WANDB_API_KEY, or what `wandb login` has written.

    Args:
        project: The project.
        entity: The team or user; the key's own one if left out.
        name: What the W&B run is called; the deployment if left out.
        group: The group of the W&B run; the suite if left out.
        job_type: The type of the W&B run.
        tags: Tags of the W&B run, written `a|b`.
        mode: `offline` writes folders for `wandb sync`, `disabled` does nothing.
        directory: The folder for the SDK's files; the working directory with `offline`, else a temporary one.
        nejumi: Also make the tables of the Nejumi leaderboard, under Neo's names.
    """

    def __init__(  # noqa: PLR0913 - one argument per option
        self,
        project: str,
        entity: str | None = None,
        name: str | None = None,
        group: str | None = None,
        job_type: str = "evaluation",
        tags: tuple[str, ...] = (),
        mode: Mode = "online",
        directory: str | None = None,
        nejumi: bool = False,
    ) -> None:
        named = {"project": project, "entity": entity}
        for what, value in named.items():
            if value is not None and (not value or set(value) & set("/\\#?%: ")):
                raise UsageError(f"tracker 'wandb': '{one_line(value)}' is not the name of a W&B {what}")
        if mode != "disabled" and find_spec("wandb") is None:
            raise UsageError("tracker 'wandb' needs W&B's package: pip install 'evalkit[wandb]'")
        self._arguments = {"name": name, "group": group, "tags": "|".join(tags), "nejumi": nejumi and "true"}
        self._options = Options(
            project=project,
            entity=entity or "",
            name=name or "",
            group=group or "",
            job_type=job_type,
            tags=tags,
            mode=mode,
            directory=directory or "",
            nejumi=nejumi,
            session="",
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._failures: dict[str, str] = {}
        self._paths: dict[str, None] = {}
        self._is_done = False

    def open(self, session: str) -> None:
        """Start the process that uploads; it loads the SDK while the runs begin.

        Raises:
            OSError: It can't be started.
        """
        if self._options.mode == "disabled":
            return
        if key := os.environ.get(_KEY):
            remember(key)
        options = {**asdict(self._options), "session": session}
        reading, writing = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "evalkit.trackers.wandb.upload", str(writing)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                pass_fds=(writing,),
                # Ctrl-C is for the runs; the end of evalkit ends this process, since it closes its input.
                start_new_session=True,
            )
        finally:
            os.close(writing)
        self._reports = threading.Thread(target=self._read, args=(reading,), daemon=True)
        self._reports.start()
        self._send(options)

    def track(self, event: Event, at: float) -> None:
        """Pass on what W&B shows: beginnings, scores so far, ends.

        Raises:
            EvalkitError: The process that uploads has ended.
        """
        if self._process is None or not isinstance(event, _TOLD):
            return
        self._paths[str(event.run.path.parent)] = None
        self.remark = f"upload later with `{self._command()}`"
        self._send({"path": str(event.run.path.absolute()), **_short(event)})

    def close(self, num_dropped: int) -> None:
        """Wait until everything is uploaded.

        Raises:
            EvalkitError: W&B did not take something; says why, and how to upload it later.
        """
        if self._process is None:
            return
        self._send({"event": "close"})
        self._reports.join()
        self._end()
        if self._failures:
            why = "; ".join(dict.fromkeys(self._failures.values()))
            raise EvalkitError(f"W&B did not take everything: {why}; upload later with `{self._command()}`")
        self.remark = ""

    def _command(self) -> str:
        """What uploads these runs later."""
        arguments = {"entity": self._options.entity, "project": self._options.project, **self._arguments}
        if self._options.job_type != "evaluation":
            arguments["job_type"] = self._options.job_type
        given = ",".join(f"{name}={value}" for name, value in arguments.items() if value)
        return shlex.join(["evalkit", "track", *(self._paths or ("PATH",)), "--tracker", f"wandb:{given}"])

    def _send(self, message: Mapping[str, Any]) -> None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        try:
            process.stdin.write(encode(message, newline=True))
            process.stdin.flush()
        except OSError:
            self._reports.join()
            self._end()
            why = "; ".join(self._failures.values()) or "the process that talks to W&B has ended"
            raise EvalkitError(f"{why}; upload later with `{self._command()}`") from None

    def _read(self, descriptor: int) -> None:
        """Take what the process reports, until it ends."""
        with open(descriptor, "rb") as reports:
            for line in reports:
                self._take(decode(line))
        if not self._is_done and not self._failures:
            self._failures["process"] = "the process that talks to W&B has ended"

    def _take(self, report: Mapping[str, Any]) -> None:
        self._is_done = self._is_done or "done" in report
        if failed := report.get("failed"):
            self._failures[failed] = one_line(report["why"])
        if waits := report.get("waits"):
            self.remark = f"{one_line(waits)}; upload later with `{self._command()}`"

    def _end(self) -> None:
        process = self._process
        if process is not None and process.stdin is not None:
            process.stdin.close()
            process.wait()


def _short(event: RunStarted | Scored | RunFinished) -> dict[str, Any]:
    """What the process that uploads needs of an event; it reads the rest from the run directory."""
    plain = event_to_json(event)
    kept = ("event", "run", "run_spec", "digest", "deployment", "status", "num_scored", "scores")
    return {name: plain[name] for name in kept if name in plain}


def _environment() -> dict[str, str]:
    """The variables of this process, without the keys of models."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_OWN_VARIABLES) or not says_secret(name)
    }
    # The package that runs here is also the one that uploads.
    paths = [str(Path(__file__).parents[3]), *filter(None, [kept.get("PYTHONPATH")])]
    return {**kept, **_QUIET, "PYTHONPATH": os.pathsep.join(paths)}
