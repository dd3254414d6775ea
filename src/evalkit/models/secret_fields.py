"""Which arguments of a client may be written down, and what must not be among them.

Arguments are part of a run's identity, and so in its manifest. A key comes from the environment or a file:
`api_key_env`, `api_key_file`, `headers_from_env`.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from itertools import pairwise
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
_SECRET_WORDS = frozenset(
    {
        *("auth", "oauth", "bearer", "pwd", "pw", "psk", "pass", "passcode", "cred", "creds"),
        *("jwt", "otp", "hmac", "signature", "sig", "sas"),
    }
)
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
        *(
            "think start token",
            "think end token",
            "system prompt key",
            "response key",
            "text key",
            "key value",
        ),
    }
)
_GLUED_SETTINGS = frozenset(name.replace(" ", "") for name in _SETTINGS)
# English, and no keys.
_NO_KEYS = frozenset(
    {"monkey", "turkey", "donkey", "hockey", "jockey", "whiskey", "hotkey", "mickey", "lackey"}
)
# What is put behind a name to tell one secret from another.
_ENDING = re.compile(
    r"v?\d+|value|header|text|prod|production|staging|dev|test|old|new|primary|secondary|main"
)
_LOOKS_LIKE_A_SECRET = re.compile(
    r"(?:Bearer|Basic)\s+\S+|(?:Token|Api-?Key)\s+(?=\S*\d)\S{8,}"
    r"|(?:sk|gsk|nvapi|csk|xai|glpat|xox[abprs])-[\w.-]{12,}|(?:hf|gh[pousr]|github_pat|sk_live)_\w{16,}"
    r"|AKIA[0-9A-Z]{16}|AIza[\w-]{30,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*|-----BEGIN [\s\S]*PRIVATE KEY[\s\S]*",
    re.I,
)
# A name and what it holds in one text: a header line, an option of a command, a parameter of a query.
_NAMED = re.compile(r"-{0,2}([\w.-]+)\s*[:=]\s*(?:(?:Bearer|Basic|Token)\s+)?\S{6,}|--([\w.-]+)\s+\S{6,}")
_PARAMETER = re.compile(r"[?&;]([\w.-]+)=[^&#\s]{6,}")
_LONGEST_JSON = 100_000
_USER_IN_URL = re.compile(r"\w://[^/\s@]*@")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_NOT_IN_A_URL = re.compile(r"[\s@?#\\\x00-\x20\x7f]")


def says_secret(name: str) -> bool:
    """Whether a field of this name holds a secret, if it holds a text: `X-Api-Key`, but not `max_tokens`."""
    words = _words_of(name)
    spoken, glued = " ".join(words), "".join(words)
    if spoken in _SETTINGS or glued in _GLUED_SETTINGS:
        return False
    while len(words) > 1 and _ENDING.fullmatch(words[-1]):
        words.pop()
    last = words[-1].rstrip("0123456789") if words else ""
    return (
        holds_only_secrets(name)
        or last in _KEY_WORDS
        or (last.endswith(("token", "key")) and last not in _NO_KEYS)
        or _GLUED_KEY.search(glued) is not None
        or _SPOKEN_KEY.search(spoken) is not None
    )


def holds_only_secrets(name: str) -> bool:
    """Whether what is in a field of this name is a secret even where it is a number."""
    words = _words_of(name)
    glued = "".join(words)
    return any(part in glued for part in _SECRET_PARTS) or not _SECRET_WORDS.isdisjoint(words)


def _words_of(name: str) -> list[str]:
    """`X-Api-Key` and `xApiKey` as `x`, `api`, `key`; letters of other widths are the same letters."""
    plain = unicodedata.normalize("NFKC", name).strip()
    return [word.lower() for word in _WORD_BORDER.split(plain) if word]


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
    if "@" not in value and not _can_be_split(value):
        raise UsageError(f"'{place}' is no address: its host or port can't be read")
    try:
        parts = urlsplit(value)
        is_plain = not _NOT_IN_A_URL.search(value.strip()) and parts.port != -1 and not _has_key(parts.path)
    except ValueError:
        is_plain = False
    if not is_plain or parts.username is not None:
        raise UsageError(
            f"'{place}' must hold no user, password, query, fragment, blank or key, since it is written "
            f"down; if one of them is a key, {REMEDY} (for a user and password, NAME is Authorization and "
            "the variable holds 'Basic …')"
        )


def _can_be_split(value: str) -> bool:
    try:
        return urlsplit(value).port != -1
    except ValueError:
        return False


def _has_key(path: str) -> bool:
    """Whether a part of a path is a key, or stands where the part before it says that one does."""
    parts = [part for part in re.split(r"[/;]", path) if part]
    return any(_holds_secret(part) for part in parts) or any(
        says_secret(name) and len(part) >= 8 and any(c.isdigit() for c in part)
        for name, part in pairwise(parts)
    )


def _texts(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """The texts that are arguments themselves; what a body has in it may hold any address."""
    for name, item in value.items() if isinstance(value, Mapping) else ():
        if isinstance(item, str):
            yield f"{place}{name}", item


def _secrets(value: Any, place: str) -> Iterator[str]:
    """Where a text stands under a name that says secret, or one that looks like a key under any other."""
    if isinstance(value, Mapping):
        if (named := _named_in_pair(value)) is not None:
            yield f"{place}{named}"
        for name, item in value.items():
            here = f"{place}{name}"
            if _is_secret(str(name), item):
                yield here
            yield from _secrets(item, f"{here}.")
    elif isinstance(value, list | tuple):
        if len(value) == 2 and all(isinstance(item, str) for item in value) and says_secret(value[0]):
            yield f"{place}1"
        for index, item in enumerate(value):
            if isinstance(item, str) and _holds_secret(item):
                yield f"{place}{index}"
            yield from _secrets(item, f"{place}{index}.")


def _named_in_pair(fields: Mapping[Any, Any]) -> str | None:
    """The field that holds the secret of `{name: …, value: …}`, also of `headerName` and `headerValue`."""
    texts = {str(field): item for field, item in fields.items() if isinstance(item, str) and item}
    values = {"".join(_words_of(field)): field for field in texts}
    for spelled, field in values.items():
        about = spelled.removesuffix("name")
        if about != spelled and f"{about}value" in values and says_secret(texts[field]):
            return values[f"{about}value"]
    return None


def _holds_secret(text: str) -> bool:
    """Whether a text is a key, a name with its key, an address with one, or JSON that holds one."""
    text = text.strip()
    if _LOOKS_LIKE_A_SECRET.fullmatch(text) or _USER_IN_URL.search(text):
        return True
    if (named := _NAMED.fullmatch(text)) is not None and says_secret(named[1] or named[2]):
        return True
    if not re.search(r"\s", text) and any(map(says_secret, _PARAMETER.findall(text))):
        return True
    if text[:1] not in ("{", "[") or len(text) > _LONGEST_JSON:
        return False
    try:
        return any(True for _ in _secrets(json.loads(text), ""))
    except (ValueError, RecursionError):
        return False


def _is_secret(name: str, value: Any) -> bool:
    if isinstance(value, str):
        return bool(value) and (says_secret(name) or _holds_secret(value))
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
