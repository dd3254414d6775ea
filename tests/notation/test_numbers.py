from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.notation.numbers import last_number, number_of, numbers_in

MINUS_SIGNS = "-−﹣－–"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1 000 and 1 000 000 and 1_000", [1000, 1_000_000, 1000]),
        ("5 12", [5, 12]),
        ("€1.234,56", [Fraction(123456, 100)]),
        ("10^3, 2**3, 2^{10}, x^2", [1000, 8, 1024, 2]),
        ("72, in total, so he earns that much", [72]),
        ("a, b, c", []),
        ("", []),
        ("$72.00", [72]),
        (r"\$72.00", [72]),
        ("€ 5, £6, ¥7", [5, 6, 7]),
        ("50%", [50]),
        ("1,234,567.5", [Fraction(12345675, 10)]),
        ("12,34,567", [1234567]),
        ("1.234.567", [1234567]),
        ("1{,}000 and 1'000 and 1\u00a0000 and 1\u202f000", [1000] * 4),
        ("1,2,3", [1, 2, 3]),
        ("in 1999,100 came", [1999, 100]),
        ("72.", [72]),
        ("(72)", [72]),
        (".5", [Fraction(1, 2)]),
        ("1/2", [Fraction(1, 2)]),
        (r"\frac{1}{2}, \dfrac34, -\frac{1}{3}", [Fraction(1, 2), Fraction(3, 4), Fraction(-1, 3)]),
        ("2 1/2", [Fraction(5, 2)]),
        (r"3\frac{1}{2}", [Fraction(7, 2)]),
        ("2½ and ¾", [Fraction(5, 2), Fraction(3, 4)]),
        ("12/05/2020", []),
        ("1/0", []),
        ("1e3, 1E-3", [1000, Fraction(1, 1000)]),
        ("6.02 × 10^23", [602 * 10**21]),
        (r"5 \times 10^{-3}, 5×10⁻³, 5*10**3", [Fraction(5, 1000), Fraction(5, 1000), 5000]),
        ("７２，０００", [72000]),
        ("٣", [3]),
        ("3-5, 3–5", [3, 5, 3, 5]),
        ("10 - 3 = 7", [10, 3, 7]),
        ("x = - 3", [-3]),
        ("x=-5, (-5), is -5, $-5, -$5", [-5] * 5),
        ("COVID-19", [19]),
        ("- 5 apples", [5]),
        ("9" * 5000, []),
    ],
)
def test_the_numbers_in_a_text(text: str, values: list[Fraction]) -> None:
    assert list(numbers_in(text)) == values
    assert last_number(text) == (values[-1] if values else None)


@pytest.mark.parametrize("sign", MINUS_SIGNS)
def test_every_minus_sign_is_one(sign: str) -> None:
    assert last_number(f"the answer is {sign}72.") == number_of(f"{sign}72") == -72


@given(
    st.integers(-(10**30), 10**30),
    st.sampled_from(MINUS_SIGNS),
    st.sampled_from(["", "$"]),
    st.text(" .,;:!?)"),
)
def test_an_integer_is_read_whatever_stands_around_it(number: int, sign: str, mark: str, after: str) -> None:
    digits = f"{abs(number):,}"
    text = f"so it is {sign if number < 0 else ''}{mark}{digits}{after}"
    assert last_number(text) == number


@given(st.decimals(-(10**9), 10**9, places=3))
def test_a_decimal_has_its_value(number: object) -> None:
    assert number_of(f"{number}") == Fraction(str(number))


@given(st.text(alphabet="0123456789,.-/$e×10^ \\frac{}½²\n−", max_size=40))
def test_every_text_can_be_read_and_every_number_has_a_digit(text: str) -> None:
    values = list(numbers_in(text))
    assert last_number(text) == (values[-1] if values else None)
    assert not values or any(character.isnumeric() for character in text)


@pytest.mark.parametrize("text", ["72 apples", "x", "", "5-3", "$", "1/2/2024"])
def test_what_is_more_or_less_than_a_number_is_none(text: str) -> None:
    assert number_of(text) is None
