"""The search for planted keys itself: it finds what was planted, wherever a test may leave it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from evalkit.models.secret_names import says_secret
from tests.planted import KEYS, pieces, spellings

ROOT = Path(__file__).resolve().parents[1]
# What is no key is tried there.
ABOUT_NO_KEYS = ("test_credentials.py",)
# These look at the keys themselves, or at texts in memory; nothing of evalkit writes in them.
ABOUT_KEYS = ("planted.py", "test_planted.py", "test_redaction.py")

LEAKS = """
import base64, logging, sys
from urllib.parse import quote
import pytest

def test_prints_nothing(planted, capsys):
    planted.set("A_KEY")
    print("well")

def test_needs_none(planted, tmp_path):
    (tmp_path / "a").write_text(BARE)

def test_raw_in_a_file(planted, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a").write_text(f"x{planted.set('A_KEY')}x")

def test_base64_in_a_file(planted, tmp_path):
    (tmp_path / "a").write_bytes(base64.b64encode(f"ab{planted.set('A_KEY')}".encode()))

def test_percent_in_a_file(planted, tmp_path):
    (tmp_path / "a").write_text(quote(planted.set("A_KEY"), safe=""))

def test_a_name_of_a_file(planted, tmp_path):
    (tmp_path / quote(planted.set("A_KEY"), safe="")).touch()

def test_printed(planted):
    print(planted.set("A_KEY"))

def test_printed_to_stderr(planted):
    print(base64.b64encode(planted.use("header").encode()), file=sys.stderr)

def test_printed_and_read(planted, capsys):
    print(planted.set("A_KEY"))
    assert capsys.readouterr().out

def test_logged(planted):
    logging.getLogger("x").warning(planted.set("A_KEY"))
"""
NUM_CLEAN = 2
NOT_SEARCHED = """
from evalkit.redaction import forget, remember

def test_reads_no_key():
    pass

def test_reads_a_key_of_its_own():
    remember("a-key-that-nobody-searches-1")

def test_reads_one_and_forgets_it():
    remember("a-key-that-nobody-searches-2")
    forget()

def test_reads_another_than_the_planted_one(planted):
    planted.use()
    remember("a-key-that-nobody-searches-3")

def test_reads_the_planted_one(planted):
    remember(planted.use())
"""


def session(folder: Path, tests: str) -> str:
    """What a session of these tests prints, with the fixtures and the summary of ours."""
    (folder / "test_them.py").write_text(tests, encoding="utf-8")
    words = ["-q", "--tb=line", "-p", "no:cacheprovider", "-p", "tests.conftest", "test_them.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))},
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr


def test_a_test_that_leaves_a_key_anywhere_fails(tmp_path: Path) -> None:
    told = session(tmp_path, LEAKS.replace("BARE", repr("nothing was planted")))
    num = LEAKS.count("def test_")
    # What a test does before its end passes; the search after it fails.
    assert f"{num} passed, {num - NUM_CLEAN} errors" in told, told
    assert told.count("a planted key is in") >= num - NUM_CLEAN
    assert f"searched for planted keys after {num - 1} tests: . {num - 1}" in told


def test_a_test_that_reads_a_key_and_is_not_searched_fails(tmp_path: Path) -> None:
    told = session(tmp_path, NOT_SEARCHED)
    assert "5 passed, 3 errors" in told, told
    assert told.count("a key is read, and the fixture 'planted' is not used") >= 2
    assert "a key is read that is not taken from the fixture 'planted'" in told
    assert "a-key-that-nobody-searches" not in told
    assert "searched for planted keys after 2 tests: . 2" in told


def test_a_test_that_names_a_planted_key_is_searched() -> None:
    wanted = {piece.decode() for key in KEYS.values() for piece in pieces(key) if len(piece) == 12}
    files = [path for path in (ROOT / "tests").rglob("*.py") if path.name not in ABOUT_KEYS]
    naming = [
        path
        for path in files
        if re.search(r"\bKEYS\b", text := path.read_text(encoding="utf-8")) or any(w in text for w in wanted)
    ]
    assert len(naming) > 5
    assert [
        str(path)
        for path in naming
        if not re.search(r"\b(planted|workspace)\b", path.read_text(encoding="utf-8"))
    ] == []


@pytest.mark.parametrize("name", KEYS)
def test_every_spelling_is_searched_for(name: str) -> None:
    key = KEYS[name].removeprefix("Bearer ").removeprefix("Basic ")
    wanted = pieces(key)
    for spelling, spelled in spellings(key).items():
        if len(spelled) >= 12:
            assert any(piece in f"text {spelled} text".encode() for piece in wanted), spelling


def test_no_test_sets_a_key_of_its_own() -> None:
    files = list((ROOT / "tests").rglob("*.py"))
    assert len(files) > 200
    own = [
        f"{path.name}: {variable}"
        for path in files
        if path.name not in (*ABOUT_NO_KEYS, *ABOUT_KEYS)
        for variable in re.findall(
            r"(?:setenv\(\s*|environ\[|\.env\[)[\"'](\w+)[\"'](?:\]\s*=\s*|,\s*)[\"']",
            path.read_text(encoding="utf-8"),
        )
        # An id of a key says whose it is, and is sent with each request.
        if says_secret(variable) and not variable.endswith("_KEY_ID")
    ]
    assert own == []
