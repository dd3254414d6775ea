"""Folders of many small files, for benchmarks that come so: unpacked from a tar archive in one pass."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from evalkit.bounded_reads import copy_limited, unpacked_limit_bytes
from evalkit.errors import DataError


def unpack(archive: Path, member: str, target: Path) -> None:
    """Copy the files that lie directly in the folder `member` of a tar archive into the folder `target`.

    `target` appears when it is complete. Links and deeper folders are left out; of a name in the archive
    only the last part is used. Another process may do the same at once.

    Raises:
        DataError: The archive can't be read, or holds no such files.
    """
    import tarfile
    import zlib

    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        if not _copy(archive, member.strip("/"), part):
            raise DataError(f"{archive} holds no files in {member}")
        part.chmod(0o755)
        try:
            part.replace(target)
        except OSError:
            if not target.is_dir():
                raise
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise DataError(
            f"can't unpack {member} from {archive}: {error}; delete the archive and retry"
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _copy(archive: Path, member: str, target: Path) -> int:
    """Copy the files; return how many there were."""
    import tarfile

    count, limit = 0, unpacked_limit_bytes()
    with tarfile.open(archive) as tar:
        for info in tar:
            folder, _, name = info.name.removeprefix("./").rpartition("/")
            content = tar.extractfile(info) if folder == member and info.isreg() else None
            if content is not None:
                with (target / name).open("wb") as stream:
                    copy_limited(content, stream, limit)
                    limit -= stream.tell()
                count += 1
    return count
