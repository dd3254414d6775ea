"""Whether pylint finds errors in generated programs: Nejumi's `pylint_check` of jhumaneval."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from evalkit.errors import DataError, UsageError
from evalkit.metrics.asserted_code import original_program
from evalkit.registry import Output, metric
from evalkit.scoring.metric import Metric
from evalkit.scoring.optional_packages import require_module
from evalkit.scoring.unit import Unit, likeliest_first

_TIME_S = 60.0
_CPU_S, _MEMORY_BYTES = 30, 2 << 30
# The process limits itself before it reads the program.
_LIMITED_PYLINT = (
    "import resource, runpy\n"
    f"resource.setrlimit(resource.RLIMIT_CPU, ({_CPU_S}, {_CPU_S}))\n"
    f"resource.setrlimit(resource.RLIMIT_AS, ({_MEMORY_BYTES}, {_MEMORY_BYTES}))\n"
    "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
    "runpy.run_module('pylint', run_name='__main__')\n"
)


@metric("pylint_check")
class PylintCheck(Metric):
    """1 if pylint finds no error (its messages `E…`) in the program, else 0; the program is not run.

    Whether it is right is the matter of `code_exec`. pylint runs in another process with limits of time
    and memory, in an empty folder, without anybody's settings. Needs the extra `pylint`.

    The program is the first fenced block, else all from the first `def `, else the answer itself, as for
    `code_exec`. Modules that it imports must be installed: pylint counts others as errors.
    """

    takes: ClassVar[frozenset[Output] | None] = frozenset({"generated_text"})

    names = ("pylint_check",)

    @classmethod
    def check_machine(cls, args: Mapping[str, Any]) -> None:
        """Refuse a machine without pylint.

        Raises:
            UsageError: It is not installed; says how to.
        """
        require_module("pylint", "the metric pylint_check", "pylint")

    def score(self, unit: Unit) -> Mapping[str, float]:
        """1.0 or 0.0, for the likeliest completion.

        Raises:
            DataError: The answer holds no completion, or pylint did not finish.
            UsageError: pylint is not installed.
        """
        if unit.per_reference:
            return {}
        return {"pylint_check": float(not self._errors(unit))}

    def detail(self, unit: Unit) -> str:
        """The first error."""
        return next(iter(self._errors(unit)), "")

    def _errors(self, unit: Unit) -> tuple[str, ...]:
        completions = likeliest_first(unit.answer.response.completions)
        if not completions:
            raise DataError(f"the answer to '{unit.answer.state.key}' holds no completion")
        return errors_of(original_program(completions[0].text))


@lru_cache(maxsize=64)
def errors_of(program: str) -> tuple[str, ...]:
    """The errors that pylint finds in a program, such as `line 3: E0602: Undefined variable 'x'`.

    Raises:
        DataError: pylint did not finish.
        UsageError: It is not installed.
    """
    require_module("pylint", "the metric pylint_check", "pylint")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "program.py")
        path.write_text(f"{program}\n", encoding="utf-8", errors="surrogatepass")
        command = [
            *(sys.executable, "-I", "-c", _LIMITED_PYLINT, "--rcfile=/dev/null", "--output-format=json"),
            *("--disable=all", "--enable=E,F", "--score=n", "--jobs=1", "--persistent=n", path.name),
        ]
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env={"HOME": folder, "PYLINTHOME": folder},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_TIME_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise DataError(f"pylint did not finish in {_TIME_S:g} s") from None
        except OSError as error:
            raise UsageError(f"pylint can't be started: {error}") from error
    try:
        messages = json.loads(done.stdout)
        found = [(m["type"], f"line {m['line']}: {m['message-id']}: {m['message']}") for m in messages]
    except (ValueError, KeyError, TypeError):
        said = done.stderr.decode(errors="replace").strip() or "no message"
        raise DataError(f"pylint ended with {done.returncode}: {said[-200:]}") from None
    if fatal := [text for kind, text in found if kind == "fatal"]:
        raise DataError(f"pylint failed: {fatal[0]}")
    return tuple(text for kind, text in found if kind == "error")
