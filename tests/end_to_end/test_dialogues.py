"""Conversations against a real server: killed, failing, blocked, ended early, damaged, bounded."""

from __future__ import annotations

import json
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import pytest

from evalkit.cli.plan import describe_run
from evalkit.interchange.helm_export import export_run
from evalkit.plugins import load_plugins
from evalkit.registry import isolated_registries
from evalkit.response import Response
from evalkit.results.repair import repair_run
from evalkit.results.scores import score_run
from evalkit.results.verification import verify_run
from evalkit.runs.options import RunOptions
from evalkit.runs.plan import make_plan, open_plan_context
from tests.end_to_end.servers import Gate, ThreadedServer
from tests.end_to_end.workspace import Finished, Workspace, index_of, records_of, timeless_stats, until

if TYPE_CHECKING:
    from aiohttp import web

PLUGIN = Path(__file__).with_name("talks.py")
NUM_KILLS = 20
IN_FLIGHT = 64
NUM_TALKS = 900
# A start gets this many answers before it is killed, plus those that come in while the signal is on its way.
MOST_LINES_PER_START = 60
PRICES = {"input_usd_per_million_tokens": 2.0, "output_usd_per_million_tokens": 8.0}


@pytest.fixture(autouse=True)
def plugin() -> Iterator[None]:
    """The plugin is known in this process too, which scores and repairs."""
    with isolated_registries():
        load_plugins((str(PLUGIN),))
        yield


Chat = tuple[str, ...]
Reply = Callable[[Chat, int], "tuple[int, Any]"]


class Talker(ThreadedServer):
    """Answers chats, and remembers them: the contents of their messages, in the order of the answers."""

    def __init__(self, reply: Reply) -> None:
        self.chats: list[Chat] = []
        self.in_flight = 0
        self._reply = reply
        super().__init__(self._handle)
        self.gate = Gate(self._loop)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        from aiohttp import web

        self.in_flight += 1
        try:
            messages = json.loads(await request.read())["messages"]
            if not await self.gate.passed(request):
                raise ConnectionResetError
            chat = tuple(message["content"] for message in messages)
            self.chats.append(chat)
            status, body = self._reply(chat, len(self.chats))
            return web.json_response(body, status=status)
        finally:
            self.in_flight -= 1


def said(text: str, chat: Chat, finish: str = "stop") -> tuple[int, Any]:
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": sum(map(len, chat)) // 4, "completion_tokens": len(text) // 2}
    return 200, {"choices": [{"message": message, "finish_reason": finish}], "usage": usage}


def error(status: int, **fields: Any) -> tuple[int, Any]:
    return status, {"error": {"message": "no", **fields}}


def says_yes(chat: Chat) -> bool:
    """Always the same of the same questions, whatever number an answer has."""
    return crc32("".join(chat[1::2]).encode()) % 3 > 0


def numbered(chat: Chat, number: int) -> tuple[int, Any]:
    """Two of three answers are yes, and no two answers are alike: asked again, a question gets another."""
    return said(f"{'yes' if says_yes(chat) else 'no'} {number:06}", chat)


@contextmanager
def talking(reply: Reply = numbered) -> Iterator[Talker]:
    server = Talker(reply)
    server.start()
    try:
        yield server
    finally:
        server.gate.open()
        server.close()


@dataclass
class Talk:
    """Runs of the plugin against a server."""

    workspace: Workspace
    server: Talker
    entry: str

    @property
    def command(self) -> tuple[str, ...]:
        return ("run", "-q", "--plugin", str(PLUGIN), "-r", self.entry)

    def run(self, *more: str) -> Finished:
        return self.workspace.evalkit(*self.command, *more)

    @property
    def counts(self) -> dict[str, int]:
        manifest = self.workspace.run().manifest()
        assert manifest is not None
        counts = ("num_requests", "num_answered", "num_failed")
        return {name.removeprefix("num_"): manifest.counts[name] for name in counts}

    @property
    def status(self) -> str:
        manifest = self.workspace.run().manifest()
        assert manifest is not None
        return manifest.status


@contextmanager
def talk(
    workspace: Workspace, reply: Reply = numbered, *, num: int = 20, method: str = "", **limits: Any
) -> Iterator[Talk]:
    with talking(reply) as server:
        limits = {"max_concurrency": IN_FLIGHT, "initial_concurrency": IN_FLIGHT, "backoff_s": 0.001} | limits
        workspace.deploy("test/a", server.url, limits=limits, prices=PRICES)
        by = f",method={method}" if method else ""
        yield Talk(workspace, server, f"talks:num={num}{by},model=test/a")


def story(chat: Chat) -> str:
    return chat[1].split(".")[0]


def turn(chat: Chat) -> int:
    return len(chat) // 2


def kept_chats(workspace: Workspace) -> set[Chat]:
    """The chats whose answers the journal holds."""
    if not workspace.suite().exists():
        return set()
    records = records_of(workspace.run())
    return {tuple(m.content for m in record.state.request.messages or ()) for record in records}


def killed_start(asked: Talk, num_more_lines: int) -> bool:
    """Start the run and kill it when it has that many more answers; whether it was killed in time."""
    workspace, server = asked.workspace, asked.server
    goal = workspace.num_lines() + num_more_lines
    # However late the kill is, the run is not over by then.
    server.gate.hold_after(num_more_lines + IN_FLIGHT)
    process = workspace.start(*asked.command)
    if num_more_lines == 0:
        until(lambda: workspace.suite().exists() or process.poll() is not None)
    else:
        until(lambda: workspace.num_lines() >= goal or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    server.gate.open()
    until(lambda: server.in_flight == 0)
    return process.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_twenty_kills_lose_no_turn(workspace: Workspace) -> None:
    with talk(workspace, num=NUM_TALKS) as asked:
        rng, server = random.Random(11), asked.server
        kept: set[Chat] = set()
        num_gone_on = 0
        for _ in range(NUM_KILLS):
            num_served = len(server.chats)
            assert killed_start(asked, rng.randrange(MOST_LINES_PER_START + 1))
            served = server.chats[num_served:]
            assert not kept & set(served), "a request whose answer was in the journal was sent again"
            unfinished = index_of(workspace.run()).unfinished
            before, kept = kept, kept_chats(workspace)
            assert before <= kept
            num_gone_on += bool(unfinished)
        assert num_gone_on > NUM_KILLS // 2, "no kill fell between two turns"
        assert NUM_KILLS < len(kept) < 2 * NUM_TALKS
        num_served = len(server.chats)
        finished = asked.run()
        assert finished.code == 0, finished.err
        assert not kept & set(server.chats[num_served:])
        first_kept = {story(chat) for chat in kept if turn(chat) == 1}
        assert not first_kept & {story(chat) for chat in server.chats[num_served:] if turn(chat) == 1}
        times = Counter((story(chat), turn(chat)) for chat in server.chats)
        assert len(times) == 2 * NUM_TALKS
        # Twice, since an answer may be on its way to the journal while its successor is in flight already.
        assert sum(times.values()) - 2 * NUM_TALKS <= NUM_KILLS * 2 * IN_FLIGHT
        index = index_of(workspace.run())
        assert len(index.answered) == index.num_lines == 2 * NUM_TALKS
        assert not index.damage
        assert not index.unfinished
        assert_each_turn_follows_the_answer_that_was_kept(workspace)

        unbroken = asked.run("--suite", "unbroken")
    assert unbroken.code == 0, unbroken.err
    killed_run, unbroken_run = workspace.run(), workspace.run("unbroken")
    assert killed_run.scores_path.read_bytes() == unbroken_run.scores_path.read_bytes()
    assert timeless_stats(killed_run) == timeless_stats(unbroken_run)
    manifest, unbroken_manifest = killed_run.manifest(), unbroken_run.manifest()
    assert manifest is not None
    assert unbroken_manifest is not None
    assert (manifest.usage, manifest.counts) == (unbroken_manifest.usage, unbroken_manifest.counts)


def assert_each_turn_follows_the_answer_that_was_kept(workspace: Workspace) -> None:
    texts = {
        record.state.key: record.outcome.completions[0].text
        for record in records_of(workspace.run())
        if isinstance(record.outcome, Response)
    }
    later = [record.state for record in records_of(workspace.run()) if record.state.turn == 2]
    assert later
    for state in later:
        assert state.request.messages is not None
        assert state.request.messages[-2].content == texts[state.key.removesuffix("/u2")]


def test_what_conversations_owe_is_asked_before_first_turns(workspace: Workspace) -> None:
    with talk(workspace, num=60, max_concurrency=4, initial_concurrency=4) as asked:
        assert killed_start(asked, 10)
        unfinished = len(index_of(workspace.run()).unfinished)
        num_first = sum(turn(chat) == 1 for chat in kept_chats(workspace))
        num_served = len(asked.server.chats)
        assert asked.run().code == 0
        chats = asked.server.chats[num_served:]
        assert {turn(chat) for chat in chats[:unfinished]} <= {2}
        assert sum(turn(chat) == 1 for chat in chats) == 60 - num_first


def test_a_second_turn_goes_ahead_of_first_turns_that_wait(workspace: Workspace) -> None:
    with talk(workspace, num=200, max_concurrency=4, initial_concurrency=4) as asked:
        assert asked.run().code == 0
        turns = [turn(chat) for chat in asked.server.chats]
        behind = [first - second for first, second in zip(*running(turns), strict=True)]
        # A turn that was answered is followed by the next within what is in flight and on its way.
        assert max(behind) <= 4 * 4


def running(turns: list[int]) -> tuple[list[int], list[int]]:
    """How many first and second turns had been answered, after each answer."""
    firsts, seconds = [0], [0]
    for number in turns:
        firsts.append(firsts[-1] + (number == 1))
        seconds.append(seconds[-1] + (number == 2))
    return firsts, seconds


def test_a_failed_first_turn_fails_the_conversation_until_it_is_answered(workspace: Workspace) -> None:
    broken = True

    def reply(chat: Chat, number: int) -> tuple[int, Any]:
        return error(500) if broken and story(chat).endswith("3") else numbered(chat, number)

    with talk(workspace, reply, max_attempts=1) as asked:
        finished = asked.run()
        assert finished.code == 1, finished.err
        assert {story(chat) for chat in asked.server.chats if turn(chat) == 2} == {
            f"Story {number:04}" for number in range(20) if number % 10 != 3
        }
        assert asked.counts == {"requests": 40, "answered": 36, "failed": 2}
        statuses = Counter(row["status"] for row in scores_of(workspace))
        assert statuses == {"scored": 18, "failed": 2}
        report = verify_run(workspace.run())
        assert report.is_sound, report
        assert report.num_owed == 4

        broken = False
        num_served = len(asked.server.chats)
        finished = asked.run()
        assert finished.code == 0, finished.err
        assert Counter(map(turn, asked.server.chats[num_served:])) == {1: 2, 2: 2}
        assert asked.counts == {"requests": 40, "answered": 40, "failed": 0}
        assert verify_run(workspace.run()).is_sound


def test_a_failed_second_turn_is_asked_again_from_the_answer_that_was_kept(workspace: Workspace) -> None:
    broken = True

    def reply(chat: Chat, number: int) -> tuple[int, Any]:
        return error(500) if broken and turn(chat) == 2 and number % 2 else numbered(chat, number)

    with talk(workspace, reply, max_attempts=1) as asked:
        assert asked.run().code == 1
        num_failed = asked.counts["failed"]
        assert num_failed > 0
        assert verify_run(workspace.run()).is_sound
        broken, num_served = False, len(asked.server.chats)
        assert asked.run().code == 0
        assert Counter(map(turn, asked.server.chats[num_served:])) == {2: num_failed}
        assert_each_turn_follows_the_answer_that_was_kept(workspace)


def test_nothing_follows_a_turn_that_a_filter_blocked(workspace: Workspace) -> None:
    def reply(chat: Chat, number: int) -> tuple[int, Any]:
        if story(chat).endswith("3"):
            return error(400, code="content_filter")
        return numbered(chat, number)

    with talk(workspace, reply) as asked:
        finished = asked.run()
        assert finished.code == 0, finished.err
        assert asked.status == "complete"
        assert asked.counts == {"requests": 38, "answered": 36, "failed": 2}
        assert verify_run(workspace.run()).is_sound
        num_served = len(asked.server.chats)
        assert asked.run().code == 0
        assert len(asked.server.chats) == num_served
        (workspace.run().path / "manifest.json").unlink()
        report = repair_run(workspace.run())
        assert (report.is_sound, report.status, report.num_owed) == (True, "complete", 0), report


def test_a_conversation_that_ends_early_is_complete(workspace: Workspace) -> None:
    with talk(workspace, num=40, method="until_yes") as asked:
        killed = killed_start(asked, 30)
        assert killed
        finished = asked.run()
        assert finished.code == 0, finished.err
        assert asked.status == "complete"
        num_asked = len({(story(chat), turn(chat)) for chat in asked.server.chats})
        assert 40 < num_asked < 160
        assert asked.counts == {"requests": num_asked, "answered": num_asked, "failed": 0}
        turns = [row["scores"]["turns"] for row in scores_of(workspace)]
        assert len(turns) == 40
        assert sum(turns) == num_asked
        assert len(set(turns)) > 1
        num_served = len(asked.server.chats)
        assert asked.run().code == 0
        assert len(asked.server.chats) == num_served
    assert_can_be_made_anew(workspace)


def assert_can_be_made_anew(workspace: Workspace) -> None:
    """Verify, score and repair come to what the run came to."""
    directory = workspace.run()
    directory.path.joinpath("run.lock").unlink(missing_ok=True)
    stats, scores = timeless_stats(directory), directory.scores_path.read_bytes()
    assert verify_run(directory).is_sound
    assert not score_run(directory).problems
    assert (timeless_stats(directory), directory.scores_path.read_bytes()) == (stats, scores)
    for name in ("manifest.json", "scores.jsonl", "stats.json"):
        (directory.path / name).unlink()
    report = repair_run(directory)
    assert (report.is_sound, report.status, report.num_owed) == (True, "complete", 0), report
    assert (timeless_stats(directory), directory.scores_path.read_bytes()) == (stats, scores)


def test_a_turn_whose_first_turn_is_lost_is_asked_again(workspace: Workspace) -> None:
    with talk(workspace) as asked:
        assert asked.run().code == 0
        path = workspace.run().journal_path
        lines = path.read_bytes().splitlines(keepends=True)
        first = next(at for at, line in enumerate(lines) if b'"key":"t0/id7"' in line)
        lines[first] = lines[first].replace(b"Story 0007", b"Story 0008")
        path.write_bytes(b"".join(lines))
        assert not verify_run(workspace.run()).is_sound
        num_served = len(asked.server.chats)
        finished = asked.run()
        assert finished.code == 0, finished.err
        assert "no line before it answers the turn before" in finished.err
        assert [(story(chat), turn(chat)) for chat in asked.server.chats[num_served:]] == [
            ("Story 0007", 1),
            ("Story 0007", 2),
        ]
        assert asked.counts == {"requests": 40, "answered": 40, "failed": 0}
        num_served = len(asked.server.chats)
        assert asked.run().code == 0
        assert len(asked.server.chats) == num_served
        winners = {record.state.key: record for record in records_of(workspace.run())}
        second = winners["t0/id7/u2"].state.request.messages
        assert second is not None
        outcome = winners["t0/id7"].outcome
        assert isinstance(outcome, Response)
        assert second[-2].content == outcome.completions[0].text
        assert verify_run(workspace.run()).is_sound


def test_after_an_interruption_a_refused_turn_stays_owed(workspace: Workspace) -> None:
    with talk(workspace, num=30, max_concurrency=8, initial_concurrency=8) as asked:
        asked.server.gate.hold_after(0)
        process = workspace.start(*asked.command)
        until(lambda: asked.server.gate.num_held == 8)
        process.send_signal(signal.SIGINT)
        asked.server.gate.open()
        finished = workspace.finish(process)
        assert finished.code == 130, finished.err
        assert {turn(chat) for chat in asked.server.chats} == {1}
        index = index_of(workspace.run())
        assert len(index.unfinished) == len(index.answered) > 0
        kept = kept_chats(workspace)
        num_served = len(asked.server.chats)
        assert asked.run().code == 0
        assert not kept & set(asked.server.chats[num_served:])
        assert asked.counts == {"requests": 60, "answered": 60, "failed": 0}


def test_an_adapter_that_fails_to_go_on_ends_its_run_and_loses_no_answer(workspace: Workspace) -> None:
    with talk(workspace, method="stumbling") as asked:
        finished = asked.run()
        assert finished.code == 3
        assert "failed to go on after t0/id7" in finished.err
        assert "no way on" in finished.err
        served = {chat for chat in asked.server.chats}
        assert kept_chats(workspace) == served


@pytest.mark.parametrize("num", [3, 40])
def test_a_server_that_refuses_every_first_turn_stops_the_run(workspace: Workspace, num: int) -> None:
    with talk(workspace, lambda chat, number: error(400), num=num) as asked:
        finished = asked.run()
        assert finished.code == 3, finished.err
        assert asked.status == "stopped"
        assert {turn(chat) for chat in asked.server.chats} == {1}


def test_helm_gets_the_last_turn(workspace: Workspace) -> None:
    with talk(workspace) as asked:
        assert asked.run().code == 0
    exported = export_run(workspace.run(), workspace.path)
    plain = json.loads((exported.path / "scenario_state.json").read_text())
    states = plain["request_states"]
    assert len(states) == 20
    for state in states:
        assert [message["role"] for message in state["request"]["messages"]] == [
            *("system", "user", "assistant", "user")
        ]


def scores_of(workspace: Workspace) -> list[dict[str, Any]]:
    return [json.loads(line) for line in workspace.run().scores_path.read_text().splitlines()]


@pytest.mark.parametrize("length", [None, 80], ids=["no window", "narrow"])
def test_no_run_takes_more_than_its_plan_says(workspace: Workspace, length: int | None) -> None:
    """The server counts as dearly as can be: a token for each byte, and all answers as long as allowed."""

    def reply(chat: Chat, number: int) -> tuple[int, Any]:
        text = f"yes {number:06} ".ljust(20, "x")
        used = sum(len(content.encode()) + 4 for content in chat), 20
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "length"}
        usage = {"prompt_tokens": used[0], "completion_tokens": used[1]}
        return 200, {"choices": [choice], "usage": usage}

    with talk(workspace, reply) as asked:
        described = json.loads(workspace.deployments_path.read_text())
        if length is not None:
            more = {"max_sequence_length": length, "tokenizer_name": "bytes"}
            described["model_deployments"][0] |= more
        workspace.deployments_path.write_text(json.dumps(described))
        options = RunOptions(
            run_entries=(asked.entry,),
            plugins=(str(PLUGIN),),
            model_deployments=(workspace.deployments_path,),
        )
        context = open_plan_context(options)
        (run,) = make_plan(context).runs
        row = describe_run(run, context)
        assert any("at most" in note for note in row["notes"])
        finished = asked.run()
        assert finished.code == 0, finished.err
        manifest = workspace.run().manifest()
        assert manifest is not None
        usage, counts = manifest.usage, manifest.counts
        assert counts["num_requests"] == row["num_requests"] == 40
        assert usage["completion_tokens"] == row["max_completion_tokens"] == 800
        assert manifest.cost_usd is not None
        assert 0.3 * row["max_cost_usd_by_bytes"] < manifest.cost_usd <= row["max_cost_usd_by_bytes"]
        # And a budget of that much is enough: sending sets aside what each request may really take.
        again = asked.run("--suite", "again", "--budget-usd", str(row["max_cost_usd_by_bytes"]))
        assert again.code == 0, again.err


def test_conversations_of_an_earlier_run_are_found_turn_by_turn(workspace: Workspace) -> None:
    with talk(workspace) as asked:
        assert asked.run("-m", "5").code == 0
        assert len(asked.server.chats) == 10
        finished = asked.run()
        assert finished.code == 0, finished.err
        assert len(asked.server.chats) == 40
        assert len(set(map(story, asked.server.chats))) == 20
        (more,) = (run for run in workspace.runs() if "@" in run.path.name)
        manifest = more.manifest()
        assert manifest is not None
        assert (manifest.counts["num_answered"], manifest.counts["num_found"]) == (40, 10)
        assert verify_run(more).is_sound


def test_a_turn_is_found_only_where_the_turns_before_it_were(workspace: Workspace) -> None:
    with talk(workspace) as asked:
        assert asked.run("-m", "5").code == 0
        journal = workspace.run().journal_path
        lines = journal.read_bytes().splitlines(keepends=True)
        first = next(n for n, line in enumerate(lines) if n and b'/u2"' not in line)
        key = json.loads(lines[first])["key"]
        del lines[first]
        journal.write_bytes(b"".join(lines))
        assert asked.run().code == 0
        # The first turn gets another answer now, so that the second is another request.
        assert len(asked.server.chats) == 10 + 30 + 2
        (more,) = (run for run in workspace.runs() if "@" in run.path.name)
        found = {
            r.state.key for r in records_of(more) if isinstance(r.outcome, Response) and r.outcome.origin
        }
        assert len(found) == 8
        assert not {key, f"{key}/u2"} & found
