"""What in the cache is from an archive that is not the pinned one: a record next to each file says so.

Such a file has mostly no checksum of its own, and the archive may be gone, so nothing else would show it.
"""

from __future__ import annotations

import re
from pathlib import Path

from evalkit.data.download import appearing
from evalkit.errors import DataError

UNKNOWN = "unknown"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST_BYTES = 1000


def record_archive(target: Path, found: str | None) -> None:
    """Say what a file or folder of the cache is unpacked from, before it appears.

    Args:
        target: Where it will be.
        found: The checksum of the archive, if it is not the pinned one; None if it is, or has no pin.

    Raises:
        DataError: The record can't be written.
    """
    record = _record_of(target)
    try:
        if found is None:
            record.unlink(missing_ok=True)
            return
        with appearing(record) as stream:
            stream.write(found.encode())
    except OSError as error:
        raise DataError(f"can't write {record}: {error.strerror}") from None


def recorded_archive(target: Path) -> str | None:
    """The checksum of the archive that a file was unpacked from, if it was not the pinned one; else None."""
    try:
        with _record_of(target).open("rb") as stream:
            found = stream.read(_MOST_BYTES).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return None
    except OSError:
        return UNKNOWN
    return found if _SHA256.fullmatch(found) else UNKNOWN


def _record_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.unverified")
