"""What may be shown of a text from elsewhere: nothing of a key, and nothing that a terminal obeys.

Whoever reads a key gives it to `remember`; from then on no message of this process holds it.
"""

from __future__ import annotations

import base64
import re
from functools import lru_cache

HIDDEN = "***"
_LOOKS_LIKE_A_KEY = re.compile(r"\b(?:Bearer\s+\S+|(?:sk|gsk|xai|nvapi|csk)-[\w*.-]{6,}|hf_\w{16,})")
# One character as URLs, JSON, Python and HTML spell it, also twice over; anything else is itself.
_SPELLING = re.compile(
    r"%(?:25)*([0-9a-f]{2})|\\+u00([0-9a-f]{2})|\\+x([0-9a-f]{2})|&#x([0-9a-f]{2});|&#(\d{1,3});|.",
    re.IGNORECASE | re.DOTALL,
)
# The same where `%25` is a percent sign and what follows is literal.
_SPELLING_ONCE = re.compile(_SPELLING.pattern.replace("(?:25)*", ""), _SPELLING.flags)
# A piece of a key that is this long is not there by chance; of shorter keys, two thirds are.
_PIECE = 8
_SHORTEST = 6
_SHORT, _LONGEST = 200, 4000
# A key taken apart (`a b c`, `a-b-c`): letters and digits that are its own, whatever stands between them.
_BARE_PIECE = 12
_DIGIT = re.compile(r"\d")
_PLAIN_NAME = re.compile(
    r"\s*(?:[^\W\d_]{1,24}\d{0,2}|v?\d{1,2})?(?:[-_. ]+(?:[^\W\d_]{1,24}\d{0,2}|v?\d{1,2}))*[-_. ]*"
)
_LONGEST_NAME, _MOST_DIGITS = 60, 3
_VARIABLE = re.compile(r"[A-Z][A-Z0-9]{0,15}(?:_[A-Z0-9]{1,15})+")
# C0, C1, marks of direction and of no width, tags, lone surrogates. Joiners are letters' business.
CONTROLS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
_BLANKS = frozenset("\t\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029")

_pieces: set[str] = set()
_piece_lengths: set[int] = set()
_bare_pieces: set[str] = set()
_whole: set[str] = set()


def remember(secret: str) -> None:
    """Keep this out of every message from now on, also in part, backwards and in other spellings."""
    if not secret or secret in _whole:
        return
    _whole.add(secret)
    _cached.cache_clear()
    raw = secret.encode("utf-8", "surrogateescape")
    for spelled in (secret, secret[::-1], raw.hex(), *_in_base64(raw), *_in_other_bases(raw)):
        _remember_bare(spelled)
        length = _piece_length(len(spelled))
        if length < _SHORTEST:
            continue
        folded = _folded(spelled)
        _piece_lengths.add(length)
        _pieces.update(folded[at : at + length] for at in range(len(folded) - length + 1))


def _remember_bare(spelled: str) -> None:
    """Words alone are never a piece: a key made of them is not to hide them in every message."""
    bare = "".join(filter(str.isalnum, _folded(spelled)))
    pieces = (bare[at : at + _BARE_PIECE] for at in range(len(bare) - _BARE_PIECE + 1))
    _bare_pieces.update(filter(_DIGIT.search, pieces))


def forget() -> None:
    """Forget all keys; for tests."""
    for known in (_whole, _pieces, _piece_lengths, _bare_pieces):
        known.clear()
    _cached.cache_clear()


def one_line(text: str) -> str:
    """A text from elsewhere as a message may have it: one line, without keys and control characters.

    Of a long one, the first 4,000 characters.
    """
    return _cached(text) if len(text) <= _SHORT else _cleaned(text[:_LONGEST])


def shown_name(name: str) -> str:
    """The name of a field as a message may have it: `…` where it may be a key that was put there by mistake.

    Words and small numbers are shown (`X-Api-Key-2`), letters and digits in a mix are not.
    """
    is_plain = len(name) <= _LONGEST_NAME and _PLAIN_NAME.fullmatch(name) is not None
    few_digits = len(_DIGIT.findall(name)) <= _MOST_DIGITS
    is_known_shape = _LOOKS_LIKE_A_KEY.search(name) is not None and any(map(str.isdigit, name))
    return name if is_plain and few_digits and not is_known_shape else "…"


def shown_variable(name: str) -> str:
    """The name of an environment variable as a message may have it: as `shown_name`, capitals in any case."""
    return name if _VARIABLE.fullmatch(name) else shown_name(name)


def without_keys(text: str) -> str:
    """`text` without the keys that are remembered, and without anything else that looks like one."""
    text = _LOOKS_LIKE_A_KEY.sub(HIDDEN, text)
    for secret in sorted(_whole, key=len, reverse=True):
        if secret in text:
            # A short one (`none`, `x`) is a part of other words too.
            border = r"(?<!\w){}(?!\w)" if len(secret) < _SHORTEST else "{}"
            text = re.sub(border.format(re.escape(secret)), HIDDEN, text)
    return _without_pieces(text)


def without_controls(text: str, *, lines: bool = False) -> str:
    """`text` as a terminal may have it: what it would obey (C0, C1, escapes, bidi) is written out.

    Args:
        text: Any text.
        lines: Keep line breaks and tabs; else they become blanks.
    """
    return text if text.isprintable() else CONTROLS.sub(_shown_in_lines if lines else _shown, text)


def _shown(match: re.Match[str]) -> str:
    character = match[0]
    return " " if character in _BLANKS else character.encode("unicode_escape").decode()


def _shown_in_lines(match: re.Match[str]) -> str:
    return match[0] if match[0] in "\n\t" else _shown(match)


@lru_cache(maxsize=256)
def _cached(text: str) -> str:
    return _cleaned(text)


def _cleaned(text: str) -> str:
    return without_controls(without_keys(text))


def _piece_length(length: int) -> int:
    if length >= 2 * _PIECE:
        return _PIECE
    return length * 2 // 3 if length >= _PIECE else length


def _without_pieces(text: str) -> str:
    """`text` with everything hidden that a piece of a remembered key covers, however it is spelled."""
    if not _pieces and not _bare_pieces:
        return text
    return _without_spelled(_without_spelled(text, _SPELLING), _SPELLING_ONCE)


def _without_spelled(text: str, spelling: re.Pattern[str]) -> str:
    spans = [(_meant(match), match.start(), match.end()) for match in spelling.finditer(text)]
    meant = _folded("".join(character for character, _, _ in spans))
    covered = [False] * len(meant)
    for length in _piece_lengths:
        for at in range(len(meant) - length + 1):
            if meant[at : at + length] in _pieces:
                covered[at : at + length] = [True] * length
    _cover_bare(meant, covered)
    if True not in covered:
        return text
    shown, hiding = [], False
    for (_, start, end), is_covered in zip(spans, covered, strict=True):
        if not is_covered:
            shown.append(text[start:end])
        elif not hiding:
            shown.append(HIDDEN)
        hiding = is_covered
    return "".join(shown)


def _cover_bare(meant: str, covered: list[bool]) -> None:
    """Cover the pieces of keys that were taken apart, with what stands between."""
    places = [at for at, character in enumerate(meant) if character.isalnum()]
    bare = "".join(meant[at] for at in places)
    for at in range(len(bare) - _BARE_PIECE + 1):
        if bare[at : at + _BARE_PIECE] in _bare_pieces:
            start, end = places[at], places[at + _BARE_PIECE - 1] + 1
            covered[start:end] = [True] * (end - start)


def _folded(text: str) -> str:
    """Neither the case nor the alphabet of Base64 makes a key another."""
    return text.lower().replace("-", "+").replace("_", "/")


def _meant(match: re.Match[str]) -> str:
    *hexadecimal, decimal = match.groups()
    code = next((int(digits, 16) for digits in hexadecimal if digits), None)
    if code is None and decimal:
        code = int(decimal)
    # One character for one, or places would move.
    meant = match[0] if code is None else chr(code)
    return meant if len(meant.lower()) == 1 else "\0"


def _in_base64(raw: bytes) -> list[str]:
    """What every Base64 of a text with `raw` in it has, wherever in the text it stands."""
    found = []
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw).decode()
        # The characters at both ends also hold bits of what is next to them.
        first, last = (0, 2, 3)[before], len(encoded) - (0, 3, 2)[(before + len(raw)) % 3]
        found.append(encoded[first:last].rstrip("="))
    return found


def _in_other_bases(raw: bytes) -> list[str]:
    """What every Base32 and Base85 of a text with `raw` in it has, but for the ends."""
    found = []
    for before in range(5):
        encoded = base64.b32encode(b"\0" * before + raw).decode().rstrip("=")
        found.append(encoded[-(-before * 8 // 5) : -1])
    for before in range(4):
        padded = b"\0" * before + raw
        whole = padded[: len(padded) // 4 * 4]
        start = 5 if before else 0
        found += [base64.b85encode(whole).decode()[start:], base64.a85encode(whole).decode()[start:]]
    return found
