"""Whole runs against servers that block, or that call an error an answer: one event, one rule."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from evalkit.execution.journal_index import read_journal
from evalkit.execution.journal_line import Record
from evalkit.response import Failure
from tests.end_to_end.servers import ThreadedServer, solve, solve_two_of_three
from tests.end_to_end.workspace import Workspace

if TYPE_CHECKING:
    from aiohttp import web

ENTRY = "arithmetic:num_test={},model=test/a"
Reply = tuple[int, Any]


def answered(text: str | None, finish: str = "stop") -> Reply:
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 5, "completion_tokens": 1}
    return 200, {"choices": [{"message": message, "finish_reason": finish}], "usage": usage}


def error(status: int, **fields: Any) -> Reply:
    return status, {"error": {"message": "The content management policy", **fields}}


@contextmanager
def serving(reply: Callable[[str, int], Reply]) -> Iterator[tuple[str, list[str]]]:
    """A server whose reply depends on the prompt and on how many came before; its URL, and the prompts."""
    prompts: list[str] = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        from aiohttp import web

        prompt = json.loads(await request.read())["messages"][-1]["content"]
        prompts.append(prompt)
        status, body = reply(prompt, len(prompts))
        return web.json_response(body, status=status)

    server = ThreadedServer(handle)
    server.start()
    try:
        yield server.url, prompts
    finally:
        server.close()


def is_blocked(prompt: str) -> bool:
    """About every fourth question, always the same ones."""
    return sum(prompt.encode()) % 4 == 0


BLOCKS = {
    "HTTP 400, Azure": error(400, code="content_filter", innererror={"code": "ResponsibleAIPolicyViolation"}),
    "HTTP 403, OpenRouter": error(403, metadata={"reasons": ["violence"]}, type="moderation"),
    "200 with an error": (200, {"choices": None, **error(400, code="content_filter")[1]}),
    "200, content null": answered(None, "content_filter"),
    "200, part of a text": answered("7", "content_filter"),
    "200, Gemini": answered("", "SAFETY"),
}


@pytest.mark.parametrize("how", BLOCKS)
def test_what_a_filter_blocks_is_settled_and_bounded(workspace: Workspace, how: str) -> None:
    def reply(prompt: str, count: int) -> Reply:
        return BLOCKS[how] if is_blocked(prompt) else answered(solve_two_of_three(prompt))

    with serving(reply) as (url, prompts):
        workspace.deploy("test/a", url)
        first = workspace.evalkit("run", "-q", "-r", ENTRY.format(40), "--json")
        assert first.code == 0, first.err
        blocked = sum(map(is_blocked, prompts))
        right = sum(solve_two_of_three(p) == solve(p) for p in prompts if not is_blocked(p))
        assert 0 < blocked < len(prompts) == 40

        stored = workspace.stored()
        assert stored.manifest.status == "complete"
        assert stored.manifest.counts["num_blocked"] == stored.manifest.counts["num_failed"] == blocked
        stat = stored.stat("exact_match")
        assert (stat.n, stat.n_failed, stat.n_blocked, stat.n_total) == (40 - blocked, blocked, blocked, 40)
        assert stat.mean == pytest.approx(right / (40 - blocked))
        assert stat.mean_blocked_wrong == pytest.approx(right / 40)
        (row,) = [r for r in json.loads(first.out)["rows"] if r["metric"] == "exact_match"]
        assert (row["n_blocked"], row["mean_blocked_wrong"]) == (blocked, stat.mean_blocked_wrong)
        assert json.loads(first.out)["runs"][0]["failures"] == {"content_filter": blocked}

        # Another start asks for nothing, and still shows both bounds.
        again = workspace.evalkit("run", "-q", "-r", ENTRY.format(40))
        assert (again.code, len(prompts)) == (0, 40)
        shown = workspace.evalkit("summarize").out
        for out in (again.out, shown):
            assert f"{blocked} of 40 blocked" in out
            assert (
                f"{right / (40 - blocked):.3f} without them, {right / 40:.3f} if they count as wrong" in out
            )


def test_what_was_written_before_the_cut_is_kept(workspace: Workspace) -> None:
    with serving(lambda prompt, count: answered("The ans", "content_filter")) as (url, _):
        workspace.deploy("test/a", url)
        finished = workspace.evalkit("run", "-q", "-r", ENTRY.format(30))
    # Nothing is left to ask, and there is no result either.
    assert finished.code == 1
    assert workspace.stored().manifest.status == "partial"
    records = [r for r in read_journal(workspace.run().journal_path) if isinstance(r, Record)]
    assert len(records) == 30
    for record in records:
        assert isinstance(record.outcome, Failure)
        assert (record.outcome.reason, record.outcome.text) == ("content_filter", "The ans")


def test_an_overload_in_a_200_is_waited_out(workspace: Workspace) -> None:
    busy = {"id": None, "choices": None, "usage": None, "error": {"message": "Too Many", "code": 429}}

    def reply(prompt: str, count: int) -> Reply:
        return (200, busy) if count <= 60 else answered("1")

    with serving(reply) as (url, prompts):
        workspace.deploy("test/a", url, limits={"backoff_s": 0.01, "max_backoff_s": 0.1})
        finished = workspace.evalkit("run", "-q", "-r", ENTRY.format(40))
    assert finished.code == 0, finished.err
    assert workspace.stored().manifest.counts["num_answered"] == 40
    assert len(prompts) == 100


@pytest.mark.parametrize(("code", "words"), [(402, "Insufficient credits"), (400, "not a valid model ID")])
def test_a_lasting_refusal_in_a_200_ends_a_run_with_the_servers_words(
    workspace: Workspace, code: int, words: str
) -> None:
    refusal = {"choices": [], "error": {"message": words, "code": str(code)}}
    with serving(lambda prompt, count: (200, refusal)) as (url, prompts):
        workspace.deploy("test/a", url)
        finished = workspace.evalkit("run", "-q", "-r", ENTRY.format(40))
    assert finished.code == 3
    assert words in finished.err
    assert len(prompts) <= 64
