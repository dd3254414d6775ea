"""MT-Bench against a real server that answers and judges: killed half-way, and the order of requests."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator

import pytest

from evalkit.execution.journal_index import scan_journal
from tests.end_to_end.test_dialogues import Chat, Talker, said, talking
from tests.end_to_end.workspace import Workspace, until
from tests.judges.test_mt_bench_runs import PROMPTS
from tests.scenarios.mt_bench_files import write_lines

NUM_QUESTIONS, NUM_KILLS, IN_FLIGHT = 60, 3, 8
ENTRY = (
    "mt_bench_ja:questions=./question.jsonl,judge_prompts=./prompts.jsonl,reference_categories=,"
    "model=test/model,judge=test/judge"
)


def is_judge(chat: Chat) -> bool:
    return chat[0] == "You judge."


@pytest.fixture
def server(workspace: Workspace) -> Iterator[Talker]:
    rows = [{"name": k, "system_prompt": "You judge.", "prompt_template": v} for k, v in PROMPTS.items()]
    questions = [
        {"question_id": n, "category": f"c{n % 4}", "turns": [f"Question {n}?", f"And then, {n}?"]}
        for n in range(NUM_QUESTIONS)
    ]
    write_lines(workspace.path / "prompts.jsonl", rows)
    write_lines(workspace.path / "question.jsonl", questions)
    limits = {"max_concurrency": IN_FLIGHT, "initial_concurrency": IN_FLIGHT}
    with talking(lambda chat, number: said("[[7]]" if is_judge(chat) else f"answer {number}", chat)) as made:
        for name in ("test/model", "test/judge"):
            workspace.deploy(name, made.url, limits=limits)
        yield made


def num_judgements(workspace: Workspace) -> int:
    journals = workspace.suite().glob("[!.]*/judgements/*.jsonl")
    return sum(max(0, journal.read_bytes().count(b"\n") - 1) for journal in journals)


def killed_start(workspace: Workspace, server: Talker, num_more: int) -> None:
    """Start the run, and kill it when it has that many more judgements."""
    goal = num_judgements(workspace) + num_more
    # Enough for these judgements if all answers come first; however late the kill is, the run is not over.
    num_answers_left = 2 * NUM_QUESTIONS - workspace.num_lines()
    server.gate.hold_after(num_answers_left + num_more + IN_FLIGHT)
    process = workspace.start("run", "-q", "-r", ENTRY)
    until(lambda: num_judgements(workspace) >= goal or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    server.gate.open()
    until(lambda: server.in_flight == 0)


def kept(workspace: Workspace) -> int:
    (journal,) = workspace.run().path.glob("judgements/*.jsonl")
    return len(scan_journal(journal).answered)


def test_a_judge_that_is_killed_half_way_costs_nothing_that_is_judged(
    workspace: Workspace, server: Talker
) -> None:
    before = 0
    for _ in range(NUM_KILLS):
        killed_start(workspace, server, 5)
        before, now = kept(workspace), before
        assert before >= now + 5
    finished = workspace.evalkit("run", "-q", "-r", ENTRY)
    assert finished.code == 0, finished.err
    judged = Counter(chat for chat in server.chats if is_judge(chat))
    assert kept(workspace) == 2 * NUM_QUESTIONS
    # What was on its way when the run was killed is asked again, and nothing else.
    assert sum(judged.values()) - 2 * NUM_QUESTIONS <= NUM_KILLS * IN_FLIGHT
    stored = workspace.stored()
    for name in ("rating_turn_1", "rating_turn_2", "rating_mean_of_items", "rating_mean_of_categories"):
        stat = stored.stat(name)
        assert (stat.mean, stat.n, stat.n_failed) == (7, NUM_QUESTIONS, 0)
    num_asked = len(server.chats)
    assert workspace.evalkit("run", "-q", "-r", ENTRY).code == 0
    assert len(server.chats) == num_asked


def test_first_turns_are_judged_while_second_turns_are_answered(workspace: Workspace, server: Talker) -> None:
    """A judge that waits for whole conversations, or for all answers, would come later."""
    assert workspace.evalkit("run", "-q", "-r", ENTRY).code == 0
    chats = server.chats
    first_judgement = next(n for n, chat in enumerate(chats) if is_judge(chat))
    last_first_turn = max(n for n, chat in enumerate(chats) if not is_judge(chat) and len(chat) == 1)
    assert first_judgement < last_first_turn
    assert all(chats.index(second) > chats.index(second[:1]) for second in chats if len(second) == 3)
