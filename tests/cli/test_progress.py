"""What is shown while runs go on."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from evalkit.cli import progress
from evalkit.cli.progress import LiveProgress, PlainProgress
from evalkit.response import Completion, Origin, Response, Usage
from evalkit.results.run_result import RunResult
from evalkit.runs.events import EventObserver, RequestFinished, StageStarted
from tests.run_events import finished_request, finished_run, handle, loaded, loading, opened, planned, scored

ANSWER = Response((Completion("yes"),), Usage(3, 1))


def test_the_live_table_has_the_score_so_far() -> None:
    shown = LiveProgress()
    planned(shown, "a", "b")
    opened(shown, "a", 10, 0)
    opened(shown, "b", 10, 0)
    finished_request(shown, "a", ANSWER, None)
    scored(shown, "a", 1, {"f1_score": 0.25, "exact_match": 0.0})
    scored(shown, "b", 0, {})
    out = io.StringIO()
    Console(file=out, width=120).print(shown.table())
    heading, line_a, line_b = [
        line for line in out.getvalue().splitlines() if "/10" in line or "done" in line
    ]
    assert "score so far" in heading
    assert line_a.split()[-2:] == ["f1_score", "0.250"]
    assert "0.250" not in line_b


def test_plain_lines_have_it_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_EVERY_S", 0.0)
    shown = PlainProgress()
    opened(shown, "a", 2, 0)
    finished_request(shown, "a", ANSWER, None)
    scored(shown, "a", 1, {"exact_match": 1.0})
    finished_run(shown, RunResult("a", "complete"))
    first, second, last = capsys.readouterr().err.splitlines()
    assert "exact_match" not in first
    assert second.endswith("4 tokens, exact_match 1.000 so far")
    # What it ends with is the table's to say.
    assert "exact_match" not in last


def test_a_line_without_a_score_is_soon_followed_by_one_that_has_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = PlainProgress()
    opened(shown, "a", 9, 0)
    scored(shown, "a", 1, {"exact_match": 1.0})
    assert capsys.readouterr().err == ""
    opened(shown, "b", 9, 0)
    monkeypatch.setattr(progress, "PLAIN_EVERY_S", 0.0)
    finished_request(shown, "b", ANSWER, None)
    monkeypatch.setattr(progress, "PLAIN_EVERY_S", 3600.0)
    finished_request(shown, "b", ANSWER, None)
    scored(shown, "b", 0, {})
    scored(shown, "b", 2, {"exact_match": 0.5})
    scored(shown, "b", 3, {"exact_match": 0.6})
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("b: 1/9 done")
    assert "so far" not in first
    assert second.startswith("b: 2/9 done")
    assert second.endswith("exact_match 0.500 so far")


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_the_rate_and_the_eta_come_when_they_mean_something(clock: Clock) -> None:
    shown = LiveProgress()
    opened(shown, "a", 100, 0)
    clock.now_s += 60
    finished_request(shown, "a", ANSWER, None)
    run = shown.runs["a"]
    assert (run.rate_per_s(clock.now_s), run.eta_s(clock.now_s)) == (None, None)
    for _ in range(4):
        finished_request(shown, "a", ANSWER, None)
    assert run.rate_per_s(clock.now_s) == pytest.approx(5 / 60)
    # Many answers at once say nothing either.
    opened(shown, "b", 100, 0)
    for _ in range(50):
        finished_request(shown, "b", ANSWER, None)
    assert shown.runs["b"].eta_s(clock.now_s + 1) is None
    assert shown.runs["b"].eta_s(clock.now_s + 10) == pytest.approx(10)


def test_loading_a_model_is_no_sending(clock: Clock) -> None:
    shown = LiveProgress()
    planned(shown, "a", "b")
    opened(shown, "a", 110, 0)
    loading(shown, "a", "b")
    clock.now_s += 300
    assert shown.runs["a"].cells(clock.now_s)[1] == "loading the model"
    opened(shown, "b", 110, 0)
    assert shown.runs["b"].cells(clock.now_s)[1] == "loading the model"
    loaded(shown, "a", "b")
    clock.now_s += 10
    for _ in range(10):
        finished_request(shown, "a", ANSWER, None)
    name, done, _, rate, eta, *_ = shown.runs["a"].cells(clock.now_s)
    assert (name, done, rate, eta) == ("a", "10/110", "1.0/s", "1:40")


def test_plain_lines_give_no_eta_before_there_is_one(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    shown = PlainProgress()
    opened(shown, "a", 100, 0)
    loading(shown, "a")
    clock.now_s += 30
    loaded(shown, "a")
    # The model was reported as loaded just now.
    finished_request(shown, "a", ANSWER, None)
    assert capsys.readouterr().err == ""
    clock.now_s += 6
    finished_request(shown, "a", ANSWER, None)
    assert capsys.readouterr().err == "a: 2/100 done, 0 failed, 8 tokens\n"
    for _ in range(10):
        finished_request(shown, "a", ANSWER, None)
    clock.now_s += 6
    finished_request(shown, "a", ANSWER, None)
    assert capsys.readouterr().err.startswith("a: 13/100 done, 0 failed, 1.1/s, ETA 1:20")


@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_live_table_keeps_names_and_numbers(width: int) -> None:
    shown = LiveProgress()
    names = [f"arithmetic:operation=add,digits={n},num_test=100,model=evalkit_tiny" for n in (3, 4, 5)]
    planned(shown, *names)
    for name in names:
        opened(shown, name, 1000, 400)
        finished_request(shown, name, ANSWER, 0.125)
        scored(shown, name, 1, {"final_number_exact_match": 0.25})
    out = io.StringIO()
    Console(file=out, width=width).print(shown.table())
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    rows = [line for line in lines if "401/1,000" in line]
    assert len(set(rows)) == 3
    assert all(len(row.split()[0]) >= 24 for row in rows)
    assert all("$0.1250" in row for row in rows)


def test_what_was_found_is_done_and_takes_no_part_in_rate_and_tokens() -> None:
    shown = LiveProgress()
    opened(shown, "a", 10, 2)
    found = Response(ANSWER.completions, ANSWER.usage, cached=True, origin=Origin("b", "t0/id1"))
    for _ in range(6):
        finished_request(shown, "a", found, 0.0)
    run = shown.runs["a"]
    assert run.num_done == 8
    assert run.num_tokens == 0
    assert run.rate_per_s(run.began_s + 1e6) is None


def test_questions_that_are_asked_again_are_never_more_than_there_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PLAIN_EVERY_S", 0.0)
    shown = PlainProgress()
    opened(shown, "a", 2, 0)
    for _ in range(3):
        finished_request(shown, "a", ANSWER, None)
    last = capsys.readouterr().err.splitlines()[-1]
    assert "3/3 done" in last


def judged(observer: EventObserver, name: str, key: str, cost_usd: float | None = None) -> None:
    observer.on_event(RequestFinished(handle(name), "judge:rating", key, ANSWER, cost_usd))


def test_judging_is_shown_as_such(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PLAIN_EVERY_S", 0.0)
    shown = PlainProgress()
    opened(shown, "a", 2, 0)
    shown.on_event(StageStarted(handle("a"), "judge:rating", 2, 0))
    finished_request(shown, "a", ANSWER)
    scored(shown, "a", 1, {"exact_match": 0.0})
    judged(shown, "a", "t0/id0/judge=verdict")
    assert capsys.readouterr().err.splitlines()[-1].endswith("exact_match 0.000 so far, judged 1 of 2")
    finished_request(shown, "a", ANSWER)
    judged(shown, "a", "t0/id1/judge=verdict")
    last = capsys.readouterr().err.splitlines()[-1]
    assert "exact_match" not in last
    assert last.startswith("a: 4/4 done")
    assert last.endswith("judged 2 of 2")


def test_a_question_that_is_asked_again_is_done_once() -> None:
    shown = LiveProgress()
    opened(shown, "a", 1, 0)
    shown.on_event(StageStarted(handle("a"), "judge:rating", 1, 0))
    finished_request(shown, "a", ANSWER)
    for again in ("", "/again1", "/again2"):
        judged(shown, "a", f"t0/id0/judge=verdict{again}", 0.5)
    run = shown.runs["a"]
    assert (run.num_done, run.num_requests) == (2, 2)
    assert (run.num_tokens, run.cost_usd) == (16, 1.5)
    # Nor does what an earlier start asked again make it more than all.
    shown = LiveProgress()
    opened(shown, "a", 1, 1)
    shown.on_event(StageStarted(handle("a"), "judge:rating", 1, 3))
    assert (shown.runs["a"].num_done, shown.runs["a"].num_requests) == (2, 2)


def test_a_cost_in_part_is_a_lower_bound() -> None:
    shown = LiveProgress()
    opened(shown, "a", 1, 0)
    shown.on_event(StageStarted(handle("a"), "judge:rating", 1, 0))
    finished_request(shown, "a", ANSWER, 0.25)
    assert "$0.2500" in shown.runs["a"].cells(0)
    judged(shown, "a", "t0/id0/judge=verdict")
    assert "≥ $0.2500" in shown.runs["a"].cells(0)
