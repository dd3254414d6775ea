"""Whether generated programs pass their tests: HELM's code metrics for HumanEval (Chen et al. 2021).

Programs only ever run in an isolated process (`evalkit.metrics.execution`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

from evalkit.errors import DataError, UsageError
from evalkit.instance import Instance
from evalkit.metrics.code_blocks import ends_in_block, program_of
from evalkit.metrics.execution import Execution, require_isolation, run_program
from evalkit.metrics.metric import Metric, Unit, likeliest_first
from evalkit.registry import Output, metric
from evalkit.response import Completion
from evalkit.specs.run_spec import AdapterSpec
from evalkit.thinking import without_thinking

TEST_CASES = "test_cases"
_FIELDS = ("prompt", "test", "entry_point")


def pass_at_k(n: int, num_right: int, k: int) -> float:
    """The chance that one of `k` of the `n` programs is right, without bias (arXiv:2107.03374, eq. 1).

    Args:
        n: Programs generated.
        num_right: Those that pass.
        k: Programs drawn; 1.0 where fewer than `k` are wrong.
    """
    if n - num_right < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(n - num_right + 1, n + 1))


class CodeMetric(Metric):
    """Runs each completion against the instance's tests; the base of the metrics below.

    `Instance.extra["test_cases"]` is the row of the benchmark, with `prompt`, `test` and `entry_point`: the
    program is prompt, completion and test, and it passes if `check(entry_point)` comes to its end. The
    completion is taken as generated, blanks before its first line included: without them a function's body
    is not part of the function.
    """

    takes: ClassVar[frozenset[Output] | None] = frozenset({"generated_text"})

    stat: ClassVar[str]
    _num_fenced = 0

    def __init__(self, adapter_spec: AdapterSpec, timeout: float = 3.0) -> None:
        if not 0 < timeout < math.inf:
            raise UsageError(f"a timeout of {timeout} s is not possible")
        self._timeout_s, self._num_outputs = timeout, adapter_spec.num_outputs
        self.names = (self.stat,)
        if self._num_outputs != 1:
            self.names = (self.stat, f"{self.stat}@{self._num_outputs}")
        self.full_marks = dict.fromkeys(self.names, 1.0)

    def check(self, instance: Instance) -> None:
        """Refuse an instance without tests, and a machine on which programs can't be isolated.

        Raises:
            DataError: The instance has no tests.
            UsageError: Programs can't be isolated here; says what is missing.
        """
        _test_cases(instance)
        require_isolation()

    def score(self, unit: Unit) -> Mapping[str, float]:
        """The stat for one program and, where `k` programs were asked for, for `k`.

        Raises:
            DataError: The answer holds no completion.
            UsageError: The program could not be isolated.
        """
        return dict(zip(self.names, self.estimates(self._passes(unit), self._num_outputs), strict=False))

    def estimates(self, passes: Sequence[bool], k: int) -> tuple[float, float]:
        """The score of one program and of `k`; `passes` has the likeliest first."""
        raise NotImplementedError

    def program(self, case: Mapping[str, Any], completion: Completion) -> str:
        """The program without its tests: the prompt and the completion as it was generated."""
        self._num_fenced += "```" in completion.text
        return f"{case['prompt']}{completion.text}"

    def remarks(self) -> tuple[str, ...]:
        """A remark on completions that can't run as they stand."""
        if not self._num_fenced:
            return ()
        return (
            f"{self._num_fenced} completions have their code between fences (```), as chat models do: they "
            "fail, as in HELM; with answers=blocks in the entry the code between the fences is run",
        )

    def _passes(self, unit: Unit) -> list[bool]:
        """Whether each completion passes, the likeliest first."""
        case = _test_cases(unit.instance)
        completions = likeliest_first(unit.answer.response.completions)
        if not completions:
            raise DataError(f"the answer to '{unit.answer.state.key}' holds no completion")
        return [self._passes_one(case, self.program(case, completion)) for completion in completions]

    def _passes_one(self, case: Mapping[str, Any], program: str) -> bool:
        program = f"{program}\n{case['test']}\ncheck({case['entry_point']})"
        execution = _run(program, self._timeout_s)
        if execution.ending == "unavailable":
            raise UsageError(f"the program could not be isolated: {execution.message}")
        return execution.ending == "passed"


@metric("code_eval_acc")
class CodeEvalAcc(CodeMetric):
    """Whether the likeliest program passes its tests; `code_eval_acc@k`: whether one of the `k` does.

    Args:
        timeout: Seconds that a program may take.
    """

    stat = "code_eval_acc"

    def estimates(self, passes: Sequence[bool], k: int) -> tuple[float, float]:
        """The first program's verdict, and the best of all."""
        return float(passes[0]), float(any(passes))


@metric("pass")
class PassAtK(CodeMetric):
    """Estimated chance that a program passes its tests; `pass@k`: that one of `k` does.

    Args:
        timeout: Seconds that a program may take.
    """

    stat = "pass"

    def estimates(self, passes: Sequence[bool], k: int) -> tuple[float, float]:
        """`pass_at_k` for 1 and for `k`."""
        n, num_right = len(passes), sum(passes)
        return pass_at_k(n, num_right, 1), pass_at_k(n, num_right, k)


class _BlockProgram:
    """Runs the program that an answer means, rather than what was generated word for word."""

    def program(self, case: Mapping[str, Any], completion: Completion) -> str:
        """The program in the answer's code block, with the prompt where it is needed."""
        answer = completion.text
        if completion.raw is not None and ends_in_block(answer):
            answer = without_thinking(completion.raw)  # a stop sequence has cut the block
        return program_of(answer, case["prompt"], case["entry_point"])

    def remarks(self) -> tuple[str, ...]:
        """None: fences are what it looks for."""
        return ()


@metric("code_block_acc")
class CodeBlockAcc(_BlockProgram, CodeEvalAcc):
    """`code_eval_acc` for chat models: of the program in the answer's code block, if there is one.

    Args:
        timeout: Seconds that a program may take.
    """

    stat = "code_block_acc"


@metric("code_block_pass")
class CodeBlockPass(_BlockProgram, PassAtK):
    """`pass` for chat models: of the program in the answer's code block, if there is one.

    Args:
        timeout: Seconds that a program may take.
    """

    stat = "code_block_pass"


@lru_cache(maxsize=64)
def _run(program: str, timeout_s: float) -> Execution:
    """How the program ended; remembered for a while, since several metrics run the same programs in turn."""
    return run_program(program, timeout_s)


def _test_cases(instance: Instance) -> Mapping[str, Any]:
    case = (instance.extra or {}).get(TEST_CASES)
    if not isinstance(case, Mapping) or any(not isinstance(case.get(field), str) for field in _FIELDS):
        raise DataError(
            f"code metrics need extra['{TEST_CASES}'] with {', '.join(_FIELDS)}; "
            f"instance '{instance.id}' has none"
        )
    return case
