"""Judges at work on runs: pairs of answers, juries' agreement, and what a second start asks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.registry import isolated_registries, run_spec_function
from evalkit.reports.agreement import agreement_report
from evalkit.reports.contests import contests_of, ranking_of
from evalkit.reports.raters import judged_answers
from evalkit.request import Request
from evalkit.results.stored_run import StoredRun
from evalkit.run_specs.layouts import generation
from evalkit.runs.options import RunOptions
from evalkit.runs.pairs import plan_pairs
from evalkit.runs.plan import open_plan_context
from evalkit.specs.run_spec import JudgeSpec, RunSpec, ScenarioSpec, metric_specs
from tests.judges.scripted import Script, ScriptedClient, number_in, register, run

N = 20


@pytest.fixture(autouse=True)
def script() -> Iterator[Script]:
    ScriptedClient.script = made = Script()
    with isolated_registries():
        register()

        @run_spec_function("paired")
        def paired(against: str, prose: bool = True) -> RunSpec:
            """Numbers, compared with another run."""
            return RunSpec(
                name="paired",
                scenario_spec=ScenarioSpec(name="numbers", args={"num_test": N}),
                adapter_spec=generation("", "Question", "Answer", max_tokens=20),
                metric_specs=metric_specs("exact_match"),
                judge_specs=(JudgeSpec(name="pairwise", args={"against": against, "prose": prose}),),
            )

        yield made


def prefers_longer(who: str, request: Request) -> str:
    """A judge's reply: the longer answer wins, and where both are equally long, the first."""
    a, b = (
        request.prompt.partition(f"[Assistant {name}'s answer]\n")[2].partition("\n[End")[0] for name in "AB"
    )
    return "[[A]]" if len(a) >= len(b) else "[[B]]"


def base(script: Script, tmp_path: Path) -> Path:
    """A run whose answers are long for the first five numbers."""
    script.answer = lambda request: "It is number " + "x" * 40 * (number_in(request.prompt) < 5)
    (result,) = run(tmp_path, "judged:model=own/model,judge=own/judge", suite="base")
    assert result.path is not None
    script.asked.clear()
    # A place that needs no quotes in a run entry.
    shutil.copytree(result.path, tmp_path / "against")
    return tmp_path / "against"


def test_each_pair_is_asked_in_both_orders_once(script: Script, tmp_path: Path) -> None:
    against = base(script, tmp_path)
    script.reply = prefers_longer
    script.answer = lambda request: "It is number " + "y" * 10 * (number_in(request.prompt) < 15)
    entry = f"paired:against={against},model=own/model,judge=own/judge"
    (result,) = run(tmp_path, entry)
    assert result.status == "complete", result.message
    assert (script.num_asked("model"), script.num_asked("judge")) == (N, 2 * N)
    means = {stat.name: stat.mean for stat in result.stats if stat.split == "all" and stat.kind == "score"}
    # 5 lost, 10 won, 5 equally long: the first wins both games.
    assert means["win_rate"] == pytest.approx((10 + 2.5) / N)
    assert means["order_consistent"] == pytest.approx(15 / N)
    assert means["first_place"] == pytest.approx((15 * 0.5 + 5) / N)
    run(tmp_path, entry)
    assert (script.num_asked("model"), script.num_asked("judge")) == (N, 2 * N)

    assert result.path is not None
    (contest,) = contests_of([StoredRun.open(result.path)])
    assert (contest.rate.wins, contest.rate.ties, contest.rate.losses) == (10, 5, 5)
    assert contest.rate.rate.value == pytest.approx(0.625)
    assert contest.num_missing == 0
    # Length decides alone: there is nothing to say about answers of one length.
    assert contest.length_controlled.rate.value is None
    assert "separates" in contest.length_controlled.rate.reason


def test_an_unclear_game_fails_alone_and_replies_read_otherwise_ask_nothing(
    script: Script, tmp_path: Path
) -> None:
    against = base(script, tmp_path)
    script.reply = lambda who, request: "Verdict: A" if number_in(request.prompt) else "Both are fine."
    entry = f"paired:against={against},model=own/model,judge=own/judge"
    (result,) = run(tmp_path, entry)
    assert result.status == "partial"
    assert script.num_asked("judge") == 2 * (N - 1) + 2 * 3
    assert result.path is not None
    (contest,) = contests_of([StoredRun.open(result.path)])
    assert (contest.num_missing, contest.rate.rate.n) == (1, N - 1)
    # Brackets only: the stored replies are read again, and all are unclear.
    before = script.num_asked("judge")
    (strict,) = run(tmp_path, entry.replace("model=", "prose=false,model="))
    assert script.num_asked("model") == N
    means = {stat.name: (stat.mean, stat.n_failed) for stat in strict.stats if stat.split == "all"}
    assert means["win_rate"] == (None, N)
    # Unclear replies are asked again, twice at most each.
    assert script.num_asked("judge") - before == 2 * 2 * (N - 1)


def test_a_killed_judge_asks_only_what_is_missing(script: Script, tmp_path: Path) -> None:
    against = base(script, tmp_path)
    entry = f"paired:against={against},model=own/model,judge=own/judge"
    script.reply = prefers_longer
    (result,) = run(tmp_path, entry)
    assert result.path is not None
    (journal,) = (result.path / "judgements").iterdir()
    lines = journal.read_bytes().splitlines(keepends=True)
    # What a kill leaves: some lines, the last one torn.
    journal.write_bytes(b"".join(lines[:12]) + lines[12][:30])
    script.asked.clear()
    (again,) = run(tmp_path, entry)
    assert again.status == "complete", again.message
    kept = sum(b'"header"' not in line for line in lines[:12])
    assert script.num_asked("model") == 0
    assert script.num_asked("judge") in (2 * N - kept, 2 * N - kept + 1)


def test_agreement_of_a_jury(script: Script, tmp_path: Path) -> None:
    script.reply = lambda who, request: f"[[{min(9, number_in(request.prompt) % 10 + (who == 'other'))}]]"
    (result,) = run(tmp_path, "judged:model=own/model,judge=own/judge|own/other")
    assert result.path is not None
    stored = StoredRun.open(result.path)
    judged = judged_answers([stored], ["rating"])
    assert [(rater.name, rater.is_pooled) for rater in judged.raters] == [
        ("rating", True), ("own/judge", False), ("own/other", False)
    ]  # fmt: skip
    (pair,) = agreement_report(judged).pairs
    assert (pair.first, pair.second, pair.agreement.n) == ("own/judge", "own/other", N)
    assert pair.agreement.value == pytest.approx(0.1)
    quadratic = pair.kappas["quadratic"].value
    assert quadratic is not None
    assert quadratic > 0.9


def test_agreement_of_runs_that_differ_in_their_judges(script: Script, tmp_path: Path) -> None:
    script.reply = lambda who, request: f"[[{min(9, number_in(request.prompt) % 10 + (who == 'other'))}]]"
    one, two = run(
        tmp_path, "judged:model=own/model,judge=own/judge", "judged:model=own/model,judge=own/other"
    )
    assert script.num_asked("model") == N
    paths = [one.path, two.path]
    stored = [StoredRun.open(path) for path in paths if path is not None]
    judged = judged_answers(stored, ["rating"])
    assert judged.num_other_answers == 0
    (pair,) = agreement_report(judged).pairs
    assert pair.agreement.n == N
    assert pair.agreement.value == pytest.approx(0.1)
    # Answers of another suite are others where the model says something else.
    script.answer = lambda request: f"It is number {max(5, number_in(request.prompt))}."
    (other,) = run(tmp_path, "judged:model=own/model,judge=own/other", suite="other")
    assert other.path is not None
    judged = judged_answers([stored[0], StoredRun.open(other.path)], ["rating"])
    assert judged.num_other_answers == 5
    assert agreement_report(judged).pairs[0].agreement.n == N - 5


def test_a_ranking_over_judged_runs(script: Script, tmp_path: Path) -> None:
    against = base(script, tmp_path)
    script.reply = prefers_longer
    script.answer = lambda request: "It is number " + "y" * 10 * (number_in(request.prompt) < 15)
    (result,) = run(tmp_path, f"paired:against={against},model=own/resident_model,judge=own/judge")
    assert result.path is not None
    contests = contests_of([StoredRun.open(result.path)])
    assert [(each.first, each.second) for each in contests] == [("own/resident_model", "own/model")]
    ranking = ranking_of(contests)
    assert ranking.fit is not None
    assert ranking.fit.num_questions == N
    assert list(ranking.fit.strengths) == ["own/resident_model", "own/model"]
    assert json.loads((result.path / "run_spec.json").read_text())["judge_specs"][0]["name"] == "pairwise"


def test_a_win_rate_has_one_interval_in_both_tables(script: Script, tmp_path: Path) -> None:
    against = base(script, tmp_path)
    script.reply = prefers_longer
    # One tie in many wins: Student's interval would go on beyond 1.
    script.answer = lambda request: "It is number " + "y" * 60 * (number_in(request.prompt) != 12)
    (result,) = run(tmp_path, f"paired:against={against},model=own/resident_model,judge=own/judge")
    assert result.path is not None
    stored = StoredRun.open(result.path)
    (stat,) = (s for s in stored.stats if s.name == "win_rate" and s.split == "all")
    (contest,) = contests_of([stored])
    assert contest.rate.rate.ci95 is not None
    assert contest.rate.rate.ci95[1] == 1.0
    assert stat.ci95 == pytest.approx(contest.rate.rate.ci95)


def test_a_run_and_its_copy_are_compared_once(script: Script, tmp_path: Path) -> None:
    against = base(script, tmp_path)
    (ours,) = run(tmp_path, "judged:model=own/resident_model,judge=own/judge", suite="ours")
    assert ours.path is not None
    copy = ours.path.with_name("copy")
    shutil.copytree(ours.path, copy)
    options = RunOptions(output_path=tmp_path / "out", model_deployments=(tmp_path / "deployments.yaml",))
    context = open_plan_context(options)
    plan = plan_pairs([ours.path, copy], against, None, ("own/judge",), "mean", context)
    assert [planned.entry for planned in plan.runs] == [f"judge {ours.path.name}"]
    with pytest.raises(UsageError, match=r"is not the directory of a run; name one of those in it: "):
        plan_pairs([ours.path], ours.path.parent, None, ("own/judge",), "mean", context)
