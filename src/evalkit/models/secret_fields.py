"""Which arguments of a client may be written down, and what must not be among them.

Arguments are part of a run's identity, and so in its manifest. A key comes from the environment or a file:
`api_key_env`, `api_key_file`, `headers_from_env`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any
from urllib.parse import unquote, urlsplit

from evalkit.errors import UsageError
from evalkit.models.secret_names import holds_only_secrets, says_secret, words_of
from evalkit.models.secret_texts import holds_key, is_random, is_shaped_like_a_key
from evalkit.redaction import shown_name

SOURCES = ("api_key_env", "api_key_file", "headers_from_env")
"""Arguments that say where a secret is; none holds one."""
_REMEDY = "put it into an environment variable and name that: {}"
_ANY_HEADER = "headers_from_env: {NAME: VARIABLE}"
_REMEDY_FOR_KEYS = _REMEDY.format(f"api_key_env: VARIABLE, or {_ANY_HEADER} for a header of another name")
_REMEDY_FOR_BODIES = (
    f"if the server takes the key in a header, {_REMEDY_FOR_KEYS}; evalkit sends none in a body: "
    "if the server takes it only there, a gateway or a client of your own must add it"
)
_REMEDY_FOR_ENGINES = (
    "leave it out, and set the environment variable that the engine reads itself (HF_TOKEN, for instance)"
)
_HEADERS = ("extra_headers", "headers_from_env")
_LONGEST_JSON = 100_000
_UNREADABLE = "host or port can't be read"
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_NOT_IN_A_URL = {
    "a user or password (@)": re.compile("@"),
    "a query (?)": re.compile(r"\?"),
    "a fragment (#)": re.compile("#"),
    "a backslash": re.compile(r"\\"),
    "a blank or control character": re.compile(r"[\s\x00-\x20\x7f]"),
}
# What a part of a path is that has a key behind an id: `bot123456:AAHd…`.
_ID_AND_TOKEN = re.compile(
    r"\D{0,10}\d{5,}:[\w-]{16,}|[\w.-]+:(?=[a-z]*\d)(?=\d*[a-z])[a-z0-9]{20,}", re.IGNORECASE
)


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
        _refuse_what_is_no_plain_address(place, value)
    for place in _secrets({name: value for name, value in args.items() if name not in SOURCES}, ""):
        raise UsageError(
            f"'{place}' must not hold a secret, since evalkit writes it into files; {_remedy(place)}"
        )


def written(args: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as an identity has them: headers only by name, and not where keys are."""
    shown = {name: value for name, value in args.items() if name not in SOURCES[:2]}
    for name in _HEADERS:
        if isinstance(headers := shown.get(name), Mapping):
            shown[name] = sorted({str(header).strip().lower() for header in headers})
    return shown


def _remedy(place: str) -> str:
    """What to do with a secret that stands at `place`."""
    field, _, rest = place.partition(".")
    if field in _HEADERS:
        return _REMEDY.format(f"headers_from_env: {{{rest.strip()}: VARIABLE}}")
    if field == "extra_body":
        return _REMEDY_FOR_BODIES
    if field.endswith("_args"):
        return _REMEDY_FOR_ENGINES
    return _REMEDY.format("api_key_env: VARIABLE")


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
        _refuse_what_is_no_header(field, name.strip())
        if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
            raise UsageError(f"'{field}.{shown_name(name)}' holds a line break or another control character")
        if (folded := name.strip().lower()) in seen:
            raise UsageError(f"'{field}' has {shown_name(name)!r} twice")
        seen.add(folded)
        if field == "headers_from_env":
            _refuse_what_is_no_variable(f"{field}.{shown_name(name)}", value)


def _refuse_what_is_no_header(field: str, name: str) -> None:
    if _HEADER_NAME.fullmatch(name):
        return
    if not name:
        raise UsageError(f"'{field}' has a header without a name")
    begin = found[0] if (found := _HEADER_NAME.match(name)) is not None else ""
    wrong = name[len(begin)]
    # A whole line in the place of a name may have a key in it, so it is shown up to what is wrong.
    shown = "" if _holds_secret(begin) else shown_name(begin).rstrip("…")
    if not says_secret(begin) and re.fullmatch(r"[\w .-]{1,40}", name) and not re.search(r"\d", name):
        shown = name
    else:
        shown += "…"
    raise UsageError(
        f"'{field}' has {shown!r}, which is not a valid header name: {wrong!a} must not be in one"
    )


def _refuse_what_is_no_text(field: str, value: Any) -> None:
    if value is not None and not isinstance(value, str):
        raise UsageError(f"'{field}' must be a text")


def _refuse_what_is_no_variable(field: str, value: Any) -> None:
    _refuse_what_is_no_text(field, value)
    if value is not None and (not _VARIABLE.fullmatch(value) or is_shaped_like_a_key(value)):
        raise UsageError(
            f"'{field}' must be the name of an environment variable, not what the variable holds: letters, "
            "digits and underscores"
        )


def _refuse_what_is_no_plain_address(place: str, value: str) -> None:
    """Nothing, if `value` is not an address, or one without user, password, query, fragment and key."""
    is_address = "url" in place.rsplit(".", 1)[-1].lower() or re.match(r"\s*https?:", value, re.I) is not None
    if not is_address or not (found := _found_in_address(value.strip())):
        return
    if found == [_UNREADABLE]:
        raise UsageError(f"'{place}' is not an address: its {_UNREADABLE}")
    message = (
        f"'{place}' must be a plain address, since evalkit writes it into files; it holds "
        f"{' and '.join(found)}"
    )
    if any("@" in part for part in found):
        basic = _REMEDY.format("headers_from_env: {Authorization: VARIABLE}")
        message += f"; for a user and password, {basic}, where the variable holds 'Basic …'"
    elif found != ["a blank or control character"]:
        message += (
            f"; if that is a key, {_REMEDY_FOR_KEYS}; a server that takes it only in the address "
            "needs a gateway that adds it"
        )
    raise UsageError(message)


def _found_in_address(address: str) -> list[str]:
    """What a plain address has not, in words."""
    found = [what for what, pattern in _NOT_IN_A_URL.items() if pattern.search(address)]
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        return found or [_UNREADABLE]
    if _has_key(parts.path) or _has_key(unquote(parts.path)):
        found.append("a key in its path")
    return found


def _has_key(path: str) -> bool:
    """Whether a part of a path is a key, or stands where the part before it says that one does."""
    parts = [part for part in re.split(r"[/;]", path) if part]
    return any(_holds_secret(part) or _ID_AND_TOKEN.fullmatch(part) for part in parts) or any(
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
            yield f"{place}{shown_name(named)}"
        for name, item in value.items():
            here = f"{place}{shown_name(str(name))}"
            # An argument that says where a secret is (`token_env`, `password_file`) holds none.
            is_place = not place and _names_a_place(name) and isinstance(item, str)
            if holds_key(str(name)) or (_holds_secret(item) if is_place else _is_secret(str(name), item)):
                yield here
            yield from _secrets(item, f"{here}.")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            if isinstance(item, str) and (_holds_secret(item) or _is_behind_its_name(value, index)):
                yield f"{place}{index}"
            elif isinstance(item, list | tuple) and _is_pair(item):
                yield f"{place}{index}.1"
            yield from _secrets(item, f"{place}{index}.")


def _is_pair(item: Sequence[Any]) -> bool:
    """Whether this is a name with its secret, as a list of headers has them."""
    return len(item) == 2 and all(isinstance(part, str) for part in item) and says_secret(item[0])


def _is_behind_its_name(texts: Sequence[Any], index: int) -> bool:
    """Whether the text before says that this one is a secret: `--api-key` of a command, a header of a list.

    A list of words (`stop: [Password, User]`) is none: a value has letters and digits.
    """
    name = texts[index - 1] if index else None
    if not isinstance(name, str) or re.search(r"\s", name) or not says_secret(name):
        return False
    return name.startswith("--") or is_random(texts[index], 6)


def _named_in_pair(fields: Mapping[Any, Any]) -> str | None:
    """The field that holds the secret of `{name: …, value: …}`, also of `headerName` and `headerValue`."""
    texts = {str(field): item for field, item in fields.items() if isinstance(item, str) and item}
    values = {"".join(words_of(field)): field for field in texts}
    for spelled, field in values.items():
        about = spelled.removesuffix("name")
        if about != spelled and f"{about}value" in values and says_secret(texts[field]):
            return values[f"{about}value"]
    return None


def _holds_secret(text: str) -> bool:
    """Whether a text is a key, has one in it, or is JSON in which a field holds one."""
    if holds_key(text):
        return True
    text = text.strip()
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
