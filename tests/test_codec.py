"""What evalkit writes any JSON reader takes; what others wrote is read leniently."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.codec import decode, decode_exact, decode_foreign, encode, encode_exact, spell_numbers

# A pair of surrogates is by design read back as the character it spells, so halves of one kind are enough.
_TEXT = st.text(st.characters(exclude_categories=()) | st.just("\ud83d"), max_size=8).map(
    lambda text: text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
)
_INTEGERS = st.integers() | st.sampled_from([2**63, 2**64, -(2**63) - 1, 10**19, -(10**19), 10**30])


def _values(numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.none() | st.booleans() | numbers | _TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
        max_leaves=8,
    )


_FINITE = _values(_INTEGERS | st.floats(allow_nan=False, allow_infinity=False))
_ANY = _values(_INTEGERS | st.floats())


def strictly(raw: bytes) -> Any:
    """JSON as a strict reader takes it."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(raw.decode("utf-8"), parse_constant=refuse)


@given(_FINITE, st.booleans())
def test_what_is_written_is_read_back(value: Any, indent: bool) -> None:
    assert repr(decode(encode(value, indent=indent))) == repr(value)


@given(_ANY)
def test_what_is_written_is_json_for_everybody(value: Any) -> None:
    strictly(encode(value))
    strictly(encode_exact({"value": value}))


@given(_ANY)
def test_an_exact_line_is_read_back_to_the_last_bit(value: Any) -> None:
    line = encode_exact({"value": value})
    assert b"\n" not in line
    assert repr(decode_exact(line)) == repr({"value": value})


@given(_ANY)
def test_what_python_wrote_is_read(value: Any) -> None:
    assert repr(decode_foreign(json.dumps(value).encode())) == repr(value)


def test_numbers_that_are_none_are_null_and_lone_surrogates_escaped() -> None:
    value = {"a": math.nan, "b": [math.inf], "c": "\ud83d", "d": (-math.inf,)}
    assert encode(value) == rb'{"a":null,"b":[null],"c":"\ud83d","d":[null]}'
    assert encode({"a": math.nan, "b": 1}, newline=True) == b'{"a":null,"b":1}\n'
    assert (
        encode({"b": 1, "a": "\ud83d"}, indent=True, sort_keys=True) == b'{\n  "a": "\\ud83d",\n  "b": 1\n}'
    )


@dataclass
class _Row:
    text: str
    number: float


def test_what_orjson_knows_is_written_with_and_without_half_a_character() -> None:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    for text in ("whole", "half \ud83d"):
        value = {"row": _Row(text, math.nan), "at": moment, "path": Path(text)}
        assert decode(encode(value, default=str)) == {
            "row": {"text": text, "number": None},
            "at": "2026-01-02T00:00:00+00:00",
            "path": text,
        }
        with pytest.raises(TypeError):
            encode({"text": text, "what": object()})


def test_lines_of_the_version_before_are_read() -> None:
    """It wrote NaN and infinities as Python does."""
    line = b'{"logprob":NaN,"top":-Infinity,"text":"\\ud83d"}'
    assert repr(decode_exact(line)) == "{'logprob': nan, 'top': -inf, 'text': '\\ud83d'}"


def test_an_object_that_only_looks_like_a_number_stays_one() -> None:
    for value in ({"$number": "NaN", "more": 1}, {"$number": None}):
        assert decode_exact(encode_exact({"value": value})) == {"value": value}


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        ('{"a": "ä"}'.encode("utf-16"), {"a": "ä"}),
        (b'{"a": "tab\there"}', {"a": "tab\there"}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'{"a": 1e999}', {"a": math.inf}),
        (b'{"a": 123456789012345678901234567890}', {"a": 123456789012345678901234567890}),
        (b'{"a": ' + b"9" * 5000 + b', "b": NaN}', None),
    ],
)
def test_what_others_write_is_read(raw: bytes, value: Any) -> None:
    found = decode_foreign(raw)
    assert value is None or found == value


def test_numbers_that_are_none_are_counted() -> None:
    oddities = Counter[str]()
    found = decode_foreign(b'{"a": NaN, "b": [Infinity, -Infinity, NaN], "c": "NaN"}', oddities)
    assert oddities == {"NaN": 2, "Infinity": 1, "-Infinity": 1}
    assert spell_numbers(found) == {"a": "NaN", "b": ["Infinity", "-Infinity", "NaN"], "c": "NaN"}


@pytest.mark.parametrize("raw", [b"", b"{", b"{'a': 1}", b'"\xff"', b"[" * 100_000])
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    for reader in (decode, decode_exact, decode_foreign):
        with pytest.raises(ValueError):  # noqa: PT011 - each reader's message is the parser's
            reader(raw)


@pytest.mark.parametrize(
    "value",
    [
        {"$number": "0"},
        {"$number": "no number"},
        {"$number": ["NaN"]},
        {"$number": []},
        {"$number": {"$number": "NaN"}},
        {"$number": math.nan},
        {"$number": 2**70},
        {"$number": None},
        {"$number": "1", "more": None},
        {"a": [{"$number": "Infinity"}, None, math.inf]},
    ],
    ids=repr,
)
def test_what_looks_like_a_marked_number_is_read_back_as_it_was(value: dict[str, Any]) -> None:
    assert repr(decode_exact(encode_exact(value))) == repr(value)
    assert repr(decode_exact(encode_exact({"x": value}, newline=True))) == repr({"x": value})
