"""Whether generated programs pass lists of assertions: jhumaneval as in Nejumi, and MBPP."""

from __future__ import annotations

import ast
import builtins
import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

from evalkit.errors import DataError
from evalkit.instance import Instance
from evalkit.metrics.code import TEST_CASES, BlockProgram, CodeEvalAcc
from evalkit.registry import metric
from evalkit.response import Completion
from evalkit.specs.run_spec import AdapterSpec

TEST_LIST = "test_list"
_SETUP = ("test_setup_code", "test_imports")
_FENCED = re.compile(r"```(\w+)?\s*\n?(.*?)\n?```", re.DOTALL)
_FROM_FIRST_FUNCTION = re.compile(r"def .*", re.DOTALL)


@metric("code_exec")
class CodeExec(BlockProgram, CodeEvalAcc):
    """Whether the program passes every assertion of a list; `code_exec@k`: whether one of `k` programs does.

    The assertions are in `Instance.extra["test_cases"]`, as a row of MBPP has them (`test_list`, and before
    them `test_setup_code` or `test_imports`), or with `prompt`, `test` and `entry_point` as HumanEval's; else
    the right answer is a Python list of them, as in jaster's jhumaneval. Programs run in the sandbox; a
    machine without one is refused before anything is sent, where the original gives 0.

    Args:
        timeout: Seconds that a program may take.
        answers: `original`: the program is the first fenced block, else all from the first `def `, else the
            answer itself. `blocks`: as `code_block_acc` finds it, which also knows several blocks, cut ones,
            and words behind the code.
    """

    stat = "code_exec"

    def __init__(
        self,
        adapter_spec: AdapterSpec,
        timeout: float = 3.0,
        answers: Literal["original", "blocks"] = "original",
    ) -> None:
        super().__init__(adapter_spec, timeout)
        self._finds_blocks = answers == "blocks"
        # The right answer, where it holds the tests, is not a program.
        self.full_marks = {}

    def case(self, instance: Instance) -> Mapping[str, Any]:
        """The texts `prompt`, `test` and `entry_point`, made of the assertions.

        Raises:
            DataError: There are none, or they call no function.
        """
        given = (instance.extra or {}).get(TEST_CASES)
        if isinstance(given, Mapping) and TEST_LIST not in given:
            return super().case(instance)
        lines, setup = _given_lines(given, instance) if isinstance(given, Mapping) else (None, "")
        if lines is None:
            right = next((r.text for r in instance.references if r.is_correct), "")
            lines = _listed_lines(right)
        if not lines:
            raise DataError(
                f"code_exec needs extra['{TEST_CASES}'] with '{TEST_LIST}', or a Python list of assertions "
                f"as right answer; instance '{instance.id}' has none"
            )
        try:
            return _case(tuple(lines), setup)
        except (SyntaxError, ValueError) as error:
            raise DataError(f"the assertions of instance '{instance.id}' can't be run: {error}") from None

    def program(self, case: Mapping[str, Any], completion: Completion) -> str:
        """The program in the answer."""
        if self._finds_blocks:
            return super().program(case, completion)
        return original_program(completion.text)


def original_program(text: str) -> str:
    """What Nejumi runs: the first fenced block, else all from the first `def `, else the text."""
    if fenced := _FENCED.search(text):
        return fenced[2]
    function = _FROM_FIRST_FUNCTION.search(text)
    return function[0] if function else text


def _given_lines(given: Mapping[str, Any], instance: Instance) -> tuple[list[str], str]:
    lines = given[TEST_LIST]
    if not isinstance(lines, list | tuple) or not all(isinstance(line, str) for line in lines):
        raise DataError(f"'{TEST_LIST}' of instance '{instance.id}' is not a list of texts")
    parts = [given.get(name) or "" for name in _SETUP]
    setup = [part if isinstance(part, str) else "\n".join(part) for part in parts]
    return list(lines), "\n".join(setup).strip()


def _listed_lines(text: str) -> list[str]:
    try:
        found = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return []
    return found if isinstance(found, list) and all(isinstance(line, str) for line in found) else []


@lru_cache(maxsize=1024)
def _case(lines: tuple[str, ...], setup: str) -> Mapping[str, Any]:
    """Assertions as a test of HumanEval.

    Raises:
        SyntaxError: They are not Python.
        ValueError: They call no function.
    """
    entry_point = _called(lines, setup)
    body = "\n".join(ast.unparse(ast.parse(line)) for line in lines)
    indented = "\n".join(f"    {line}" for line in body.split("\n"))
    # Not an argument of `check` but the name itself: the assertions use it.
    return {"prompt": "", "entry_point": entry_point, "test": f"{setup}\ndef check(_):\n{indented}\n"}


def _called(lines: tuple[str, ...], setup: str) -> str:
    """The function that most of the assertions call, of those that nobody but the program can define."""
    known = {*dir(builtins), *_defined(setup), *(name for line in lines for name in _defined(line))}
    calls: Counter[str] = Counter()
    for line in lines:
        found = [node.func for node in ast.walk(ast.parse(line)) if isinstance(node, ast.Call)]
        calls.update({name.id for name in found if isinstance(name, ast.Name)} - known)
    if not calls:
        raise ValueError("they call no function of the program")
    return max(sorted(calls), key=calls.__getitem__)


def _defined(source: str) -> set[str]:
    names: set[str] = set()
    for node in ast.parse(source).body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names.update(alias.asname or alias.name for alias in aliases)
            case ast.Assign(targets=targets):
                names.update(target.id for target in targets if isinstance(target, ast.Name))
    return names
