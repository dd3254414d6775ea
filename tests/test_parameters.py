"""Typed parameters: reading signatures and values."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import UsageError
from evalkit.parameters import ValueProblem, bind_arguments, parameters_of, parse_value


def plugin(
    subject: str,
    level: int = 1,
    ratio: float | None = None,
    mode: Literal["easy", "hard"] = "easy",
    tags: tuple[str, ...] = (),
    strict: bool = False,
) -> None:
    """A plugin.

    Args:
        subject: What it is about,
            in one word.
        level: How hard.
        tags: Any tags.
    """


@pytest.mark.parametrize(
    ("text", "wanted", "value"),
    [
        ("7", int, 7),
        ("007", str, "007"),
        ("1", str, "1"),
        ("1e3", float, 1000.0),
        ("true", bool, True),
        ("False", bool, False),
        ("no", bool, False),
        ("1", bool, True),
        ("none", int | None, None),
        ("3", int | None, 3),
        ("hard", Literal["easy", "hard"], "hard"),
        ("2", Literal[1, 2], 2),
        ("1|2|3", list[int], [1, 2, 3]),
        ("a|b", tuple[str, ...], ("a", "b")),
        ("", list[str], []),
        ("x", int | str, "x"),
        ("4", int | str, 4),
    ],
)
def test_texts_become_values_of_the_annotation(text: str, wanted: Any, value: object) -> None:
    read = parse_value(text, wanted)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "wanted", "says"),
    [
        ("many", int, "'many' is not an int"),
        ("1.5", int, "not an int"),
        ("maybe", bool, "write true or false"),
        ("hrad", Literal["easy", "hard"], "did you mean 'hard'"),
        ("1|x", list[int], "'x' is not an int"),
        ("x", int | None, "not an int"),
    ],
)
def test_wrong_texts_are_refused_with_what_is_right(text: str, wanted: Any, says: str) -> None:
    with pytest.raises(ValueProblem, match=says):
        parse_value(text, wanted)


@given(st.text(), st.sampled_from([int, float, bool, str, Literal["a"], list[int], int | None]))
def test_any_text_gives_a_value_or_a_problem(text: str, wanted: Any) -> None:
    with suppress(ValueProblem):
        parse_value(text, wanted)


def test_signatures_are_read_with_docs() -> None:
    read = {p.name: p for p in parameters_of(plugin)}
    assert list(read) == ["subject", "level", "ratio", "mode", "tags", "strict"]
    assert read["subject"].required
    assert read["subject"].doc == "What it is about, in one word."
    assert read["level"].default == 1
    assert read["ratio"].type_name == "float | None"
    assert read["mode"].type_name == "'easy' | 'hard'"
    assert read["tags"].type_name == "list of str"
    assert read["mode"].doc == ""


def test_arguments_are_bound_or_refused() -> None:
    assert bind_arguments("scenario", "p", plugin, {"subject": "x", "level": 2}) == {
        "subject": "x",
        "level": 2,
    }
    with pytest.raises(UsageError, match="no parameter 'subjct'; did you mean 'subject'"):
        bind_arguments("scenario", "p", plugin, {"subjct": "x"})
    with pytest.raises(UsageError, match="needs subject"):
        bind_arguments("scenario", "p", plugin, {})
    with pytest.raises(UsageError, match="'two' is not int"):
        bind_arguments("scenario", "p", plugin, {"subject": "x", "level": "two"})
