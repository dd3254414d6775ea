"""The process that talks to W&B: it hears of runs on its input, and reads their directories.

It ends at once, with what the SDK has started, when its input ends: then evalkit has ended, or does not wait
any longer, and `evalkit track` uploads later.
"""

from __future__ import annotations

import os
import queue
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from evalkit.codec import decode, encode
from evalkit.trackers.wandb.failure import in_words
from evalkit.trackers.wandb.options import Options

Message = dict[str, Any]
Report = Callable[[Mapping[str, Any]], None]


def main(reports_to: int) -> None:
    """Do what the input says, until it says `close`; report to a file descriptor, in JSON lines."""
    reports = open(reports_to, "wb", buffering=0)  # noqa: SIM115 - open as long as the process

    def report(message: Mapping[str, Any]) -> None:
        reports.write(encode(message, newline=True))

    messages = Messages(sys.stdin.buffer)
    plain = messages.first()
    temporary = tempfile.mkdtemp(prefix="evalkit-wandb-")
    _end_with_evalkit(messages, temporary)
    options = Options(**{**plain, "tags": tuple(plain["tags"])})
    try:
        _set_folders(options, temporary)
        _upload(options, messages, report)
        report({"done": True})
    except Exception as error:  # noqa: BLE001 - whatever it is, evalkit reports it
        report({"failed": "process", "why": in_words(error)})
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        reports.close()
        _end_children()
        os._exit(0)


def _upload(options: Options, messages: Messages, report: Report) -> None:
    # The SDK is loaded here and in this module's process only.
    from evalkit.trackers.wandb.session import Session

    session = Session(options, report, messages.is_closing)
    for message in messages:
        session.take(message)
    session.finish()


class Messages:
    """What evalkit says, read by a thread so that it never waits; of scores so far the latest are kept."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._queue: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._latest: dict[str, Message] = {}
        self._closing = threading.Event()

    def first(self) -> Message:
        """The options."""
        line = self._stream.readline()
        options: Message = decode(line)
        return options

    def is_closing(self) -> bool:
        """Whether all has been said."""
        return self._closing.is_set()

    def read(self) -> None:
        """Read to the end of the input."""
        for line in self._stream:
            message = decode(line)
            if message["event"] == "close":
                self._closing.set()
                self._queue.put(None)
            elif message["event"] == "scored":
                is_new = message["path"] not in self._latest
                self._latest[message["path"]] = message
                if is_new:
                    self._queue.put(message)
            else:
                self._queue.put(message)

    def __iter__(self) -> Iterator[Message]:
        while (message := self._queue.get()) is not None:
            if message["event"] == "scored":
                message = self._latest.pop(message["path"])
            yield message


def _end_with_evalkit(messages: Messages, temporary: str) -> None:
    def watch() -> None:
        messages.read()
        _end_children()
        shutil.rmtree(temporary, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _end_children() -> None:
    """End the SDK's own process, which would go on for days."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid():
                os.kill(int(folder.name), signal.SIGKILL)


def _set_folders(options: Options, temporary: str) -> None:
    """Where the SDK writes. An offline folder needs the files of its artifacts, so these are next to it."""
    home = Path(options.directory or ("." if options.mode == "offline" else temporary)).absolute()
    home.mkdir(parents=True, exist_ok=True)
    os.environ["WANDB_DIR"] = str(home)
    os.environ.setdefault("WANDB_DATA_DIR", str(home / "wandb" / "data"))
    os.environ.setdefault("WANDB_CACHE_DIR", temporary)


if __name__ == "__main__":
    main(int(sys.argv[1]))
