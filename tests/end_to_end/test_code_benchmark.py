"""A whole run of a code benchmark: answers that forge a verdict count as wrong, and all answers count."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.sandbox.judge import require_sandbox
from tests.end_to_end.test_blocked import answered, serving
from tests.end_to_end.workspace import Workspace

_FRAME = """    import os, sys
    frame = sys._getframe()
    while frame:
        local = frame.f_locals
        {act}
        frame = frame.f_back
    os._exit(0)
"""
FORGED = {
    "the token of the verdict": _FRAME.format(
        act="'report' in local and os.write(local['report'], local['task']['token'].encode())"
    ),
    "taking itself out": (
        "    import os\n    os.write(3, b'unavailable: no namespaces\\n')\n    os._exit(0)\n"
    ),
    "a word on every descriptor": (
        "    import os\n    for fd in range(64):\n        try: os.write(fd, b'passed\\n')\n"
        "        except OSError: pass\n    os._exit(0)\n"
    ),
    "always equal": (
        "    class Equal(int):\n        def __eq__(self, other): return True\n"
        "        def __ne__(self, other): return False\n        def __lt__(self, other): return True\n"
        "        __hash__ = None\n    return Equal()\n"
    ),
    "an endless loop": "    while True: pass\n",
}
NUM_QUESTIONS = 24


def test_only_right_answers_pass_and_none_is_left_out(workspace: Workspace, data_dir: Path) -> None:
    try:
        require_sandbox()
    except UsageError as missing:
        pytest.skip(str(missing))
    lines = (data_dir / "humaneval" / "HumanEval.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    kinds = ["right", *FORGED]
    solutions = {row["prompt"].strip(): row["canonical_solution"] for row in rows}
    asked: dict[str, str] = {}

    def answer(prompt: str) -> str:
        kind = asked.setdefault(prompt.strip(), kinds[len(asked) % len(kinds)])
        return solutions[prompt.strip()] if kind == "right" else FORGED[kind]

    entry = "code:dataset=humaneval,timeout=1,model=test/a"
    with serving(lambda prompt, count: answered(answer(prompt))) as (url, _):
        workspace.deploy("test/a", url)
        options = ("--data-dir", data_dir, "--max-eval-instances", NUM_QUESTIONS)
        finished = workspace.evalkit("run", "-q", "-r", entry, *options)
        assert finished.code == 0, finished.err
        num_right = sum(kind == "right" for kind in asked.values())
        assert (len(asked), num_right) == (NUM_QUESTIONS, NUM_QUESTIONS // len(kinds))
        stat = workspace.stored().stat("code_eval_acc")
        assert (stat.n, stat.n_total, stat.n_failed) == (NUM_QUESTIONS, NUM_QUESTIONS, 0)
        assert stat.mean == pytest.approx(num_right / NUM_QUESTIONS)
        assert workspace.evalkit("score", workspace.run().path).code == 0
        assert workspace.stored().stat("code_eval_acc").mean == pytest.approx(num_right / NUM_QUESTIONS)
