"""A judge of turns: what is asked of a conversation that goes on, and numbers over all units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from evalkit.instance import Instance
from evalkit.judges.judge import Judge, Question, Reply, chat_request
from evalkit.judges.unit_judgement import Opinion, UnitJudgement
from evalkit.request import Request, RequestState, next_turn
from evalkit.response import Completion, Failure, Outcome, Response
from evalkit.results.complete_units import UnitTracker, by_id
from evalkit.results.judgements import judge_columns
from evalkit.scoring.judged import JudgedScores
from evalkit.scoring.run_level import Row
from evalkit.scoring.scorer import Scorer
from evalkit.scoring.unit import Answer, Unit
from evalkit.specs.run_spec import JudgeSpec

INSTANCE = Instance("one", (), "test", "id1", sub_split="math", extra={"follow_ups": ["two"]})


class TurnJudge(Judge):
    """Counts something in each turn."""

    name = "turns"
    judges_turns: ClassVar[bool] = True
    names = ("first", "second")
    run_level_names = ("largest",)

    def questions(self, unit: Unit) -> Iterator[Question]:
        for turn, answer in enumerate(unit.turns, 1):
            text = answer.response.completions[0].text
            yield Question(chat_request(f"How is {text}?"), f"turn_{turn}", turn)

    def verdict(self, unit: Unit, reply: Reply) -> Mapping[str, float]:
        return {self.names[int(reply.question[-1]) - 1]: float(reply.text)}

    def run_level_row(self, instance: Instance, scores: Mapping[str, float]) -> Row | None:
        return (instance.sub_split, max(scores.values()))

    def run_level_scores(self, rows: Sequence[Row]) -> Mapping[str, float]:
        return {"largest": max(value for _, value in rows)}


def response(text: str) -> Response:
    return Response((Completion(text),))


def states() -> list[RequestState]:
    first = RequestState("t0/id1", "id1", 0, Request("one"), unit_size=2, turn=1)
    return [first, next_turn(first, Request("two"))]


def unit(*texts: str) -> Unit:
    return Unit(INSTANCE, 0, 0, tuple(Answer(s, response(t)) for s, t in zip(states(), texts, strict=False)))


def nothing(key: str) -> Outcome | None:
    return None


def test_a_conversation_that_goes_on_is_asked_about_its_turns_so_far() -> None:
    judgement = UnitJudgement(TurnJudge(), unit("a"), [Opinion()], nothing, num_turns_to_come=1)
    (first,) = judgement.owed
    assert (judgement.is_whole, judgement.num_questions, judgement.num_waiting) == (False, 2, 1)
    place = first.judgement
    assert place is not None
    assert (place.question, place.num_questions) == ("turn_1", 2)
    judgement.after(first, response("3"))
    judgement.go_on(unit("a", "b"))
    (second,) = judgement.owed
    assert second.request.prompt == "How is b?"
    assert (judgement.is_whole, judgement.num_waiting) == (True, 1)
    judgement.after(second, response("4"))
    clear = {name: reading.numbers for name, reading in judgement.readings[0].items()}
    assert clear == {"turn_1": {"first": 3}, "turn_2": {"second": 4}}


def test_the_whole_conversation_is_asked_about_in_the_same_words() -> None:
    """So a judgement of the first turn, made before the second was there, is found when the run goes on."""
    early = UnitJudgement(TurnJudge(), unit("a"), [Opinion()], nothing, num_turns_to_come=1).owed
    whole = UnitJudgement(TurnJudge(), unit("a", "b"), [Opinion()], nothing).owed
    assert whole[0] == early[0]
    stored = {early[0].key: response("3")}
    later = UnitJudgement(TurnJudge(), unit("a", "b"), [Opinion()], stored.get)
    assert [state.key for state in later.owed] == [whole[1].key]
    other = UnitJudgement(TurnJudge(), unit("c", "b"), [Opinion()], stored.get)
    assert len(other.owed) == 2, "another answer needs another judgement"


def test_turns_are_given_as_they_are_answered() -> None:
    tracker = UnitTracker(by_id([INSTANCE]), None)
    first, second = states()
    assert tracker.add(first, response("a"), 10) is None
    so_far = tracker.so_far(first)
    assert so_far is not None
    assert (so_far.id, so_far.offsets, so_far.is_whole) == (("id1", 0, 0, None), (10,), False)
    whole = tracker.add(second, response("b"), 20)
    assert whole is not None
    assert (whole.offsets, whole.is_whole, tracker.so_far(second)) == ((10, 20), True, None)


def test_a_failed_turn_gives_nothing() -> None:
    tracker = UnitTracker(by_id([INSTANCE]), None)
    assert tracker.add(states()[0], Failure("timeout", "no"), 10) is None
    assert tracker.so_far(states()[0]) is None


def test_numbers_over_all_units_are_made_of_the_judges_scores() -> None:
    """Under the names of the run; a unit with none of the scores has failed, one with some has a row."""
    instances = [Instance("q", (), "test", f"id{n}", sub_split="math") for n in range(3)]
    spec = JudgeSpec(name="turns", label="mine", deployments=("a/b",))
    scorer = Scorer((), instances, judges=[judge_columns(spec, TurnJudge())])
    why = Failure("unclear", "no rating")
    given = [
        JudgedScores({"mine_first": 3.0, "mine_second": 5.0}),
        JudgedScores({"mine_first": 7.0}, {"mine_second": why}),
        JudgedScores({}, {"mine_first": why, "mine_second": why}),
    ]
    for instance, scores in zip(instances, given, strict=True):
        state = RequestState(f"t0/{instance.id}", str(instance.id), 0, Request("q"))
        scorer.add(state, response("x"))
        scorer.judge(0, (str(instance.id), 0, 0, None), scores)
    stats = {stat.name: (stat.mean, stat.n, stat.n_failed) for stat in scorer.stats() if stat.kind == "score"}
    assert stats == {"mine_first": (5, 2, 1), "mine_second": (5, 1, 2), "mine_largest": (7, 2, 1)}
    assert {stat.name: stat.mean for stat in scorer.stats() if stat.kind == "score"}["mine_largest"] == 7
