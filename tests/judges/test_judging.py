"""Runs with judges, in one process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalkit.cli.plan import describe_run
from evalkit.errors import AuthenticationError, BadRequestError, EntryError, UsageError
from evalkit.execution.budget import TokenEstimator
from evalkit.execution.journal_index import read_journal
from evalkit.execution.journal_line import Record
from evalkit.interchange.helm_import import read_helm_run
from evalkit.interchange.import_writer import keep_run
from evalkit.judges.judge import Question
from evalkit.registry import RUN_SPECS, isolated_registries, run_spec_function
from evalkit.request import Request
from evalkit.results.repair import repair_run
from evalkit.results.run_directory import RunDirectory, read_lines
from evalkit.results.run_result import RunResult, StageReport
from evalkit.results.scores import read_stats, score_run
from evalkit.results.verification import verify_run
from evalkit.runs.options import RunOptions
from evalkit.runs.plan import make_plan, open_plan_context
from evalkit.runs.runner import exit_code, run_all
from evalkit.runs.stored_answers import place_of, plan_judging
from evalkit.scoring.unit import Unit
from evalkit.specs.run_spec import JudgeSpec, RunSpec
from tests.interchange.harnesses import helm_stat, helm_state, write_helm_run
from tests.judges.scripted import (
    DEPLOYMENTS,
    Rating,
    Script,
    ScriptedClient,
    number_in,
    register,
    replies,
    run,
)

ENTRY = "judged:num_test=20,model=own/model,judge=own/judge"


@pytest.fixture(autouse=True)
def script() -> Iterator[Script]:
    ScriptedClient.script = made = Script()
    with isolated_registries():
        register()
        yield made


def test_each_answer_is_judged_once(script: Script, tmp_path: Path) -> None:
    (result,) = run(tmp_path, ENTRY)
    assert result.status == "complete", result.message
    means = {stat.name: (stat.mean, stat.n) for stat in result.stats if stat.split == "all"}
    assert means["exact_match"] == (1.0, 20)
    assert means["rating"] == (9.5, 20)
    assert (script.num_asked("model"), script.num_asked("judge")) == (20, 20)


def means_of(result: RunResult) -> dict[str, tuple[float | None, int, int]]:
    """Mean, scored and failed units of each score."""
    return {
        stat.name: (stat.mean, stat.n, stat.n_failed)
        for stat in result.stats
        if stat.split == "all" and stat.kind == "score"
    }


def path_of(result: RunResult) -> Path:
    assert result.path is not None
    return result.path


def read_journal_lines(result: RunResult, stage: str) -> list[str]:
    """The keys of a judge's journal, in order."""
    path = RunDirectory(path_of(result)).judgements_path(stage)
    return [record.state.key for record in read_journal(path) if isinstance(record, Record)]


def stage_of(result: RunResult, name: str = "judge:own_rating") -> StageReport:
    return next(report for report in result.stages if report.stage == name)


def test_judging_begins_while_answers_come(script: Script, tmp_path: Path) -> None:
    script.pause_s = {"model": 0.02}
    (result,) = run(tmp_path, ENTRY, num_threads=1)
    assert result.status == "complete"
    assert script.finished.index("judge") <= 2
    assert script.finished[-2:] == ["model", "judge"]


def test_stages_report_apart(script: Script, tmp_path: Path) -> None:
    (result,) = run(tmp_path, ENTRY)
    assert [report.stage for report in result.stages] == ["answers", "judge:own_rating"]
    judged = stage_of(result)
    assert (judged.status, judged.num_requests, judged.num_answered, judged.num_failed) == (
        "complete",
        20,
        20,
        0,
    )
    assert judged.cost_usd == pytest.approx(20 * (10 * 10 + 5 * 20) / 1e6)
    assert result.cost_usd == pytest.approx(20 * (10 * 1 + 5 * 2) / 1e6 + 20 * (10 * 10 + 5 * 20) / 1e6)
    (again,) = run(tmp_path, ENTRY)
    assert again.stages == result.stages
    assert again.cost_usd == result.cost_usd
    assert script.num_asked("judge") == 20


def test_an_unclear_reply_is_asked_again_twice_and_then_fails_alone(script: Script, tmp_path: Path) -> None:
    never_clear = {3, 4}
    clear_at_last = {5: 2, 6: 1}
    seen: Counter[int] = Counter()

    def reply(who: str, request: Request) -> str:
        number = number_in(request.prompt)
        seen[number] += 1
        is_clear = number not in never_clear and seen[number] > clear_at_last.get(number, 0)
        return replies(request.prompt) if is_clear else "-1, I think"

    script.reply = reply
    (result,) = run(tmp_path, ENTRY)
    assert result.status == "partial"
    assert result.message == "2 not scored (rating: 2 unclear)"
    clear = [number for number in range(20) if number not in never_clear]
    assert means_of(result)["rating"] == (sum(clear) / 18, 18, 2)
    assert means_of(result)["exact_match"] == (1.0, 20, 0)
    assert {number: count for number, count in seen.items() if count > 1} == {3: 3, 4: 3, 5: 3, 6: 2}
    report = stage_of(result)
    assert (report.status, report.num_failed, report.failures) == ("partial", 2, {"unclear": 2})
    randoms = [
        request.random for who, request in script.requests if who == "judge" and "number 3." in request.prompt
    ]
    assert randoms == [None, "again1", "again2"]
    lines = read_journal_lines(result, "own_rating")
    keys = [key for key in lines if "/n3/" in key]
    assert [key.partition("@")[2][8:] for key in keys] == ["", "/again1", "/again2"]
    rows = {row["instance_id"]: row for row in read_lines(path_of(result) / "scores.jsonl")}
    assert rows["n3"]["failed_scores"]["rating"] == {
        "reason": "unclear",
        "message": "the reply has no [[rating]]",
    }
    assert rows["n3"]["scores"] == {"exact_match": 1.0}

    (again,) = run(tmp_path, ENTRY)
    assert (again.status, seen.total()) == ("partial", 20 + 2 + 2 + 2 + 1)
    assert means_of(again) == means_of(result)
    never_clear.clear()
    (retried,) = run(tmp_path, ENTRY, retry_unclear=True)
    assert (retried.status, seen.total()) == ("complete", 20 + 2 + 2 + 2 + 1 + 2)
    assert means_of(retried)["rating"] == (9.5, 20, 0)


def test_a_retry_that_stays_unclear_is_another_round_of_three(script: Script, tmp_path: Path) -> None:
    script.reply = lambda who, request: "no"
    entry = "judged:num_test=1,model=own/model,judge=own/judge"
    for start, options in enumerate(({}, {}, {"retry_unclear": True}, {}, {"retry_unclear": True})):
        (result,) = run(tmp_path, entry, **options)
        assert result.status == "partial"
        assert script.num_asked("judge") == (3, 3, 6, 6, 9)[start]


def test_a_failing_judge_leaves_the_other_columns_alone(script: Script, tmp_path: Path) -> None:
    refused = {1, 2}

    def reply(who: str, request: Request) -> str:
        if number_in(request.prompt) in refused:
            raise BadRequestError("too long")
        return replies(request.prompt)

    script.reply = reply
    (result,) = run(tmp_path, ENTRY)
    assert result.status == "partial"
    assert exit_code([result]) == 1
    assert means_of(result)["exact_match"] == (1.0, 20, 0)
    assert means_of(result)["rating"] == ((190 - 3) / 18, 18, 2)
    assert stage_of(result).failures == {"bad_request": 2}
    refused.clear()
    before = script.num_asked("judge")
    (again,) = run(tmp_path, ENTRY)
    assert script.num_asked("judge") == before + 2
    assert (again.status, script.num_asked("model")) == ("complete", 20)
    assert means_of(again)["rating"] == (9.5, 20, 0)


def test_a_judge_whose_key_is_refused_ends_its_stage_alone(script: Script, tmp_path: Path) -> None:
    def reply(who: str, request: Request) -> str:
        raise AuthenticationError("no such key")

    script.reply = reply
    script.pause_s = {"model": 0.005}
    (result,) = run(tmp_path, ENTRY)
    assert result.status == "stopped"
    assert "judge:own_rating" in result.message
    assert means_of(result)["exact_match"] == (1.0, 20, 0)
    assert (stage_of(result, "answers").status, stage_of(result).status) == ("complete", "stopped")
    script.reply = lambda who, request: replies(request.prompt)
    (again,) = run(tmp_path, ENTRY)
    assert (again.status, script.num_asked("model")) == ("complete", 20)
    assert means_of(again)["rating"] == (9.5, 20, 0)


def test_an_answer_that_failed_is_not_judged(script: Script, tmp_path: Path) -> None:
    def answer(request: Request) -> str:
        if number_in(request.prompt) == 7:
            raise BadRequestError("no")
        return f"It is number {number_in(request.prompt)}."

    script.answer = answer
    (result,) = run(tmp_path, ENTRY)
    assert script.num_asked("judge") == 19
    assert means_of(result)["rating"] == ((190 - 7) / 19, 19, 1)
    assert result.status == "partial"


def test_another_judge_asks_only_its_own_questions(script: Script, tmp_path: Path) -> None:
    run(tmp_path, ENTRY)
    (result,) = run(tmp_path, ENTRY.replace("own/judge", "own/other"))
    assert (result.status, means_of(result)["rating"]) == ("complete", (9.5, 20, 0))
    assert {who: script.num_asked(who) for who in ("model", "judge", "other")} == dict(
        model=20, judge=20, other=20
    )


def test_replies_that_are_read_otherwise_are_not_asked_for_again(script: Script, tmp_path: Path) -> None:
    run(tmp_path, ENTRY)
    (scaled,) = run(tmp_path, ENTRY.replace("num_test=20", "num_test=20,scale=2"))
    assert means_of(scaled)["rating"] == (19.0, 20, 0)
    assert (script.num_asked("model"), script.num_asked("judge")) == (20, 20)
    assert (stage_of(scaled).num_found, stage_of(scaled).cost_usd) == (20, 0)
    (worded,) = run(tmp_path, ENTRY.replace("num_test=20", "num_test=20,wording=Grade"))
    assert (script.num_asked("model"), script.num_asked("judge")) == (20, 40)
    assert worded.status == "complete"


def test_runs_of_one_plan_ask_a_judge_the_same_once(script: Script, tmp_path: Path) -> None:
    script.pause_s = {"judge": 0.01}
    entries = [ENTRY.replace("num_test=20", f"num_test=20,scale={scale}") for scale in (1, 2, 3)]
    results = run(tmp_path, *entries)
    assert [means_of(result)["rating"][0] for result in results] == [9.5, 19.0, 28.5]
    assert (script.num_asked("model"), script.num_asked("judge")) == (20, 20)


def test_a_jury_pools_its_opinions(script: Script, tmp_path: Path) -> None:
    script.reply = lambda who, request: f"[[{number_in(request.prompt) + (who == 'other') * 2}]]"
    (result,) = run(tmp_path, ENTRY + "|own/other")
    assert means_of(result)["rating"] == (10.5, 20, 0)
    assert (script.num_asked("judge"), script.num_asked("other")) == (20, 20)
    assert stage_of(result).cost_usd == pytest.approx(20 * (200 + 2000) / 1e6)


def test_a_resident_judge_follows_a_resident_model(script: Script, tmp_path: Path) -> None:
    entries = [f"judged:num_test={n},model=own/resident_model,judge=own/resident_judge" for n in (5, 6, 7)]
    results = run(tmp_path, *entries)
    assert [result.status for result in results] == ["complete"] * 3
    assert script.opened == ["model", "judge"]
    assert [means_of(result)["rating"][0] for result in results] == [2.0, 2.5, 3.0]
    assert not script.open


def test_models_that_judge_each_other_in_turn(script: Script, tmp_path: Path) -> None:
    script.answer = lambda request: (
        f"It is number {number_in(request.prompt)}. [[{number_in(request.prompt)}]]"
    )
    script.reply = lambda who, request: script.answer(request)
    entries = [
        "judged:num_test=5,model=own/resident_model,judge=own/resident_judge",
        "judged:num_test=5,model=own/resident_judge,judge=own/resident_model",
    ]
    results = run(tmp_path, *entries)
    assert [result.status for result in results] == ["complete"] * 2
    assert script.opened == ["model", "judge", "judge", "model"]


def test_a_model_may_judge_itself(script: Script, tmp_path: Path) -> None:
    script.answer = lambda request: (
        f"It is number {number_in(request.prompt)}. [[{number_in(request.prompt)}]]"
    )
    for name in ("own/model", "own/resident_model"):
        (result,) = run(tmp_path, f"judged:num_test=5,model={name},judge={name}")
        assert (result.status, means_of(result)["rating"]) == ("complete", (2.0, 5, 0))
    assert script.opened == ["model"]


def test_scoring_reads_stored_replies_and_asks_nothing(script: Script, tmp_path: Path) -> None:
    script.reply = lambda who, request: "no" if "number 4." in request.prompt else replies(request.prompt)
    (result,) = run(tmp_path, ENTRY)
    directory, before = RunDirectory(path_of(result)), script.num_asked("judge")
    stats, manifest = read_stats(directory), directory.manifest()
    assert score_run(directory).stats == stats
    assert directory.manifest() == manifest
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rating, "verdict_version", 2)
        patch.setattr(Rating, "verdict", lambda self, unit, reply: {"rating": 1.0})
        rescored = score_run(directory)
        assert {s.name: s.mean for s in rescored.stats if s.kind == "score"} == {
            "exact_match": 1,
            "rating": 1,
        }
        assert directory.sound_manifest() != manifest
        (again,) = run(tmp_path, ENTRY)
        assert (again.status, again.path) == ("complete", result.path)
        assert means_of(again)["rating"] == (1.0, 20, 0)
    assert script.num_asked("judge") == before


def test_ten_judges_on_one_run_neither_mix_nor_wait(script: Script, tmp_path: Path) -> None:
    script.reply = lambda who, request: f"[[{number_in(request.prompt) + int(request.prompt.split()[1])}]]"
    script.holds_back = lambda who: who == "other" and script.finished.count("judge") < 180

    @run_spec_function("ten")
    def ten() -> RunSpec:
        """Ten judges."""
        base: RunSpec = RUN_SPECS.get("judged")(num_test=20)
        judges = (
            JudgeSpec(
                name="own_rating",
                label=f"j{n}",
                args={"wording": f"Rate {n} of"},
                deployments=("own/other" if n == 9 else "own/judge",),
            )
            for n in range(10)
        )
        return base.with_judges(*judges).named("ten")

    (result,) = run(tmp_path, "ten:model=own/model", num_threads=4)
    assert result.status == "complete"
    means = means_of(result)
    assert means == {"exact_match": (1.0, 20, 0)} | {f"j{n}_rating": (9.5 + n, 20, 0) for n in range(10)}
    assert len(result.stages) == 11


def test_a_judge_with_several_questions_keeps_the_clear_ones(script: Script, tmp_path: Path) -> None:
    script.reply = lambda who, request: "no" if "Rate 1: It is number 2." in request.prompt else "[[5]]"
    (result,) = run(tmp_path, ENTRY.replace("num_test=20", "num_test=5,questions=2"))
    assert means_of(result) == {
        "exact_match": (1.0, 5, 0),
        "rating_0": (5.0, 5, 0),
        "rating_1": (5.0, 4, 1),
    }
    assert script.num_asked("judge") == 12


def test_a_judge_that_fails_to_ask_fails_in_its_column(script: Script, tmp_path: Path) -> None:
    def questions(self: Rating, unit: Unit) -> Iterator[Question]:
        raise KeyError("template")
        yield

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rating, "questions", questions)
        (result,) = run(tmp_path, ENTRY)
    assert means_of(result) == {"exact_match": (1.0, 20, 0), "rating": (None, 0, 20)}
    assert (result.status, stage_of(result).failures) == ("partial", {"judge_error": 20})


def test_a_budget_covers_judges(script: Script, tmp_path: Path) -> None:
    (result,) = run(tmp_path, ENTRY, budget_tokens=2500)
    assert result.status == "stopped"
    assert "budget" in result.message
    assert 0 < script.num_asked("judge") + script.num_asked("model") < 40


def test_unpriced_judges_are_refused_where_money_is_limited(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="own/unpriced has no prices"):
        run(tmp_path, ENTRY.replace("own/judge", "own/unpriced"), budget_usd=1.0)


def test_a_stored_run_is_judged_in_a_run_next_to_it(script: Script, tmp_path: Path) -> None:
    entry = "judged:num_test=5,model=own/model,judge=own/judge"
    (result,) = run(tmp_path, entry)
    kept = {path: path.read_bytes() for path in sorted(path_of(result).rglob("*")) if path.is_file()}
    (judged,) = judge_stored(tmp_path, [path_of(result)], (), ("own/other",))
    assert judged.status == "complete", judged.message
    assert judged.path != result.path
    assert judged.name.startswith(f"{result.name}@")
    assert means_of(judged) == {"exact_match": (1.0, 5, 0), "rating": (2.0, 5, 0)}
    assert (script.num_asked("model"), script.num_asked("judge"), script.num_asked("other")) == (5, 5, 5)
    assert stage_of(judged, "answers").num_found == 5
    assert judged.cost_usd == pytest.approx(5 * (10 * 100 + 5 * 200) / 1e6)
    assert {path: path.read_bytes() for path in kept} == kept
    assert verify_run(RunDirectory(path_of(judged))).is_sound
    (again,) = judge_stored(tmp_path, [path_of(result)], (), ("own/other",))
    assert (again.path, again.status, script.num_asked("other")) == (judged.path, "complete", 5)


def test_the_generic_judge_rates_any_answer(script: Script, tmp_path: Path) -> None:
    script.reply = lambda who, request: f"Good. [[{number_in(request.prompt) + 1}]]"
    (result,) = run(tmp_path, "sums_of_numbers:model=own/model,judge=own/judge")
    assert (result.status, means_of(result)["rating"]) == ("complete", (3.0, 5, 0))
    template = tmp_path / "template.txt"
    template.write_text("My own words about {answer}")
    entry = f"sums_of_numbers:model=own/model,judge=own/judge,judge_template={template}"
    (worded,) = run(tmp_path, entry)
    assert (worded.status, script.num_asked("model"), script.num_asked("judge")) == ("complete", 5, 10)
    assert "My own words" in script.requests[-1][1].text
    with pytest.raises(EntryError, match="has its own: own_rating"):
        run(tmp_path, f"{ENTRY},judge_template={template}")


@pytest.mark.parametrize("edit", ["lost", "changed", "torn", "header"])
def test_damage_to_judgements_is_found_and_mended(script: Script, tmp_path: Path, edit: str) -> None:
    (result,) = run(tmp_path, ENTRY)
    directory = RunDirectory(path_of(result))
    path = directory.judgements_path("own_rating")
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = {
        "lost": lines[:5],
        "changed": [*lines[:5], lines[5].replace(b"[[", b"[[1"), *lines[6:]],
        "torn": [*lines[:-1], lines[-1][:-20]],
        "header": lines[1:],
    }[edit]
    path.write_bytes(b"".join(damaged))
    report = verify_run(directory)
    assert not report.is_sound
    assert {finding.file for finding in report.findings if finding.is_damage} == {
        "judgements/own_rating.jsonl"
    }
    repair_run(directory)
    before = script.num_asked("judge")
    (again,) = run(tmp_path, ENTRY)
    assert (again.status, again.path) == ("complete", result.path)
    assert means_of(again) == means_of(result)
    assert script.num_asked("judge") - before == {"lost": 16, "changed": 1, "torn": 1, "header": 0}[edit]
    assert script.num_asked("model") == 20
    assert verify_run(directory).is_sound


def test_a_judgement_of_another_answer_does_not_count(script: Script, tmp_path: Path) -> None:
    (result,) = run(tmp_path, ENTRY)
    directory = RunDirectory(path_of(result))
    lines = directory.journal_path.read_bytes().splitlines(keepends=True)
    directory.journal_path.write_bytes(b"".join([*lines[:3], *lines[4:]]))
    script.answer = lambda request: f"No, it is number {number_in(request.prompt)}."
    (again,) = run(tmp_path, ENTRY)
    assert (script.num_asked("model"), script.num_asked("judge")) == (21, 21)
    assert again.status == "complete"
    assert means_of(again)["rating"] == means_of(result)["rating"]


def test_a_lost_manifest_is_made_anew_with_its_judges(script: Script, tmp_path: Path) -> None:
    (result,) = run(tmp_path, ENTRY)
    directory = RunDirectory(path_of(result))
    (directory.path / "manifest.json").unlink()
    repair_run(directory)
    (again,) = run(tmp_path, ENTRY)
    assert (again.status, again.path, means_of(again)) == ("complete", result.path, means_of(result))
    assert (script.num_asked("model"), script.num_asked("judge")) == (20, 20)


def test_a_plan_bounds_what_is_sent(script: Script, tmp_path: Path) -> None:
    entry = ENTRY.replace("num_test=20", "num_test=20,questions=2") + "|own/other"
    script.reply = lambda who, request: "hm"
    deployments = tmp_path / "deployments.yaml"
    deployments.write_text(DEPLOYMENTS)
    context = open_plan_context(RunOptions(run_entries=(entry,), model_deployments=(deployments,)))
    (planned,) = make_plan(context).runs
    (row,) = describe_run(planned, context)["judges"]
    run(tmp_path, entry)
    asked = [request for who, request in script.requests if who != "model"]
    assert len(asked) == row["max_requests"] == 3 * row["num_requests"] == 240
    # Each prompt as it was sent, with an answer of full length (20 tokens) in the place of the one it had;
    # what a plan writes there takes three bytes.
    sent = sum(map(TokenEstimator().most_prompt_tokens, asked))
    answers = sum(len(f"It is number {number_in(request.prompt)}.") for request in asked)
    assert row["max_prompt_tokens"] == sent - answers + len(asked) * (20 + 3)
    assert sum(request.max_tokens for request in asked) == row["max_completion_tokens"]
    assert row["max_cost_usd_by_bytes"] > 0


def judge_stored(
    tmp_path: Path, paths: list[Path], specs: tuple[JudgeSpec, ...], judging: tuple[str, ...]
) -> list[RunResult]:
    """Judge stored runs, as `evalkit judge` does."""
    output_path, suite = place_of(paths)
    deployments = (tmp_path / "deployments.yaml",)
    context = open_plan_context(
        RunOptions(output_path=output_path, suite=suite, model_deployments=deployments)
    )
    return asyncio.run(run_all(plan_judging(paths, specs, judging, context), context))


def test_a_stored_run_that_has_not_ended_is_judged_as_far_as_it_is(script: Script, tmp_path: Path) -> None:
    entry = "sums_of_numbers:num_test=9,model=own/model"
    (stopped,) = run(tmp_path, entry, budget_tokens=100)
    assert stopped.status == "stopped"
    num_answered = stopped.counts["num_answered"]
    assert 0 < num_answered < 9
    script.reply = lambda who, request: "[[3]]"
    (judged,) = judge_stored(tmp_path, [path_of(stopped)], (), ("own/judge",))
    assert (judged.status, means_of(judged)["rating"][1]) == ("partial", num_answered)
    assert run(tmp_path, entry)[0].status == "complete"
    (again,) = judge_stored(tmp_path, [path_of(stopped)], (), ("own/judge",))
    assert (again.path, again.status, means_of(again)["rating"]) == (judged.path, "complete", (3.0, 9, 0))
    assert (script.num_asked("model"), script.num_asked("judge")) == (9, 9)


def test_an_imported_run_is_judged_too(script: Script, tmp_path: Path) -> None:
    states = [helm_state(f"id{n}", f"{n}+{n}?", str(2 * n), f"number {n}") for n in range(3)]
    states.append(helm_state("id3", "3+3?", "6", None))  # an error there is a failure here
    scores = {(f"id{n}", 0): {"exact_match": 0.0, "toxic_frac": 0.5} for n in range(4)}
    theirs = write_helm_run(tmp_path / "theirs", states, scores, [helm_stat("exact_match", 0.0)])
    kept = keep_run(read_helm_run(theirs), tmp_path / "out" / "runs" / "v1")
    (tmp_path / "deployments.yaml").write_text(DEPLOYMENTS)
    script.reply = lambda who, request: f"[[{number_in(request.prompt) + 1}]]"
    (judged,) = judge_stored(tmp_path, [kept.path], (), ("own/judge",))
    assert judged.status == "partial"  # for what failed there
    assert means_of(judged)["rating"] == (2.0, 3, 1)
    assert means_of(judged)["toxic_frac"] == (0.5, 3, 1)
    assert (script.num_asked("model"), script.num_asked("judge")) == (0, 3)
    assert not RunDirectory(kept.path).judgement_files
    assert verify_run(RunDirectory(path_of(judged))).is_sound


def test_a_judge_that_follows_goes_on_after_a_stop(script: Script, tmp_path: Path) -> None:
    def reply(who: str, request: Request) -> str:
        if script.num_asked("judge") > 2:
            raise AuthenticationError("no more")
        return replies(request.prompt)

    script.reply = reply
    entry = "judged:num_test=9,model=own/resident_model,judge=own/resident_judge"
    (stopped,) = run(tmp_path, entry)
    assert (stopped.status, script.opened) == ("stopped", ["model", "judge"])
    assert means_of(stopped)["exact_match"] == (1.0, 9, 0)
    kept = len(read_journal_lines(stopped, "own_rating"))
    assert kept < 9
    script.reply, before = (lambda who, request: replies(request.prompt)), script.num_asked("judge")
    (result,) = run(tmp_path, entry)
    assert (result.status, script.opened) == ("complete", ["model", "judge", "judge"])
    assert script.num_asked("judge") - before == 9 - kept
    assert means_of(result)["rating"] == (4.0, 9, 0)


def test_a_slow_run_holds_up_no_other_run_of_the_judge(script: Script, tmp_path: Path) -> None:
    def said(request: Request) -> str:
        return f"It is number {number_in(request.prompt)}. [[1]]"

    script.answer = said
    script.reply = lambda who, request: said(request) if who == "other" else replies(request.prompt)
    # The first run gets no answer before the second has all its judgements.
    script.holds_back = lambda who: who == "model" and script.finished.count("judge") < 5
    entries = ["judged:num_test=20,model=own/model", "judged:num_test=5,model=own/other"]
    results = run(tmp_path, *(f"{entry},judge=own/judge" for entry in entries))
    assert [result.status for result in results] == ["complete", "complete"]
    assert script.num_asked("judge") == 25
