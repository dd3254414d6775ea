"""Downloads that are either complete and right, or not there at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from evalkit import __version__
from evalkit.errors import DataError

Progress = Callable[[str, int, int | None], None]
"""Called with the URL, the bytes received and the bytes expected (None if the server does not say)."""

_SCHEMES = ("http", "https", "file")
_TRANSIENT_STATUS = (408, 425, 429, 500, 502, 503, 504)
_CHUNK_BYTES = 1 << 20
_ABANDONED_AFTER_S = 24 * 3600
_PART_SUFFIX = ".part"


class _Interrupted(Exception):
    """This attempt failed; another may not."""


@dataclass(frozen=True, slots=True)
class Downloader:
    """Fetches URLs in the calling thread.

    Attributes:
        attempts: How often a transient error (5xx, lost connection, truncated body) is tried.
        wait_s: Pause before the second attempt; doubled before each further one.
        timeout_s: Longest silence of the server.
    """

    attempts: int = 4
    wait_s: float = 1.0
    timeout_s: float = 60.0
    progress: Progress | None = None

    def fetch(self, url: str, target: BinaryIO) -> str:
        """Write what the URL gives to `target`, from its beginning; return the sha256 in hex.

        Raises:
            DataError: The URL can't be fetched, or not completely.
        """
        if url.split(":", 1)[0] not in _SCHEMES:
            raise DataError(f"can't download {url}: only {', '.join(_SCHEMES)} URLs are supported")
        for attempt in range(1, self.attempts + 1):
            try:
                target.seek(0)
                target.truncate()
                return self._fetch_once(url, target)
            except _Interrupted as problem:
                if attempt == self.attempts:
                    raise DataError(f"can't download {url}: {problem} ({attempt} attempts)") from None
                time.sleep(self.wait_s * 2 ** (attempt - 1))
        raise DataError(f"can't download {url}: no attempt allowed")

    def _fetch_once(self, url: str, target: BinaryIO) -> str:
        from http.client import HTTPException
        from urllib.error import HTTPError, URLError
        from urllib.request import Request, urlopen

        request = Request(
            url, headers={"User-Agent": f"evalkit/{__version__}", "Accept-Encoding": "identity"}
        )
        try:
            with urlopen(request, timeout=self.timeout_s) as answer:
                length = answer.headers.get("Content-Length")
                return self._copy(url, answer, target, int(length) if length else None)
        except HTTPError as error:
            error.close()
            if error.code in _TRANSIENT_STATUS:
                raise _Interrupted(f"the server answered {error.code} {error.reason}") from None
            raise DataError(
                f"can't download {url}: the server answered {error.code} {error.reason}"
            ) from None
        except URLError as error:
            if isinstance(error.reason, FileNotFoundError):
                raise DataError(f"can't download {url}: there is no such file") from None
            raise _Interrupted(str(error.reason)) from None
        except (HTTPException, ConnectionError, TimeoutError) as error:
            raise _Interrupted(f"{type(error).__name__}: {error}") from None

    def _copy(self, url: str, answer: BinaryIO, target: BinaryIO, expected: int | None) -> str:
        digest, received = hashlib.sha256(), 0
        while chunk := answer.read(_CHUNK_BYTES):
            target.write(chunk)
            digest.update(chunk)
            received += len(chunk)
            if self.progress is not None:
                self.progress(url, received, expected)
        if expected is not None and received != expected:
            raise _Interrupted(f"the download stopped after {received} of {expected} bytes")
        return digest.hexdigest()


@contextmanager
def appearing(path: Path) -> Iterator[BinaryIO]:
    """A file that appears at `path` only when the block has ended without an error, complete and on disk.

    Each writer has its own temporary file next to `path`, so that any number of processes may write at once.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_PART_SUFFIX, dir=path.parent)
    part = Path(name)
    try:
        with open(descriptor, "w+b") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.chmod(0o644)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Remove what killed processes left behind long ago."""
    for part in folder.glob(f".*{_PART_SUFFIX}"):
        try:
            if time.time() - part.stat().st_mtime > _ABANDONED_AFTER_S:
                part.unlink()
        except FileNotFoundError:  # another process swept it or has finished it
            continue
