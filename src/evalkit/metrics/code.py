"""Whether generated programs pass their tests: HELM's code metrics for HumanEval (Chen et al. 2021).

Programs only ever run in a sandbox (`evalkit.sandbox`); their tests run next to them in another process.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

from evalkit.errors import DataError, UsageError
from evalkit.instance import Instance
from evalkit.metrics.code_blocks import ends_in_block, program_of
from evalkit.plural import counted
from evalkit.registry import Output, metric
from evalkit.response import Completion
from evalkit.sandbox.choice import Choice, chosen
from evalkit.sandbox.execute import other_interpreter, require_sandbox, run_program
from evalkit.sandbox.program import Checks, Limits, Program
from evalkit.sandbox.program_result import ProgramResult
from evalkit.scoring.metric import Metric
from evalkit.scoring.unit import Unit, likeliest_first
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
    program is prompt and completion, and it passes if `check(entry_point)` of the test comes to its end. The
    test calls the function from another process, and only plain values come back (`Checks`). The completion
    is taken as generated, blanks before its first line included: without them a function's body is not part
    of the function.
    """

    takes: ClassVar[frozenset[Output] | None] = frozenset({"generated_text"})

    stat: ClassVar[str]
    _num_fenced = 0
    _last: tuple[Unit, list[ProgramResult]] | None = None

    def __init__(self, adapter_spec: AdapterSpec, timeout: float = 3.0) -> None:
        if not 0 < timeout < math.inf:
            raise UsageError(f"a timeout of {timeout} s is not possible")
        self._timeout_s, self._num_outputs = timeout, adapter_spec.num_outputs
        self.names = (self.stat,)
        if self._num_outputs != 1:
            self.names = (self.stat, f"{self.stat}@{self._num_outputs}")
        self.full_marks = dict.fromkeys(self.names, 1.0)

    @classmethod
    def check_machine(cls, args: Mapping[str, Any]) -> None:
        """Refuse a machine without a sandbox.

        Raises:
            UsageError: Programs can't be run here; says what is missing.
        """
        require_sandbox()

    def check(self, instance: Instance) -> None:
        """Refuse an instance without tests.

        Raises:
            DataError: It has none.
        """
        self.case(instance)

    def score(self, unit: Unit) -> Mapping[str, float]:
        """The stat for one program and, where `k` programs were asked for, for `k`.

        Raises:
            DataError: The answer holds no completion.
            UsageError: No sandbox could be made; the program has not run.
        """
        verdicts = self._verdicts(unit)
        self._last = unit, verdicts
        passes = [verdict.has_passed for verdict in verdicts]
        return dict(zip(self.names, self.estimates(passes, self._num_outputs), strict=False))

    def detail(self, unit: Unit) -> str:
        """How the program ended, if it did not pass; of several, the likeliest that did not."""
        # Not judged again: another time it may end in another way, and several take long.
        verdicts = self._last[1] if self._last and self._last[0] == unit else self._verdicts(unit)
        wrong = [verdict for verdict in verdicts if not verdict.has_passed]
        if not wrong:
            return ""
        ending = f"{wrong[0].ending}: {wrong[0].message}" if wrong[0].message else wrong[0].ending
        if len(verdicts) == 1:
            return ending
        return f"{len(verdicts) - len(wrong)} of {len(verdicts)} passed; the first of the others {ending}"

    def estimates(self, passes: Sequence[bool], k: int) -> tuple[float, float]:
        """The score of one program and of `k`; `passes` has the likeliest first."""
        raise NotImplementedError

    def case(self, instance: Instance) -> Mapping[str, Any]:
        """The texts `prompt`, `test` and `entry_point` of an instance.

        Raises:
            DataError: It has none.
        """
        return _test_cases(instance)

    def program(self, case: Mapping[str, Any], completion: Completion) -> str:
        """The program without its tests: the prompt and the completion as it was generated."""
        self._num_fenced += "```" in completion.text
        return f"{case['prompt']}{completion.text}"

    def remarks(self) -> tuple[str, ...]:
        """Remarks on completions that can't run unchanged, and on programs that ran in a container."""
        remarks = []
        if self._last is not None and (interpreter := other_interpreter()):
            remarks.append(f"programs ran in {interpreter}")
        if not self._num_fenced:
            return tuple(remarks)
        return (
            *remarks,
            f"{counted(self._num_fenced, 'completion')} with code between fences (```), as chat models do: "
            "this fails, as in HELM; with answers=blocks in the entry evalkit runs the code between the "
            "fences",
        )

    def _verdicts(self, unit: Unit) -> list[ProgramResult]:
        """How the program of each completion ended, the likeliest first."""
        case = self.case(unit.instance)
        completions = likeliest_first(unit.answer.response.completions)
        if not completions:
            raise DataError(f"the answer to '{unit.answer.state.key}' holds no completion")
        return [self._verdict(case, self.program(case, completion)) for completion in completions]

    def _verdict(self, case: Mapping[str, Any], program: str) -> ProgramResult:
        entry_point, test = case["entry_point"], case["test"]
        source = f"{test}\ncheck({entry_point})"
        # Without what follows, a last line that ends in a backslash would be none.
        program = f"{program}\n\n"
        checks = Checks(source, (entry_point,), _helpers(case["prompt"], test, entry_point))
        return _verdict(Program(program, checks, Limits(time_s=self._timeout_s)), chosen())


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


class BlockProgram:
    """Runs the program that an answer means, rather than what was generated word for word."""

    def program(self, case: Mapping[str, Any], completion: Completion) -> str:
        """The program in the answer's code block, with the prompt where it is needed."""
        answer = completion.text
        if completion.raw is not None and ends_in_block(answer):
            answer = without_thinking(completion.raw)  # a stop sequence has cut the block
        return program_of(answer, case["prompt"], case["entry_point"])


@metric("code_block_acc")
class CodeBlockAcc(BlockProgram, CodeEvalAcc):
    """`code_eval_acc` for chat models: of the program in the answer's code block, if there is one.

    Args:
        timeout: Seconds that a program may take.
    """

    stat = "code_block_acc"


@metric("code_block_pass")
class CodeBlockPass(BlockProgram, PassAtK):
    """`pass` for chat models: of the program in the answer's code block, if there is one.

    Args:
        timeout: Seconds that a program may take.
    """

    stat = "code_block_pass"


@lru_cache(maxsize=64)
def _verdict(program: Program, sandbox: Choice) -> ProgramResult:
    """How a program ends in a sandbox of this kind, the chosen one.

    Remembered for a while, since several metrics run the same in turn.
    """
    return run_program(program)


def _helpers(prompt: str, test: str, entry_point: str) -> str:
    """The prompt, if the test uses something else that it defines (in HumanEval, 3 of 164 do)."""
    try:
        used = {node.id for node in ast.walk(ast.parse(test)) if isinstance(node, ast.Name)}
        given = ast.parse(prompt).body
    except SyntaxError:
        return ""
    named: set[str] = set()
    for node in given:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                named.add(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                named.update(alias.asname or alias.name for alias in aliases)
            case ast.Assign(targets=targets):
                named.update(target.id for target in targets if isinstance(target, ast.Name))
    return prompt if (named - {entry_point}) & used else ""


def _test_cases(instance: Instance) -> Mapping[str, Any]:
    case = (instance.extra or {}).get(TEST_CASES)
    if not isinstance(case, Mapping) or any(not isinstance(case.get(field), str) for field in _FIELDS):
        raise DataError(
            f"code metrics need extra['{TEST_CASES}'] with {', '.join(_FIELDS)}; "
            f"instance '{instance.id}' has none"
        )
    return case
