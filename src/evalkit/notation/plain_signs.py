"""Full-width and other signs of a text in their plain form, so that one pattern reads them all."""

from __future__ import annotations

import re
import unicodedata

# Full-width ASCII has plain ASCII at a fixed distance.
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_SIGNS = str.maketrans(
    {
        "\u3000": " ",
        "\u00a0": " ",
        "\u202f": " ",
        "−": "-",
        "﹣": "-",
        "‐": "-",
        "‑": "-",
        "–": "-",
        "〜": "~",
        "⁄": "/",
        "∕": "/",
        # Of no width.
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff", ""),
        "≫": ">>",
        "≪": "<<",
        "〚": "[[",
        "⟦": "[[",
        "〛": "]]",
        "⟧": "]]",
    }
)
_DIGIT = re.compile(r"[^\x00-\x7f]")


def plain_signs(text: str) -> str:
    """The text with full-width letters, digits and signs as ASCII, minus signs and dashes as `-`.

    Decimal digits of every script become 0 to 9, and characters of no width are left out. Fractions such as ½
    and digits in circles stay.
    """
    if text.isascii():
        return text
    text = text.translate(_FULL_WIDTH).translate(_SIGNS)
    return _DIGIT.sub(_digit, text)


def _digit(found: re.Match[str]) -> str:
    digit = unicodedata.decimal(found[0], None)
    return found[0] if digit is None else str(digit)
