"""Plain values as bytes: what is written is read, and reading makes nothing else."""

from __future__ import annotations

import math
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalkit.sandbox.values import Foreign, decode, encode

# A busy machine is slow, and that is no fault.
PLAIN = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
_KEYS = st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.floats(allow_nan=False)
_LEAVES = _KEYS | st.complex_numbers(allow_nan=False) | st.fractions() | st.decimals(allow_nan=False)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(_KEYS, inner) | st.sets(_KEYS)
    ),
)


@PLAIN
@given(_VALUES)
def test_what_is_written_is_read(value: Any) -> None:
    read = decode(encode(value))
    assert read == value
    assert type(read) is type(value)


@PLAIN
@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_an_error(data: bytes) -> None:
    with suppress(ValueError):
        decode(data)


@PLAIN
@given(_VALUES, st.data())
def test_damaged_bytes_are_a_value_or_an_error(value: Any, data: st.DataObject) -> None:
    written = bytearray(encode(value))
    at = data.draw(st.integers(0, len(written) - 1))
    written[at] = data.draw(st.integers(0, 255))
    with suppress(ValueError):
        decode(bytes(written))


def test_special_values() -> None:
    assert math.isnan(decode(encode(math.nan)))
    assert math.copysign(1, decode(encode(-0.0))) == -1
    assert decode(encode((Decimal("1.10"), Fraction(1, 3), range(1, 9, 2), bytearray(b"a")))) == (
        *(Decimal("1.10"), Fraction(1, 3), range(1, 9, 2), bytearray(b"a")),
    )
    assert str(decode(encode(Decimal("1.10")))) == "1.10"
    assert list(decode(encode(iter([1, 2])))) == [1, 2]


class Sly(str):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__


def test_subclasses_and_other_objects_lose_their_behaviour() -> None:
    assert decode(encode(Sly("a"))) == "a"
    assert type(decode(encode(Sly("a")))) is str
    foreign = decode(encode(object()))
    assert isinstance(foreign, Foreign)
    assert foreign != decode(encode(object()))


def test_an_endless_iterator_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 100000 items"):
        encode(iter(int, 1))
