"""Standard output and standard error that never fail a command.

A terminal may not spell every character, a reader may have gone (`| head`), a stream may be closed or its
disk full. None of that may end a run that has done its work, so `prepared_streams` puts streams in place that
write what they can.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import shutil
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, TextIO, cast

PLAIN_SPELLING = "evalkit.plain"
"""Error handler of an encoding: what it can't spell is written with plain characters, else as an escape."""
# A reader that has gone wants no more; anything else that stops a stream is worth a word.
_READER_GONE = (errno.EPIPE, errno.ESHUTDOWN)
_FAILING_OR_UGLY = ("strict", "surrogateescape", "surrogatepass", "backslashreplace")
_PLAIN = {
    **dict.fromkeys("–—−‐‑‒─━═┄┈╌", "-"),
    **dict.fromkeys("│┃║▌", "|"),
    **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯╞╡╪┏┓┗┛┡┩╇", "+"),
    **dict.fromkeys("█▓▒■", "#"),
    **dict.fromkeys("░·", "."),
    **dict.fromkeys("‘’", "'"),
    **dict.fromkeys("“”„", '"'),
    **dict.fromkeys("•●", "*"),
    "…": "...",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "±": "+-",
    "×": "x",
    "→": "->",
    "↓": "(less is better)",
    "↵": " ",
    "√": "sqrt",
    "✓": "ok",
    "\xa0": " ",
}


def plain_spelling(character: str) -> str:
    """A character in ASCII: a like one, its letter without the accent, or an escape that names it."""
    if character in _PLAIN:
        return _PLAIN[character]
    stripped = "".join(c for c in unicodedata.normalize("NFKD", character) if ord(c) < 128)
    return stripped or character.encode("ascii", "backslashreplace").decode()


def _spell_plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(plain_spelling, error.object[error.start : error.end])), error.end


codecs.register_error(PLAIN_SPELLING, _spell_plainly)


def spelled(text: str, stream: IO[str] | None = None) -> str:
    """The text as the stream (standard output by default) will write it: what is to be measured."""
    encoding = getattr(stream or sys.stdout, "encoding", None) or "utf-8"
    try:
        return text.encode(encoding, PLAIN_SPELLING).decode(encoding)
    except (LookupError, UnicodeError):
        return text


def width() -> int | None:
    """Columns to write to: COLUMNS, else those of the terminal; None where there is no terminal to fit."""
    if os.environ.get("COLUMNS", "").isdecimal() or sys.stdout.isatty():
        return max(1, shutil.get_terminal_size().columns)
    return None


class RobustStream:
    """A text stream that goes on when it can't be written to.

    Attributes:
        lost: Why what was written since did not arrive; None as long as everything did.
        is_reported: Whether the user knows.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost: OSError | None = None
        self.is_reported = False

    def write(self, text: str) -> int:
        """Write, or do nothing once the stream is gone."""
        if self.lost is None:
            try:
                return self._stream.write(text)
            except OSError as error:
                self._give_up(error)
            except UnicodeEncodeError:
                # A stream that could not be given another error handler.
                with suppress(OSError):
                    self._stream.write(text.encode("ascii", PLAIN_SPELLING).decode())
            except ValueError:
                self._give_up(OSError(errno.EBADF, "it is closed"))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush, or do nothing once the stream is gone."""
        if self.lost is None:
            try:
                self._stream.flush()
            except OSError as error:
                self._give_up(error)

    @property
    def reader_is_gone(self) -> bool:
        """Whether the reader of the output has gone, so that writing more is useless."""
        return self.lost is not None and self.lost.errno in _READER_GONE

    def _give_up(self, error: OSError) -> None:
        self.lost = error
        # What is still buffered would fail again when the interpreter ends.
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def prepared_streams() -> Iterator[None]:
    """Within, standard output and standard error never raise because of what or where they write."""
    _open_closed_descriptors()
    before = sys.stdout, sys.stderr
    streams = [RobustStream(_lenient(stream)) for stream in before]
    sys.stdout, sys.stderr = cast("tuple[TextIO, TextIO]", tuple(streams))
    try:
        yield
    finally:
        for stream in streams:
            stream.flush()
        sys.stdout, sys.stderr = before


def nobody_reads() -> bool:
    """Whether the reader of standard output has gone, so that making more output is useless."""
    return getattr(sys.stdout, "reader_is_gone", False)


def lost_output() -> str:
    """Why not all of standard output arrived, said once; empty if it did, or if its reader has gone."""
    stream: object = sys.stdout
    sys.stdout.flush()
    if not isinstance(stream, RobustStream) or stream.lost is None or stream.is_reported:
        return ""
    stream.is_reported = True
    return "" if stream.reader_is_gone else stream.lost.strerror or str(stream.lost)


def _lenient(stream: TextIO | None) -> TextIO:
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")
    # A handler that the user has chosen (PYTHONIOENCODING=ascii:replace) is kept.
    if isinstance(stream, io.TextIOWrapper) and stream.errors in _FAILING_OR_UGLY:
        with suppress(ValueError, OSError):
            stream.reconfigure(errors=PLAIN_SPELLING)
    return stream


def _open_closed_descriptors() -> None:
    """With `>&-` the next file to be opened would get the number of standard output, and its text."""
    while True:
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor > 2:
            os.close(descriptor)
            return
