"""What the libraries that load a model warn of, kept for the user."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_LIBRARIES = ("transformers", "peft", "accelerate")
# About a program's code rather than about its data.
_ABOUT_CODE = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ResourceWarning, ImportWarning)
# Said by evalkit itself, with what to do about it.
_SAID_ELSEWHERE = ("LOAD REPORT", "Found missing adapter keys")
_NUM_KEPT = 6
# What is changed belongs to the whole process, and is put back as it was.
_QUIET = threading.RLock()
_CHARACTERS = 300


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars, hints and warnings of the libraries between ours; one thread at a time."""
    from transformers.utils import logging

    with _QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
        logging.disable_progress_bar()
        logging.set_verbosity_error()
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)
            if shown:
                logging.enable_progress_bar()


@contextmanager
def library_warnings() -> Iterator[list[str]]:
    """Fills the list, when it ends, with what transformers and PEFT warn of meanwhile; prints nothing.

    Nests in `quiet`; one thread at a time.
    """
    from transformers.utils import logging as their_logging

    found: list[str] = []
    collected: dict[str, None] = {}
    handler = _WarningCollector(collected)
    verbosity = their_logging.get_verbosity()
    loggers = [logging.getLogger(name) for name in _LIBRARIES]
    before = [(list(logger.handlers), logger.propagate) for logger in loggers]
    with suppress(AttributeError):  # what was said of one model is said of the next one, too
        their_logging.warning_once.cache_clear()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        their_logging.set_verbosity_warning()
        for logger in loggers:
            logger.handlers[:], logger.propagate = [handler], False
        try:
            yield found
        finally:
            for logger, (handlers, propagate) in zip(loggers, before, strict=True):
                logger.handlers[:], logger.propagate = handlers, propagate
            their_logging.set_verbosity(verbosity)
    for warning in warned:
        library = _library(warning.filename)
        if library is not None and not issubclass(warning.category, _ABOUT_CODE):
            collected.setdefault(_line(library, str(warning.message)))
    said = [line for line in collected if not any(known in line for known in _SAID_ELSEWHERE)]
    found += said[:_NUM_KEPT]
    if (more := len(said) - _NUM_KEPT) > 0:
        found.append(f"and {more} more warnings")


class _WarningCollector(logging.Handler):
    """Keeps warnings that are logged, each once."""

    def __init__(self, collected: dict[str, None]) -> None:
        super().__init__(logging.WARNING)
        self._collected = collected

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(Exception):  # a message that can't be formatted must not end the loading
            self._collected.setdefault(_line(record.name.partition(".")[0], record.getMessage()))


def _library(path: str) -> str | None:
    """Which of the libraries a warning comes from."""
    parts = path.replace("\\", "/").split("/")
    return next((name for name in _LIBRARIES if name in parts), None)


def _line(library: str, message: str) -> str:
    text = " ".join(message.split())
    cut = text if len(text) <= _CHARACTERS else text[: _CHARACTERS - 1] + "…"
    return f"{library} warns: {cut}"
