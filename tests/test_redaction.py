from __future__ import annotations

import base64
import json
import re
import time
import unicodedata
from collections.abc import Iterator
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evalkit import redaction
from evalkit.errors import (
    AuthenticationError,
    BadRequestError,
    ContentFilterError,
    OverloadError,
    TransientError,
)
from evalkit.redaction import one_line, remember, without_controls, without_keys
from tests.planted import KEYS

KEY = KEYS["plain"]
ASCII = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=16, max_size=60)


@pytest.fixture(autouse=True)
def known_key() -> Iterator[None]:
    remember(KEY)
    yield
    redaction.forget()


def every_character(template: str) -> str:
    return "".join(template.format(ord(character)) for character in KEY)


SPELLINGS = {
    "itself": KEY,
    "upper case": KEY.upper(),
    "percent": quote(KEY, safe=""),
    "percent, lower case": quote(KEY, safe="").lower(),
    "percent, every character": every_character("%{:02X}"),
    "percent twice": quote(quote(KEY, safe=""), safe=""),
    "percent in part": KEY.replace("-", "%2D"),
    "json escapes": every_character("\\u{:04x}"),
    "json within json": json.dumps(json.dumps(every_character("\\u{:04X}"))),
    "python escapes": every_character("\\x{:02x}"),
    "html": every_character("&#{};"),
    "html, hexadecimal": every_character("&#x{:x};"),
    "hexadecimal": KEY.encode().hex(),
    "base64": base64.b64encode(KEY.encode()).decode(),
    "base64 for urls": base64.urlsafe_b64encode(KEY.encode()).decode().rstrip("="),
    "base64 in percent": quote(base64.b64encode(KEY.encode()).decode(), safe=""),
    "backwards": KEY[::-1],
    "with blanks": " ".join(KEY),
    "with marks of no width": "\u200b".join(KEY),
    "without its hyphens": KEY.replace("-", ""),
    "hexadecimal with colons": KEY.encode().hex(":"),
    "base32": base64.b32encode(KEY.encode()).decode(),
    "base32 in a text": base64.b32encode(f"key {KEY} bad".encode()).decode(),
    "base85": base64.b85encode(KEY.encode()).decode(),
    "ascii85": base64.a85encode(KEY.encode()).decode(),
    "first half": KEY[: len(KEY) // 2],
    "second half": KEY[len(KEY) // 2 :],
    "middle": KEY[5:-5],
    "half of base64": base64.b64encode(KEY.encode()).decode()[:20],
    "half of percent": quote(KEY, safe="")[:20],
    **{
        f"base64 after {before!r}": base64.b64encode(f"{before}{KEY}:x".encode()).decode()
        for before in ("u:", "Bearer ", "xyz", "user-name:")
    },
}


def readings(text: str) -> Iterator[str]:
    """A text, and what the Base64 in it says, wherever it begins."""
    yield text
    for run in re.findall(r"[\w+/=-]{8,}", unquote(text), re.ASCII):
        for start in range(4):
            part = run.replace("-", "+").replace("_", "/").rstrip("=")[start:]
            yield base64.b64decode(part[: len(part) // 4 * 4]).decode("latin-1")


def holds_a_piece(text: str, length: int = 8) -> bool:
    """Whether so many characters of the key in a row can be read in a text."""
    spelled = {whole[at : at + length] for whole in (KEY, KEY.upper()) for at in range(len(KEY) - length + 1)}
    return any(piece in reading for reading in readings(text) for piece in spelled)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_spelling_of_a_key_is_left(spelling: str) -> None:
    shown = one_line(f"Incorrect API key: <{SPELLINGS[spelling]}>. See the page on keys.")
    assert redaction.HIDDEN in shown
    assert not holds_a_piece(shown), shown
    assert shown.startswith("Incorrect API key: ")
    assert shown.endswith("See the page on keys.")


@example("00000000%000000:", "", 1, False)
@given(ASCII, st.text(max_size=30), st.integers(0, 8), st.booleans())
def test_whatever_a_key_is_made_of(secret: str, around: str, cut: int, encoded: bool) -> None:
    remember(secret)
    spelled = base64.b64encode(secret.encode()).decode() if encoded else quote(secret, safe="")
    shown = without_keys(f"{around} {spelled[cut:]} {around}")
    assert secret not in shown
    assert spelled[cut : cut + 14] not in shown


@pytest.mark.parametrize("secret", ["s3cret!", "hunter2hunter"])
def test_short_keys_are_hidden_as_a_whole(secret: str) -> None:
    remember(secret)
    assert (
        without_keys(f"no {secret}, and no {quote(secret, safe='').replace('r', '%72')}.")
        == "no ***, and no ***."
    )


@pytest.mark.parametrize("secret", ["k", "none", "test"])
def test_keys_that_are_words_stay_in_other_words(secret: str) -> None:
    remember(secret)
    assert without_keys(f"tokens, nonentities, a {secret}, testing") == "tokens, nonentities, a ***, testing"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("key sk-abc*****xyz.", "key ***"),
        ("Bearer whatever now", "*** now"),
        ("task-oriented, the api_key_env is desk-bound", "task-oriented, the api_key_env is desk-bound"),
        ("100 %, 5% of the prompts, %zz", "100 %, 5% of the prompts, %zz"),
    ],
)
def test_what_looks_like_a_key_and_what_does_not(text: str, clean: str) -> None:
    assert without_keys(text) == clean


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    shown = one_line(text)
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in shown)
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize(
    "sequence",
    [
        "\x1b]0;title\x07",
        "\x1b]52;c;aGk=\x07",
        "\x1b[2J",
        "\x9b2J",
        "\x9d0;t\x9c",
        "\r",
        "\x08" * 9,
        "\x00",
        "\x7f",
    ],
)
def test_escape_sequences_are_written_out(sequence: str, lines: bool) -> None:
    shown = without_controls(f"a{sequence}b", lines=lines)
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in shown)


def test_letters_stay() -> None:
    for text in ("日本語 – “naïve” ½ ✓", "می‌خواهم", "👩‍💻"):
        assert one_line(text) == text
    assert without_controls("a\tb\nc", lines=True) == "a\tb\nc"


@pytest.mark.parametrize(
    "kind", [TransientError, OverloadError, BadRequestError, ContentFilterError, AuthenticationError]
)
def test_every_error_of_a_client_is_cleaned(kind: type[Exception]) -> None:
    assert str(kind(f"a {KEY}\nnote: all is well\x1b[2J")) == "a *** note: all is well\\x1b[2J"


def test_a_message_of_any_length_takes_no_time() -> None:
    began_s = time.process_time()
    assert len(one_line("violates " * 8_000_000)) <= 4000
    assert time.process_time() - began_s < 2


@pytest.mark.parametrize("key", ["my-api-key", "no-key-required", "token-abc123", "EMPTY"])
def test_keys_of_words_leave_messages_readable(key: str) -> None:
    remember(key)
    for text in ("Incorrect API key provided", "no key is required here", "your token is empty, or abc"):
        assert one_line(text) == text
