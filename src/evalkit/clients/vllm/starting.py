"""Starting vLLM's engine without a trace in this process: no output, no changed environment, no signals.

vLLM logs to the terminal, sets environment variables for its processes, and lets Ctrl-C through to them. For
the time it takes to start, all of that is arranged otherwise; starts of several engines follow one another.
"""

from __future__ import annotations

import json
import logging
import logging.config
import multiprocessing.spawn
import os
import re
import shlex
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from evalkit.clients.vllm import launch
from evalkit.errors import SystemicError

_ALONE = threading.Lock()
_TAIL_LINES = 12
_CPU_CACHE_GIB = "2"
_LINE_CHARACTERS = 300
_MARKED = re.compile(r"^\(\S+ pid=\d+\)\s+")
_LOGGED = re.compile(r"^[A-Z]+ \d\d-\d\d [\d:]+ \[[^\]]*\]\s?")
_SEARCHED_LINES = 400
_CAUSE_CHARACTERS = 1000
# What is raised further out, where a process fails.
_VAGUE = re.compile("initialization failed|failed to start")
_RAISED = re.compile(r"^[\w.]*(Error|Exception|Interrupt)\b: ")


class Starter:
    """Starts one engine, in a thread; `give_up` stops it meanwhile.

    Args:
        arguments: For vLLM's `AsyncEngineArgs`.
        folder: Where what it takes to start may be written.
        log: Where vLLM's log is appended to.
        record: Called by the engine after each of its steps, with vLLM's scheduler stats.

    Attributes:
        llm: The engine, as vLLM's `AsyncLLM`, once it is ready for requests.
    """

    def __init__(
        self, arguments: Mapping[str, Any], folder: Path, log: Path, record: Callable[[Any], None]
    ) -> None:
        self.llm: Any = None
        self.log = log
        self._arguments, self._folder, self._record = arguments, folder, record
        self._given_up = False
        self._others: frozenset[int | None] = frozenset()

    def start(self) -> None:
        """Set `llm`; takes its time.

        Raises:
            SystemicError: It can't be started; says why, and how its log ends.
        """
        with _ALONE, _arranged(self._arguments, self._folder, self.log):
            self._others = frozenset(process.pid for process in multiprocessing.active_children())
            try:
                if not self._given_up:
                    # Not returned: some exception that vLLM keeps would keep our frames, and so the engine.
                    self.llm = self._started()
                    return
                message = "vLLM was not started"
            except Exception as error:  # noqa: BLE001 - whatever vLLM raises, told in our words
                message = with_log("vLLM can't start", self.log, str(error))
            # Out of the handler, without its traceback: that would keep half an engine.
            raise SystemicError(message)

    def give_up(self) -> None:
        """Have `start` fail soon; call it again until it has."""
        self._given_up = True
        for process in multiprocessing.active_children():
            if process.name.startswith("EngineCore") and process.pid not in self._others:
                kill(process)

    def _started(self) -> Any:
        from vllm import envs
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.platforms import current_platform
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.async_llm import AsyncLLM

        if current_platform.is_cpu() and self._arguments.get("enforce_eager"):
            # It compiles a little all the same, for half a minute at the first log-probability.
            os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
        envs.disable_envs_cache()
        llm = AsyncLLM.from_engine_args(
            AsyncEngineArgs(**{"disable_log_stats": True, **self._arguments}),
            # Batches as large as vLLM makes them where no caller waits for single answers.
            usage_context=UsageContext.LLM_CLASS,
            stat_loggers=[lambda config, index=0: _Recorder(self._record)],
        )
        # Both cost time at every token: reading the environment, and counters for a server that is none.
        envs.enable_envs_cache()
        llm.logger_manager.stat_loggers = llm.logger_manager.stat_loggers[:1]
        return llm


class _Recorder:
    """What vLLM calls a stat logger."""

    def __init__(self, record: Callable[[Any], None]) -> None:
        self._record = record

    def record(self, scheduler_stats: Any = None, *_: Any, **__: Any) -> None:
        if scheduler_stats is not None:
            self._record(scheduler_stats)

    def log(self, *_: Any, **__: Any) -> None:
        """Nothing is logged."""

    log_engine_initialized = record_sleep_state = record_admission_rejection = log


def environment_for(arguments: Mapping[str, Any]) -> dict[str, str]:
    """What vLLM takes from the environment only; variables that are set already stay as they are.

    Args:
        arguments: What the engine is started with.
    """
    # vLLM must not report usage to its makers.
    wanted = {"VLLM_NO_USAGE_STATS": "1"}
    if "gpu_memory_utilization" not in arguments:
        # Without a GPU, it would take nearly all memory of the machine.
        wanted["VLLM_CPU_KVCACHE_SPACE"] = _CPU_CACHE_GIB
    return {name: os.environ.get(name, value) for name, value in wanted.items()}


def launching(log: Path, death_signal: signal.Signals) -> tuple[str, ...]:
    """The words of a command that come before what `python` is to do, for it to be done apart from us.

    Args:
        log: Where its output is appended to.
        death_signal: What it is sent when the thread that starts it ends, on Linux.
    """
    return (sys.executable, "-I", "-S", launch.__file__, str(log), str(int(death_signal)))


def kill(process: BaseProcess) -> None:
    """Kill one of vLLM's processes and all that it started; it leads its own session."""
    if process.pid is not None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def forget_log() -> None:
    """Let go of the log file; what vLLM logs in this process from now on is dropped."""
    logger = logging.getLogger("vllm")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.addHandler(logging.NullHandler())


def tail(log: Path) -> str:
    """The last lines of a log, without what vLLM puts before each."""
    lines = [_bare(line)[:_LINE_CHARACTERS] for line in _lines(log)]
    return "\n".join(line for line in lines if line.strip()[:1] not in ("", "^"))[-4000:].lstrip()


def with_log(what: str, log: Path, otherwise: str = "") -> str:
    """What happened, why, and the end of the log.

    Args:
        what: What happened.
        log: vLLM's.
        otherwise: Why, if the log does not say.
    """
    raised = [line for line in map(_bare, _lines(log, _SEARCHED_LINES)) if _RAISED.match(line)]
    cause = next((line for line in raised if not _VAGUE.search(line)), otherwise)
    message = f"{what}: {cause[:_CAUSE_CHARACTERS]}" if cause else what
    ending = tail(log)
    return message + (f"\nits log ends with:\n{ending}" if ending else "")


def _lines(log: Path, number: int = _TAIL_LINES) -> list[str]:
    try:
        return log.read_text(encoding="utf-8", errors="replace").splitlines()[-number:]
    except OSError:
        return []


def _bare(line: str) -> str:
    return _LOGGED.sub("", _MARKED.sub("", line))


@contextmanager
def _arranged(arguments: Mapping[str, Any], folder: Path, log: Path) -> Iterator[None]:
    config = _logging_config(log)
    described = folder / "logging.json"
    described.write_text(json.dumps(config), encoding="utf-8")
    # From its first line on; vLLM does the same again, here and in its processes.
    logging.config.dictConfig(config)
    environment = {
        "VLLM_CONFIGURE_LOGGING": "1",
        "VLLM_LOGGING_CONFIG_PATH": str(described),
        # A fork of a process with threads may hang, and would run nothing of `launch`.
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        **environment_for(arguments),
    }
    with warnings.catch_warnings(), _environment(environment), _launcher(folder, log):
        warnings.simplefilter("ignore")
        yield


def _logging_config(log: Path) -> dict[str, Any]:
    level = os.environ.get("VLLM_LOGGING_LEVEL", "INFO")
    line = {"format": "(%(processName)s pid=%(process)d) %(levelname)s %(asctime)s [%(name)s] %(message)s"}
    file = {"class": "logging.FileHandler", "filename": str(log), "formatter": "line", "encoding": "utf-8"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {**line, "datefmt": "%m-%d %H:%M:%S"}},
        "handlers": {"file": file},
        "loggers": {"vllm": {"handlers": ["file"], "level": level, "propagate": False}},
    }


@contextmanager
def _environment(needed: Mapping[str, str]) -> Iterator[None]:
    """With these variables; and afterwards without whatever vLLM has set besides."""
    before = dict(os.environ)
    os.environ.update(needed)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            os.environ.pop(name, None)
        os.environ.update(before)


@contextmanager
def _launcher(folder: Path, log: Path) -> Iterator[None]:
    """Processes that `multiprocessing` spawns are started through `launch`."""
    script = folder / "python"
    words = launching(log, signal.SIGKILL)
    script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
    script.chmod(0o700)
    before = multiprocessing.spawn.get_executable()
    multiprocessing.spawn.set_executable(str(script))
    try:
        yield
    finally:
        multiprocessing.spawn.set_executable(before)
