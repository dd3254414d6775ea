"""A whole run of a code benchmark: answers that forge a verdict count as wrong, and all answers count."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.sandbox.execute import require_sandbox
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
DETAILS = {
    "right": None,
    "the token of the verdict": "failed: the process was killed",
    "taking itself out": "failed: OSError: [Errno 9] Bad file descriptor",
    "a word on every descriptor": "failed: the process",
    "always equal": "failed: ",
    "an endless loop": "timeout: not finished after 1 s",
}


def details_are_right(workspace: Workspace, asked: Mapping[str, str]) -> None:
    """Each row of the scores says how its program failed, and so does the reader of stored runs."""
    found = {record.input.strip(): record.detail for record in workspace.stored().records()}
    assert found.keys() == asked.keys()
    for prompt, kind in asked.items():
        expected, detail = DETAILS[kind], found[prompt]
        assert detail is None if expected is None else (detail or "").startswith(expected), (kind, detail)
    rows = map(json.loads, workspace.run().scores_path.read_text(encoding="utf-8").splitlines())
    assert [row.get("detail") for row in rows] == list(found.values())


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
        details_are_right(workspace, asked)
        for command in ("verify", "score", "verify"):
            assert workspace.evalkit(command, workspace.run().path).code == 0
        details_are_right(workspace, asked)
        assert workspace.stored().stat("code_eval_acc").mean == pytest.approx(num_right / NUM_QUESTIONS)


def test_data_that_is_not_the_pinned_one_is_noted_for_good(workspace: Workspace, data_dir: Path) -> None:
    try:
        require_sandbox()
    except UsageError as missing:
        pytest.skip(str(missing))
    lines = (data_dir / "humaneval" / "HumanEval.jsonl").read_bytes().splitlines(keepends=True)
    own = workspace.path / "data" / "humaneval" / "HumanEval.jsonl.gz"
    own.parent.mkdir(parents=True)
    own.write_bytes(gzip.compress(b"".join(lines[:2])))
    options = ("-r", "code:dataset=humaneval,model=evalkit/echo", "--data-dir", own.parents[1])

    refused = workspace.evalkit("run", *options)
    assert refused.code != 0
    assert "--unverified-data" in refused.err
    note = "data file 'humaneval/HumanEval.jsonl.gz' is not the one that was pinned (expected sha256 b796127e"
    for _ in range(2):
        finished = workspace.evalkit("run", *options, "--unverified-data")
        assert finished.code == 0, finished.err
        (run,) = [run for run in workspace.runs() if (manifest := run.manifest()) and manifest.notes]
        manifest = run.manifest()
        assert manifest is not None
        assert manifest.status == "complete"
        assert [kept.startswith(note) for kept in manifest.notes] == [True]
    assert note in workspace.evalkit("plan", *options, "--unverified-data").err
