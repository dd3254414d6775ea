from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from evalkit.execution.answer_source import Found, content_key
from evalkit.execution.cache import ResponseCache
from evalkit.request import Hints, Request, RequestState
from evalkit.response import Completion, Origin, Response, Token, Usage

ANSWER = Response(
    (Completion("A", "stop", -0.5, (Token("A", -0.5, {"B": float("-inf")}),)),), Usage(7, 1), attempts=3
)
KEY = content_key("deployment", Request("2 + 2"), 0)
STATE = RequestState("t0/id1", "id1", 0, Request("2 + 2"))


class _Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def _stored(path: Path) -> int:
    database = sqlite3.connect(path)
    try:
        return int(database.execute("SELECT count(*) FROM responses").fetchone()[0])
    finally:
        database.close()


def test_an_answer_comes_back_with_its_origin(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    cache = ResponseCache(path)
    assert cache.get(KEY, STATE) is None
    cache.put(KEY, ANSWER)
    expected = Found(ANSWER, Origin("cache.sqlite"))
    assert cache.get(KEY, STATE) == expected
    cache.close()
    cache.close()
    again = ResponseCache(path)
    assert again.get(KEY, STATE) == expected
    again.close()


def test_the_key_is_made_of_all_that_tells_answers_apart_and_nothing_else() -> None:
    keys = {
        content_key("deployment", Request("2 + 2"), 0),
        content_key("other", Request("2 + 2"), 0),
        content_key("deployment", Request("2 + 2"), 1),
        content_key("deployment", Request("2 + 2", temperature=0.0), 0),
        content_key("deployment", Request("2 + \ud800"), 0),
    }
    assert len(keys) == 5
    assert content_key("deployment", Request("2 + 2", hints=Hints(("A",))), 0) == KEY
    assert content_key("deployment", Request("\ud800"), 0) == content_key("deployment", Request("\ud800"), 0)


def test_writes_are_committed_every_half_second_at_most(tmp_path: Path) -> None:
    path, clock = tmp_path / "cache.sqlite", _Clock()
    cache = ResponseCache(path, clock)
    for n in range(10):
        clock.now_s = n * 0.049
        cache.put(bytes([n]), ANSWER)
    assert _stored(path) == 0
    clock.now_s = 0.5
    cache.put(bytes([10]), ANSWER)
    assert _stored(path) == 11
    cache.put(bytes([11]), ANSWER)
    assert _stored(path) == 11
    cache.close()
    assert _stored(path) == 12


_PUT_MANY = """
import sys
from pathlib import Path
from evalkit.execution.cache import ResponseCache
from evalkit.response import Completion, Response
cache = ResponseCache(Path(sys.argv[1]))
for n in range(300):
    cache.put(f"{sys.argv[2]}{n}".encode(), Response((Completion(str(n)),)))
    if n % 10 == 0:
        cache.commit()
cache.close()
"""


def test_several_processes_may_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    children = [
        subprocess.Popen([sys.executable, "-c", _PUT_MANY, str(path), name], stderr=subprocess.PIPE)
        for name in "ab"
    ]
    assert [child.communicate()[1] for child in children] == [b"", b""]
    assert _stored(path) == 600


def test_a_locked_cache_keeps_what_it_has_and_warns_once_if_it_stays_locked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evalkit.execution.cache._BUSY_TIMEOUT_S", 0.01)
    path = tmp_path / "cache.sqlite"
    cache = ResponseCache(path)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with caplog.at_level(logging.WARNING):
        for n in range(5):
            cache.put(bytes([n]), ANSWER)
            cache.commit()
            assert cache.get(bytes([n]), STATE) is not None
        cache.close()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "5 answers did not get into the busy cache" in caplog.text
    blocker.close()
    assert _stored(path) == 0


def test_what_a_lock_held_up_is_written_when_it_is_gone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evalkit.execution.cache._BUSY_TIMEOUT_S", 0.01)
    path = tmp_path / "cache.sqlite"
    cache = ResponseCache(path)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    cache.put(b"held up", ANSWER)
    cache.commit()
    blocker.close()
    cache.close()
    assert _stored(path) == 1
    assert not caplog.records


@pytest.mark.parametrize("content", [b"this is no database, whatever its name says" * 100, None])
def test_a_cache_that_cannot_be_opened_misses_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes | None
) -> None:
    path = tmp_path / "cache.sqlite"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    cache = ResponseCache(path)
    cache.put(KEY, ANSWER)
    assert cache.get(KEY, STATE) is None
    cache.close()
    assert len(caplog.records) == 1


def test_a_damaged_entry_is_a_miss(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    cache = ResponseCache(path)
    cache.put(KEY, ANSWER)
    cache.commit()
    database = sqlite3.connect(path)
    with database:
        database.execute("UPDATE responses SET response = ?", (b'{"completions": 1}',))
    database.close()
    assert cache.get(KEY, STATE) is None
    cache.close()
