from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalkit.data.rows import count_rows, csv_records, csv_rows, json_rows, json_rows_at, text_of
from evalkit.errors import DataError

anything = st.text(st.characters(exclude_categories=["Cs"]))
same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)


@same_folder
@given(rows=st.lists(st.dictionaries(anything, st.none() | st.booleans() | st.integers() | anything)))
def test_json_rows_round_trip(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), "utf-8", newline="")
    assert list(json_rows(path, {})) == rows


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"q": "cut o', "truncated"),
        ('["q"]', "a JSON object is expected, not list"),
        ('{"other": 1}', "field 'q' is missing"),
        ('{"q": 1}', "field 'q' is int"),
    ],
)
def test_bad_json_row_is_named(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"q": "fine"}\n\n' + line, "utf-8")
    with pytest.raises(DataError, match=problem) as caught:
        list(json_rows(path, {"q": str}))
    assert str(caught.value).startswith(f"{path}:3: ")


def test_bad_encoding_in_json(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"q": "\xe9"}\n')
    with pytest.raises(DataError, match=":1: not valid JSON"):
        list(json_rows(path, {}))


@same_folder
@given(
    rows=st.lists(
        st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0")), min_size=2)
    )
)
def test_csv_rows_round_trip(tmp_path: Path, rows: list[list[str]]) -> None:
    path = tmp_path / "rows.csv"
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    path.write_text(buffer.getvalue(), "utf-8", newline="")
    assert [row for _, row in csv_rows(path)] == rows


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a,b,c\nd,e\n", "2 fields, at least 3"),
        ('a,b,c\nd,"cut o', "not valid CSV"),
        ("a,b,c\n\n", "0 fields"),
    ],
)
def test_bad_csv_row_is_named(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(DataError, match=problem) as caught:
        list(csv_rows(path, min_fields=3))
    assert str(caught.value).startswith(f"{path}:2: ")


def test_bad_encoding_in_csv(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"a,\xff\n")
    with pytest.raises(DataError, match="not valid CSV"):
        list(csv_rows(path))


def test_compressed_json_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"q": 1}\n\n{"q": 2}\n'))
    assert list(json_rows(path, {"q": int})) == [{"q": 1}, {"q": 2}]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"rows\.jsonl\.gz: .*; delete the file and retry"):
        list(json_rows(path, {"q": int}))
    path.write_bytes(b"not compressed")
    with pytest.raises(DataError, match=r"rows\.jsonl\.gz: "):
        list(json_rows(path, {"q": int}))


def test_some_json_rows_by_position(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"q": 0}\n\nno JSON\n{"q": 2}\n{"q": 3}', "utf-8")
    assert count_rows(path) == 4
    assert json_rows_at(path, [3, 0, 2], {"q": int}) == [{"q": 3}, {"q": 0}, {"q": 2}]
    assert json_rows_at(path, [], {"q": int}) == []
    with pytest.raises(DataError, match=r"rows\.jsonl:3: not valid JSON"):
        json_rows_at(path, [1], {"q": int})


def test_csv_records_by_column(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('id,text\n1,"two\nlines"\n2,x\n', "utf-8")
    assert list(csv_records(path, ("id",))) == [{"id": "1", "text": "two\nlines"}, {"id": "2", "text": "x"}]
    with pytest.raises(DataError, match=r"rows\.csv:1: there is no column name"):
        list(csv_records(path, ("id", "name")))
    path.write_text("id,text\n1,x,y\n", "utf-8")
    with pytest.raises(DataError, match=r"rows\.csv:2: 3 fields, 2 are expected"):
        list(csv_records(path, ("id",)))
    path.write_text("", "utf-8")
    with pytest.raises(DataError, match=r"rows\.csv:1: there is no column id"):
        list(csv_records(path, ("id",)))


def test_text_must_be_utf8(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes("é".encode())
    assert text_of(path) == "é"
    path.write_bytes(b"\xe9")
    with pytest.raises(DataError, match="not valid UTF-8"):
        text_of(path)
