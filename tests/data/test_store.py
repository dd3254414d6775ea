from __future__ import annotations

import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Literal

import pytest

from evalkit.data import Archive, DataFile, DataStore
from evalkit.data.download import Downloader
from evalkit.errors import DataError
from tests.data.server import FileServer, body, running_server, status, truncated

CONTENT = b'{"question": "1+1?", "answer": "2"}\n' * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
CHILD = """
import sys
from pathlib import Path
from evalkit.data import DataFile, DataStore
print(DataStore(cache=Path(sys.argv[1])).path(DataFile("d/f.jsonl", url=sys.argv[2], sha256=sys.argv[3])))
"""


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def server() -> Iterator[FileServer]:
    with running_server() as files:
        yield files


@pytest.fixture
def store(tmp_path: Path) -> DataStore:
    return DataStore(cache=tmp_path / "cache", downloader=Downloader(wait_s=0))


def files_below(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def start_child(cache: Path, url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(cache), url, SHA256],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "no_proxy": "*"},
    )


def test_download_once_then_from_the_cache(server: FileServer, store: DataStore) -> None:
    file = DataFile("d/f.jsonl", url=server.serve("/f", body(CONTENT)), sha256=SHA256)
    assert not store.is_local(file)
    path = store.path(file)
    assert path == store.cache / "d" / "f.jsonl"
    assert path.read_bytes() == CONTENT
    assert store.is_local(file)
    assert store.path(file) == path
    assert server.requested == ["/f"]
    assert files_below(store.cache) == ["d/f.jsonl"]


def test_mirror_comes_first_and_is_never_written(server: FileServer, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    (mirror / "d").mkdir(parents=True)
    (mirror / "d" / "f.jsonl").write_bytes(CONTENT)
    store = DataStore(mirror=mirror, cache=tmp_path / "cache")
    assert store.path(DataFile("d/f.jsonl", url="http://127.0.0.1:1/x", sha256=SHA256)).is_relative_to(mirror)
    other = DataFile("d/other", url=server.serve("/other", body(b"x")))
    assert store.path(other).is_relative_to(store.cache)
    assert files_below(mirror) == ["d/f.jsonl"]


def test_file_url(tmp_path: Path, store: DataStore) -> None:
    source = tmp_path / "source file.jsonl"
    source.write_bytes(CONTENT)
    assert store.path(DataFile("f", url=source.as_uri(), sha256=SHA256)).read_bytes() == CONTENT
    with pytest.raises(DataError, match=r"is missing: looked at .*absent; it is read in place"):
        store.path(DataFile("g", url=(tmp_path / "absent").as_uri()))


def test_other_schemes_are_refused(store: DataStore) -> None:
    with pytest.raises(DataError, match="only http, https, file"):
        store.path(DataFile("f", url="ftp://example.org/f"))


def test_truncated_download_is_tried_again(server: FileServer, store: DataStore) -> None:
    url = server.serve("/f", truncated(CONTENT, 100), body(CONTENT))
    assert store.path(DataFile("f", url=url)).read_bytes() == CONTENT
    assert server.requested == ["/f", "/f"]


def test_truncated_download_never_appears(server: FileServer, store: DataStore) -> None:
    file = DataFile("f", url=server.serve("/f", truncated(CONTENT, 100)))
    with pytest.raises(DataError, match=rf"100 of {len(CONTENT)} bytes \(4 attempts\)"):
        store.path(file)
    assert not store.is_local(file)
    assert files_below(store.cache) == []


@pytest.mark.parametrize("code", [429, 500, 503])
def test_transient_status_is_tried_again(server: FileServer, store: DataStore, code: int) -> None:
    url = server.serve("/f", status(code), status(code), body(CONTENT))
    assert store.path(DataFile("f", url=url, sha256=SHA256)).read_bytes() == CONTENT
    assert len(server.requested) == 3


@pytest.mark.parametrize("code", [403, 404, 410])
def test_refusal_is_final(server: FileServer, store: DataStore, code: int) -> None:
    with pytest.raises(DataError, match=f"answered {code}"):
        store.path(DataFile("f", url=server.serve("/f", status(code))))
    assert len(server.requested) == 1
    assert files_below(store.cache) == []


def test_pauses_double_between_attempts(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("evalkit.data.download.time.sleep", pauses.append)
    with pytest.raises(DataError, match="answered 500"):
        Downloader(attempts=4, wait_s=0.5).fetch(server.serve("/f", status(500)), io.BytesIO())
    assert pauses == [0.5, 1.0, 2.0]


def test_dead_server(store: DataStore) -> None:
    with running_server() as files:
        url = files.url + "/f"
    with pytest.raises(DataError, match=r"refused.*4 attempts"):
        store.path(DataFile("f", url=url))


def test_progress_is_told(server: FileServer) -> None:
    told: list[tuple[str, int, int | None]] = []
    url = server.serve("/f", body(CONTENT))
    Downloader(progress=lambda *args: told.append(args)).fetch(url, io.BytesIO())
    assert told[-1] == (url, len(CONTENT), len(CONTENT))


def test_wrong_checksum_names_all_and_keeps_nothing(server: FileServer, store: DataStore) -> None:
    file = DataFile("d/f.jsonl", url=server.serve("/f", body(b"other")), sha256=SHA256)
    with pytest.raises(DataError) as caught:
        store.path(file)
    message = str(caught.value)
    for part in (server.url + "/f", SHA256, hashlib.sha256(b"other").hexdigest(), "--unverified-data"):
        assert part in message
    assert not store.is_local(file)


def test_wrong_local_file_is_named(tmp_path: Path, store: DataStore) -> None:
    store.cache.mkdir()
    wrong = store.cache / "f"
    wrong.write_bytes(b"other")
    file = DataFile("f", sha256=SHA256)
    for use in (store.path, lambda f: store.digest([f])):
        with pytest.raises(DataError, match="delete it") as caught:
            use(file)
        assert str(wrong) in str(caught.value)


def test_unverified_data_is_accepted_and_digested_as_it_is(server: FileServer, tmp_path: Path) -> None:
    file = DataFile("f", url=server.serve("/f", body(b"other")), sha256=SHA256)
    unpinned = DataFile("f")
    store = DataStore(cache=tmp_path, verify=False, downloader=Downloader(wait_s=0))
    assert store.digest([file]) is None
    assert store.path(file).read_bytes() == b"other"
    assert store.digest([file]) == store.digest([unpinned]) is not None


def test_data_that_was_accepted_is_named(server: FileServer, tmp_path: Path) -> None:
    pinned = DataFile("d/pinned", url=server.serve("/pinned", body(CONTENT)), sha256=SHA256)
    other = DataFile("d/other", url=server.serve("/other", body(b"other")), sha256=SHA256)
    free = DataFile("d/free", url=server.serve("/free", body(b"free")))
    files = (pinned, other, free)
    accepting = DataStore(cache=tmp_path, verify=False, downloader=Downloader(wait_s=0))
    assert accepting.unverified(files) == []  # nothing is here yet
    for file in files:
        accepting.path(file)
    (named,) = accepting.unverified(files)
    assert "'d/other'" in named
    assert SHA256 in named
    assert hashlib.sha256(b"other").hexdigest() in named
    assert DataStore(cache=tmp_path).unverified(files) == []  # it accepts none


def test_an_archive_that_was_accepted_is_named(server: FileServer, tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a.txt", "a")
    whole = Archive(server.serve("/a.zip", body(content.getvalue())), SHA256, "zip")
    file = DataFile("a.txt", archive=whole, member="a.txt")
    store = DataStore(cache=tmp_path / "cache", verify=False, downloader=Downloader(wait_s=0))
    store.path(file)
    (named,) = store.unverified([file])
    assert f"the archive {whole.url} is not the one that was pinned" in named
    # Out of a mirror, it is not the archive's.
    (tmp_path / "a.txt").write_text("a")
    assert DataStore(mirror=tmp_path, cache=tmp_path / "cache", verify=False).unverified([file]) == []


@pytest.mark.parametrize("is_folder", [False, True])
@pytest.mark.parametrize("scheme", ["http", "file"])
def test_what_was_unpacked_from_an_accepted_archive_stays_named(
    server: FileServer, tmp_path: Path, is_folder: bool, scheme: str
) -> None:
    packed = archive_bytes("tar", {"d/a.txt": b"a", "d/b.txt": b"b"})
    local = tmp_path / "own.tar"
    local.write_bytes(packed)
    url = server.serve("/a.tar", body(packed)) if scheme == "http" else local.as_uri()
    archive = Archive(url, SHA256)
    files = [DataFile(f"m/{name}", archive=archive, member=f"d/{name}") for name in ("a.txt", "b.txt")]
    if is_folder:
        files = [DataFile("m/d", archive=archive, member="d", folder=True)]
    cache = tmp_path / "cache"
    accepting = DataStore(cache=cache, verify=False, downloader=Downloader(wait_s=0))
    for file in files:
        accepting.path(file)
    found = hashlib.sha256(packed).hexdigest()
    (named,) = accepting.unverified(files)  # once for all of its files
    assert named.endswith("its files are used: accepted by --unverified-data")

    for archive_there in (True, False):
        if not archive_there:
            shutil.rmtree(cache / "archives", ignore_errors=True)
        later = DataStore(cache=cache)
        assert all(later.path(file).exists() for file in files)
        (named,) = later.unverified(files)
        for part in (url, SHA256, found, "accepted by an earlier --unverified-data", str(cache)):
            assert part in named
        assert accepting.unverified(files)

    pinned = Archive(url, found)
    files = [replace(file, archive=pinned) for file in files]
    assert later.unverified(files) == []  # the pin of a newer evalkit


def test_an_archive_that_is_put_right_leaves_no_note(server: FileServer, tmp_path: Path) -> None:
    packed = archive_bytes("tar", {"a.txt": b"a"})
    url = server.serve("/a.tar", body(b"wrong"), body(packed))
    file = DataFile("m/a.txt", archive=Archive(url, hashlib.sha256(packed).hexdigest()), member="a.txt")
    cache = tmp_path / "cache"
    with pytest.raises(DataError, match="can't read"):
        DataStore(cache=cache, verify=False, downloader=Downloader(wait_s=0)).path(file)
    shutil.rmtree(cache / "archives")
    store = DataStore(cache=cache, downloader=Downloader(wait_s=0))
    assert store.path(file).read_bytes() == b"a"
    assert store.unverified([file]) == []
    assert files_below(cache / "m") == ["a.txt"]


def test_a_record_that_was_damaged_still_counts(server: FileServer, tmp_path: Path) -> None:
    packed = archive_bytes("tar", {"a.txt": b"a"})
    file = DataFile("a.txt", archive=Archive(server.serve("/a", body(packed)), SHA256), member="a.txt")
    DataStore(cache=tmp_path, verify=False, downloader=Downloader(wait_s=0)).path(file)
    (record,) = tmp_path.glob(".a.txt.*")
    for content in (b"", b"\xff" * 5000):
        record.write_bytes(content)
        (named,) = DataStore(cache=tmp_path).unverified([file])
        assert "found unknown" in named


def test_offline_says_where_it_looked(server: FileServer, tmp_path: Path) -> None:
    store = DataStore(mirror=tmp_path / "mirror", cache=tmp_path / "cache", offline=True)
    with pytest.raises(DataError) as caught:
        store.path(DataFile("d/f", url=server.url + "/f"))
    message = str(caught.value)
    for part in (tmp_path / "mirror" / "d" / "f", tmp_path / "cache" / "d" / "f", server.url + "/f"):
        assert str(part) in message
    assert server.requested == []


def test_file_without_address(store: DataStore) -> None:
    with pytest.raises(DataError, match="no download address"):
        store.path(DataFile("f"))


def test_digest_is_the_same_before_and_after_the_download(server: FileServer, store: DataStore) -> None:
    pinned = DataFile("a", url=server.serve("/a", body(CONTENT)), sha256=SHA256)
    before = store.digest([pinned])
    store.path(pinned)
    assert store.digest([pinned]) == before is not None


def test_digest_depends_on_paths_and_contents_only(server: FileServer, store: DataStore) -> None:
    a = DataFile("a", url=server.serve("/a", body(b"1")))
    b = DataFile("b", url=server.serve("/b", body(b"2")))
    assert store.digest([a]) is None
    for file in (a, b):
        store.path(file)
    assert store.digest([a, b]) == store.digest([b, a])
    assert len({store.digest(files) for files in ([a], [b], [a, b], [])}) == 4
    before = store.digest([a])
    (store.cache / "a").write_bytes(b"changed")
    assert store.digest([a]) not in (before, None)


def archive_bytes(kind: Literal["tar", "zip"], members: dict[str, bytes], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as zipped:
            for name, content in members.items():
                zipped.writestr(name, content)
    else:
        with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_members_come_from_one_download(
    server: FileServer, store: DataStore, kind: Literal["tar", "zip"]
) -> None:
    packed = archive_bytes(kind, {"data/x.csv": b"x", "data/y.csv": b"y", "../evil": b"z"})
    url = server.serve("/data", body(packed))
    archive = Archive(url, hashlib.sha256(packed).hexdigest(), kind)
    for name in "xy":
        file = DataFile(f"m/{name}.csv", archive=archive, member=f"data/{name}.csv")
        assert store.digest([file]) is None
        assert store.path(file).read_bytes() == name.encode()
    assert store.path(DataFile("m/evil", archive=archive, member="../evil")) == store.cache / "m" / "evil"
    assert not (store.cache.parent / "evil").exists()
    assert server.requested == ["/data"]


def test_archive_faults(server: FileServer, store: DataStore) -> None:
    packed = archive_bytes("tar", {"data/x": b"x" * 100_000}, mode="w")
    good = Archive(server.serve("/good.tar", body(packed)))
    with pytest.raises(DataError, match=r"holds no data/absent"):
        store.path(DataFile("f", archive=good, member="data/absent"))
    wrong = Archive(server.serve("/wrong.tar", body(packed)), "0" * 64)
    with pytest.raises(DataError, match="expected sha256 0000"):
        store.path(DataFile("f", archive=wrong, member="data/x"))
    cut = Archive(server.serve("/cut.tar", body(packed[:50_000])))
    with pytest.raises(DataError, match="delete the archive"):
        store.path(DataFile("f", archive=cut, member="data/x"))
    for kind in ("tar", "zip"):
        garbage = Archive(server.serve(f"/garbage.{kind}", body(b"<html>" * 500)), kind=kind)
        with pytest.raises(DataError, match="can't read data/x"):
            store.path(DataFile("f", archive=garbage, member="data/x"))
    assert not (store.cache / "f").exists()


def test_links_in_archives_are_refused(server: FileServer, store: DataStore) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("data/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    archive = Archive(server.serve("/l.tar", body(buffer.getvalue())))
    with pytest.raises(DataError, match="link or folder"):
        store.path(DataFile("f", archive=archive, member="data/link"))
    assert not (store.cache / "f").exists()


def test_two_processes_download_the_same_file(server: FileServer, store: DataStore) -> None:
    both_half_done = threading.Barrier(2, timeout=300)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()
        handler.wfile.write(CONTENT[:5000])
        handler.wfile.flush()
        both_half_done.wait()
        handler.wfile.write(CONTENT[5000:])

    url = server.serve("/f", answer)
    children = [start_child(store.cache, url) for _ in range(2)]
    printed = [child.communicate(timeout=300)[0].strip() for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert printed == [str(store.cache / "d" / "f.jsonl")] * 2
    assert (store.cache / "d" / "f.jsonl").read_bytes() == CONTENT
    assert files_below(store.cache) == ["d/f.jsonl"]


def test_killed_download_leaves_nothing_that_counts(
    server: FileServer, store: DataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    half_sent, child_is_dead = threading.Event(), threading.Event()

    def half(handler: BaseHTTPRequestHandler) -> None:
        truncated(CONTENT, 5000)(handler)
        handler.wfile.flush()
        half_sent.set()
        child_is_dead.wait(300)

    url = server.serve("/f", half, body(CONTENT))
    child = start_child(store.cache, url)
    assert half_sent.wait(300)
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=300)
    child_is_dead.set()
    file = DataFile("d/f.jsonl", url=url, sha256=SHA256)
    assert not store.is_local(file)
    left = files_below(store.cache)
    assert len(left) == 1
    assert left[0].endswith(".part")
    os.utime(store.cache / left[0], (0, 0))
    assert store.path(file).read_bytes() == CONTENT
    assert files_below(store.cache) == ["d/f.jsonl"], "what a killed process left long ago is swept"


def test_cache_folder_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EVALKIT_CACHE_DIR", str(tmp_path / "c"))
    assert DataStore().cache == tmp_path / "c"
    monkeypatch.delenv("EVALKIT_CACHE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert DataStore().cache == tmp_path / ".cache" / "evalkit"


def test_import_is_light() -> None:
    heavy = {"urllib.request", "http.client", "tarfile", "zipfile", "ssl", "asyncio"}
    code = f"import sys, evalkit.data; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
