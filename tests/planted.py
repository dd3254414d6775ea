"""Made-up keys that tests plant, all of them here, and the search for them in every byte that evalkit writes.

A test that needs a key takes one of these from the fixture `planted`. After the test, everything below its
`tmp_path` and all that was captured of its output is searched: no part of the key may be in it, as it stands,
in Base64 or in percent signs.

What is covered: every test, of any folder, in whose process evalkit reads a key, a header with a secret or
the password of a proxy. All of these go through `redaction.remember`, and a test in which that happens
without the fixture fails (`only_planted_keys`), as does one that takes a key that is not in `KEYS`. The
commands that the end-to-end tests start run in a `Workspace`, which takes keys from the fixture and refuses
others. The summary of a test session says how many tests used a key and were searched. Left out is
`tests/test_redaction.py`, whose keys are made up at random and never leave a string.
"""

from __future__ import annotations

import base64
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from evalkit import redaction

KEYS = {
    "plain": "tk-9f-Quiet_Otter.77/river+Lamp",
    "header": "Marmot-55_of~the.Upper=Valley+1",
    "other header": "another-Header-of_the.Lower=Valley",
    "third header": "third-Stoat-of_the.Lower=Valley",
    "file": "ink-Heron-0042-under/the.Bridge",
    "proxy": "Wren-1969:over/the_Moor",
    "of a vendor": "sk-wrong-c0ffee-0123456789",
    "of a vendor, right": "sk-right-key-000000",
    "of W&B": "wandb-badger-under-the-old-mill-Kq7xPz3mWv9dTn",
    "of words": "my-very-own-secret-0123456789",
    "bearer": "Bearer pine.Marten-31/gate=way",
    "basic": "Basic cGluZTptYXJ0ZW4tMzEtZ2F0ZXdheQ==",
}
"""Every key that a test of evalkit uses, by what it is like."""
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


class Planted:
    """The keys that one test uses, and what it has shown meanwhile.

    Attributes:
        own: Names of files in which the test itself puts a key.
    """

    def __init__(self, used: Callable[[], None] = lambda: None) -> None:
        """A test's keys.

        Args:
            used: Called when the test takes its first one.
        """
        self.own: set[str] = set()
        self._used = used
        self._keys: set[str] = set()
        self._read: list[str] = []
        self._patch = pytest.MonkeyPatch()

    def use(self, name: str = "plain") -> str:
        """A key of `KEYS`, which must not be found anywhere from now on."""
        if not self._keys:
            self._used()
            self._patch.setattr(pytest.CaptureFixture, "readouterr", self._keeping(readouterr))
        self._keys.add(KEYS[name])
        return KEYS[name]

    def holds(self, secret: str) -> bool:
        """Whether this is one of the keys that the test has taken, a part of one, or a text around one."""
        return any(secret in key or key in secret for key in self._keys)

    def set(self, variable: str, name: str = "plain") -> str:
        """A key, and put into the environment of this process."""
        self._patch.setenv(variable, self.use(name))
        return KEYS[name]

    def end(self, folder: Path | None, shown: Iterable[str]) -> None:
        """Undo what was set, and look for the keys.

        Args:
            folder: What the test has written.
            shown: What was captured of its output.

        Raises:
            AssertionError: One of them is there; with its place.
        """
        self._patch.undo()
        if not self._keys:
            return
        redaction.forget()
        places = [] if folder is None else places_of(self._keys, folder, frozenset(self.own))
        wanted = _pieces_of(self._keys)
        output = "\n".join((*shown, *self._read)).encode("utf-8", "surrogatepass")
        if any(piece in output for piece in wanted):
            places.append("the output")
        assert not places, f"a planted key is in {places}"

    def _keeping(self, read: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """What takes captured output away, keeping a copy for the search."""

        def keeping(capture: Any) -> Any:
            result = read(capture)
            self._read += [part if isinstance(part, str) else part.decode("latin-1") for part in result]
            return result

        return keeping


class Remembered(set[str]):
    """The secrets that evalkit keeps out of messages; it also keeps those that it has forgotten again."""

    def __init__(self) -> None:
        self.ever: set[str] = set()
        super().__init__()

    def add(self, secret: str) -> None:
        """Remember, for good."""
        self.ever.add(secret)
        super().add(secret)


readouterr = pytest.CaptureFixture.readouterr


def places_of(keys: set[str], folder: Path, leaving_out: frozenset[str]) -> list[str]:
    """The files below a folder that hold a part of a key, in their bytes or in their name."""
    wanted = _pieces_of(keys)
    return [
        str(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in leaving_out
        for data in (str(path.relative_to(folder)).encode(), *_contents(path))
        if any(piece in data for piece in wanted)
    ]


def _pieces_of(keys: set[str]) -> set[bytes]:
    # Of `Bearer …` the word says nothing.
    return {piece for key in keys for piece in pieces(key.removeprefix("Bearer ").removeprefix("Basic "))}


def _runs(spelled: str) -> set[bytes]:
    return {spelled[at : at + _PIECE].encode() for at in range(len(spelled) - _PIECE + 1)}


def _contents(path: Path) -> Iterator[bytes]:
    yield path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                yield archive.read(name)
