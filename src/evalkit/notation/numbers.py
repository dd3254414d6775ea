r"""Numbers in answers, by value: `1,234.50`, `−72`, `$72.00`, `1/2`, `\frac{1}{2}`, `2½`, `6.02 × 10^23`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from fractions import Fraction

# Minus signs, hyphens and the en dash; what East Asian texts write in full width.
_SPELLINGS = str.maketrans("−﹣－‐‑‒–０１２３４５６７８９，．＄％＋／", "-------0123456789,.$%+/")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_LONGEST_DIGITS = 1000
# Whether a sign is one depends on what precedes it: this many characters decide.
_FAR_ENOUGH = 20
_SEPARATORS = r"(?:,|\{,\}|\\,|['’_\ \u00a0\u202f\u2009])"
_WHOLE = rf"""
    \d{{1,3}}(?:\.\d{{3}}){{2,}}(?![\d.])         # 1.234.567
    | \d{{1,3}}(?:{_SEPARATORS}\d{{3}})+(?!\d)    # 1,234,567
    | \d{{1,2}}(?:,\d{{2}})+,\d{{3}}(?!\d)        # 12,34,567
    | \d++
"""
_NUMBER = re.compile(
    rf"""
    (?P<date> \d++(?:[/]\d++){{2,}} )
    | (?P<sign> [-+]\s? )?
    (?: \\?[$€£¥₹]\s?(?P<inner_sign> [-+] )? )?
    (?:
        (?P<mixed> \d++\s? )? \\[dt]?frac \s*
            (?: \{{\s*(?P<over> -?\d++)\s*\}}\s*\{{\s*(?P<under> \d++)\s*\}} | (?P<over1> \d)(?P<under1> \d) )
        | (?P<mixed_slash> \d++\s )? (?P<over2> \d++ )\s?/\s?(?P<under2> \d++ )(?!\.?\d)
        | (?P<mixed_vulgar> \d++\s? )? (?P<vulgar> [¼½¾⅐-⅞] )
        | (?P<continental> \d{{1,3}}(?:\.\d{{3}})+,\d{{1,2}} )(?!\d)    # 1.234,56
        | (?: (?P<whole> {_WHOLE} ) (?P<part> \.\d++ )? | (?<![\w.])(?P<bare_part> \.\d++ ) )
          (?:
            (?:\^|\*\*)\{{?(?P<raised> \d{{1,3}} )(?!\d)\}}?
            | [eE](?P<exponent> [-+]?\d{{1,3}} )(?!\d)
            | \s?(?: [×x*·⋅] | \\times | \\cdot )\s?10\s?
              (?:
                (?:\^|\*\*)\s?\{{?\s?(?P<power> [-+]?\d{{1,3}} )(?!\d)\s?\}}?
                | (?P<superscript> [⁻⁺]?[⁰¹²³⁴-⁹]{{1,3}} )
              )
          )?
    )
    """,
    re.VERBOSE,
)
# Before one of these a "-" is a minus between two numbers, a range or a hyphen.
_ENDS_A_TERM = re.compile(r"[\w)\]}%\-]")


def numbers_in(text: str) -> Iterator[Fraction]:
    """The values of the numbers in a text, in order.

    Every number has a digit. Thousands may be grouped; a currency sign, a percent sign and punctuation around
    a number change nothing; `3-5` is two numbers, and dates such as `1/2/2024` are none.
    """
    text = text.translate(_SPELLINGS)
    for found in _NUMBER.finditer(text):
        if (value := _value(text, found)) is not None:
            yield value


def last_number(text: str) -> Fraction | None:
    """The value of the last number in a text; None without one."""
    text = text.translate(_SPELLINGS)
    values = (_value(text, found) for found in reversed(list(_NUMBER.finditer(text))))
    return next((value for value in values if value is not None), None)


def number_of(text: str) -> Fraction | None:
    """The value of a text that is one number, with a currency or percent sign perhaps; else None."""
    text = text.translate(_SPELLINGS).strip().strip("$").strip().removesuffix("%").rstrip("\\ .")
    found = _NUMBER.fullmatch(text)
    return None if found is None else _value(text, found)


def _value(text: str, found: re.Match[str]) -> Fraction | None:
    """The value; None for a date, a division by zero, and what is too long to be meant."""
    size = _size(found)
    return -size if size is not None and _is_negative(text, found) else size


def _size(found: re.Match[str]) -> Fraction | None:
    parts = found.groupdict()
    if parts["date"] or len(found[0]) > _LONGEST_DIGITS:
        return None
    if parts["vulgar"]:
        numeric = Fraction(unicodedata.numeric(parts["vulgar"])).limit_denominator(100)
        return numeric + int(parts["mixed_vulgar"] or 0)
    over = parts["over"] or parts["over1"] or parts["over2"]
    if over is not None:
        under = int(parts["under"] or parts["under1"] or parts["under2"])
        whole = int(parts["mixed"] or parts["mixed_slash"] or 0)
        return whole + Fraction(int(over), under) if under else None
    if parts["continental"]:
        before, _, behind = parts["continental"].partition(",")
        return Fraction(f"{_digits(before)}.{behind}")
    digits = _digits(parts["whole"] or "0")
    value = Fraction(int(digits))
    if part := parts["part"] or parts["bare_part"]:
        value += Fraction(int(part[1:]), 10 ** (len(part) - 1))
    if parts["raised"]:
        raised = int(parts["raised"])
        return value**raised if raised * len(found[0]) <= _LONGEST_DIGITS else None
    if not (parts["exponent"] or parts["power"] or parts["superscript"]):
        return value
    power = parts["exponent"] or parts["power"] or (parts["superscript"] or "0").translate(_SUPERSCRIPTS)
    return value * Fraction(10) ** int(power)


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isdigit())


def _is_negative(text: str, found: re.Match[str]) -> bool:
    if found["inner_sign"] == "-":
        return True
    sign = found["sign"]
    if not sign or sign[0] != "-":
        return False
    before = text[max(0, found.start() - _FAR_ENOUGH) : found.start()]
    if before.endswith((" ", "\t")):
        # `10 -3` and `10 - 3` are differences, `is -3` is a number.
        last = before.rstrip()[-1:]
        ends_a_number = last.isdigit() or last in (")", "}", "]")
        return not ends_a_number and (len(sign) == 1 or last in ("=", ":", "("))
    return not _ENDS_A_TERM.match(before[-1:]) and (len(sign) == 1 or before[-1:] in ("=", ":", "("))
