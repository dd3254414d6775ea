"""Made-up keys that a test plants, and the search for them in every byte that evalkit writes."""

from __future__ import annotations

import base64
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

_PIECE = 12


def spellings(key: str) -> dict[str, str]:
    """A key as servers repeat it."""
    return {
        "itself": key,
        "upper case": key.upper(),
        "percent": quote(key, safe=""),
        "percent, every character": "".join(f"%{ord(character):02x}" for character in key),
        "json": "".join(f"\\u{ord(character):04x}" for character in key),
        "hexadecimal": key.encode().hex(),
        "base64": base64.b64encode(key.encode()).decode(),
        "base64 for urls": base64.urlsafe_b64encode(f"Bearer {key}".encode()).decode(),
        "base64 of a pair": base64.b64encode(f"u:{key}".encode()).decode(),
        "first half": key[: len(key) // 2],
        "second half": key[len(key) // 2 :],
    }


def pieces(key: str) -> set[bytes]:
    """Whatever shows that a key, or a good part of it, has been written."""
    found: set[bytes] = set()
    # What a Base64 of other texts begins with is no part of the key.
    for skipped, spelled in ((0, key), (0, key.upper()), (0, quote(key, safe="")), (0, key.encode().hex())):
        found |= _runs(spelled[skipped:])
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + key.encode()).decode()[4:-4]
        found |= _runs(encoded) | _runs(encoded.replace("+", "-").replace("/", "_"))
    for form in ("%{:02x}", "%{:02X}", "\\u{:04x}"):
        found.add("".join(form.format(ord(character)) for character in key[:4]).encode())
    return found


def places_of(keys: set[str], folder: Path, leaving_out: frozenset[str]) -> list[str]:
    """The files below a folder that hold a part of a key, in their bytes or in their name."""
    wanted = {piece for key in keys for piece in pieces(key)}
    return [
        str(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in leaving_out
        for data in (str(path.relative_to(folder)).encode(), *_contents(path))
        if any(piece in data for piece in wanted)
    ]


def _runs(spelled: str) -> set[bytes]:
    return {spelled[at : at + _PIECE].encode() for at in range(len(spelled) - _PIECE + 1)}


def _contents(path: Path) -> Iterator[bytes]:
    yield path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                yield archive.read(name)
