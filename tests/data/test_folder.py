from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from evalkit.data import Archive, DataFile, DataStore
from evalkit.data.content import content_sha256
from evalkit.data.folder import unpack
from evalkit.errors import DataError

MEMBERS = {
    "top/reviews/b.txt": b"bad",
    "top/reviews/a.txt": b"good",
    "top/reviews/deeper/c.txt": b"not asked for",
    "top/other/d.txt": b"not asked for",
}


def archive(path: Path, members: Mapping[str, bytes] = MEMBERS) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("top/reviews/link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(link)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_only_the_files_of_the_folder_are_taken(tmp_path: Path) -> None:
    target = tmp_path / "data" / "reviews"
    unpack(archive(tmp_path / "a.tar.gz"), "top/reviews/", target)
    assert names(tmp_path / "data") == ["reviews", "reviews/a.txt", "reviews/b.txt"]
    assert (target / "a.txt").read_bytes() == b"good"


def test_a_second_process_changes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "reviews"
    target.mkdir()
    (target / "a.txt").write_text("already here")
    unpack(archive(tmp_path / "a.tar.gz"), "top/reviews", target)
    assert names(target) == ["a.txt"]
    assert (target / "a.txt").read_text() == "already here"


@pytest.mark.parametrize("member", ["top/elsewhere", "top"])
def test_an_empty_folder_is_an_error(tmp_path: Path, member: str) -> None:
    with pytest.raises(DataError, match=f"holds no files in {member}"):
        unpack(archive(tmp_path / "a.tar.gz"), member, tmp_path / "out")
    assert names(tmp_path) == ["a.tar.gz"]


def test_a_truncated_archive_leaves_nothing(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar.gz")
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(DataError, match=r"can't unpack top/reviews from .*delete the archive and retry"):
        unpack(path, "top/reviews", tmp_path / "out")
    assert names(tmp_path) == ["a.tar.gz"]


def test_the_digest_covers_names_and_contents(tmp_path: Path) -> None:
    digests = []
    for number, files in enumerate([{"a": "1", "b": "2"}, {"a": "1", "b": "3"}, {"a": "1", "c": "3"}]):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
        digests.append(content_sha256(folder))
    assert len(set(digests)) == 3


def test_the_digest_follows_files_that_come_and_go(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    os.utime(tmp_path, ns=(1, 1))
    first = content_sha256(tmp_path)
    (tmp_path / "b").write_text("2")
    os.utime(tmp_path, ns=(2, 2))
    second = content_sha256(tmp_path)
    (tmp_path / "b").unlink()
    os.utime(tmp_path, ns=(3, 3))
    assert second != first == content_sha256(tmp_path)


def test_a_store_finds_a_folder_or_unpacks_it(tmp_path: Path) -> None:
    source = Archive(archive(tmp_path / "a.tar.gz").as_uri())
    file = DataFile("set/reviews", archive=source, member="top/reviews", folder=True)
    store = DataStore(cache=tmp_path / "cache")
    assert not store.is_local(file)
    assert store.digest([file]) is None
    unpacked = store.path(file)
    assert names(unpacked) == ["a.txt", "b.txt"]
    mirrored = DataStore(mirror=unpacked.parents[1], cache=tmp_path / "empty", offline=True)
    assert mirrored.path(file) == unpacked
    assert mirrored.digest([file]) == store.digest([file]) is not None
