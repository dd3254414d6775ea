"""Every error evalkit raises on purpose.

EvalkitError                     base; its text is one clear message for the user
├── UsageError                   the user asked for something impossible: exit code 2, before anything is sent
│   ├── EntryError               a mistake inside a run entry; shows the string with the place marked
│   ├── ConfigError              a mistake inside a file (YAML, conf), with file and place
│   └── UnknownNameError         no such run spec, scenario, metric, model …, with the nearest names
├── PluginError                  a plugin can't be imported, or two claim one name
├── DataError                    a benchmark file is missing, truncated or has another checksum
├── StoreError                   a run directory is locked, corrupt or of a newer format
│   ├── DamageError              one of its files is lost or damaged; the message says what helps
│   └── ReadOnlyError            it can be read, but not written to
├── UnclearVerdict               a judge's reply can't be read; the question is asked again
├── SystemicError                going on makes no sense (wrong key, dead server, budget spent): exit code 3
└── ClientError                  one request failed
    ├── TransientError           worth another attempt (overload, 5xx, connection, timeout, malformed body)
    │   └── OverloadError        the server asks for less (429, 503, 529); may carry Retry-After
    ├── CutThinkingError         a stop sequence cut the thinking; another attempt goes without
    ├── BadRequestError          the server refuses this request; another attempt gets the same answer
    │   └── ContentFilterError   a content filter blocked the prompt or the answer
    └── AuthenticationError      the server refuses this key; no request can succeed
"""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalkit.response import Usage

from evalkit.redaction import one_line


class EvalkitError(Exception):
    """Base of all errors with a message meant for the user."""

    exit_code: int = 3


class UsageError(EvalkitError):
    """What was asked for is not possible; nothing was loaded or sent."""

    exit_code = 2


class UnclearVerdict(EvalkitError):
    """A judge's reply can't be read; says what is missing in it."""


class ConfigError(UsageError):
    """A configuration file is wrong; the message names file and place."""


class EntryError(UsageError):
    """A run entry is wrong.

    Args:
        message: What is wrong and what would be right.
        entry: The run entry as given.
        span: Start and end offset of the wrong part in `entry`.
        source: Where the entry came from (file and line), if not the command line.
    """

    def __init__(
        self, message: str, entry: str, span: tuple[int, int] = (0, 0), source: str | None = None
    ) -> None:
        self.message, self.entry, self.span, self.source = message, entry, span, source
        super().__init__(message)

    def __str__(self) -> str:
        start, end = self.span
        marked = f"  {self.entry}\n  {' ' * start}{'^' * max(1, end - start)}"
        where = f" ({self.source})" if self.source else ""
        return f"{self.message}{where}\n{marked}"


class UnknownNameError(UsageError):
    """No plugin, model or parameter has this name.

    Args:
        kind: What was looked for, in words ("run spec", "metric").
        name: The name that was not found.
        known: The names that exist.
        hint: One more sentence, such as a plugin that failed to import.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        self.kind, self.name = kind, name
        self.nearest = nearest_names(name, known)
        message = f"unknown {kind} '{name}'"
        if self.nearest:
            message += f"; did you mean {' or '.join(repr(n) for n in self.nearest)}?"
        super().__init__(f"{message} {hint}".rstrip())


class PluginError(UsageError):
    """A plugin can't be loaded, or two plugins claim the same name."""


class DataError(EvalkitError):
    """A benchmark file is missing, damaged, or not the one that was pinned."""


class StoreError(EvalkitError):
    """A run directory can't be used: locked, corrupt, or of a newer format."""


class DamageError(StoreError):
    """A file of a run is lost or damaged; the message says how to repair it: a repair, a run, an import."""


class ReadOnlyError(StoreError):
    """A run directory can be read, but not written to."""


REMEDY = "`evalkit run` with the run's entry, or `evalkit verify --repair`, makes it anew"
"""What helps where the other files hold what is lost: manifest, run spec, scores and stats."""
REMEDY_RUN = "`evalkit run` with the run's entry makes it anew"
"""What helps where the benchmark's data or the model is needed: instances and answers."""
REMEDY_IMPORT = "importing it again makes it anew"
"""What helps a run that came from another harness."""


class SystemicError(EvalkitError):
    """Going on makes no sense; what is done stays done and can be resumed."""


# After these the server has done no work that it bills, unless it says otherwise.
_FREE_REASONS = frozenset({"overload", "server_error", "bad_request", "authentication", "quota"})


class ClientError(EvalkitError):
    """One request failed. Its message is one line, without keys and control characters.

    Attributes:
        reason: One word for tables and journals: `timeout`, `connection`, `overload`, `server_error`,
            `malformed`, `bad_request`, `content_filter`, `authentication`, `quota`.
        may_be_billed: Whether the server may have done the work and may bill it; set by who knows better than
            the reason says.
    """

    reason: str = "error"

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(one_line(message))
        if reason is not None:
            self.reason = reason
        self.may_be_billed = self.reason not in _FREE_REASONS


class TransientError(ClientError):
    """Another attempt may succeed."""

    reason = "server_error"


class OverloadError(TransientError):
    """The server asks for less (429, 503, 529).

    Attributes:
        retry_after_s: Seconds the server asked to wait, or None.
    """

    reason = "overload"

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class CutThinkingError(ClientError):
    """A stop sequence has cut the model's thinking; the client sends none in the next attempt.

    The server was well, and bills what it has done: the next attempt is one more send, to be paid for anew.

    Attributes:
        usage: What this send was billed with.
    """

    reason = "cut_thinking"

    def __init__(self, message: str, usage: Usage) -> None:
        super().__init__(message)
        self.usage = usage


class BadRequestError(ClientError):
    """The server refuses this very request; never retried.

    Attributes:
        parameter: The request's field that the server says it does not take.
    """

    reason = "bad_request"

    def __init__(self, message: str, reason: str | None = None, parameter: str | None = None) -> None:
        super().__init__(message, reason)
        self.parameter = parameter


class ContentFilterError(BadRequestError):
    """A content filter blocked the prompt or the answer; asking again is in vain.

    Attributes:
        text: What had been written before the filter cut it off.
    """

    reason = "content_filter"

    def __init__(self, message: str, text: str = "") -> None:
        super().__init__(message)
        self.text = text


class AuthenticationError(ClientError):
    """The server refuses the key; the whole deployment stops."""

    reason = "authentication"


_OS_REASONS = {
    errno.EROFS: "the disk is read-only",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.ENOTDIR: "a part of this path is a file, not a folder",
    errno.EISDIR: "it is a folder, not a file",
    errno.ENOENT: "there is no such file or folder",
    errno.EACCES: "there is no permission for that",
    errno.EPERM: "there is no permission for that",
    errno.ENAMETOOLONG: "its name is too long for the file system",
    errno.EOVERFLOW: "a number in it is too large for the file system",
    errno.ELOOP: "its links go in a circle",
    errno.EMFILE: "too many files are open (`ulimit -n` raises the limit)",
    errno.EIO: "the disk reports an error",
}


def os_error_in_words(error: OSError) -> str:
    """What the operating system refuses, as a sentence for the user: which file, and why."""
    reason = _OS_REASONS.get(error.errno or 0) or error.strerror or type(error).__name__
    return reason if error.filename is None else f"can't use {os.fsdecode(error.filename)}: {reason}"


_compares_names = ContextVar("_compares_names", default=True)


@contextmanager
def without_nearest_names() -> Iterator[None]:
    """Errors made inside the block name no nearest names: comparing costs more than all else of an error."""
    before = _compares_names.set(False)
    try:
        yield
    finally:
        _compares_names.reset(before)


def nearest_names(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """The known names most like `name`, best first; also matches regardless of case.

    Inside `without_nearest_names`, none.
    """
    if not _compares_names.get():
        return []
    by_folded = {k.casefold(): k for k in known}
    matches = difflib.get_close_matches(name.casefold(), by_folded, n=limit, cutoff=0.6)
    return [by_folded[m] for m in matches]
