from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from evalkit.data import DataFile, DataStore, HubSplit
from evalkit.data.huggingface import hub_file, shuffled
from evalkit.errors import DataError

# Dataset.from_dict({"i": range(10)}).shuffle(seed=42), seen with datasets 5.2.0 and numpy 2.4.6.
SHUFFLED_10 = [5, 6, 0, 7, 3, 2, 4, 9, 1, 8]
HUB = HubSplit("some/set", "train", "0123456789abcdef", config="part")


class DatasetsError(Exception):
    """Stands for the library's own base of errors."""


class FakeLibrary(ModuleType):
    """Stands for the `datasets` library: gives fixed rows and notes how it was asked."""

    def __init__(self, rows: Iterable[Any] | Exception, version: str = "5.2.0") -> None:
        super().__init__("datasets")
        self.rows, self.__version__ = rows, version
        self.exceptions = SimpleNamespace(DatasetsError=DatasetsError)
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def load_dataset(self, *args: Any, **options: Any) -> Iterable[Any]:
        self.calls.append((args, options))
        if isinstance(self.rows, Exception):
            raise self.rows
        return self.rows


def installed(monkeypatch: pytest.MonkeyPatch, library: FakeLibrary | None) -> FakeLibrary | None:
    monkeypatch.setitem(sys.modules, "datasets", library)
    return library


def test_the_place_of_a_split() -> None:
    assert hub_file(HUB).path == "hf/some_set/part/train.jsonl"
    assert hub_file(HubSplit("plain", "test", "0")).path == "hf/plain/test.jsonl"
    assert hub_file(HUB, path="hf/some_set/part.jsonl").path == "hf/some_set/part.jsonl"
    assert hub_file(HUB).source == ("the split train of some/set/part on Hugging Face (revision 01234567)")


def test_the_mirror_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed(monkeypatch, None)
    path = tmp_path / "mirror" / hub_file(HUB).path
    path.parent.mkdir(parents=True)
    path.write_text("{}\n")
    store = DataStore(mirror=tmp_path / "mirror", cache=tmp_path / "cache")
    assert store.path(hub_file(HUB)) == path


def test_rows_are_written_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = [{"text": "é", "nested": {"fr": "a"}, "none": None}, {"text": "line\nbreak\u2028"}]
    library = installed(monkeypatch, FakeLibrary(rows))
    store = DataStore(cache=tmp_path)
    assert store.digest([hub_file(HUB)]) is None
    path = store.path(hub_file(HUB))
    assert path == tmp_path / "hf" / "some_set" / "part" / "train.jsonl"
    assert [json.loads(line) for line in path.read_bytes().splitlines()] == rows
    assert store.path(hub_file(HUB)) == path
    assert library is not None
    assert library.calls == [(("some/set", "part"), {"split": "train", "revision": HUB.revision})]
    assert store.digest([hub_file(HUB)]) is not None


def test_a_script_is_run_by_an_older_library_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scripted = hub_file(HubSplit("some/set", "train", "0123", script=True))
    library = installed(monkeypatch, FakeLibrary([], version="4.0.0"))
    with pytest.raises(DataError, match=r"does not run: pip install 'datasets>=3\.6,<4'"):
        DataStore(cache=tmp_path).path(scripted)
    library = installed(monkeypatch, FakeLibrary([], version="3.6.0"))
    assert DataStore(cache=tmp_path).path(scripted).read_bytes() == b""
    assert library is not None
    assert library.calls[0][1]["trust_remote_code"] is True


def test_offline_asks_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    library = installed(monkeypatch, FakeLibrary([]))
    with pytest.raises(DataError, match="does not download it from the split train of some/set/part"):
        DataStore(cache=tmp_path, offline=True).path(hub_file(HUB))
    assert library is not None
    assert not library.calls


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed(monkeypatch, None)
    with pytest.raises(DataError, match=r"pip install 'evalkit\[datasets\]'"):
        DataStore(cache=tmp_path).path(hub_file(HUB))


@pytest.mark.parametrize(
    "problem", [OSError("no way there\nmore"), ValueError("no way there"), DatasetsError("no way there")]
)
def test_what_can_not_be_had_is_one_line(
    problem: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed(monkeypatch, FakeLibrary(problem))
    with pytest.raises(DataError, match=r"^can't load the split train of .*: no way there$"):
        DataStore(cache=tmp_path).path(hub_file(HUB))


def test_rows_that_json_can_not_hold_leave_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed(monkeypatch, FakeLibrary([{"a": 1}, {"image": object()}]))
    with pytest.raises(DataError, match="row 1 of the split train"):
        DataStore(cache=tmp_path).path(hub_file(HUB))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_shuffled_is_the_librarys_order() -> None:
    assert shuffled(10, 42) == SHUFFLED_10
    assert shuffled(10, 42, limit=3) == SHUFFLED_10[:3]
    assert sorted(shuffled(501, 7)) == list(range(501))
    assert shuffled(0, 42) == []


def test_shuffling_without_numpy_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(DataError, match=r"needs numpy: pip install 'evalkit\[datasets\]'"):
        shuffled(3, 42)


def test_a_data_file_has_one_source() -> None:
    assert importlib.import_module("evalkit.data").HubSplit is HubSplit
    assert DataFile("a.jsonl", hub=HUB).source == HUB.source
