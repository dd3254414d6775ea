"""The judges that come with evalkit: what they ask, and what their replies come to."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from evalkit.data import DataStore
from evalkit.errors import ConfigError, DataError, UnclearVerdict, UsageError
from evalkit.execution.journal import Journal
from evalkit.execution.journal_line import JournalOwner
from evalkit.instance import CORRECT, Instance, Reference
from evalkit.judges.judge import Judge, Reply, build_judge
from evalkit.judges.pairwise import PairwiseJudge
from evalkit.judges.rating import RatingJudge
from evalkit.request import Message, Request, RequestState, next_turn, request_key
from evalkit.response import Completion, Response
from evalkit.scoring.unit import Answer, Unit
from evalkit.specs.run_spec import AdapterSpec, JudgeSpec

QUESTION = Instance("What is {answer_a}?", (Reference("42", (CORRECT,)),), "test", "id0")
ADAPTER = AdapterSpec(method="generation")


def answered(*texts: str, instance: Instance = QUESTION) -> Unit:
    """A unit with an answer for each turn."""
    key = request_key(str(instance.id), 0)
    state = RequestState(
        key, str(instance.id), 0, Request("asked 1"), unit_size=len(texts), turn=1 if len(texts) > 1 else None
    )
    answers = []
    for number, text in enumerate(texts, 1):
        answers.append(Answer(state, Response((Completion(text),))))
        asked = Request("", messages=(Message("user", f"asked {number + 1}"),))
        state = next_turn(state, asked) if number < len(texts) else state
    return Unit(instance, 0, 0, tuple(answers))


def journal_of(folder: Path, units: Sequence[Unit]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with Journal.open(folder / "journal.jsonl", JournalOwner("r")) as journal:
        journal.extend([(answer.state, answer.response) for unit in units for answer in unit.answers])
    return folder


def loaded(judge: Judge) -> Judge:
    judge.load(DataStore())
    return judge


def reply(question: str, text: str) -> Reply:
    return Reply(question, text, Response((Completion(text),)))


def pairwise(tmp_path: Path, *theirs: str, **args: object) -> Judge:
    against = journal_of(tmp_path / "other", [answered(*theirs)])
    spec = JudgeSpec(name="pairwise", args={"against": str(against), **args})
    return loaded(build_judge(spec, ADAPTER))


def test_both_orders_are_asked(tmp_path: Path) -> None:
    judge = pairwise(tmp_path, "theirs {question}")
    first, second = judge.questions(answered("ours {answer_b}"))
    assert (first.name, second.name) == ("ours_first", "theirs_first")
    a, b = (question.request.prompt for question in (first, second))
    assert a.index("ours {answer_b}") < a.index("theirs {question}")
    assert b.index("theirs {question}") < b.index("ours {answer_b}")
    for prompt in (a, b):
        assert prompt.count("What is {answer_a}?") == 1
    assert first.request.temperature == 0


@pytest.mark.parametrize(
    ("ours_first", "theirs_first", "scores"),
    [
        ("[[A]]", "[[B]]", (1, 1, 1, 0.5)),
        ("[[B]]", "[[A]]", (0, 0, 1, 0.5)),
        ("[[C]]", "[[C]]", (0.5, 0.5, 1, 0.5)),
        ("[[A]]", "[[A]]", (0.5, 0.5, 0, 1)),
        ("[[B]]", "[[B]]", (0.5, 0.5, 0, 0)),
        ("[[A]]", "[[C]]", (0.75, 0.5, 0, 0.75)),
        ("[[C]]", "[[A]]", (0.25, 0.5, 0, 0.75)),
    ],
)
def test_two_games_make_a_question(
    tmp_path: Path, ours_first: str, theirs_first: str, scores: tuple[float, ...]
) -> None:
    judge, unit = pairwise(tmp_path, "four"), answered("sixsix")
    verdicts = {
        name: judge.verdict(unit, reply(name, text))
        for name, text in (("ours_first", ours_first), ("theirs_first", theirs_first))
    }
    names = ("win_rate", "win_agreed", "order_consistent", "first_place")
    assert judge.combine(verdicts) == dict(zip(names, scores, strict=True))
    assert judge.combines


def test_replies_that_decide_nothing(tmp_path: Path) -> None:
    judge, strict = pairwise(tmp_path, "x"), pairwise(tmp_path, "x", ties=False, prose=False)
    for each, text in (
        (judge, "Both are fine."),
        (judge, "[[A]] [[B]]"),
        (strict, "[[C]]"),
        (strict, "Verdict: A"),
    ):
        with pytest.raises(UnclearVerdict):
            each.verdict(answered("y"), reply("ours_first", text))
    assert judge.verdict(answered("y"), reply("ours_first", "Verdict: A"))["win_rate"] == 1


def test_conversations_are_compared_whole(tmp_path: Path) -> None:
    judge = pairwise(tmp_path, "theirs 1", "theirs 2")
    prompt = next(iter(judge.questions(answered("ours 1", "ours 2")))).request.prompt
    assert "### Assistant A:\nours 1\n\n### User:\nasked 2\n\n### Assistant A:\nours 2" in prompt
    assert "### Assistant B:\ntheirs 1" in prompt
    with pytest.raises(DataError, match="2 of 1 answers"):
        list(judge.questions(answered("ours alone")))


def test_a_question_that_the_other_run_has_not_answered(tmp_path: Path) -> None:
    judge = pairwise(tmp_path, "theirs")
    other = Instance("?", (), "test", "id1")
    with pytest.raises(DataError, match="no answer to 'id1'"):
        list(judge.questions(answered("ours", instance=other)))


def test_the_other_run_is_part_of_what_is_asked(tmp_path: Path) -> None:
    store = DataStore()
    one, other = pairwise(tmp_path / "a", "x"), pairwise(tmp_path / "b", "y")
    shutil.copytree(tmp_path / "a", tmp_path / "elsewhere")
    same = PairwiseJudge(str(tmp_path / "elsewhere" / "other"))
    assert store.digest(one.files()) == store.digest(same.files())
    assert store.digest(one.files()) != store.digest(other.files())


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    judge = PairwiseJudge(str(tmp_path))
    with pytest.raises(DataError, match="is missing"):
        DataStore().digest(judge.files())


def test_replies_are_read_without_the_other_run(tmp_path: Path) -> None:
    judge = PairwiseJudge(str(tmp_path / "gone"))
    assert judge.verdict(answered("x"), reply("theirs_first", "[[B]]")) == {"win_rate": 1}


def test_a_template_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "pair.yaml"
    path.write_text(
        "system: Be strict.\nuser: '{question}|{answer_a}|{answer_b}|{reference}'", encoding="utf-8"
    )
    judge = pairwise(tmp_path, "theirs", template=str(path))
    first, second = judge.questions(answered("ours"))
    assert first.request.messages == (
        Message("system", "Be strict."),
        Message("user", "What is {answer_a}?|ours|theirs|42"),
    )
    path.write_text("user: '{answer_a}'", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"lacks \{answer_b\}"):
        judge.load(DataStore())
    assert second.name == "theirs_first"


def test_a_rating_judge_asks_once_and_reads_the_reply() -> None:
    judge = loaded(build_judge(JudgeSpec(name="rating"), ADAPTER))
    (question,) = judge.questions(answered("It is {question}."))
    assert question.request.prompt.count("It is {question}.") == 1
    assert "from 1 to 10" in question.request.prompt
    assert judge.verdict(answered("x"), reply("verdict", "Fine. Rating: [[8]]")) == {"rating": 8}
    with pytest.raises(UnclearVerdict):
        judge.verdict(answered("x"), reply("verdict", "[[11]]"))


def test_a_rating_judge_with_a_scale_a_template_and_a_reader_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "judge.txt"
    path.write_text('Is "{answer}" right ({reference})? {{"grade": …}}', encoding="utf-8")
    verdict = {"kind": "json", "field": "grade", "schema": {"required": ["grade"]}}
    args = {"template": str(path), "low": 0, "high": 1, "verdict": verdict, "temperature": 0.5}
    judge = loaded(build_judge(JudgeSpec(name="rating", args=args), ADAPTER))
    (question,) = judge.questions(answered("41"))
    assert question.request.prompt == 'Is "41" right (42)? {{"grade": …}}'
    assert question.request.temperature == 0.5
    assert judge.verdict(answered("x"), reply("verdict", '{"grade": 0}')) == {"rating": 0}
    for text in ('{"grade": 2}', '{"mark": 1}'):
        with pytest.raises(UnclearVerdict):
            judge.verdict(answered("x"), reply("verdict", text))


def test_readers_that_a_rating_judge_can_not_have() -> None:
    with pytest.raises(UsageError, match="the judge 'pairwise' reads preferences"):
        RatingJudge(verdict={"kind": "preference"})
    with pytest.raises(ConfigError, match="'lowest'"):
        RatingJudge(verdict={"kind": "rating", "lowest": 1})
    patterns = RatingJudge(
        low=0, high=1, verdict={"kind": "patterns", "patterns": ["yes|no"], "values": {"yes": 1, "no": 0}}
    )
    assert patterns.verdict(answered("x"), reply("verdict", "yes")) == {"rating": 1}
