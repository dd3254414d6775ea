from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evalkit.errors import EntryError
from evalkit.specs.entry import RunEntry, parse_run_entry


def test_every_observed_parse_agrees_with_helm(golden: Callable[[str], Any]) -> None:
    rows = golden("run_entry_grammar.json")
    for row in rows:
        if "args" not in row:
            with pytest.raises(EntryError):
                parse_run_entry(row["input"])
            continue
        entry = parse_run_entry(row["input"])
        assert entry.name == row["name"], row
        assert list(entry.values) == list(row["args"]), row
        assert {key: type(value).__name__ for key, value in entry.values.items()} == row["types"], row
        # The file writes infinity and nan as text.
        plain = {k: str(v) if str(v) in ("inf", "nan") else v for k, v in entry.values.items()}
        assert plain == row["args"], row
    assert len(rows) > 10


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("1", 1),
        ("+3", 3),
        ("-3", -3),
        ("007", 7),
        ("1_000", 1000),
        (" 5", 5),
        ("١٢", 12),
        ("1.0", 1.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("infinity", float("inf")),
        ("0x10", "0x10"),
        ("True", "True"),
        ("None", "None"),
        ("", ""),
        ("b=c", "b=c"),
        ("x:y", "x:y"),
    ],
)
def test_values_are_ints_floats_or_text(raw: str, value: object) -> None:
    arg = parse_run_entry(f"mmlu:a={raw}").args[0]
    assert (arg.value, type(arg.value), arg.raw) == (value, type(value), raw)


def test_a_name_alone_is_an_entry() -> None:
    assert parse_run_entry("mmlu") == RunEntry("mmlu", "mmlu")
    assert parse_run_entry("mmlu,b=1").name == "mmlu,b=1"


def test_of_a_key_given_twice_the_last_value_counts_at_the_first_place() -> None:
    assert list(parse_run_entry("m:a=1,b=2,a=3").values.items()) == [("a", 3), ("b", 2)]


def test_spans_mark_keys_and_values() -> None:
    entry = parse_run_entry("mmlu:subject=anatomy,method=x=y")
    subject, method = entry.args
    assert entry.text[slice(*entry.name_span)] == "mmlu"
    assert entry.text[slice(*subject.key_span)] == "subject"
    assert entry.text[slice(*subject.value_span)] == "anatomy"
    assert entry.text[slice(*method.value_span)] == "x=y"
    assert entry.text[slice(*method.span)] == "method=x=y"


@pytest.mark.parametrize(
    ("text", "span"), [("mmlu:", (5, 5)), ("mmlu:a=1,", (9, 9)), ("mmlu:a=1,bc", (9, 11))]
)
def test_an_argument_without_equals_is_marked(text: str, span: tuple[int, int]) -> None:
    with pytest.raises(EntryError, match="expected key=value") as caught:
        parse_run_entry(text, "a.conf:3")
    assert caught.value.span == span
    assert str(caught.value).splitlines()[0].endswith("(a.conf:3)")
    assert str(caught.value).splitlines()[2] == "  " + " " * span[0] + "^" * max(1, span[1] - span[0])


@given(st.one_of(st.text(), st.text(alphabet="ab=:,1. é\n")))
@example("a:b=" + "9" * 5000)
def test_any_text_is_an_entry_or_an_entry_error(text: str) -> None:
    try:
        entry = parse_run_entry(text)
    except EntryError as error:
        start, end = error.span
        assert 0 <= start <= end <= len(text)
        assert "=" not in text[start:end]
        return
    for arg in entry.args:
        assert text[slice(*arg.key_span)] == arg.key
        assert text[slice(*arg.value_span)] == arg.raw
    written = ",".join(f"{arg.key}={arg.raw}" for arg in entry.args)
    assert (f"{entry.name}:{written}" if entry.args else entry.name) == text
