"""The judgements on one unit: what they owe, and what the replies come to. Pure: sends and keeps nothing.

An unclear reply is followed by the same question again, at most twice. What is still unclear then has failed;
only a start that is to retry it asks for another round of three.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from evalkit.errors import PluginError, UnclearVerdict
from evalkit.judges.judge import Judge, Reply, answers_digest
from evalkit.redaction import one_line
from evalkit.request import JudgementPlace, RequestState, request_key
from evalkit.response import Failure, Outcome, Response
from evalkit.scoring.judged import JUDGE_ERROR, JudgedScores
from evalkit.scoring.run_level import is_finite, shown_value
from evalkit.scoring.unit import Unit

ASKS = 3
"""How often a question is asked before its unclear replies count as a failure."""
UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Opinion:
    """One opinion on each unit: one of those who judge, and one of its repetitions.

    Attributes:
        number: Its number among all opinions.
        member: The deployment that gives it; None where only one judges.
        repetition: Which of the opinions of this deployment it is.
    """

    number: int = 0
    member: str | None = None
    repetition: int = 0


def opinions_of(deployments: Sequence[str], num_opinions: int) -> tuple[Opinion, ...]:
    """All opinions, in the order of the deployments.

    Args:
        deployments: Who judges.
        num_opinions: How often each is asked the same.
    """
    is_jury = len(deployments) > 1
    each = [(name if is_jury else None, number) for name in deployments for number in range(num_opinions)]
    return tuple(Opinion(number, member, repetition) for number, (member, repetition) in enumerate(each))


@dataclass(frozen=True, slots=True)
class Reading:
    """What the replies to one question come to.

    Attributes:
        numbers: The verdict; None where there is none.
        failure: Why there is none, as far as the question was asked.
        owes: Which repetition of the question is to be sent; None: none.
    """

    numbers: Mapping[str, float] | None = None
    failure: Failure | None = None
    owes: int | None = None


def read_replies(
    judge: Judge,
    unit: Unit,
    question: str,
    outcomes: Mapping[int, Outcome],
    *,
    retry_unclear: bool = False,
) -> Reading:
    """The verdict on one question: that of the first reply that is clear.

    Args:
        judge: Reads the replies.
        unit: What they are about.
        question: The name of the question.
        outcomes: What came back, by the number of unclear replies before.
        retry_unclear: Whether a question that was asked three times is to be asked again.
    """
    failure, again = None, 0
    while (outcome := outcomes.get(again)) is not None:
        if isinstance(outcome, Failure):
            return Reading(failure=outcome, owes=None if outcome.is_blocked else again)
        try:
            return Reading(dict(judge.verdict(unit, _reply(question, outcome))))
        except UnclearVerdict as error:
            failure = Failure(UNCLEAR, one_line(str(error)))
        except Exception as error:  # noqa: BLE001 - plugin code: what it raises is kept as the reason
            return Reading(failure=_judge_error(judge, error))
        again += 1
    is_over = again > 0 and again % ASKS == 0
    return Reading(failure=failure, owes=None if is_over and not retry_unclear else again)


def first_requests(
    judge: Judge, unit: Unit, opinions: Iterable[Opinion], num_turns_to_come: int = 0
) -> list[RequestState]:
    """All questions about a unit, for each of the opinions.

    Args:
        judge: Asks.
        unit: The answers.
        opinions: Those wanted.
        num_turns_to_come: How many turns its conversation may still have; each brings at least one question.

    Raises:
        PluginError: Two questions have the same name.
        Exception: Whatever the judge raises.
    """
    questions = tuple(judge.questions(unit))
    if len({question.name for question in questions}) < len(questions):
        names = ", ".join(question.name for question in questions)
        raise PluginError(f"judge '{judge.name}' gives one name to two questions: {names}")
    num_questions = len(questions) + num_turns_to_come
    perturbation = unit.instance.perturbation_label
    instance_id = str(unit.instance.id)
    unit_key = request_key(instance_id, unit.trial, unit.sample, perturbation=perturbation)
    states = []
    for opinion in opinions:
        for question in questions:
            about = answers_digest(unit.until(question.num_turns))
            place = JudgementPlace(question.name, about, num_questions, opinion.number)
            request = question.request
            if opinion.repetition:
                request = replace(request, random=_varied(request.random, f"opinion{opinion.repetition}"))
            states.append(
                RequestState(
                    unit_key + place.key_part,
                    instance_id,
                    unit.trial,
                    request,
                    sample=unit.sample,
                    perturbation=perturbation,
                    member=opinion.member,
                    judgement=place,
                )
            )
    return states


def repeated(first: RequestState, again: int) -> RequestState:
    """The same question after this many unclear replies: its key says so, and its `random` is another."""
    place = first.judgement
    assert place is not None
    if not again:
        return first
    now = replace(place, again=again)
    key = first.key.removesuffix(place.key_part) + now.key_part
    request = replace(first.request, random=_varied(first.request.random, f"again{again}"))
    return replace(first, key=key, request=request, judgement=now)


class UnitJudgement:
    """The judgements on one unit by some of those who judge.

    Args:
        judge: Asks and reads.
        unit: The answers.
        opinions: Those wanted here.
        stored: What a journal has, by key.
        retry_unclear: See `read_replies`.
        num_turns_to_come: How many turns the conversation may still have, of one that goes on; see `go_on`.

    Attributes:
        is_whole: Whether all answers of the unit are there.
        owed: The requests to send now.
        num_waiting: Requests that were to be sent and have no outcome yet.
        num_questions: Questions of one opinion.
        failure: Why the judge can't make its questions, if it can't.
    """

    def __init__(
        self,
        judge: Judge,
        unit: Unit,
        opinions: Sequence[Opinion],
        stored: Callable[[str], Outcome | None],
        *,
        retry_unclear: bool = False,
        num_turns_to_come: int = 0,
    ) -> None:
        self._judge, self._opinions = judge, tuple(opinions)
        self._stored, self._retries_unclear = stored, retry_unclear
        self.num_questions = self.num_waiting = 0
        self.owed: list[RequestState] = []
        self.failure: Failure | None = None
        self._first: dict[tuple[int, str], RequestState] = {}
        self._outcomes: dict[tuple[int, str], dict[int, Outcome]] = {}
        self._readings: dict[tuple[int, str], Reading] = {}
        self.go_on(unit, num_turns_to_come)

    def go_on(self, unit: Unit, num_turns_to_come: int = 0) -> None:
        """Take the unit with more answers than before: `owed` is then what is to be asked now.

        Args:
            unit: The unit, with the answers of all turns so far.
            num_turns_to_come: How many turns its conversation may still have.
        """
        self._unit, self.is_whole, self.owed = unit, not num_turns_to_come, []
        try:
            first = first_requests(self._judge, unit, self._opinions, num_turns_to_come)
        except Exception as error:  # noqa: BLE001 - plugin code, as above
            self.failure = _judge_error(self._judge, error)
            return
        for state in first:
            if _chain_of(state) not in self._first:
                self._take(state)
        self.num_questions = len(first) // max(1, len(self._opinions)) + num_turns_to_come
        self.num_waiting += len(self.owed)

    def _take(self, first: RequestState) -> None:
        chain = _chain_of(first)
        self._first[chain] = first
        outcomes = self._outcomes[chain] = {}
        while (outcome := self._stored(repeated(first, len(outcomes)).key)) is not None:
            outcomes[len(outcomes)] = outcome
        reading = self._read(chain, self._retries_unclear)
        if reading.owes is not None:
            self.owed.append(repeated(first, reading.owes))

    def after(self, state: RequestState, outcome: Outcome) -> tuple[RequestState, ...]:
        """What follows an outcome: the question again where the reply is unclear, or nothing."""
        assert state.judgement is not None
        chain = _chain_of(state)
        self._outcomes[chain][state.judgement.again] = outcome
        reading = self._read(chain, retry_unclear=False)
        self.num_waiting -= 1
        if isinstance(outcome, Response) and reading.owes is not None:
            self.num_waiting += 1
            return (repeated(self._first[chain], reading.owes),)
        return ()

    def _read(self, chain: tuple[int, str], retry_unclear: bool) -> Reading:
        outcomes = self._outcomes[chain]
        reading = read_replies(self._judge, self._unit, chain[1], outcomes, retry_unclear=retry_unclear)
        self._readings[chain] = reading
        return reading

    @property
    def readings(self) -> dict[int, dict[str, Reading]]:
        """What the replies come to, by opinion and question."""
        by_opinion: dict[int, dict[str, Reading]] = {}
        for (opinion, question), reading in self._readings.items():
            by_opinion.setdefault(opinion, {})[question] = reading
        return by_opinion


def scores_of(judge: Judge, readings: Mapping[str, Reading]) -> JudgedScores:
    """The scores of one opinion, from what the replies to its questions come to."""
    clear = {name: reading.numbers for name, reading in readings.items() if reading.numbers is not None}
    failure = next((each.failure for each in readings.values() if each.failure is not None), None)
    scores = JudgedScores()
    if len(clear) == len(readings) or not judge.combines:
        try:
            scores.numbers = dict(judge.combine(clear))
        except UnclearVerdict as error:
            failure = Failure(UNCLEAR, one_line(str(error)))
        except Exception as error:  # noqa: BLE001 - plugin code, as above
            failure = _judge_error(judge, error)
    if strange := scores.numbers.keys() - set(judge.names):
        message = f"judge '{judge.name}' gave '{min(strange)}', which is not among its names"
        scores, failure = JudgedScores(), Failure(JUDGE_ERROR, message)
    # Here rather than in the table: the median of NaN and two numbers would be one of the two.
    for name, value in tuple(scores.numbers.items()):
        if is_finite(value):
            scores.numbers[name] = float(value)
            continue
        del scores.numbers[name]
        problem = f"gave {shown_value(value)} for '{name}'; scores must be finite numbers"
        scores.failures[name] = Failure(JUDGE_ERROR, f"judge '{judge.name}': {problem}")
    if failure is not None:
        lacking = (name for name in judge.names if name not in scores.numbers)
        scores.failures = dict.fromkeys(lacking, failure) | scores.failures
    return scores


def _chain_of(state: RequestState) -> tuple[int, str]:
    assert state.judgement is not None
    return state.judgement.opinion, state.judgement.question


def _reply(question: str, response: Response) -> Reply:
    if not response.completions:
        raise UnclearVerdict("the reply holds no completion")
    return Reply(question, response.completions[0].text, response)


def _varied(random: str | None, part: str) -> str:
    return f"{random}/{part}" if random else part


def _judge_error(judge: Judge, error: Exception) -> Failure:
    return Failure(JUDGE_ERROR, one_line(f"judge '{judge.name}': {type(error).__name__}: {error}"))
