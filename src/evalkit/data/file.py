"""A benchmark file: its place in a mirror, where it can be downloaded, and what it must be."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote_to_bytes, urlsplit

from evalkit.errors import DataError


@dataclass(frozen=True, slots=True)
class Archive:
    """A tar (compressed or not) or zip file that holds benchmark files.

    Attributes:
        sha256: Checksum in hex that the download must have; None if it is not pinned.
    """

    url: str
    sha256: str | None = None
    kind: Literal["tar", "zip"] = "tar"


@dataclass(frozen=True, slots=True)
class HubSplit:
    """One split of a Hugging Face dataset.

    Attributes:
        dataset: Its name on the Hub, such as `google/IFEval`.
        split: `train`, `validation`, `test`, …
        revision: The commit of the dataset's repository.
        config: The configuration, where the dataset has several.
        script: Whether that commit makes its rows by a Python script, which is then run.
    """

    dataset: str
    split: str
    revision: str
    config: str | None = None
    script: bool = False

    @property
    def source(self) -> str:
        """Where it comes from, in words for messages."""
        name = f"{self.dataset}/{self.config}" if self.config else self.dataset
        return f"the split {self.split} of {name} on Hugging Face (revision {self.revision[:8]})"


@dataclass(frozen=True, slots=True)
class DataFile:
    """One benchmark file.

    Attributes:
        path: Its place below a mirror and below the cache, with `/`, such as `gsm8k/test.jsonl`.
        url: Where to download it (http, https). What a `file://` URL names is read where it is.
        sha256: Checksum in hex that its content must have; None if it is not pinned.
        archive: Instead of `url`: the archive that holds it,
        member: and its name in there.
        hub: Instead of `url`: the split of a Hugging Face dataset that it holds as JSON lines.
        folder: It is a folder of files, taken from a tar archive; `member` is the folder's name in there.
        how_made: How a user makes one that can't be downloaded, in words; asked only where it is missing.

    Raises:
        DataError: `path` leads out of the folder, or an archive comes without member.
    """

    path: str
    url: str | None = None
    sha256: str | None = None
    archive: Archive | None = None
    member: str | None = None
    hub: HubSplit | None = None
    folder: bool = False
    how_made: Callable[[], str] | None = field(default=None, compare=False, repr=False)

    @staticmethod
    def local(path: str | os.PathLike[str]) -> DataFile:
        """A file or folder of your own, read where it is; its name and content are in the run's digest.

        Args:
            path: A relative one is meant from the working directory; `~` is the home directory.
        """
        place = Path(os.path.abspath(Path(path).expanduser()))
        name = place.name.replace("\\", "_") or "root"
        return DataFile(f"local/{name}", url=place.as_uri(), folder=place.is_dir())

    @staticmethod
    def given(place: str) -> DataFile:
        """A file that a user names: on this machine if it begins with `/`, `~` or `.`, else below a mirror.

        Raises:
            DataError: It leads out of the mirror.
        """
        return DataFile.local(place) if place.startswith(("/", "~", ".")) else DataFile(place)

    def __post_init__(self) -> None:
        parts = self.path.split("/")
        if {"", ".", ".."} & set(parts) or "\\" in self.path or ":" in parts[0]:
            raise DataError(f"'{self.path}' is not the path of a file within a data directory")
        if (self.archive is None) != (self.member is None):
            raise DataError(f"data file '{self.path}': set both archive and member, or neither")

    @property
    def local_path(self) -> Path | None:
        """Where it is read in place, for a `file://` URL; else None."""
        return None if self.url is None or self.archive is not None else path_of_url(self.url)

    @property
    def source(self) -> str | None:
        """Where it comes from, in words for messages; None if it can't be downloaded."""
        if self.hub is not None:
            return self.hub.source
        return f"{self.member} in {self.archive.url}" if self.archive else self.url


def path_of_url(url: str) -> Path | None:
    """The file that a `file:` URL names on this machine; None for other URLs.

    Raises:
        DataError: It names a file of another machine, or a relative one.
    """
    parts = urlsplit(url)
    if parts.scheme != "file":
        return None
    path = Path(os.fsdecode(unquote_to_bytes(parts.path)))  # a name need not be UTF-8
    if parts.netloc not in ("", "localhost") or not path.is_absolute():
        raise DataError(
            f"{url} is not a file on this machine; write file:///, then the path from the root on"
        )
    return path
