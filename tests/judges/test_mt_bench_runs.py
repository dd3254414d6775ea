"""MT-Bench from the entry to the table, with a model and a judge in this process."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import BadRequestError, UsageError
from evalkit.interchange.import_writer import keep_runs
from evalkit.interchange.mt_bench_export import export_mt_bench
from evalkit.interchange.mt_bench_import import MtBenchFiles, find_judgement_files, read_mt_bench
from evalkit.plugins import load_builtins
from evalkit.registry import RUN_SPECS, client, isolated_registries
from evalkit.request import Request
from evalkit.results.run_directory import RunDirectory
from evalkit.results.run_result import RunResult
from evalkit.results.stored_run import StoredRun
from evalkit.results.verification import verify_run
from evalkit.runs.options import RunOptions
from evalkit.runs.plan import open_plan_context, plan_run
from evalkit.runs.runner import run_all
from evalkit.runs.stored_answers import plan_judging
from evalkit.scoring.stat import Stat
from evalkit.specs.run_spec import JudgeSpec, MetricSpec
from tests.interchange.test_mt_bench_import import FULL, bench
from tests.judges.scripted import DEPLOYMENTS, Script, ScriptedClient, run
from tests.scenarios.mt_bench_files import QUESTIONS, answer_row, write_lines

PROMPTS = {
    "single-v1": "first {question} {answer}",
    "single-v1-multi-turn": "second {question_1} {answer_1} {question_2} {answer_2}",
    "single-math-v1": "guided first {question} {ref_answer_1} {answer}",
    "single-math-v1-multi-turn": (
        "guided second {question_1} {ref_answer_1} {answer_1} {question_2} {ref_answer_2} {answer_2}"
    ),
}


@pytest.fixture(autouse=True)
def script() -> Iterator[Script]:
    load_builtins()
    ScriptedClient.script = made = Script()
    made.answer = lambda request: f"answer to {said(request)}"
    made.reply = lambda who, request: f"Fine. [[{4 if 'second' in said(request) else 8}]]"
    with isolated_registries():
        client("scripted")(ScriptedClient)
        yield made


def said(request: Request) -> str:
    """What the user said last."""
    return request.messages[-1].content if request.messages else request.prompt


def entry(tmp_path: Path, **args: object) -> str:
    """An entry about four questions, two of them about coding, with prompts and references of its own."""
    rows = [{"name": k, "system_prompt": "You judge.", "prompt_template": v} for k, v in PROMPTS.items()]
    paths = {
        "questions": write_lines(tmp_path / "question.jsonl", QUESTIONS),
        "judge_prompts": write_lines(tmp_path / "prompts.jsonl", rows),
        "references": write_lines(tmp_path / "refs.jsonl", [answer_row(n, "r1", "r2") for n in (1, 2)]),
    }
    given = {**paths, "model": "own/model", "judge": "own/judge", **args}
    return "mt_bench_en:" + ",".join(f"{name}={value}" for name, value in given.items())


def stats(result: RunResult, sub_split: str | None = None) -> Mapping[str, Stat]:
    return {s.name: s for s in result.stats if s.sub_split == sub_split and s.kind == "score"}


def numbers(result: RunResult, sub_split: str | None = None) -> dict[str, tuple[float | None, int, int]]:
    return {name: (s.mean, s.n, s.n_failed) for name, s in stats(result, sub_split).items()}


def test_ratings_by_turn_by_category_and_by_both_means(script: Script, tmp_path: Path) -> None:
    script.reply = lambda who, request: "[[10]]" if "guided" in said(request) else "[[4]]"
    (result,) = run(tmp_path, entry(tmp_path))
    assert result.status == "complete", result.message
    assert numbers(result) == {
        "rating_turn_1": (7, 4, 0),
        "rating_turn_2": (7, 4, 0),
        "rating_mean_of_items": (7, 4, 0),
        # Two of four questions are about coding, and it is one of three categories.
        "rating_mean_of_categories": (6, 4, 0),
    }
    assert numbers(result, "coding")["rating_mean_of_items"] == (10, 2, 0)
    assert numbers(result, "stem")["rating_turn_2"] == (4, 1, 0)
    assert (script.num_asked("model"), script.num_asked("judge")) == (8, 8)


def test_a_first_turn_is_judged_before_the_second_is_answered(script: Script, tmp_path: Path) -> None:
    """Both models have one request in flight, and each takes as long as the other."""
    script.pause_s = {"model": 0.02, "judge": 0.02}
    (result,) = run(tmp_path, entry(tmp_path), num_threads=1)
    assert result.status == "complete"
    assert script.finished[:2] == ["model", "model"] or script.finished[:2] == ["model", "judge"]
    judged = [said(request) for who, request in script.requests if who == "judge"]
    asked = [said(request) for who, request in script.requests]
    assert judged[0].startswith("guided first")
    first_judgement, second_turn = asked.index(judged[0]), asked.index("Now in place.")
    assert abs(first_judgement - second_turn) == 1


def test_an_unclear_reply_costs_its_own_score_only(script: Script, tmp_path: Path) -> None:
    def reply(who: str, request: Request) -> str:
        return "A fine poem." if "second" in said(request) and "rhyme" in said(request) else "[[6]]"

    script.reply = reply
    (result,) = run(tmp_path, entry(tmp_path))
    assert result.status == "partial"
    assert result.message == "1 not scored (rating_turn_2: 1 unclear)"
    assert numbers(result) == {
        "rating_turn_1": (6, 4, 0),
        "rating_turn_2": (6, 3, 1),
        "rating_mean_of_items": (6, 4, 0),
        "rating_mean_of_categories": (6, 4, 0),
    }
    assert script.num_asked("judge") == 8 + 2
    run(tmp_path, entry(tmp_path))
    assert (script.num_asked("model"), script.num_asked("judge")) == (8, 10)


def test_a_judge_that_fails_costs_nothing_that_is_judged(script: Script, tmp_path: Path) -> None:
    works: set[str] = {"guided first"}

    def reply(who: str, request: Request) -> str:
        if not any(said(request).startswith(each) for each in works):
            raise BadRequestError("no")
        return "[[5]]"

    script.reply = reply
    (result,) = run(tmp_path, entry(tmp_path))
    assert numbers(result)["rating_turn_1"] == (5, 2, 2)
    assert numbers(result)["rating_mean_of_items"] == (5, 2, 2)
    assert numbers(result)["rating_turn_2"] == (None, 0, 4)
    works |= {"first", "second", "guided second"}
    (again,) = run(tmp_path, entry(tmp_path))
    assert again.status == "complete"
    assert numbers(again)["rating_mean_of_categories"] == (5, 4, 0)
    assert script.num_asked("model") == 8
    judged = [said(request) for who, request in script.requests if who == "judge"]
    assert sum(text.startswith("guided first") for text in judged) == 2


def test_a_conversation_that_fails_is_not_judged_to_its_end(script: Script, tmp_path: Path) -> None:
    is_broken = True

    def answer(request: Request) -> str:
        if is_broken and said(request) == "Make it rhyme.":
            raise BadRequestError("no")
        return "an answer"

    script.answer = answer
    (result,) = run(tmp_path, entry(tmp_path))
    assert result.status == "partial"
    assert numbers(result)["rating_turn_1"] == (8, 3, 1)
    judged = next(report for report in result.stages if report.stage == "judge:mt_bench")
    assert (judged.status, judged.num_requests, judged.num_answered) == ("complete", 7, 7)
    assert verify_run(RunDirectory(Path(str(result.path)))).is_sound
    asked_before = script.num_asked("judge")
    is_broken = False
    (again,) = run(tmp_path, entry(tmp_path))
    assert again.status == "complete", again.message
    assert numbers(again)["rating_turn_2"] == (4, 4, 0)
    # The first turn of that conversation was judged, and is not judged again.
    assert (asked_before, script.num_asked("judge")) == (7, 8)


def test_a_missing_reference_fails_its_question_with_the_reason(script: Script, tmp_path: Path) -> None:
    spec = entry(tmp_path)
    write_lines(tmp_path / "refs.jsonl", [answer_row(1, "r1", "r2")])
    (result,) = run(tmp_path, spec)
    assert numbers(result)["rating_turn_1"] == (8, 3, 1)
    assert script.num_asked("judge") == 6


def test_repeated_judgements_are_averaged(script: Script, tmp_path: Path) -> None:
    script.reply = lambda who, request: "[[4]]" if request.random is None else "[[7]]"
    (result,) = run(tmp_path, entry(tmp_path, judgements=3))
    assert result.status == "complete", result.message
    assert numbers(result)["rating_turn_1"] == (6, 4, 0)
    assert script.num_asked("judge") == 24


def test_comparisons_with_an_opponent(script: Script, tmp_path: Path) -> None:
    """In both orders; who is named first wins the second turns, so that those are ties."""
    pairs = [
        {"name": name, "system_prompt": "You judge.", "prompt_template": template}
        for name, template in {
            "pair-v2": "1st {question} A: {answer_a} B: {answer_b}",
            "pair-math-v1": "1st {question} {ref_answer_1} A: {answer_a} B: {answer_b}",
            "pair-v2-multi-turn": (
                "2nd {question_1} {answer_a_1} {answer_b_1} {question_2} {answer_a_2} {answer_b_2}"
            ),
            "pair-math-v1-multi-turn": (
                "2nd {question_1} {ref_answer_1} {answer_a_1} {answer_b_1} {question_2} {ref_answer_2} "
                "{answer_a_2} {answer_b_2}"
            ),
        }.items()
    ]
    prompts = write_lines(tmp_path / "pairs.jsonl", pairs)
    rival = write_lines(tmp_path / "rival.jsonl", [answer_row(n, "poor", "worse") for n in range(1, 5)])
    script.reply = lambda who, request: "[[B]]" if "A: poor" in said(request) else "[[A]]"
    changed = {"judge_prompts": prompts, "grading": "pairwise-baseline", "opponents": rival}
    (result,) = run(tmp_path, entry(tmp_path, **changed))
    assert result.status == "complete", result.message
    assert numbers(result) == {
        "win_turn_1": (1, 4, 0),
        "win_turn_2": (0.5, 4, 0),
        "tie_turn_1": (0, 4, 0),
        "tie_turn_2": (1, 4, 0),
        "agreement_turn_1": (1, 4, 0),
        "agreement_turn_2": (0, 4, 0),
        "win_mean_of_items": (0.75, 4, 0),
        "win_mean_of_categories": (0.75, 4, 0),
    }
    assert script.num_asked("judge") == 16


def test_choices_are_judged_one_by_one(script: Script, tmp_path: Path) -> None:
    (result,) = run(tmp_path, entry(tmp_path, choices=2))
    assert numbers(result)["rating_turn_2"] == (4, 8, 0)
    assert (script.num_asked("model"), script.num_asked("judge")) == (16, 16)


def test_other_references_or_prompts_ask_only_the_judge_again(script: Script, tmp_path: Path) -> None:
    run(tmp_path, entry(tmp_path))
    other = write_lines(tmp_path / "other.jsonl", [answer_row(n, "s1", "s2") for n in (1, 2)])
    (result,) = run(tmp_path, entry(tmp_path, references=other))
    assert result.status == "complete"
    assert script.num_asked("model") == 8
    # Prompts of two questions have changed, two turns each; the others are found in the run before.
    assert script.num_asked("judge") == 8 + 4


def test_judgements_are_exported_as_fastchats_rows(script: Script, tmp_path: Path) -> None:
    """The last reply to each turn; what stayed unclear is -1. They can be imported again."""
    seen: Counter[str] = Counter()

    def reply(who: str, request: Request) -> str:
        seen[said(request)] += 1
        if said(request).startswith("second Why"):
            return "I can't say."
        return "Hm." if seen[said(request)] == 1 else "Fine. [[7.5]]"

    script.reply = reply
    (result,) = run(tmp_path, entry(tmp_path, choices=2))
    assert result.path is not None
    exported = export_mt_bench(RunDirectory(result.path), tmp_path / "fastchat")
    assert (exported.num_judgements, exported.num_unrated) == (8, 1)
    path = tmp_path / "fastchat/mt_bench_en/model_judgment/own--judge_single.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    first, second = rows[:2]
    assert first == {
        "question_id": 1,
        "model": "own--model",
        "judge": ["own/judge", "single-math-v1"],
        "user_prompt": "guided first Reverse a list. r1 answer to Reverse a list.",
        "judgment": "Fine. [[7.5]]",
        "score": 7.5,
        "turn": 1,
        "tstamp": first["tstamp"],
    }
    assert (second["judge"][1], second["turn"]) == ("single-math-v1-multi-turn", 2)
    assert [row["score"] for row in rows] == [7.5] * 7 + [-1]
    (report,) = keep_runs(
        read_mt_bench(MtBenchFiles(tuple(find_judgement_files(path.parents[1])))), tmp_path / "back"
    )
    back = StoredRun.open(report.path)
    assert (back.stat("rating_turn_2").mean, back.stat("rating_turn_2").n_failed) == (7.5, 1)


def test_published_answers_are_judged_anew_next_to_their_ratings(script: Script, tmp_path: Path) -> None:
    """The scores of the judge get its name, since the published ratings have theirs already."""
    folder = bench(tmp_path, FULL)
    files = MtBenchFiles(tuple(find_judgement_files(folder)))
    (report,) = keep_runs(read_mt_bench(files), tmp_path / "out/runs/published")
    path = tmp_path / "deployments.yaml"
    path.write_text(DEPLOYMENTS, encoding="utf-8")
    options = RunOptions(output_path=tmp_path / "out", suite="published", model_deployments=(path,))
    args = {"judge_prompts": ("evalkit",), "reference_categories": ()}
    script.reply = lambda who, request: "Grade: [[3]]"
    context = open_plan_context(options)
    plan = plan_judging([report.path], [JudgeSpec(name="mt_bench", args=args)], ["own/judge"], context)
    (result,) = asyncio.run(run_all(plan, context))
    assert result.status == "complete", result.message
    assert numbers(result)["rating_turn_1"] == (25 / 4, 4, 0)
    assert numbers(result)["mt_bench_rating_turn_1"] == (3, 4, 0)
    assert numbers(result)["mt_bench_rating_mean_of_categories"] == (3, 4, 0)
    assert (script.num_asked("model"), script.num_asked("judge")) == (0, 8)


def test_a_metric_and_a_judge_with_one_score_are_refused_before_anything_is_sent(tmp_path: Path) -> None:
    made = RUN_SPECS.get("mt_bench_en")(questions=str(write_lines(tmp_path / "q.jsonl", QUESTIONS)))
    (judge,) = made.judge_specs
    both = made.with_judges(judge.model_copy(update={"deployments": ("simple/model1",)})).model_copy(
        update={"metric_specs": (MetricSpec(name="mt_bench_ratings"),)}
    )
    spec = both.with_adapter(model="simple/model1", model_deployment="simple/model1")
    with pytest.raises(UsageError, match="the judge 'mt_bench' both give 'rating_turn_1'; give the judge a"):
        plan_run("e", spec, open_plan_context(RunOptions(output_path=tmp_path)))


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_published_questions_end_to_end(
    language: str, script: Script, data_dir: Path, tmp_path: Path
) -> None:
    """160 answers and 160 judgements; a second start asks nothing."""
    options: dict[str, Any] = {"data_dir": data_dir, "offline": True}
    for _ in range(2):
        (result,) = run(tmp_path, f"mt_bench_{language}:model=own/model,judge=own/judge", **options)
        assert result.status == "complete", result.message
        assert (script.num_asked("model"), script.num_asked("judge")) == (160, 160)
    assert numbers(result)["rating_turn_1"][1:] == (80, 0)
    assert numbers(result, "math")["rating_mean_of_items"][1:] == (10, 0)
    asked = [request for who, request in script.requests if who == "model"]
    assert sorted({request.temperature for request in asked}) == [0, 0.1, 0.7]
