from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from evalkit.errors import UsageError
from evalkit.metrics.code_blocks import code_blocks, ends_in_block, program_of
from evalkit.response import Completion
from evalkit.sandbox.execute import require_sandbox
from evalkit.sandbox.program import Program
from evalkit.sandbox.program_result import ProgramResult
from tests.scoring.units import built, instance, unit

PROMPT = 'from math import pi\n\n\ndef area(r):\n    """Of a circle."""\n'
BODY = "    return pi * r * r\n"
DEFINED = "def area(r):\n    return pi * r * r\n"


def value(answer: str, prompt: str = PROMPT, name: str = "area") -> Any:
    """What the program gives for 1."""
    scope: dict[str, Any] = {}
    exec(program_of(answer, prompt, name), scope)
    return scope[name](1)


@pytest.mark.parametrize(
    "answer",
    [
        BODY,
        DEFINED,
        f"Sure!\n\n{DEFINED}",
        f"```python\n{DEFINED}```",
        f"Here it is:\n\n```python\nfrom math import pi\n\n{DEFINED}```\n\nIt uses pi.",
        f"```\n{BODY}```",
        "```py\nreturn pi * r * r\n```",
        "```python\nsquare = r * r\nreturn pi * square\n```",
        "```python\nif r < 0:\n    return None\nreturn pi * r * r\n```",
        "return pi * r * r",
        "square = r * r\n    return pi * square",
        f"~~~python\n{DEFINED}~~~",
        f"````python\n{DEFINED}````",
        f"```Python\r\n{DEFINED}```".replace("\n", "\r\n").replace("\r\r", "\r"),
        # Examples of its use before and after
        f"```python\nprint(area(1))\n```\n```python\n{DEFINED}```\n```python\narea(2)\n```\n```text\n3.14\n```",
        # A first attempt, and a better one
        f"```python\ndef area(r):\n    return 0\n```\nNo:\n```python\n{DEFINED}```",
        # Cut behind the function
        f"```python\n{DEFINED}",
        f"```bash\npip install x\n```\n```python\n{DEFINED}\n# and",
        "```python\narea = lambda r: pi * r * r\n```",
        f"1. First:\n   ```python\n{DEFINED}   ```",
        "1. First:\n   ```python\n   def area(r):\n       return pi * r * r\n   ```",
        # Fences in other places
        f"Here it is: ```python\n{DEFINED}```\nIt uses pi.",
        f"Here it is: ```\n{BODY}```",
        f"```python\n{DEFINED.rstrip()}```",
        f"```python\n{DEFINED}``` I hope it helps",
        "Use `pi`: ```def area(r): return pi * r * r```",
        "```python def area(r): return pi * r * r```",
        "- ```python\n  def area(r):\n      return pi * r * r\n  ```",
        "".join(f"> {line}\n" for line in f"```python\n{DEFINED}```".split("\n")),
        # The prompt has opened the block
        f"{BODY}```\n\nIt uses pi.",
        f"{DEFINED}```\n",
        # A fence in a docstring
        'Yes:\n```python\ndef area(r):\n    """Like so:\n\n    ```\n    area(1)\n    ```\n    """\n'
        "    return pi * r * r\n```",
        # Indented, or otherwise defined
        "```python\n    def area(r):\n        return pi * r * r\n```",
        "```python\nfrom typing import Callable\narea: Callable = lambda r: pi * r * r\n```",
        "```python\n\treturn pi * r * r\n```",
        # Words without fences
        f"The solution:\n\n{DEFINED}\nThis works.\nIt uses pi.",
        f"{BODY}\nThis works.",
        f"{BODY}\n\ndef other(",
    ],
)
def test_the_program_that_is_meant(answer: str) -> None:
    assert value(answer) == pytest.approx(3.14159265)


def test_a_prompt_without_a_docstring_is_closed() -> None:
    prompt = "import math\n\ndef twice(n):\n"
    assert value("```python\ndef twice(n):\n    return math.trunc(2 * n)\n```", prompt, "twice") == 2
    assert value("```python\nreturn 2 * n\n```", prompt, "twice") == 2


def test_helpers_of_the_prompt_are_kept() -> None:
    prompt = 'def two():\n    return 2\n\n\ndef twice(n):\n    """Double it."""\n'
    assert value("```python\ndef twice(n):\n    return two() * n\n```", prompt, "twice") == 2


def test_blocks() -> None:
    text = "a\n```python\nx\n```\nb\n```\n~~~\n```\nc"
    assert [(block.code, block.language, block.is_closed) for block in code_blocks(text)] == [
        ("x\n", "python", True),
        ("~~~\n", "", True),
    ]
    assert not ends_in_block(text)
    assert ends_in_block("```python\nx")
    assert not ends_in_block("no block")


def test_a_block_that_a_stop_sequence_has_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    import evalkit.metrics.code as code

    programs: list[str] = []

    def passes(program: Program, *_: object) -> ProgramResult:
        programs.append(program.source)
        return ProgramResult("passed")

    monkeypatch.setattr(code, "_verdict", passes)
    case = {"prompt": PROMPT, "test": "", "entry_point": "area"}
    whole = f"<think>a</think>```python\nfrom math import pi\n\n{DEFINED}```"
    cut = Completion("```python\nfrom math import pi\n", "stop", thinking="a", raw=whole)
    metric = built("code_block_acc")
    assert metric.score(unit(instance("x", extra={"test_cases": case}), cut)) == {"code_block_acc": 1}
    assert DEFINED in programs[0]


def test_fenced_answers_to_humaneval(data_dir: Path) -> None:
    """Real questions: HELM's metric fails all that chat models say and says so, the other runs it."""
    lines = (data_dir / "humaneval" / "HumanEval.jsonl").read_text(encoding="utf-8").splitlines()
    helms, ours = built("code_eval_acc"), built("code_block_acc")
    try:
        require_sandbox()
    except UsageError as missing:
        pytest.skip(str(missing))
    for row in [json.loads(line) for line in (*lines[:5], lines[32], lines[38])]:
        asked = instance(row["canonical_solution"], extra={"test_cases": row}, name=row["task_id"])
        whole = row["prompt"] + row["canonical_solution"]
        own = whole[whole.index(f"def {row['entry_point']}") :]
        body = row["canonical_solution"]
        bare = dedent(body)
        for answer in (f"Sure:\n\n```python\n{whole}```\n", f"```python\n{own}```", f"```\n{bare}```", body):
            assert ours.score(unit(asked, answer)) == {"code_block_acc": 1}, (row["task_id"], answer)
        assert ours.score(unit(asked, "```python\nreturn None\n```")) == {"code_block_acc": 0}
        assert helms.score(unit(asked, f"```python\n{whole}```")) == {"code_eval_acc": 0}
    assert "7 completions" in helms.remarks()[0]
    assert ours.remarks() == ()
