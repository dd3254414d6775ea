"""Keys: read from the environment or a file the user names, and kept out of every message."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from evalkit.bounded_reads import UnfitFileError, is_pipe_of_shell, read_bytes
from evalkit.errors import UsageError
from evalkit.models.secret_fields import refuse_secrets
from evalkit.redaction import remember, shown_name, shown_variable

_MAX_KEY_BYTES = 1 << 20
_NO_KEY = "a key has one line"
_from_pipes: dict[Path, str] = {}


def read_key(api_key_env: str | None, api_key_file: str | None) -> str | None:
    """The key, or None if neither source is named.

    Raises:
        UsageError: The variable is not set, the file can't be read, or what is there is no key.
    """
    if api_key_file is not None:
        source = f"the file {api_key_file}"
        try:
            key = _file_text(Path(api_key_file).expanduser()).strip()
        except (OSError, ValueError, RuntimeError) as error:
            raise UsageError(_not_read(api_key_file, error)) from None
    elif api_key_env is not None:
        source = f"the environment variable {shown_variable(api_key_env)}"
        key = os.environ.get(api_key_env, "").strip()
        if not key:
            raise UsageError(_not_set(api_key_env, "the API key"))
    else:
        return None
    if not key or not key.isascii() or not key.isprintable():
        raise UsageError(f"{source} holds no API key: it must be one line of ASCII text")
    remember(key)
    return key


def _file_text(path: Path) -> str:
    """The text of a key file; that of a pipe (`<(...)`), which gives its content once, is kept."""
    if not is_pipe_of_shell(path):
        return read_bytes(path, _MAX_KEY_BYTES, remedy=_NO_KEY).decode()
    if path not in _from_pipes:
        _from_pipes[path] = read_bytes(path, _MAX_KEY_BYTES, remedy=_NO_KEY, may_be_pipe=True).decode()
    return _from_pipes[path]


def sent_headers(
    extra_headers: Mapping[str, str] | None, headers_from_env: Mapping[str, str] | None
) -> dict[str, str]:
    """The headers of a deployment, those with secrets filled in from the environment; kept out of messages.

    Raises:
        UsageError: A header that carries keys is among `extra_headers`, one is named in both, a variable is
            not set, or what it holds can't be a header.
    """
    refuse_secrets({"extra_headers": extra_headers, "headers_from_env": headers_from_env})
    headers = {name.strip(): value.strip() for name, value in (extra_headers or {}).items()}
    for name, variable in (headers_from_env or {}).items():
        if names_header(headers, name):
            raise UsageError(
                f"'{shown_name(name)}' is in extra_headers and in headers_from_env; remove one of them"
            )
        headers[name.strip()] = _read_header(name.strip(), variable)
    return headers


def missing_header(headers_from_env: Mapping[str, str] | None) -> str | None:
    """What is wrong, in words, if a variable that must hold a header is not set; reads no value."""
    for name, variable in (headers_from_env or {}).items():
        if not os.environ.get(variable, "").strip():
            return _not_set(variable, f"the whole value of the header {name.strip()}")
    return None


def key_advice(
    api_key_env: str | None, api_key_file: str | None, headers_from_env: Mapping[str, str] | None
) -> str:
    """What to look at when a server refuses the key: where this deployment has it from."""
    sources = []
    if api_key_file is not None:
        sources.append(f"the API key in the file {api_key_file}")
    elif api_key_env is not None:
        sources.append(f"the API key in the environment variable {shown_variable(api_key_env)}")
    for name, variable in (headers_from_env or {}).items():
        held = f"the whole value of the header {name.strip()}"
        sources.append(f"the environment variable {shown_variable(variable)}, {held}")
    if not sources:
        return "the deployment names no API key; name it with api_key_env, api_key_file or headers_from_env"
    return f"check {', and '.join(sources)}"


def _read_header(name: str, variable: str) -> str:
    value = os.environ.get(variable, "").strip()
    if not value:
        raise UsageError(_not_set(variable, f"the whole value of the header {name}"))
    if not value.isascii() or not value.isprintable():
        raise UsageError(
            f"the environment variable {shown_variable(variable)} can't be sent as the header {name}: "
            "it must hold one line of ASCII text"
        )
    for secret in (value, *value.split()):
        remember(secret)
    return value


def _not_set(variable: str, held: str) -> str:
    return f"the environment variable {shown_variable(variable)} is not set; it must hold {held}"


def _not_read(api_key_file: str, error: Exception) -> str:
    """What is wrong with a key file; the path is shown only if something is there, for it may be the key."""
    why = str(error) if isinstance(error, UnfitFileError) else type(error).__name__
    with suppress(OSError, ValueError, RuntimeError):
        path = Path(api_key_file).expanduser()
        if path.exists():
            return f"the API key can't be read from the file {api_key_file}: {why}"
        if path.parent != Path(".") and path.parent != path.parent.parent and path.parent.is_dir():
            return (
                f"the API key can't be read: the folder {path.parent} has no file "
                f"{shown_name(path.name)}, which api_key_file names ({why})"
            )
    return (
        f"the API key can't be read: there is no file where api_key_file says ({why}); it must hold the path "
        "of a file with the key, not the key itself"
    )


def names_header(headers: Mapping[str, str] | None, *names: str) -> bool:
    """Whether one of these headers is set, in whatever case."""
    wanted = {name.strip().lower() for name in names}
    return any(name.strip().lower() in wanted for name in headers or ())
