"""A server that does not score prompts gives no score, whatever it sends in place of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.end_to_end.servers import ThreadedServer
from tests.end_to_end.workspace import Workspace, index_of

if TYPE_CHECKING:
    from aiohttp import web

ENTRY = "mmlu:subject=anatomy,method=multiple_choice_separate_original,model=test/a"


def listed(prompt: str, how: str) -> dict[str, Any]:
    words = [word if at == 0 else f" {word}" for at, word in enumerate(prompt.split(" "))]
    if how == "all null":
        return {"tokens": words, "token_logprobs": [None] * len(words)}
    if how == "all zero":
        return {"tokens": words, "token_logprobs": [0] * len(words)}
    return {"tokens": [" a"], "token_logprobs": [-0.001]}


@pytest.mark.parametrize("how", ["all null", "all zero", "one generated token"])
def test_multiple_choice_without_scores(workspace: Workspace, data_dir: Path, how: str) -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        from aiohttp import web

        logprobs = listed(json.loads(await request.read())["prompt"], how)
        choice = {"text": "".join(logprobs["tokens"]), "finish_reason": "length", "logprobs": logprobs}
        return web.json_response({"choices": [choice]})

    server = ThreadedServer(handle)
    server.start()
    try:
        workspace.deploy("test/a", server.url, mode="completions")
        finished = workspace.evalkit("run", "-q", "-m", 4, "-r", ENTRY, "--data-dir", data_dir)
    finally:
        server.close()
    assert finished.code == 3
    assert "did not score the prompt" in finished.err
    assert not index_of(workspace.run()).answered
    assert all(stat.mean is None for stat in workspace.stored().stats if stat.kind == "score")
