"""Benchmark files on this machine: a mirror, a cache, and downloads into the cache.

What a `file://` URL names is read where it is and never copied: a copy would hide later edits.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from evalkit.bounded_reads import copy_limited, unpacked_limit_bytes
from evalkit.data.content import content_sha256
from evalkit.data.download import Downloader, appearing
from evalkit.data.file import Archive, DataFile, path_of_url
from evalkit.data.folder import unpack
from evalkit.data.huggingface import export
from evalkit.data.unpinned import record_archive, recorded_archive
from evalkit.errors import DataError

CACHE_VARIABLE = "EVALKIT_CACHE_DIR"


class DataStore:
    """Finds benchmark files: in the mirror, else in the cache, else by download into the cache.

    What a `file://` URL names is read where it is; only if it is not there, the mirror is looked at.

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
            DataError: The file is not available, or its checksum is not the pinned one.
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
            DataError: The checksum of a local file is not the pinned one, or a file that is missing is one to
                be read in place or has no download address.
        """
        total = hashlib.sha256()
        for file in sorted(files, key=lambda f: f.path):
            if self.is_local(file) or file.local_path is not None or file.source is None:
                content = content_sha256(self.path(file))
            elif self.verify and file.sha256 is not None:
                content = file.sha256
            else:
                return None
            total.update(f"{file.path}\0{content}\n".encode())
        return total.hexdigest()

    def unverified(self, files: Iterable[DataFile]) -> list[str]:
        """What among the local files is not the pinned data and is used all the same, one sentence each.

        That is what `verify=False` accepts now, and what was unpacked into the cache when it was accepted.

        Raises:
            DataError: One can't be read.
        """
        found: dict[str, None] = {}
        for file in files:
            if (path := self._find(file)) is None:
                continue
            content = content_sha256(path) if file.sha256 is not None and not self.verify else file.sha256
            if content != file.sha256:
                found[
                    f"data file '{file.path}' is not the one that was pinned (expected sha256 {file.sha256}, "
                    f"found {content}); accepted by --unverified-data"
                ] = None
            if file.archive is not None and file.sha256 is None and path == self._cached(file):
                found.update(dict.fromkeys(self._unverified_archive(file.archive, path)))
        return list(found)

    def _unverified_archive(self, archive: Archive, path: Path) -> Iterator[str]:
        """What is to be said of the archive that a file of the cache is from, if anything."""
        place = self._archive_path(archive)
        content = recorded_archive(path)
        if content is None and not self.verify and archive.sha256 is not None and place.is_file():
            content = content_sha256(place)
        if content is None or content == archive.sha256 or archive.sha256 is None:
            return
        how = (
            f"accepted by an earlier --unverified-data; delete its files in {self.cache} to unpack the "
            "pinned archive"
            if self.verify
            else "accepted by --unverified-data"
        )
        yield (
            f"the archive {_shown(archive.url)} is not the one that was pinned (expected sha256 "
            f"{archive.sha256}, found {content}), and its files are used: {how}"
        )

    def _find(self, file: DataFile) -> Path | None:
        return next((path for path in self._places(file) if _is_there(file, path)), None)

    def _places(self, file: DataFile) -> list[Path]:
        mirrored = [] if self.mirror is None else [self.mirror / file.path]
        if file.local_path is not None:
            return [file.local_path, *mirrored]
        return [*mirrored, self._cached(file)]

    def _cached(self, file: DataFile) -> Path:
        """The place of a file in the cache.

        That of one out of an archive on this machine tells by the archive's content whether it is still true.
        """
        archive = path_of_url(file.archive.url) if file.archive is not None else None
        if archive is None or not archive.is_file():
            return self.cache / file.path
        return self.cache / "local" / content_sha256(archive)[:16] / file.path

    def _fetch(self, file: DataFile) -> Path:
        why = ""
        if self.offline and not _has_local_archive(file):
            why = f"evalkit is offline and does not download it from {file.source}"
        if file.local_path is not None:
            why = "it is read in place"
        elif file.source is None:
            why = "it has no download address"
        if why:
            if file.how_made is not None:
                why = file.how_made()
            looked = " and ".join(str(path) for path in self._places(file))
            raise DataError(f"data file '{file.path}' is missing: looked at {looked}; {why}")
        target = self._cached(file)
        if file.hub is not None:
            export(file.hub, target)
        elif file.archive is not None and file.member is not None:
            archive = self._archive(file.archive)
            record_archive(target, self._foreign_sha256(file.archive, archive))
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
        """The archive: where a `file://` URL says, else in the cache."""
        path = self._archive_path(archive)
        if path_of_url(archive.url) is None:
            if not path.is_file():
                self._download(archive.url, archive.sha256, path)
                return path
        elif not path.is_file():
            raise DataError(f"the archive {path} is missing")
        if self.verify and archive.sha256 is not None:
            self._check(str(path), archive.sha256, content_sha256(path))
        return path

    def _foreign_sha256(self, archive: Archive, path: Path) -> str | None:
        """The checksum of an archive that is not the pinned one; None for the others."""
        if self.verify or archive.sha256 is None:
            return None
        found = content_sha256(path)
        return None if found == archive.sha256 else found

    def _archive_path(self, archive: Archive) -> Path:
        """Where the archive is, or will be.

        Its name in the cache holds its URL's hash: two archives may both be `data.tar`.
        """
        if (path := path_of_url(archive.url)) is not None:
            return path
        name = archive.url.rsplit("/", 1)[-1] or "archive"
        tag = hashlib.sha256(archive.url.encode()).hexdigest()[:16]
        return self.cache / "archives" / f"{tag}-{name}"

    def _extract(self, path: Path, archive: Archive, member: str, target: Path) -> None:
        """Write one member to `target`. Names inside the archive decide nothing about where."""
        import tarfile
        import zipfile
        import zlib

        limit = unpacked_limit_bytes()
        try:
            with appearing(target) as stream:
                if archive.kind == "zip":
                    with zipfile.ZipFile(path) as zipped, zipped.open(member) as content:
                        copy_limited(content, stream, limit)
                    return
                with tarfile.open(path) as tar:
                    info = tar.getmember(member)
                    reader = tar.extractfile(info) if info.isreg() else None
                    if reader is None:
                        raise DataError(f"{member} in {path} is a link or folder, not a file")
                    copy_limited(reader, stream, limit)
        except KeyError:
            raise DataError(f"{path} (from {archive.url}) holds no {member}") from None
        except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, OSError) as error:
            raise DataError(
                f"can't read {member} from {path}: {error}; delete the archive and retry"
            ) from None

    def _check(self, what: str, expected: str, found: str) -> None:
        if found == expected:
            return
        ours = not Path(what).is_file() or Path(what).is_relative_to(self.cache)
        remedy = "delete it to download it again, or" if ours else "put the pinned file there, or"
        raise DataError(
            f"{what} is not the file that was pinned: expected sha256 {expected}, found {found}; "
            f"{remedy} accept it with --unverified-data"
        )


def _shown(url: str) -> str:
    """A URL as a note may have it, which a run keeps: without user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _has_local_archive(file: DataFile) -> bool:
    return file.archive is not None and path_of_url(file.archive.url) is not None


def _is_there(file: DataFile, path: Path) -> bool:
    return path.is_dir() if file.folder else path.is_file()


def default_cache() -> Path:
    """The cache folder: EVALKIT_CACHE_DIR, else `~/.cache/evalkit`."""
    folder = os.environ.get(CACHE_VARIABLE)
    return Path(folder) if folder else Path.home() / ".cache" / "evalkit"
