"""Benchmark files on this machine: a mirror, a cache, and downloads into the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from evalkit.data.download import Downloader, appearing
from evalkit.data.file import Archive, DataFile
from evalkit.data.folder import folder_sha256, unpack
from evalkit.data.huggingface import export
from evalkit.errors import DataError

CACHE_VARIABLE = "EVALKIT_CACHE_DIR"


class DataStore:
    """Finds benchmark files: in the mirror, else in the cache, else by download into the cache.

    Args:
        mirror: Folder that is looked in first and never written; None: there is none.
        cache: Folder for downloads; None: EVALKIT_CACHE_DIR, else `~/.cache/evalkit`.
        offline: Download nothing.
        verify: Refuse content whose checksum is not the pinned one.
        downloader: How to download.
    """

    def __init__(
        self,
        mirror: Path | None = None,
        cache: Path | None = None,
        offline: bool = False,
        verify: bool = True,
        downloader: Downloader | None = None,
    ) -> None:
        self.mirror = mirror
        self.cache = cache if cache is not None else default_cache()
        self.offline, self.verify = offline, verify
        # Many runs may need one archive: what failed for one is not tried again for the next.
        self._unreachable: dict[str, str] = {}
        self.downloader = downloader if downloader is not None else Downloader()

    def path(self, file: DataFile) -> Path:
        """The local path of a file, downloaded if need be. Blocks; safe in several processes at once.

        Raises:
            DataError: The file can't be had, or its checksum is not the pinned one.
        """
        found = self._find(file)
        if found is None:
            found = self._fetch(file)
        if self.verify and file.sha256 is not None:
            self._check(str(found), file.sha256, content_sha256(found))
        return found

    def is_local(self, file: DataFile) -> bool:
        """Whether the file is here already, right or wrong."""
        return self._find(file) is not None

    def digest(self, files: Iterable[DataFile]) -> str | None:
        """One sha256 in hex over the paths and contents of the files; None if it can't be known yet.

        A file that is not here counts with its pinned checksum, so that the digest is the same before and
        after the download.

        Raises:
            DataError: The checksum of a local file is not the pinned one.
        """
        total = hashlib.sha256()
        for file in sorted(files, key=lambda f: f.path):
            if self.is_local(file):
                content = content_sha256(self.path(file))
            elif self.verify and file.sha256 is not None:
                content = file.sha256
            else:
                return None
            total.update(f"{file.path}\0{content}\n".encode())
        return total.hexdigest()

    def _find(self, file: DataFile) -> Path | None:
        return next((path for path in self._places(file) if _is_there(file, path)), None)

    def _places(self, file: DataFile) -> list[Path]:
        folders = [self.cache] if self.mirror is None else [self.mirror, self.cache]
        return [folder / file.path for folder in folders]

    def _fetch(self, file: DataFile) -> Path:
        if self.offline or file.source is None:
            looked = " and ".join(str(path) for path in self._places(file))
            why = (
                "it has no download address" if file.source is None else f"offline, so not from {file.source}"
            )
            raise DataError(f"data file '{file.path}' is missing: looked at {looked}; {why}")
        target = self.cache / file.path
        if file.hub is not None:
            export(file.hub, target)
        elif file.archive is not None and file.member is not None:
            archive = self._archive(file.archive)
            if file.folder:
                unpack(archive, file.member, target)
            else:
                self._extract(archive, file.archive, file.member, target)
        elif file.url is not None:
            self._download(file.url, file.sha256, target)
        return target

    def _download(self, url: str, sha256: str | None, target: Path) -> None:
        if (reason := self._unreachable.get(url)) is not None:
            raise DataError(reason)
        try:
            with appearing(target) as stream:
                found = self.downloader.fetch(url, stream)
                if self.verify and sha256 is not None:
                    self._check(url, sha256, found)
        except DataError as error:
            self._unreachable[url] = str(error)
            raise

    def _archive(self, archive: Archive) -> Path:
        """The archive in the cache. Its name holds its URL's hash: two archives may both be `data.tar`."""
        name = archive.url.rsplit("/", 1)[-1] or "archive"
        path = self.cache / "archives" / f"{hashlib.sha256(archive.url.encode()).hexdigest()[:16]}-{name}"
        if not path.is_file():
            self._download(archive.url, archive.sha256, path)
        elif self.verify and archive.sha256 is not None:
            self._check(str(path), archive.sha256, content_sha256(path))
        return path

    def _extract(self, path: Path, archive: Archive, member: str, target: Path) -> None:
        """Write one member to `target`. Names inside the archive decide nothing about where."""
        import tarfile
        import zipfile
        import zlib

        try:
            with appearing(target) as stream:
                if archive.kind == "zip":
                    with zipfile.ZipFile(path) as zipped, zipped.open(member) as content:
                        shutil.copyfileobj(content, stream)
                    return
                with tarfile.open(path) as tar:
                    info = tar.getmember(member)
                    reader = tar.extractfile(info) if info.isreg() else None
                    if reader is None:
                        raise DataError(f"{member} in {path} is a link or folder, not a file")
                    shutil.copyfileobj(reader, stream)
        except KeyError:
            raise DataError(f"{path} (from {archive.url}) holds no {member}") from None
        except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, OSError) as error:
            raise DataError(
                f"can't read {member} from {path}: {error}; delete the archive and retry"
            ) from None

    def _check(self, what: str, expected: str, found: str) -> None:
        if found != expected:
            raise DataError(
                f"{what} is not the file that was pinned: expected sha256 {expected}, found {found}; "
                "delete it to download it again, or accept it with --unverified-data"
            )


def _is_there(file: DataFile, path: Path) -> bool:
    return path.is_dir() if file.folder else path.is_file()


def default_cache() -> Path:
    """The cache folder: EVALKIT_CACHE_DIR, else `~/.cache/evalkit`."""
    folder = os.environ.get(CACHE_VARIABLE)
    return Path(folder) if folder else Path.home() / ".cache" / "evalkit"


def content_sha256(path: Path) -> str:
    """The sha256 of a file's content in hex; computed once per process while the file stays the same.

    Of a folder it is that of its files' names and contents.
    """
    if path.is_dir():
        return folder_sha256(path)
    status = path.stat()
    return _content_sha256(str(path), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _content_sha256(path: str, size: int, mtime_ns: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
