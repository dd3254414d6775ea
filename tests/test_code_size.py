"""Functions and modules stay short enough to read in one go."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "src").rglob("*.py"))
MOST_LINES_OF_A_FUNCTION = 60
MOST_LINES_OF_A_MODULE = 500
# About half of what there was when this was written; fewer would mean that the test looks in the wrong place.
FEWEST_MODULES = 170
FEWEST_FUNCTIONS = 1500


def long_functions(source: str) -> Iterator[tuple[str, int]]:
    """Functions and methods over the limit, with their lines: from `def` to the end, without decorators."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MOST_LINES_OF_A_FUNCTION:
                yield node.name, lines


@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
def test_the_check_counts_lines(long: bool) -> None:
    body = "    x = 1\n" * (MOST_LINES_OF_A_FUNCTION - 1 + long)
    for definition in ("def f():\n", "async def f():\n"):
        assert list(long_functions(definition + body)) == [("f", MOST_LINES_OF_A_FUNCTION + 1)] * long


def test_no_function_is_too_long() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {name} has {lines} lines"
        for path in MODULES
        for name, lines in long_functions(path.read_text(encoding="utf-8"))
    ]
    assert not found


def test_no_module_is_too_long() -> None:
    counts = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert not {str(path.relative_to(ROOT)): n for path, n in counts.items() if n > MOST_LINES_OF_A_MODULE}


def test_all_modules_and_functions_were_looked_at() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in MODULES]
    functions = [
        n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert len(MODULES) > FEWEST_MODULES
    assert len(functions) > FEWEST_FUNCTIONS
