"""Files of the user's own are read in place, and no edit of them is missed."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from evalkit.data import Archive, DataFile, DataStore
from evalkit.data.content import content_sha256
from evalkit.data.rows import json_rows
from evalkit.errors import DataError


@pytest.fixture
def store(tmp_path: Path) -> DataStore:
    return DataStore(cache=tmp_path / "cache", offline=True)


def test_a_local_file_is_read_in_place_and_never_copied(tmp_path: Path, store: DataStore) -> None:
    source = tmp_path / "my questions?.jsonl"
    source.write_text("1")
    for file in (DataFile.local(source), DataFile("set/q.jsonl", url=source.as_uri())):
        assert store.path(file) == source
        before = store.digest([file])
        source.write_text("2" if source.read_text() == "1" else "1")
        assert store.digest([file]) != before
    assert not (tmp_path / "cache").exists()


def test_a_copy_that_an_earlier_version_made_is_not_used(tmp_path: Path, store: DataStore) -> None:
    source, copy = tmp_path / "q.jsonl", tmp_path / "cache" / "set" / "q.jsonl"
    source.write_text("new")
    copy.parent.mkdir(parents=True)
    copy.write_text("old")
    file = DataFile("set/q.jsonl", url=source.as_uri())
    assert store.path(file).read_text() == "new"
    source.unlink()
    with pytest.raises(DataError, match=r"'set/q.jsonl' is missing: .*; it is read in place"):
        store.path(file)
    with pytest.raises(DataError, match="is missing"):
        store.digest([file])


def test_an_edit_within_one_tick_of_the_clock_is_seen(tmp_path: Path, store: DataStore) -> None:
    source = tmp_path / "q.jsonl"
    file, digests = DataFile.local(source), set()
    for text in ("aaaa", "bbbb", "cccc"):
        source.write_text(text)
        os.utime(source, ns=(1, 1))  # same size, same time of modification
        digests.add(store.digest([file]))
    assert len(digests) == 3


def test_an_old_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "q.jsonl"
    source.write_text("1")
    monkeypatch.setattr("evalkit.data.content._SETTLED_AFTER_NS", -1)
    reads = []

    def digest(stream: io.BufferedReader, _: str) -> object:
        reads.append(stream)
        return hashlib.sha256(stream.read())

    monkeypatch.setattr("hashlib.file_digest", digest)
    first = content_sha256(source)
    assert content_sha256(source) == first
    assert len(reads) == 1
    source.write_text("2")
    assert content_sha256(source) != first


def test_names_and_places_are_no_matter_but_the_name_of_the_file(tmp_path: Path, store: DataStore) -> None:
    digests = []
    for place in ("a/q.jsonl", "b/q.jsonl", "b/other.jsonl"):
        source = tmp_path / place
        source.parent.mkdir(exist_ok=True)
        source.write_text("same")
        digests.append(store.digest([DataFile.local(source)]))
    assert digests[0] == digests[1] != digests[2]


def test_two_files_of_one_name_are_told_apart(tmp_path: Path, store: DataStore) -> None:
    sources = [tmp_path / "a" / "q", tmp_path / "b" / "q"]
    for source, text in zip(sources, "12", strict=True):
        source.parent.mkdir()
        source.write_text(text)
    files = [DataFile.local(source) for source in sources]
    assert [store.path(file).read_text() for file in files] == ["1", "2"]
    assert store.digest(files) != store.digest(files[::-1])


def test_relative_paths_links_and_the_home_directory(
    tmp_path: Path, store: DataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "real").write_text("1")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    relative, home, link = map(DataFile.local, ("real", "~/real", "link"))
    monkeypatch.chdir("/")
    before = store.digest([link])
    assert store.path(relative) == store.path(home) == tmp_path / "real"
    (tmp_path / "real").write_text("2")
    assert store.digest([link]) != before
    (tmp_path / "other").write_text("1")
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("other")
    assert store.digest([link]) == before


def test_a_folder_counts_with_all_that_is_in_it(tmp_path: Path, store: DataStore) -> None:
    folder = tmp_path / "set"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "q.jsonl").write_text("1")
    (folder / "back").symlink_to(folder)  # does not turn in circles
    file = DataFile.local(folder)
    assert store.path(file) == folder
    digests = [store.digest([file])]
    (folder / "deep" / "er" / "q.jsonl").write_text("2")
    digests.append(store.digest([file]))
    (folder / "new").write_text("")
    digests.append(store.digest([file]))
    (folder / "new").rename(folder / "newer")
    digests.append(store.digest([file]))
    assert len(set(digests)) == 4


def test_a_compressed_file_is_read_in_place(tmp_path: Path, store: DataStore) -> None:
    source = tmp_path / "q.jsonl.gz"
    file, digests = DataFile.local(source), set()
    for number in (1, 2):
        with gzip.open(source, "wt") as stream:
            stream.write(f'{{"n": {number}}}\n')
        digests.add(store.digest([file]))
        assert [row["n"] for row in json_rows(store.path(file), {"n": int})] == [number]
    assert len(digests) == 2


@pytest.mark.parametrize("folder", [False, True])
def test_what_comes_out_of_a_local_archive_follows_it(tmp_path: Path, store: DataStore, folder: bool) -> None:
    source = tmp_path / "set.tar"
    member = "top" if folder else "top/q"
    file = DataFile("set/q", archive=Archive(source.as_uri()), member=member, folder=folder)
    with pytest.raises(DataError, match=r"set.tar is missing"):
        store.path(file)
    found = []
    for text in (b"1", b"2", b"1"):
        with tarfile.open(source, "w") as tar:
            info = tarfile.TarInfo("top/q")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
        path = store.path(file)
        found.append(((path / "q" if folder else path).read_bytes(), store.digest([file])))
    assert [text for text, _ in found] == [b"1", b"2", b"1"]
    assert found[0] == found[2]
    assert found[0][1] != found[1][1]


def test_a_mirror_stands_in_only_where_the_file_itself_is_missing(tmp_path: Path) -> None:
    source, mirror = tmp_path / "q.jsonl", tmp_path / "mirror"
    (mirror / "set").mkdir(parents=True)
    (mirror / "set" / "q.jsonl").write_text("mirrored")
    (mirror / "q.jsonl").write_text("another file of that name")
    store = DataStore(mirror=mirror, cache=tmp_path / "cache")
    file = DataFile("set/q.jsonl", url=source.as_uri())
    assert store.path(file).read_text() == "mirrored"
    with pytest.raises(DataError, match="missing"):
        store.path(DataFile.local(source))
    source.write_text("mine")
    assert store.path(file).read_text() == store.path(DataFile.local(source)).read_text() == "mine"


def test_an_edited_file_with_a_pinned_checksum_is_refused_and_not_to_be_deleted(
    tmp_path: Path, store: DataStore
) -> None:
    source = tmp_path / "q.jsonl"
    source.write_text("edited")
    with pytest.raises(DataError, match="put the pinned file there") as caught:
        store.path(DataFile("q", url=source.as_uri(), sha256="0" * 64))
    assert "delete" not in str(caught.value)


@pytest.mark.parametrize("url", ["file://elsewhere/data/q.jsonl", "file:q.jsonl"])
def test_a_url_of_no_file_here_is_refused(url: str, store: DataStore) -> None:
    with pytest.raises(DataError, match="is not a file on this machine"):
        store.path(DataFile("q", url=url))


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"can't read .*absent: No such file"):
        content_sha256(tmp_path / "absent")
