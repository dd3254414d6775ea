"""Starts `evalkit` as a fork of a process that has imported it: importing takes longer than most commands.

What is started is a process of its own, as the installed command is: with its folder, environment and
streams, and ended, waited for and killed in the same way. `tests/end_to_end/test_light.py` and some others
start the installed command itself.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import inspect
import json
import os
import socket
import subprocess
import sys
import threading
import warnings
from functools import lru_cache
from pkgutil import walk_packages
from types import ModuleType
from typing import Any

PACKAGES = (
    "adapters",
    "cli",
    "interchange",
    "metrics",
    "models",
    "perturbations",
    "reports",
    "results",
    "run_specs",
    "runs",
    "scenarios",
    "scoring",
)
LIGHT = (
    "aiohttp",
    "evalkit.api",
    "evalkit.clients.anthropic",
    "evalkit.clients.baselines",
    "evalkit.clients.openai",
    "evalkit.runs.runner",
    "glob",
    "pydantic.type_adapter",
    "rich.live",
    "yaml",
)
# Transformers imports most of itself when a model is made.
HEAVY = (
    *LIGHT,
    "accelerate",
    "evalkit.clients.transformers.client",
    "torch._dynamo",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.modeling_llama",
)
_MAX_MESSAGE_BYTES = 1 << 20
_SET_CHILD_SUBREAPER = 36


class ForkedCommand(subprocess.Popen[str]):
    """A running `evalkit`, or Python's `-c` and a text; its other arguments are those of `subprocess.Popen`.

    Args:
        modules: What the process that it is forked from has imported.
    """

    def __init__(self, words: list[str], modules: tuple[str, ...] = LIGHT, **options: Any) -> None:
        self._modules = modules
        super().__init__(words, text=True, **options)

    def _execute_child(self, *positional: Any) -> None:
        """What `subprocess` does to start a program, by a fork of the process that has imported it."""
        given = inspect.signature(vars(subprocess.Popen)["_execute_child"]).bind(self, *positional).arguments
        names = (("p2cread", "p2cwrite"), ("c2pwrite", "c2pread"), ("errwrite", "errread"))
        theirs = [given[name] for name, _ in names]
        nothing = os.open(os.devnull, os.O_RDWR)
        try:
            order = {"words": given["args"], "cwd": str(given["cwd"]), "env": dict(given["env"])}
            self.pid = _forker(self._modules).fork(order, [nothing if fd < 0 else fd for fd in theirs])
        finally:
            os.close(nothing)
            for fd in {fd for fd in theirs if fd >= 0}:
                os.close(fd)
        self._child_created = True


class _Forker:
    """A process that has imported modules and forks commands."""

    def __init__(self, modules: tuple[str, ...]) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            number = theirs.fileno()
            words = [sys.executable, __file__, str(number), *modules]
            self._process = subprocess.Popen(words, pass_fds=[number], stdin=subprocess.DEVNULL)
        atexit.register(self._close)

    def fork(self, order: dict[str, Any], streams: list[int]) -> int:
        """Fork a command whose parent is this process."""
        # Its parent ends at once, and the kernel gives it to the nearest ancestor that wants such.
        _adopt(True)
        try:
            socket.send_fds(self._channel, [json.dumps(order).encode()], streams)
            answer = self._channel.recv(64)
        finally:
            _adopt(False)
        if not answer:
            raise OSError(f"the process that forks commands has ended with {self._process.wait()}")
        return int(answer)

    def _close(self) -> None:
        """End it, and wait: what it has used is part of what the tests use."""
        self._channel.close()
        self._process.wait()


@lru_cache(maxsize=2)
def _forker(modules: tuple[str, ...]) -> _Forker:
    return _Forker(modules)


def _adopt(wanted: bool) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_SET_CHILD_SUBREAPER, ctypes.c_ulong(wanted), *[ctypes.c_ulong(0)] * 3):
        raise OSError(ctypes.get_errno(), "prctl")


def serve(channel: socket.socket, modules: list[str]) -> dict[str, Any]:
    """Fork a command for each message until the other end closes; returns in the command, with its order."""
    for name in modules:
        importlib.import_module(name)
    prepare()
    gc.freeze()
    while True:
        message, streams, *_ = socket.recv_fds(channel, _MAX_MESSAGE_BYTES, 3)
        if not message:
            os._exit(0)
        reading, writing = os.pipe()
        between = os.fork()
        if between == 0:
            os.close(reading)
            if (pid := os.fork()) != 0:
                os.write(writing, str(pid).encode())
                os._exit(0)
            channel.close()
            os.close(writing)
            return _become(json.loads(message), streams)
        os.close(writing)
        os.waitpid(between, 0)
        with open(reading, "rb") as pipe:
            channel.send(pipe.read())
        for stream in streams:
            os.close(stream)


def prepare() -> None:
    """What every command would do again: import its modules, make the commands, read the shipped models."""
    for package in PACKAGES:
        found = importlib.import_module(f"evalkit.{package}")
        for module in walk_packages(found.__path__, f"{found.__name__}."):
            importlib.import_module(module.name)
    from evalkit.cli.app import COMMANDS, command, single_command
    from evalkit.models.catalog import ModelCatalog

    command()
    for name in COMMANDS:
        single_command(name)
    ModelCatalog.load()


def _become(order: dict[str, Any], streams: list[int]) -> dict[str, Any]:
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, 256)
    sys.stdin, sys.stdout = open(0), open(1, "w")  # noqa: SIM115 - as Python opens them when it starts
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace")  # noqa: SIM115
    sys.argv = order["words"]
    return order


def leave(code: object) -> None:
    """End as the interpreter does, but without taking itself apart: that takes longer than most commands."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    gc.collect()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else code is not None)


def run_text(text: str) -> None:
    """Run a program as `python -W error -c` does."""
    warnings.simplefilter("error")
    sys.modules["__main__"] = main_module = ModuleType("__main__")
    sys.path.insert(0, "")
    exec(compile(text, "<string>", "exec"), vars(main_module))


if __name__ == "__main__":
    del sys.path[0]
    _, *rest = serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])["words"]
    try:
        if sys.argv[0] == "-c":
            run_text(*rest)
            leave(0)
        from evalkit.cli import main

        main()
    except SystemExit as left:
        leave(left.code)
