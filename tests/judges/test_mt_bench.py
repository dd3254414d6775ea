"""The judge of MT-Bench: what it asks of whom, and how its replies are read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from evalkit.data import DataStore
from evalkit.errors import DataError, UnclearVerdict, UsageError
from evalkit.instance import Instance
from evalkit.judges.judge import Judge, Reply, build_judge
from evalkit.judges.mt_bench import MtBenchJudge
from evalkit.judges.mt_bench_prompts import kinds, own_prompts, read_judge_prompts
from evalkit.request import Request, RequestState
from evalkit.response import Completion, Response
from evalkit.scoring.unit import Answer, Unit
from evalkit.specs.run_spec import AdapterSpec, JudgeSpec
from tests.scenarios.mt_bench_files import answer_row, write_lines

NEEDS = {
    "single-v1": "{question}|{answer}",
    "single-math-v1": "{question}|{ref_answer_1}|{answer}",
    "single-v1-multi-turn": "{question_1}|{answer_1}|{question_2}|{answer_2}",
    "single-math-v1-multi-turn": (
        "{question_1}|{ref_answer_1}|{answer_1}|{question_2}|{ref_answer_2}|{answer_2}"
    ),
    "pair-v2": "{question}|{answer_a}|{answer_b}",
    "pair-math-v1": "{question}|{ref_answer_1}|{answer_a}|{answer_b}",
    "pair-v2-multi-turn": "{question_1}|{answer_a_1}|{answer_b_1}|{question_2}|{answer_a_2}|{answer_b_2}",
    "pair-math-v1-multi-turn": (
        "{question_1}|{ref_answer_1}|{answer_a_1}|{answer_b_1}|{question_2}|{ref_answer_2}|{answer_a_2}"
        "|{answer_b_2}"
    ),
}


def prompt_row(name: str, template: str) -> dict[str, str]:
    return {"name": name, "system_prompt": f"You are {name}.", "prompt_template": template}


def folder(tmp_path: Path) -> Path:
    """Prompts, references for questions 1 and 2, and the answers of two opponents."""
    write_lines(tmp_path / "prompts.jsonl", [prompt_row(name, text) for name, text in NEEDS.items()])
    write_lines(tmp_path / "refs.jsonl", [answer_row(1, "r1", "r2"), answer_row("2", "s1")])
    for name in ("x", "y"):
        write_lines(tmp_path / f"{name}.jsonl", [answer_row(n, f"{name}1", f"{name}2") for n in (1, 2, 3)])
    return tmp_path


def made(tmp_path: Path, **args: Any) -> Judge:
    """A judge with its files read, all of them below the data directory."""
    args = {"references": "refs.jsonl", "judge_prompts": ("prompts.jsonl",)} | args
    built = build_judge(JudgeSpec(name="mt_bench", args=args), AdapterSpec())
    built.load(DataStore(mirror=folder(tmp_path), cache=tmp_path / "cache", offline=True))
    return built


def unit(category: str, *answers: str, instance_id: str = "1") -> Unit:
    extra = {"follow_ups": ["q2"]} if len(answers) > 1 else {"follow_ups": []}
    instance = Instance("q1", (), "test", instance_id, category, extra=extra)
    found = [
        Answer(
            RequestState(f"t0/{instance_id}/{turn}", instance_id, 0, Request("p"), turn=turn),
            Response((Completion(text),)),
        )
        for turn, text in enumerate(answers, 1)
    ]
    return Unit(instance, 0, 0, tuple(found))


def texts(judge: Judge, of: Unit) -> dict[str, tuple[str, str]]:
    """System and user message of each question."""
    return {
        question.name: tuple(message.content for message in question.request.messages or ())  # type: ignore[misc]
        for question in judge.questions(of)
    }


def test_each_turn_is_asked_with_the_prompt_for_it(tmp_path: Path) -> None:
    asked = texts(made(tmp_path), unit("writing", "a1", "a2"))
    assert asked == {
        "turn_1": ("You are single-v1.", "q1|a1"),
        "turn_2": ("You are single-v1-multi-turn.", "q1|a1|q2|a2"),
    }


def test_a_guided_category_has_its_own_prompts_with_references(tmp_path: Path) -> None:
    asked = texts(made(tmp_path), unit("coding", "a1", "a2"))
    assert asked == {
        "turn_1": ("You are single-math-v1.", "q1|r1|a1"),
        "turn_2": ("You are single-math-v1-multi-turn.", "q1|r1|a1|q2|r2|a2"),
    }
    other = made(tmp_path, reference_categories=("writing",))
    assert texts(other, unit("coding", "a1"))["turn_1"] == ("You are single-v1.", "q1|a1")
    assert texts(other, unit("writing", "a1"))["turn_1"] == ("You are single-math-v1.", "q1|r1|a1")


def test_judges_are_greedy_and_may_explain(tmp_path: Path) -> None:
    (question,) = made(tmp_path).questions(unit("writing", "a1"))
    assert (question.request.temperature, question.request.max_tokens) == (0, 2048)


def test_what_is_said_is_shown_unchanged(tmp_path: Path) -> None:
    """Braces and names of places in questions and answers are text."""
    asked = texts(made(tmp_path), unit("writing", "{question} {} {{answer}}"))
    assert asked["turn_1"][1] == "q1|{question} {} {{answer}}"


def test_a_missing_reference_names_question_and_turn(tmp_path: Path) -> None:
    judge = made(tmp_path)
    with pytest.raises(DataError, match=r"refs\.jsonl: there is no answer to turn 2 of question 2"):
        list(judge.questions(unit("math", "a1", "a2", instance_id="2")))
    with pytest.raises(DataError, match="there is no answer to turn 1 of question 9"):
        list(judge.questions(unit("math", "a1", instance_id="9")))


def reply(question: str, text: str) -> Reply:
    return Reply(question, text, Response((Completion(text),)))


@pytest.mark.parametrize(
    ("text", "rating"),
    [
        ("Fine. Rating: [[8]]", 8),
        ("評価：［［５］］", 5),
        ("[[10/10]]", 10),
        ("[[ 7.5 ]]", 7.5),
        ("I would rate this 6/10.", 6),
        ("[[11]]", None),
        ("[[-1]]", None),
        ("A fine answer.", None),
        ("", None),
    ],
)
def test_a_rating_is_read_or_unclear(text: str, rating: float | None, tmp_path: Path) -> None:
    judge, about = made(tmp_path), unit("writing", "a1", "a2")
    if rating is None:
        with pytest.raises(UnclearVerdict):
            judge.verdict(about, reply("turn_2", text))
    else:
        assert judge.verdict(about, reply("turn_2", text)) == {"rating_turn_2": rating}


@pytest.mark.parametrize(
    ("text", "rating"),
    [("Rating: [[5]]", 5), ("[3] and [[7.5]]", 7.5), ("[6]", 6), ("[[9]] [[2]]", 9), ("[[15]]", 15)],
)
def test_ratings_can_be_read_as_fastchat_does(text: str, rating: float, tmp_path: Path) -> None:
    """The first number in double brackets, else the first in single ones."""
    judge = made(tmp_path, reading="fastchat")
    assert judge.verdict(unit("writing", "a1"), reply("turn_1", text)) == {"rating_turn_1": rating}
    for unread in ("[[10/10]]", "[[ 8 ]]", "[[-1]]", "8 of 10"):
        with pytest.raises(UnclearVerdict):
            judge.verdict(unit("writing", "a1"), reply("turn_1", unread))


def test_a_comparison_is_asked_in_both_orders(tmp_path: Path) -> None:
    judge = made(tmp_path, grading="pairwise-baseline", opponents=("x.jsonl",))
    assert texts(judge, unit("writing", "a1", "a2")) == {
        "turn_1.0": ("You are pair-v2.", "q1|a1|x1"),
        "turn_1.0.swapped": ("You are pair-v2.", "q1|x1|a1"),
        "turn_2.0": ("You are pair-v2-multi-turn.", "q1|a1|x1|q2|a2|x2"),
        "turn_2.0.swapped": ("You are pair-v2-multi-turn.", "q1|x1|a1|q2|x2|a2"),
    }
    assert texts(judge, unit("math", "a1"))["turn_1.0"] == ("You are pair-math-v1.", "q1|r1|a1|x1")
    with pytest.raises(DataError, match=r"opponent x\.jsonl: there is no answer to turn 1 of question 4"):
        list(judge.questions(unit("writing", "a1", instance_id="4")))


def scores(judge: Judge, of: Unit, replies: Mapping[str, str]) -> Mapping[str, float]:
    return judge.combine({name: judge.verdict(of, reply(name, text)) for name, text in replies.items()})


@pytest.mark.parametrize(
    ("first", "swapped", "win", "tie", "agreement"),
    [
        ("[[A]]", "[[B]]", 1, 0, 1),
        ("[[B]]", "[[A]]", 0, 0, 1),
        ("[[C]]", "[[C]]", 0.5, 1, 1),
        ("[[A]]", "[[A]]", 0.5, 1, 0),
        ("[[A]]", "[[C]]", 0.5, 1, 0),
    ],
)
def test_orders_that_contradict_each_other_are_a_tie(
    first: str, swapped: str, win: float, tie: float, agreement: float, tmp_path: Path
) -> None:
    judge = made(tmp_path, grading="pairwise-baseline", opponents=("x.jsonl",))
    replies = {"turn_1.0": first, "turn_1.0.swapped": swapped}
    assert scores(judge, unit("writing", "a1"), replies) == {
        "win_turn_1": win,
        "tie_turn_1": tie,
        "agreement_turn_1": agreement,
    }


def test_several_opponents_count_alike(tmp_path: Path) -> None:
    judge = made(tmp_path, grading="pairwise-all", opponents=("x.jsonl", "y.jsonl"))
    assert len(texts(judge, unit("writing", "a1", "a2"))) == 8
    replies = {
        "turn_1.0": "[[A]]",
        "turn_1.0.swapped": "[[B]]",
        "turn_1.1": "[[B]]",
        "turn_1.1.swapped": "[[B]]",
    }
    found = scores(judge, unit("writing", "a1"), replies)
    assert found == {"win_turn_1": 0.75, "tie_turn_1": 0.5, "agreement_turn_1": 0.5}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"grading": "pairwise-baseline"}, "needs opponents=FILE"),
        ({"grading": "pairwise-baseline", "opponents": ("a", "b")}, "of one model"),
        ({"grading": "pairwise-all"}, "needs opponents="),
        ({"opponents": ("a",)}, "is for grading=pairwise"),
        ({"grading": "pairwise-all", "opponents": ("a", "a")}, "named twice"),
        ({"judge_prompts": ("evalkit", "a")}, "takes no file"),
    ],
)
def test_what_does_not_go_together(args: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        MtBenchJudge(**args)


def test_the_first_file_that_has_a_prompt_gives_it(tmp_path: Path) -> None:
    folder(tmp_path)
    mine = write_lines(tmp_path / "mine.jsonl", [prompt_row("single-v1", "Mine: {answer} {question}")])
    found = read_judge_prompts([mine, tmp_path / "prompts.jsonl"], "single")
    assert {kind.name: template.user for kind, template in found.items()} == {
        **{name: text for name, text in NEEDS.items() if name.startswith("single")},
        "single-v1": "Mine: {answer} {question}",
    }


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (prompt_row("single-v1", "{question}"), r"single-v1': the template lacks \{answer\}"),
        (prompt_row("single-v1", "{question} {answer} {refanswer}"), r"unknown placeholder \{refanswer\}"),
        ({"name": "single-v1"}, "system_prompt"),
    ],
)
def test_prompts_that_do_not_fit(row: dict[str, str], message: str, tmp_path: Path) -> None:
    folder(tmp_path)
    path = write_lines(tmp_path / "mine.jsonl", [row])
    with pytest.raises(DataError, match=message):
        read_judge_prompts([path, tmp_path / "prompts.jsonl"], "single")
    few = [prompt_row(*item) for item in list(NEEDS.items())[:-1]]
    with pytest.raises(DataError, match="there is no judge prompt 'pair-math-v1-multi-turn'"):
        read_judge_prompts([write_lines(tmp_path / "few.jsonl", few)], "pairwise")


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("grading", ["single", "pairwise"])
def test_own_prompts_show_all_that_must_be_read(language: Any, grading: Any) -> None:
    for kind, template in own_prompts(language, grading).items():
        assert template.placeholders == set(kind.placeholders)
        assert ("[[A]]" in template.user) == (grading == "pairwise")
        positions = [template.user.index(f"{{{name}}}") for name in kind.placeholders if "question" in name]
        assert positions == sorted(positions)
    assert len(own_prompts(language, grading)) == len(kinds(grading)) == 4


def test_own_prompts_need_no_file(tmp_path: Path) -> None:
    judge = made(tmp_path, judge_prompts=("evalkit",), references="none")
    assert judge.files() == ()
    (asked,) = texts(judge, unit("writing", "a1")).values()
    assert "<<< Answer >>>\na1" in asked[1]


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_published_files(language: Any, data_dir: Path, tmp_path: Path) -> None:
    """All prompts are there and fit; references exist for what the judge reads them for."""
    for grading in ("single", "pairwise-baseline"):
        opponents = ("mt_bench/reference_answer/gpt-4.jsonl",) if grading != "single" else ()
        judge = MtBenchJudge(language, grading=grading, opponents=opponents)
        judge.load(DataStore(mirror=data_dir, cache=tmp_path / "cache", offline=True))
    single = MtBenchJudge(language)
    single.load(DataStore(mirror=data_dir, cache=tmp_path / "cache", offline=True))
    first = "101" if language == "en" else "31"
    asked = texts(single, unit("math", "a1", "a2", instance_id=first))
    assert "a2" in asked["turn_2"][1]
    if language == "ja":
        assert asked["turn_1"][0] == "あなたは有益な助手です。"
