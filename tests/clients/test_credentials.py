from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.clients.credentials import read_key, refuse_secret_headers, scrub
from evalkit.errors import UsageError


def test_a_key_comes_from_a_variable_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("A_KEY", " abc\n")
    path = tmp_path / "key"
    path.write_text("def\n", encoding="utf-8")
    assert read_key("A_KEY", None) == "abc"
    assert read_key("A_KEY", str(path)) == "def"
    assert read_key(None, None) is None


def test_a_missing_key_names_its_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("A_KEY", raising=False)
    with pytest.raises(UsageError, match="environment variable A_KEY is not set"):
        read_key("A_KEY", None)
    with pytest.raises(UsageError, match="none"):
        read_key(None, str(tmp_path / "none"))


@pytest.mark.parametrize("content", ["one\ntwo", "schlüssel", "a\tb"])
def test_what_is_no_key_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setenv("A_KEY", content)
    with pytest.raises(UsageError, match="holds no API key") as caught:
        read_key("A_KEY", None)
    assert content not in str(caught.value)


def test_keys_are_no_headers() -> None:
    with pytest.raises(UsageError, match="api_key_env"):
        refuse_secret_headers({"authorization": "x"})
    refuse_secret_headers({"anthropic-beta": "x"})


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("key s3cret!", "key ***"),
        ("key sk-abc*****xyz.", "key ***"),
        ("Bearer whatever now", "*** now"),
        ("task-oriented, the api_key_env is desk-bound", "task-oriented, the api_key_env is desk-bound"),
    ],
)
def test_scrub(text: str, clean: str) -> None:
    assert scrub(text, ("s3cret!", "")) == clean
