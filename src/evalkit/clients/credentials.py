"""Keys: read from the environment or a file the user names, and kept out of every message."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from evalkit.errors import UsageError

_LOOKS_LIKE_A_KEY = re.compile(r"\b(?:Bearer\s+\S+|(?:sk|gsk|xai|nvapi|csk)-[\w*.-]{6,}|hf_\w{16,})")
_SECRET_HEADERS = ("authorization", "proxy-authorization", "x-api-key", "api-key", "cookie")


def read_key(api_key_env: str | None, api_key_file: str | None) -> str | None:
    """The key, or None if neither source is named.

    Raises:
        UsageError: The variable is not set, the file can't be read, or what is there is no key.
    """
    if api_key_file is not None:
        source = f"the file {api_key_file}"
        try:
            key = Path(api_key_file).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the API key can't be read from {source}: {type(error).__name__}") from None
    elif api_key_env is not None:
        source = f"the environment variable {api_key_env}"
        key = os.environ.get(api_key_env, "").strip()
        if not key:
            raise UsageError(f"{source} is not set; it must hold the API key")
    else:
        return None
    if not key or not key.isascii() or not key.isprintable():
        raise UsageError(f"{source} holds no API key: it must be one line of ASCII text")
    return key


def refuse_secret_headers(headers: Mapping[str, str]) -> None:
    """Headers of a deployment are part of a run's identity, and so written down; a key must not be in them.

    Raises:
        UsageError: A header that carries keys is among them.
    """
    for name in headers:
        if name.casefold() in _SECRET_HEADERS:
            raise UsageError(f"extra_headers must not hold '{name}': name the key's variable in api_key_env")


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without the given secrets and without anything else that looks like a key."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return _LOOKS_LIKE_A_KEY.sub("***", text)
