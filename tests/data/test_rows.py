from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalkit.data.rows import csv_rows, json_rows
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
