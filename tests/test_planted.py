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
READING_KEYS = ("clients", "models", "end_to_end", "engine", "cli")
# What is no key is tried there.
ABOUT_NO_KEYS = ("test_credentials.py",)

LEAKS = """
import base64, logging, sys
from urllib.parse import quote
import pytest
from tests.conftest import planted

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


def test_a_test_that_leaves_a_key_anywhere_fails(tmp_path: Path) -> None:
    leaks = LEAKS.replace("BARE", repr("nothing was planted"))
    (tmp_path / "test_leaks.py").write_text(leaks, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider", "test_leaks.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))},
        capture_output=True,
        text=True,
    )
    num = LEAKS.count("def test_")
    # What a test does before its end passes; the search after it fails.
    assert f"{num} passed, {num - NUM_CLEAN} errors" in done.stdout, done.stdout + done.stderr
    assert done.stdout.count("a planted key is in") >= num - NUM_CLEAN


@pytest.mark.parametrize("name", KEYS)
def test_every_spelling_is_searched_for(name: str) -> None:
    key = KEYS[name].removeprefix("Bearer ").removeprefix("Basic ")
    wanted = pieces(key)
    for spelling, spelled in spellings(key).items():
        if len(spelled) >= 12:
            assert any(piece in f"text {spelled} text".encode() for piece in wanted), spelling


def test_no_test_sets_a_key_of_its_own() -> None:
    files = [path for folder in READING_KEYS for path in (ROOT / "tests" / folder).rglob("*.py")]
    assert len(files) > 50
    own = [
        f"{path.name}: {variable}"
        for path in files
        if path.name not in ABOUT_NO_KEYS
        for variable in re.findall(r"setenv\(\s*[\"'](\w+)[\"']", path.read_text(encoding="utf-8"))
        if says_secret(variable)
    ]
    assert own == []
