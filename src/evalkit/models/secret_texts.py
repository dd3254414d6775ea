"""Whether a text holds a key: it is one, an address with one, or has one behind its name somewhere in it.

Prompts, stop sequences and chat templates are texts too, so a name alone is not a key: what follows it must
look like one. docs/models.md, "Keys", has the rule.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from evalkit.models.secret_names import KINDS_OF_KEYS, holds_only_secrets, says_secret, words_of

_SHAPE = (
    r"(?:sk|gsk|nvapi|csk|xai|glpat|xox[abprs])-[\w.-]{12,}|(?:hf|gh[pousr]|github_pat|sk_live)_\w{16,}"
    r"|AKIA[0-9A-Z]{16}|AIza[\w-]{30,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*|-----BEGIN [\s\S]*?PRIVATE KEY[\s\S]*"
)
_IS_A_KEY = re.compile(rf"Bearer\s+\S+|(?:Token|Api-?Key)\s+(?=\S*\d)\S{{8,}}|{_SHAPE}", re.I)
# Within a longer text: `task-based-evaluation` has `sk-` in it, and `sk-learn-compatible` no digit.
_SHAPED_WORD = re.compile(rf"(?<![A-Za-z0-9])(?:{_SHAPE})", re.I)
_BEARER = re.compile(r"(?<!\w)Bearer\s+([^\s\"'`<>{}\[\](),;]{8,})", re.I)
_BASIC = re.compile(r"(?<!\w)Basic\s+([A-Za-z0-9+/_-]{8,}={0,2})", re.I)
# A whole text that is a header line, an option of a command, or an address with parameters.
_NAMED = re.compile(
    r"-{0,2}([\w.-]+)\s*[:=]\s*(?:(?:Bearer|Basic|Token)\s+)?(?P<value>(?![<{\[$*])\S{6,})"
    r"|--([\w.-]+)\s+(?P<behind>(?![<{\[$*])\S{6,})"
)
_CALL = re.compile(r"[A-Za-z_][\w.]*(?:\(.*\)|\[.*\]);?")
_PARAMETER = re.compile(r"[?&;]([\w.-]+)=[^&#\s]{6,}")
_USER = re.compile(r"\w://[^/\s@]*@")
# `https://user:password@host`; the password may have slashes, but what is only a port is none.
_PASSWORD_IN_ADDRESS = re.compile(r"\w://[^\s/@:\"']*:(?!\d{1,5}(?:[/?#]|$))([^\s@\"'<>]{1,300})@")
_KEY_AS_USER = re.compile(r"\w://([^\s/@:\"']{8,300})@")
_USER_OPTION = re.compile(
    r"(?<!\S)(?:-u|--(?:proxy-)?user)(?:\s*=\s*|\s+|(?<=-u))[\"']?[^\s:\"']{1,80}:([^\s\"']{6,})"
)
_STAND_INS = frozenset(
    {"pass", "password", "passwd", "pw", "pwd", "secret", "token", "key", "hidden", "redacted"}
)
# At every word: a name, what stands between, and what may be the key. Read ahead: values hold names too.
_AT_WORD = re.compile(
    r"(?<![\w.-])(?=(?P<name>-{0,2}\w[\w.-]{1,80})(?P<close>[\"'\\\]`*]{0,4})"
    r"(?P<between>\s*(?:=>|:=|->|==|[:=>|,])\s*|\s+is:?\s+|\s*,?\s*[\"']?value[\"']?\s*[:=]\s*|\s+)(?P<open>[\"'\\\[(`*]{0,4})"
    r"(?P<scheme>(?:Bearer|Basic|Token|Digest|ApiKey)\s+)?(?P<value>[^\s\"'`<>{}\[\](),;&|\\]{6,2000})(?P<after>[(\[]?))",
    re.I,
)
_GLUED = re.compile(rf"(?:{KINDS_OF_KEYS}|bearer|refresh|id|user|service)(?:key|token)s?\d*", re.I)
_KIND_BEFORE = re.compile(rf"\b(?:{KINDS_OF_KEYS}|bearer|refresh)\s+$", re.I)
_SPELLED = re.compile(r"\\+u00([0-9a-f]{2})|\\+x([0-9a-f]{2})", re.I)
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]")
# What is written where a key will be: `$KEY`, `YOUR_KEY`, `API_KEY_1`, `config.api_key`, `/run/secrets/key`.
_NO_VALUE = re.compile(
    r"[$*%<{].*|.*(?:\.\.\.|…|x{4,}).*|(?i:your|example|placeholder|insert)[\W_].*|[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+"
    r"|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+|\w+://.*|~?/[\w.-]+/\S*|\.{1,2}/\S*|(.)\1*"
)
_WORD_WITH_NUMBER = re.compile(r"[A-Za-z]+(?:_[A-Za-z]+)*_?\d{1,3}")
_MODEL_LIKE = re.compile(
    r"(?:[A-Za-z]+|v?\d+(?:\.\d+)*[A-Za-z]{0,2})(?:[-_/.:](?:[A-Za-z]+|v?\d+(?:\.\d+)*[A-Za-z]{0,2}))*"
)
_MIXED = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9+/=~])|(?=.*[A-Za-z])(?=.*[=+~])", re.S)
_LETTER, _DIGIT = re.compile(r"[A-Za-z]"), re.compile(r"\d")


def holds_key(text: str) -> bool:
    """Whether a text is a key, or has one in it behind its name, in an address or in its own shape."""
    text = text.strip()
    return _is_or_names_a_key(text) or any(map(_has_key_within, _readings(text)))


def _is_or_names_a_key(text: str) -> bool:
    """Whether the whole text is a key, or a name with its key: here the name alone decides."""
    if is_shaped_like_a_key(text) or (re.search(r"\s", text) is None and _USER.search(text)):
        return True
    if (named := _NAMED.fullmatch(text)) is not None and says_secret(named[1] or named[3]):
        return _CALL.fullmatch(named["value"] or named["behind"]) is None
    return re.search(r"\s", text) is None and any(map(says_secret, _PARAMETER.findall(text)))


def is_shaped_like_a_key(text: str) -> bool:
    """Whether a text as a whole looks like a key, whatever it is called."""
    return _IS_A_KEY.fullmatch(text) is not None or (text[:6].lower().startswith("basic") and _is_basic(text))


def _readings(text: str) -> Iterator[str]:
    """The text, and what it says once its JSON, percent and HTML spellings are read."""
    yield text
    plain = _UNSEEN.sub("", unicodedata.normalize("NFKC", text))
    plain = _SPELLED.sub(lambda found: chr(int(found[1] or found[2], 16)), plain)
    plain = html.unescape(unquote(plain))
    if plain != text:
        yield plain


def _has_key_within(text: str) -> bool:
    return (
        any(
            _DIGIT.search(found[0]) is not None or found[0].startswith("-----")
            for found in _SHAPED_WORD.finditer(text)
        )
        or any(is_random(found[1], 8) for found in _BEARER.finditer(text))
        or _is_basic(text)
        or any(_is_password(found[1]) for found in _PASSWORD_IN_ADDRESS.finditer(text))
        or any(is_random(found[1], 8) for found in _KEY_AS_USER.finditer(text))
        or any(is_random(found[1], 6) for found in _USER_OPTION.finditer(text))
        or any(_holds(found, text) for found in _AT_WORD.finditer(text))
    )


def _is_basic(text: str) -> bool:
    """Whether a text has `Basic …` in it, with a user and a password in Base64."""
    for found in _BASIC.finditer(text):
        encoded = found[1].rstrip("=").replace("-", "+").replace("_", "/")
        try:
            decoded = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except (binascii.Error, ValueError):
            continue
        if b":" in decoded and decoded.isascii():
            return True
    return False


def _is_password(value: str) -> bool:
    return value.lower() not in _STAND_INS and value[0] not in "$<{*["


@dataclass(frozen=True, slots=True)
class _Place:
    """How a value stands behind its name.

    Attributes:
        is_plain_word: The name is a word of plain English (`token`), not of code (`session_token`).
        is_tight: As in code or in a file of settings: `a=b`, `"a": "b"`, its own line.
        is_sentence: With nothing between them, or only `is`.
    """

    name: str
    is_plain_word: bool
    is_tight: bool
    is_sentence: bool


def _holds(found: re.Match[str], text: str) -> bool:
    """Whether a name and what follows it in `text` are a secret with its key."""
    name, value = found["name"], found["value"].rstrip(".!?:…")
    if not says_secret(name) or found["after"] or _NO_VALUE.fullmatch(value):
        return False
    place = _place(found, text)
    # In a list of words, the next one is not a value of this one.
    is_list = found["between"].strip() == "," and place.is_plain_word
    return not is_list and _is_key_at(place, value)


def _place(found: re.Match[str], text: str) -> _Place:
    name, between = found["name"], found["between"]
    start, sign = found.start("name"), between.strip()
    is_option = name.startswith("-")
    is_markup = sign == ">" and text[start - 1 : start] == "<"
    is_call = sign == "," and bool(found["close"]) and bool(found["open"])
    is_blank = sign in ("", "is", "is:", "|", ",") or (sign == ">" and not is_markup)
    alone = text[text.rfind("\n", 0, start) + 1 : start].strip() == "" and re.match(
        r"[^\S\n]*(?:\n|$)", text[found.end("value") :]
    )
    is_plain_word = (
        not is_option
        and found["scheme"] is None
        and "authoriz" not in name.lower()
        and len(words_of(name)) == 1
        and _GLUED.fullmatch(name) is None
        and _KIND_BEFORE.search(text[max(0, start - 20) : start]) is None
    )
    is_tight = (
        is_markup
        or is_call
        or "value" in sign
        or (
            not is_blank
            and ("=" in sign or between == sign or bool(found["close"]) or bool(alone) or bool(found["open"]))
            and "\n" not in between
        )
    )
    return _Place(name, is_plain_word, is_tight or is_option, is_blank and not (is_option or is_call))


def _is_key_at(place: _Place, value: str) -> bool:
    if place.is_sentence:  # `the token is …`, `password …`
        is_long = is_random(value, 16) or (len(value) >= 10 and _is_of_three_kinds(value))
        return is_long and not (place.is_plain_word and _MODEL_LIKE.fullmatch(value))
    if not place.is_plain_word:
        shortest = 6 if place.is_tight else 8
        return (
            (_DIGIT.search(value) is not None and len(value) >= shortest)
            or (len(value) >= 16 and _MIXED.search(value) is not None)
        ) and not (_WORD_WITH_NUMBER.fullmatch(value) and len(words_of(value)) > 1 and says_secret(value))
    if not place.is_tight:
        return is_random(value, 16) or (len(value) >= 10 and _is_of_three_kinds(value))
    if holds_only_secrets(place.name):
        return (_DIGIT.search(value) is not None and len(value) >= 6) or (
            len(value) >= 16 and _MIXED.search(value) is not None
        )
    return is_random(value, 8) and not _WORD_WITH_NUMBER.fullmatch(value)


def is_random(value: str, shortest: int) -> bool:
    """Whether a value is long enough and has letters and digits, as no word has."""
    return (
        len(value) >= shortest
        and _LETTER.search(value) is not None
        and _DIGIT.search(value) is not None
        and not _NO_VALUE.fullmatch(value)
    )


def _is_of_three_kinds(value: str) -> bool:
    return all(re.search(kind, value) for kind in ("[a-z]", "[A-Z]", "[0-9]"))
