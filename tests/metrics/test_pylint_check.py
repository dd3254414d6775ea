from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from evalkit.errors import DataError, UsageError
from evalkit.metrics import pylint_check
from evalkit.metrics.pylint_check import PylintCheck, errors_of
from tests.scoring.units import built, instance, unit

HAS_PYLINT = importlib.util.find_spec("pylint") is not None
needs_pylint = pytest.mark.skipif(not HAS_PYLINT, reason="pylint is not installed")


def score(said: str) -> float:
    return built("pylint_check").score(unit(instance("x"), said))["pylint_check"]


@needs_pylint
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("def f(x):\n    return x", 1.0),
        ("はい。\n```python\ndef f(x):\n    return x\n```", 1.0),
        # Bad style and a wrong result are no errors to it.
        ("def F( X ):\n  y=1\n  return", 1.0),
        ("def f(x):\n    return y", 0.0),
        ("def f(x):\n    return [].appendd(x)", 0.0),
        ("def f(x:", 0.0),
        ("", 1.0),
        # Text is no program.
        ("申し訳ありません。", 0.0),
    ],
)
def test_errors_that_pylint_finds(said: str, expected: float) -> None:
    assert score(said) == expected


@needs_pylint
def test_a_program_that_parses_may_have_errors_all_the_same() -> None:
    source = "def f(x):\n    return y"
    compile(source, "program", "exec")
    (error,) = errors_of(source)
    assert error == "line 2: E0602: Undefined variable 'y'"
    assert built("pylint_check").detail(unit(instance("x"), source)) == error


@needs_pylint
def test_the_program_is_not_run_and_no_settings_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pylintrc").write_text("[MAIN]\ndisable=E\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYLINTRC", str(tmp_path / "pylintrc"))
    assert score(f"open('{tmp_path}/ran', 'w')\nprint(undefined)") == 0.0
    assert not (tmp_path / "ran").exists()


@needs_pylint
def test_what_takes_too_long_fails_and_is_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pylint_check, "_TIME_S", 0.001)
    with pytest.raises(DataError, match="did not finish"):
        score("x = 'another program'")


def test_a_machine_without_pylint_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pylint_check needs the package pylint.*evalkit\[pylint\]"):
        PylintCheck.check_machine({})
    errors_of.cache_clear()
    with pytest.raises(UsageError, match=r"evalkit\[pylint\]"):
        errors_of("x = 1")
