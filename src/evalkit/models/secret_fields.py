"""Which arguments of a client may be written down, and what must not be among them.

Arguments are part of a run's identity, and so in its manifest. A key comes from the environment or a file:
`api_key_env`, `api_key_file`, `headers_from_env`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from evalkit.errors import UsageError

SOURCES = ("api_key_env", "api_key_file", "headers_from_env")
"""Arguments that say where a secret is; none holds one."""
REMEDY = "put it into an environment variable and name that: headers_from_env: {NAME: VARIABLE}"
_HEADERS = ("extra_headers", "headers_from_env")
_WORD_BORDER = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")
# In a name these mean a secret wherever they stand, also within a longer word.
_SECRET_PARTS = ("password", "passwd", "passwort", "passphrase", "secret", "credential", "cookie", "authoriz")
_SECRET_WORDS = frozenset({"auth", "bearer", "pwd", "jwt", "otp", "signature", "sig", "pass"})
_KEY_WORDS = frozenset({"key", "keys", "token"})
_KEYS_OF = "api|access|auth|private|subscription|account|signing|encryption|master|license|session|security"
_GLUED_KEY = re.compile(rf"({_KEYS_OF}|bearer|refresh|id|user|service)(key|token)s?\d*$|apikey")
_SPOKEN_KEY = re.compile(rf"\b({_KEYS_OF}|bearer|refresh) (key|token)s?\b(?! id)")
# Settings, though their names end like those of secrets.
_SETTINGS = frozenset(
    {
        *("cache key", "prompt cache key", "idempotency key", "sort key", "partition key", "routing key"),
        *("bos token", "eos token", "pad token", "unk token", "sep token", "cls token", "mask token"),
        *("stop token", "start token", "end token", "image token", "audio token", "video token"),
        *("think start token", "think end token", "system prompt key", "response key", "text key"),
    }
)
_LOOKS_LIKE_A_SECRET = re.compile(r"(?:Bearer|Basic)\s+\S+|(?:sk|gsk|nvapi|csk)-[\w.-]{12,}|hf_\w{16,}", re.I)
_USER_IN_URL = re.compile(r"\w://[^/\s@]*@")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_NOT_IN_A_URL = re.compile(r"[\s@?#\\\x00-\x20\x7f]")


def says_secret(name: str) -> bool:
    """Whether a field of this name holds a secret, if it holds a text: `X-Api-Key`, but not `max_tokens`."""
    words = [word.lower() for word in _WORD_BORDER.split(name.strip()) if word]
    spoken, glued = " ".join(words), "".join(words)
    if spoken in _SETTINGS:
        return False
    return (
        holds_only_secrets(name)
        or bool(words and words[-1].rstrip("0123456789") in _KEY_WORDS)
        or _GLUED_KEY.search(glued) is not None
        or _SPOKEN_KEY.search(spoken) is not None
    )


def holds_only_secrets(name: str) -> bool:
    """Whether what is in a field of this name is a secret even where it is a number."""
    words = {word.lower() for word in _WORD_BORDER.split(name.strip()) if word}
    glued = "".join(_WORD_BORDER.split(name)).lower()
    return any(part in glued for part in _SECRET_PARTS) or not words.isdisjoint(_SECRET_WORDS)


def refuse_secrets(args: Mapping[str, Any]) -> None:
    """Nothing, if these arguments of a client can be written down and sent.

    Raises:
        UsageError: A field holds a secret, or an address a password; a header is none; a variable's name is
            none. The message names the field, never what it holds.
    """
    for name in SOURCES[:2]:
        _refuse_what_is_no_text(name, args.get(name))
    _refuse_what_is_no_variable("api_key_env", args.get("api_key_env"))
    for name in _HEADERS:
        _check_headers(name, args.get(name))
    for place, value in _texts(args, ""):
        _refuse_password(place, value)
    known = {name: value for name, value in args.items() if name not in SOURCES and not _names_a_place(name)}
    for place in _secrets(known, ""):
        raise UsageError(f"'{place}' must not hold a secret, since it is written down; {REMEDY}")


def written(args: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as an identity has them: headers only by name, and not where keys are."""
    shown = {name: value for name, value in args.items() if name not in SOURCES[:2]}
    for name in _HEADERS:
        if isinstance(headers := shown.get(name), Mapping):
            shown[name] = sorted({str(header).strip().lower() for header in headers})
    return shown


def _names_a_place(name: str) -> bool:
    """Whether an argument says where a secret is: `token_env`, `password_file`."""
    return name.endswith(("_env", "_file", "_path"))


def _check_headers(field: str, headers: Any) -> None:
    if headers is None:
        return
    if not isinstance(headers, Mapping) or not all(
        isinstance(part, str) for pair in headers.items() for part in pair
    ):
        raise UsageError(f"'{field}' must map names to texts")
    seen: set[str] = set()
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name.strip()):
            raise UsageError(f"'{field}' has a name that is no name of a header")
        if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
            raise UsageError(f"'{field}.{name}' holds a line break or another control character")
        if (folded := name.strip().lower()) in seen:
            raise UsageError(f"'{field}' has {name!r} twice")
        seen.add(folded)
        if field == "headers_from_env":
            _refuse_what_is_no_variable(f"{field}.{name}", value)


def _refuse_what_is_no_text(field: str, value: Any) -> None:
    if value is not None and not isinstance(value, str):
        raise UsageError(f"'{field}' must be a text")


def _refuse_what_is_no_variable(field: str, value: Any) -> None:
    _refuse_what_is_no_text(field, value)
    if value is not None and (not _VARIABLE.fullmatch(value) or _LOOKS_LIKE_A_SECRET.fullmatch(value)):
        raise UsageError(
            f"'{field}' must be the name of an environment variable, not what the variable holds: letters, "
            "digits and underscores"
        )


def _refuse_password(place: str, value: str) -> None:
    """Nothing, if `value` is no address, or one without user, password, query and fragment."""
    is_address = "url" in place.rsplit(".", 1)[-1].lower() or re.match(r"\s*https?:", value, re.I) is not None
    if not is_address:
        return
    try:
        parts = urlsplit(value)
        is_plain = not _NOT_IN_A_URL.search(value.strip()) and parts.port != -1
    except ValueError:
        is_plain = False
    if not is_plain or parts.username is not None:
        raise UsageError(
            f"'{place}' must hold no user, password, query, fragment or blank, since it is written down; "
            f"if one of them is a key, {REMEDY} (for a user and password, NAME is Authorization and the "
            "variable holds 'Basic …')"
        )


def _texts(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """The texts that are arguments themselves; what a body has in it may hold any address."""
    for name, item in value.items() if isinstance(value, Mapping) else ():
        if isinstance(item, str):
            yield f"{place}{name}", item


def _secrets(value: Any, place: str) -> Iterator[str]:
    """Where a text stands under a name that says secret, or one that looks like a key under any other."""
    if isinstance(value, Mapping):
        pair = [value.get(name) for name in ("name", "value")]
        if isinstance(pair[0], str) and isinstance(pair[1], str) and says_secret(pair[0]):
            yield f"{place}{pair[0]}"
        for name, item in value.items():
            here = f"{place}{name}"
            if _is_secret(str(name), item):
                yield here
            yield from _secrets(item, f"{here}.")
    elif isinstance(value, list | tuple):
        if len(value) == 2 and all(isinstance(item, str) for item in value) and says_secret(value[0]):
            yield f"{place}{value[0]}"
        for index, item in enumerate(value):
            if isinstance(item, str) and _LOOKS_LIKE_A_SECRET.fullmatch(item.strip()):
                yield f"{place}{index}"
            yield from _secrets(item, f"{place}{index}.")


def _is_secret(name: str, value: Any) -> bool:
    if isinstance(value, str):
        looks_so = _LOOKS_LIKE_A_SECRET.fullmatch(value.strip()) or _USER_IN_URL.search(value)
        return bool(value) and (says_secret(name) or looks_so is not None)
    if isinstance(value, bytes):
        return says_secret(name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return holds_only_secrets(name)
    if isinstance(value, list | tuple):
        return any(isinstance(item, str | bytes) for item in value) and says_secret(name)
    if isinstance(value, Mapping):
        # A schema describes a field of that name and holds no secret.
        is_schema = any(isinstance(key, str) and key in _SCHEMA for key in value)
        return holds_only_secrets(name) and not is_schema and any(isinstance(v, str) for v in value.values())
    return False


_SCHEMA = frozenset({"type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const", "description"})
