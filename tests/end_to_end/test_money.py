"""What runs cost behind servers that count wrongly, not at all or break off: known, marked, or unknown."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from aiohttp import web

from tests.end_to_end.servers import ThreadedServer
from tests.end_to_end.workspace import Finished, Workspace

ENTRY = "arithmetic:num_test={},model=test/a"
PRICES = {"input_usd_per_million_tokens": 1.0, "output_usd_per_million_tokens": 1.0}
USD_PER_TOKEN = 1e-6
LIMITS = {"max_attempts": 1, "backoff_s": 0.001, "max_backoff_s": 0.001}
LEFT_OUT = "left out"
Reply = Callable[[web.BaseRequest, int], Any]


class Server(ThreadedServer):
    """Answers as `reply` says for each request, numbered from 0."""

    def __init__(self, reply: Reply) -> None:
        self.num_received = 0
        self._reply = reply
        super().__init__(self._handle)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        number, self.num_received = self.num_received, self.num_received + 1
        replied = self._reply(request, number)
        return await replied if not isinstance(replied, web.StreamResponse) else replied


@contextmanager
def serving(reply: Reply) -> Iterator[Server]:
    server = Server(reply)
    server.start()
    try:
        yield server
    finally:
        server.close()


def body(usage: Any, **choice: Any) -> bytes:
    """An answer of one choice with this usage."""
    choices = [{"message": {"content": "7"}, "finish_reason": "stop", **choice}]
    answer = {"choices": choices, "model": "double", **({} if usage is LEFT_OUT else {"usage": usage})}
    return json.dumps(answer).encode()


def saying(usage: Any, **choice: Any) -> Reply:
    sent = body(usage, **choice)
    return lambda request, number: web.Response(body=sent, content_type="application/json")


def counts(prompt: Any, completion: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion}


async def cut(request: web.BaseRequest, sent: bytes) -> web.StreamResponse:
    """A whole head, all but the last 30 bytes of the body, and then the connection is gone."""
    answer = web.StreamResponse(
        headers={"Content-Length": str(len(sent)), "Content-Type": "application/json"}
    )
    await answer.prepare(request)
    await answer.write(sent[:-30])
    assert request.transport is not None
    request.transport.close()
    return answer


def run(workspace: Workspace, server: Server, num: int, *flags: object) -> Finished:
    workspace.deploy("test/a", server.url, prices=PRICES, limits=LIMITS)
    return workspace.evalkit("run", *flags, "-r", ENTRY.format(num))


@pytest.mark.parametrize(
    "usage",
    [LEFT_OUT, counts(0, 0), counts(-1000, 5), counts(10**7, 1)],
    ids=str,
)
def test_unknown_usage_is_not_reported_and_nowhere_zero(workspace: Workspace, usage: Any) -> None:
    with serving(saying(usage)) as server:
        finished = run(workspace, server, 6)
        again = run(workspace, server, 6, "--json")
    assert finished.code == 0, finished.err
    assert "cost: not reported by the server" in finished.out
    assert "tokens not reported" in finished.err
    (told,) = json.loads(again.out)["runs"]
    assert (told["cost_usd"], told["reported_cost_usd"], told["counts"]["num_without_usage"]) == (
        None,
        None,
        6,
    )
    manifest = json.loads((workspace.run().path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["usage"] == {"prompt_tokens": None, "completion_tokens": None}
    assert (manifest["cost_usd"], manifest["reported_cost_usd"]) == (None, None)
    rows = json.loads(workspace.evalkit("summarize", "--usage", "--json").out)
    tokens = [row for row in rows if row["metric"] in ("num_prompt_tokens", "num_completion_tokens")]
    assert [(row["mean"], row["n"]) for row in tokens] == [(None, 0), (None, 0)]
    for words in (["--usage"], ["--usage", "-f", "markdown"], ["--efficiency"]):
        shown = workspace.evalkit("summarize", *words)
        assert "not reported" in shown.out, shown
        assert "$0.0000" not in shown.out + finished.out + finished.err
    scored = workspace.evalkit("score", workspace.suite())
    assert scored.code == 0, scored.err
    assert json.loads(workspace.evalkit("summarize", "--usage", "--json").out) == rows
    assert workspace.evalkit("export", "helm", workspace.suite(), "--output-path", "out").code == 0
    (exported,) = (workspace.path / "out").rglob("stats.json")
    means = {stat["name"]["name"]: stat.get("mean") for stat in json.loads(exported.read_text("utf-8"))}
    assert not any(means.get(f"num_{each}_tokens") for each in ("prompt", "completion", "output"))
    for each in ("prompt", "completion", "output"):
        assert means.get(f"num_{each}_tokens") is None, means


def test_what_is_known_in_part_is_a_lower_bound(workspace: Workspace) -> None:
    answers = (body(counts(40, 10)), body(None))
    with serving(lambda _, number: web.Response(body=answers[number % 2])) as server:
        finished = run(workspace, server, 10)
        (told,) = json.loads(run(workspace, server, 10, "--json").out)["runs"]
    assert "cost: at least $0.0003; for 5 answers it is not reported by the server" in finished.out
    assert "≥ 250 tokens, ≥ $0.0003" in finished.err
    assert (told["cost_usd"], told["counts"]["num_without_usage"]) == (None, 5)
    assert told["reported_cost_usd"] == pytest.approx(250 * USD_PER_TOKEN)
    (row,) = (
        row
        for row in json.loads(workspace.evalkit("summarize", "--usage", "--json").out)
        if row["metric"] == "num_prompt_tokens"
    )
    assert (row["mean"], row["n"], row["n_total"]) == (40, 5, 10)


def test_what_came_from_the_cache_costs_nothing_and_is_no_unknown(workspace: Workspace) -> None:
    with serving(saying(None)) as server:
        run(workspace, server, 5, "--cache")
        finished = run(workspace, server, 5, "--cache", "--suite", "other")
    assert server.num_received == 5
    assert "cost: $0.0000" in finished.out


@pytest.mark.parametrize(
    "usage",
    [
        *(None, counts(-1000, -1000), counts(30, -(10**9)), counts(10**8, 5)),
        *(counts("many", "few"), counts(float("nan"), float("inf"))),
    ],
    ids=str,
)
@pytest.mark.parametrize("flags", [("--budget-usd", 0.004), ("--budget-tokens", 4000)], ids=str)
def test_a_budget_counts_what_is_not_reported_in_full(
    workspace: Workspace, usage: Any, flags: tuple[object, ...]
) -> None:
    """Each request may take some 255 tokens: its prompt's bytes, room for a template, and its limit."""
    with serving(saying(usage)) as server:
        finished = run(workspace, server, 400, "-q", *flags)
    assert finished.code == 3
    assert "the budget is spent" in finished.err
    assert "of what is spent is an estimate: the server did not report what it bills" in finished.err
    assert 10 < server.num_received <= 17
    # Requests that only waited for the budget were never sent.
    assert "attempts failed" not in finished.err


def test_answers_that_are_cut_off_are_paid_for(workspace: Workspace) -> None:
    """60 % of the answers break off before their last 30 bytes, and each is billed with 25 tokens."""
    sent = body(counts(20, 5))
    fates = itertools.cycle([True, True, False, True, False])

    def reply(request: web.BaseRequest, _: int) -> Any:
        return cut(request, sent) if next(fates) else web.Response(body=sent)

    with serving(reply) as server:
        finished = run(workspace, server, 2000, "-q", "--budget-usd", 0.01)
    assert finished.code == 3
    assert "the budget is spent" in finished.err
    assert "an estimate" in finished.err
    assert "attempts failed after the server may have done the work" in finished.err
    assert 0 < server.num_received * 25 * USD_PER_TOKEN <= 0.01
    manifest = workspace.run().manifest()
    assert manifest is not None
    # What has come whole; the rest is not known, and said.
    assert manifest.cost_usd is None
    answers_usd = manifest.counts["num_answered"] * 25 * USD_PER_TOKEN
    assert manifest.reported_cost_usd == pytest.approx(answers_usd, abs=1e-6)
    assert f"cost: at least ${answers_usd:.4f}; the server may bill attempts that failed (" in finished.out
    assert any("it may bill them" in note for note in manifest.notes)


def test_989_cut_answers_are_counted(workspace: Workspace) -> None:
    sent = body(counts(20, 5))
    with serving(lambda request, _: cut(request, sent)) as server:
        workspace.deploy("test/a", server.url, prices=PRICES, limits={**LIMITS, "max_attempts": 3})
        finished = workspace.evalkit("run", "-q", "--budget-usd", 0.01, "-r", ENTRY.format(989))
    assert finished.code == 3
    assert 0 < server.num_received * 25 * USD_PER_TOKEN <= 0.01


@pytest.mark.parametrize("numeral", ["25", " 25 ", "25.0"])
def test_400_answers_with_usage_as_numerals_in_texts_are_counted(workspace: Workspace, numeral: str) -> None:
    with serving(saying(counts(numeral, "5"))) as server:
        finished = run(workspace, server, 400, "-q", "--budget-usd", 0.004)
        assert finished.code == 3
        assert server.num_received > 100
        assert server.num_received * 30 * USD_PER_TOKEN <= 0.004
        assert run(workspace, server, 400, "-q", "--budget-usd", 1).code == 0
    manifest = workspace.run().manifest()
    assert manifest is not None
    assert manifest.cost_usd == pytest.approx(400 * 30 * USD_PER_TOKEN)


NOT_UNDERSTOOD: dict[str, Reply] = {
    "no JSON": lambda request, _: web.Response(text="{"),
    "empty": lambda request, _: web.Response(body=b""),
    "another shape": lambda request, _: web.json_response({"choices": [{"message": 7}]}),
    "unknown part": saying(counts(20, 5), message={"content": [{"type": "audio"}]}),
    "broken off": saying(counts(20, 5), finish_reason="error"),
    "filtered": saying(counts(20, 5), finish_reason="content_filter"),
    "filtered without a text": saying(counts(20, 5), finish_reason="content_filter", message={"content": ""}),
    "error of a gateway": lambda request, _: web.json_response({"error": {"message": "no", "code": 502}}),
    "error with usage": lambda request, _: web.json_response(
        {"error": {"message": "no", "code": 429}, "usage": counts(20, 5)}
    ),
    "packed": lambda request, _: web.Response(body=b"x", headers={"Content-Encoding": "br"}),
    "gateway timeout": lambda request, _: web.Response(status=504),
    "no answer at all": lambda request, _: gone(request),
}


async def gone(request: web.BaseRequest) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


@pytest.mark.parametrize("seen", NOT_UNDERSTOOD)
def test_what_may_have_been_billed_counts_however_it_ended(workspace: Workspace, seen: str) -> None:
    with serving(NOT_UNDERSTOOD[seen]) as server:
        finished = run(workspace, server, 400, "-q", "--budget-tokens", 1500)
    assert finished.code == 3, finished
    assert "the budget is spent" in finished.err, finished.err
    # Some 255 tokens each, as much as was set aside.
    assert 3 < server.num_received < 8


@pytest.mark.parametrize("status", [400, 500, 503])
def test_what_is_refused_costs_nothing(workspace: Workspace, status: int) -> None:
    def reply(request: web.BaseRequest, number: int) -> Any:
        if number % 2:
            return web.json_response({"error": "no"}, status=status)
        return web.Response(body=body(counts(20, 5)))

    with serving(reply) as server:
        # Four in flight are some 1,000 tokens, the 20 answers 500; 20 refusals would be 5,000.
        finished = run(workspace, server, 40, "-q", "--budget-tokens", 2500, "-n", 4)
    assert "the budget is spent" not in finished.err
    assert server.num_received >= 40


PLUGIN = """
from evalkit.clients.openai import OpenAIClient
from evalkit.registry import client

@client("broken")
class Broken(OpenAIClient):
    async def send(self, request):
        await super().send(request)
        raise KeyError("a bug behind the answer")
"""


def test_a_bug_of_a_client_behind_the_answer_does_not_make_it_free(workspace: Workspace) -> None:
    (workspace.path / "mine.py").write_text(PLUGIN, encoding="utf-8")
    with serving(saying(counts(20, 5))) as server:
        workspace.deploy("test/a", server.url, prices=PRICES, limits=LIMITS)
        text = workspace.deployments_path.read_text(encoding="utf-8")
        workspace.deployments_path.write_text(text.replace('"openai"', '"broken"'), encoding="utf-8")
        flags = ("-q", "--plugins", "mine.py", "--budget-usd", 0.002)
        finished = workspace.evalkit("run", *flags, "-r", ENTRY.format(400))
    assert "the budget is spent" in finished.err, finished
    assert 0 < server.num_received * 25 * USD_PER_TOKEN <= 0.002


def test_a_jump_in_what_is_billed_misses_by_those_in_flight(workspace: Workspace) -> None:
    """25 tokens each, then a million: those in flight at that moment are paid for, none after them."""
    in_flight = 4
    jump_at = 20
    answers = (body(counts(20, 5)), body(counts(20, 10**6)))
    with serving(lambda _, number: web.Response(body=answers[number >= jump_at])) as server:
        finished = run(workspace, server, 400, "-q", "--budget-usd", 1, "-n", in_flight)
    assert finished.code == 3
    assert "the budget is spent" in finished.err
    assert jump_at < server.num_received <= jump_at + in_flight


@pytest.mark.parametrize("num_threads", [1, 16])
def test_a_stop_by_the_budget_is_no_failed_attempt(workspace: Workspace, num_threads: int) -> None:
    """Every answer was billed and reported: the cost is known, whatever waited for the budget."""
    with serving(saying(counts(20, 5))) as server:
        finished = run(workspace, server, 400, "-n", num_threads, "--budget-usd", 0.002)
    assert "the budget is spent" in finished.err
    assert "may bill" not in finished.err + finished.out
    manifest = workspace.run().manifest()
    assert manifest is not None
    assert manifest.notes == ()
    assert manifest.cost_usd == pytest.approx(server.num_received * 25 * USD_PER_TOKEN)
    assert f"cost: ${manifest.cost_usd:.4f} (of the answers kept" in finished.out


@pytest.mark.parametrize("flags", [(), ("--budget-usd", 1)], ids=str)
@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_refused_key_costs_nothing(workspace: Workspace, status: int, flags: tuple[object, ...]) -> None:
    """The first refusal cancels the 15 requests that came with it: the same key, and free like it."""
    crowd = 16
    everybody_is_here = asyncio.Event()

    async def refuse(request: web.BaseRequest, number: int) -> web.StreamResponse:
        if number == crowd - 1:
            everybody_is_here.set()
        await everybody_is_here.wait()
        if number:
            await asyncio.Event().wait()  # until the client has gone
        return web.json_response({"error": "no"}, status=status)

    with serving(refuse) as server:
        finished = run(workspace, server, 40, "-n", crowd, *flags)
        assert server.num_received == crowd
    assert finished.code == 3
    assert "may bill" not in finished.err + finished.out
    assert "cost: $0.0000" in finished.out
    manifest = workspace.run().manifest()
    assert manifest is not None
    assert (manifest.notes, manifest.cost_usd) == ((), 0)


UNKNOWN: dict[str, Reply] = {
    "malformed": lambda request, _: web.Response(text="{"),
    "gateway timeout": lambda request, _: web.Response(status=504),
    "lost": lambda request, _: gone(request),
}


@pytest.mark.parametrize("seen", UNKNOWN)
def test_what_failed_attempts_cost_is_unknown_and_not_zero(workspace: Workspace, seen: str) -> None:
    with serving(UNKNOWN[seen]) as server:
        finished = run(workspace, server, 4)
        (told,) = json.loads(run(workspace, server, 4, "--json").out)["runs"]
    assert "cost: not reported by the server; the server may bill attempts that failed (4)" in finished.out
    assert "$0.0000" not in finished.out + finished.err
    assert "it may bill them" in finished.err
    assert (told["cost_usd"], told["reported_cost_usd"]) == (None, None)
    assert told["counts"]["num_unknown_bills"] == 8  # of both starts
    manifest = json.loads((workspace.run().path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["usage"] == {"prompt_tokens": None, "completion_tokens": None}


def test_an_attempt_that_failed_makes_the_cost_a_lower_bound_though_the_next_was_answered(
    workspace: Workspace,
) -> None:
    def reply(request: web.BaseRequest, number: int) -> web.StreamResponse:
        return web.Response(status=504) if number == 0 else web.Response(body=body(counts(20, 5)))

    with serving(reply) as server:
        workspace.deploy("test/a", server.url, prices=PRICES, limits={**LIMITS, "max_attempts": 3})
        entries = [f"arithmetic:digits={digits},num_test=4,model=test/a" for digits in (2, 3)]
        finished = workspace.evalkit("run", "-n", 1, "-r", *entries)
    assert finished.code == 0, finished
    assert "cost: at least $0.0002; the server may bill attempts that failed (1)" in finished.out
    costs = [manifest.cost_usd for run in workspace.runs() if (manifest := run.manifest()) is not None]
    # The other run of the same deployment had no such attempt.
    assert sorted(costs, key=str) == [pytest.approx(4 * 25 * USD_PER_TOKEN), None]


def test_answers_that_a_journal_has_lost_are_in_no_cost_that_claims_to_be_all(workspace: Workspace) -> None:
    with serving(saying(counts(20, 5))) as server:
        run(workspace, server, 8)
        journal = workspace.run().journal_path
        lines = journal.read_bytes().splitlines(keepends=True)
        journal.write_bytes(b"".join(lines[:-2]) + b"x" + lines[-2][1:] + lines[-1])
        finished = run(workspace, server, 8)
        assert server.num_received == 9
    assert "cost: $0.0002 (of the answers kept, over all starts)" in finished.out, finished
