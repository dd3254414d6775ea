"""A judge that compares each answer with that of another run, in both orders."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from evalkit.data import DataFile, DataStore
from evalkit.errors import DataError
from evalkit.execution.journal_index import read_winners, scan_journal
from evalkit.judges.judge import MAX_TOKENS, Judge, Question, Reply
from evalkit.judges.prompt_template import PromptTemplate, read_prompt_template
from evalkit.judges.shown_texts import texts_of
from evalkit.judges.verdicts import PreferenceReader
from evalkit.registry import judge
from evalkit.response import Response
from evalkit.scoring.unit import Answer, Unit

PLACEHOLDERS = ("question", "answer_a", "answer_b", "reference")
_REQUIRED = ("answer_a", "answer_b")
A_FIRST, B_FIRST = "ours_first", "theirs_first"
"""The two games: in the first this run's answer is shown as A, in the second as B."""
WIN_RATE, WIN_AGREED, ORDER_CONSISTENT, FIRST_PLACE = (
    "win_rate",
    "win_agreed",
    "order_consistent",
    "first_place",
)
_SHOWN_AS_A = {A_FIRST: "ours", B_FIRST: "theirs"}
_JOURNAL = "journal.jsonl"
_DEFAULT = """\
Please compare the answers of two AI assistants to the question below and decide which is better. Consider \
whether they are correct, helpful, relevant and complete. Neither the order of the answers nor their \
length may influence you. First explain your decision in a few sentences. Then end with "[[A]]" if assistant \
A is better, "[[B]]" if assistant B is better, or "[[C]]" if they are equally good.

[Question]
{question}

[Assistant A's answer]
{answer_a}
[End of assistant A's answer]

[Assistant B's answer]
{answer_b}
[End of assistant B's answer]
"""


@judge("pairwise")
class PairwiseJudge(Judge):
    """Compares each answer with another run's answer to the same question, twice: in both orders.

    `win_rate` of a question is the mean of both games: 1, ½ or 0 each; `win_agreed` is 1 or 0 where both
    games name the same winner, else ½; `order_consistent` is 1 where they have the same verdict;
    `first_place` is the share won by whoever was shown first. If a game has no clear verdict, the question
    has none of these.

    Args:
        against: The other run's directory, or its journal.
        template: A file with the places {question}, {answer_a}, {answer_b} and {reference}; "" for one that
            comes with evalkit.
        ties: Whether a tie is a verdict.
        prose: Whether a reply without double brackets may state its verdict in words.
        temperature: Of the judge's replies.
        max_tokens: Longest reply.
    """

    names = (WIN_RATE, WIN_AGREED, ORDER_CONSISTENT, FIRST_PLACE)
    shares = frozenset(names)
    reading_args: ClassVar[frozenset[str]] = frozenset({"ties", "prose"})

    def __init__(
        self,
        against: str,
        template: str = "",
        ties: bool = True,
        prose: bool = True,
        temperature: float = 0.0,
        max_tokens: int = MAX_TOKENS,
    ) -> None:
        self._against = DataFile.local(journal_of(against))
        self._template_file = DataFile.local(template) if template else None
        self._template = PromptTemplate(_DEFAULT)
        self._reader = PreferenceReader(ties=ties, prose=prose)
        self._temperature, self._max_tokens = temperature, max_tokens
        self._theirs: dict[tuple[str, str | None, int, int], list[Answer]] = {}

    def files(self) -> Sequence[DataFile]:
        """The other run's journal, and the template, if it is a file."""
        return (self._against, *filter(None, (self._template_file,)))

    def check_files(self, data: DataStore) -> None:
        """Read the template; the other run's answers are read when they are compared.

        Raises:
            ConfigError: The template lacks a place, or has an unknown one.
        """
        if self._template_file is not None:
            path = Path(data.path(self._template_file))
            self._template = read_prompt_template(path, PLACEHOLDERS, _REQUIRED)

    def load(self, data: DataStore) -> None:
        """Read the other run's answers, and the template.

        Raises:
            ConfigError: The template lacks a place, or has an unknown one.
            StoreError: The journal can't be read.
        """
        self.check_files(data)
        path = Path(data.path(self._against))
        theirs = defaultdict(list)
        for record in read_winners(path, scan_journal(path)):
            state = record.state
            if isinstance(record.outcome, Response):
                key = (state.instance_id, state.perturbation, state.trial, state.sample)
                theirs[key].append(Answer(state, record.outcome))
        self._theirs = dict(theirs)

    def questions(self, unit: Unit) -> Iterable[Question]:
        """Two questions per unit.

        Raises:
            DataError: The other run has not answered this question, or not as many turns of it.
        """
        theirs = self._answers_to(unit)
        ours = texts_of(unit)
        shared = {"question": ours["question"], "reference": ours["reference"]}
        for name, a, b in ((A_FIRST, unit, theirs), (B_FIRST, theirs, unit)):
            values = {**shared, "answer_a": texts_of(a, "Assistant A")["answer"],
                      "answer_b": texts_of(b, "Assistant B")["answer"]}  # fmt: skip
            request = self._template.request(
                values, temperature=self._temperature, max_tokens=self._max_tokens
            )
            yield Question(request, name)

    def verdict(self, unit: Unit, reply: Reply) -> Mapping[str, float]:
        """What this run has won in one game.

        Raises:
            UnclearVerdict: The reply names no winner, or several.
        """
        preferred = self._reader.read(reply.text, is_cut=reply.is_cut)
        if preferred == "tie":
            won = 0.5
        else:
            won = float((preferred == "A") == (_SHOWN_AS_A[reply.question] == "ours"))
        return {WIN_RATE: won}

    def combine(self, verdicts: Mapping[str, Mapping[str, float]]) -> Mapping[str, float]:
        """The scores of a question, from both games."""
        shown_first, shown_second = verdicts[A_FIRST][WIN_RATE], verdicts[B_FIRST][WIN_RATE]
        agreed = shown_first == shown_second
        return {
            WIN_RATE: (shown_first + shown_second) / 2,
            WIN_AGREED: shown_first if agreed else 0.5,
            ORDER_CONSISTENT: float(agreed),
            FIRST_PLACE: (shown_first + 1 - shown_second) / 2,
        }

    def _answers_to(self, unit: Unit) -> Unit:
        key = (str(unit.instance.id), unit.instance.perturbation_label, unit.trial, unit.sample)
        answers = self._theirs.get(key, [])
        if len(answers) != len(unit.answers):
            had = f"{len(answers)} of {len(unit.answers)} answers" if answers else "no answer"
            raise DataError(f"the other run has {had} to '{key[0]}' (trial {key[2]}, sample {key[3]})")
        answers.sort(key=lambda answer: answer.state.turn or 0)
        return Unit(unit.instance, unit.trial, unit.sample, tuple(answers))


def journal_of(against: str) -> Path:
    """The journal of the other run, which `against` names itself or by its directory."""
    place = Path(against).expanduser()
    return place if place.suffix == ".jsonl" else place / _JOURNAL
