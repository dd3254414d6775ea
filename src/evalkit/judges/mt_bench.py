"""The judge of MT-Bench: each turn is rated, or compared with the answers of others (Zheng et al. 2023)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from evalkit.data import DataFile, DataStore
from evalkit.data.fastchat import JUDGE_PROMPTS, MAX_TURNS, REFERENCES, Language, read_answers
from evalkit.errors import DataError, UsageError
from evalkit.instance import Instance
from evalkit.judges.judge import Judge, Question, Reply, chat_request
from evalkit.judges.mt_bench_prompts import Grading, PromptKind, own_prompts, read_judge_prompts
from evalkit.judges.prompt_template import PromptTemplate, filled
from evalkit.judges.verdicts import PatternReader, PreferenceReader, RatingReader
from evalkit.registry import judge
from evalkit.scoring.rating_means import item_row, mean_names, means_of, turn_score
from evalkit.scoring.run_level import Row
from evalkit.scoring.unit import Answer, Unit

OWN_PROMPTS = "evalkit"
NO_REFERENCES = "none"
_TURNS = tuple(range(1, MAX_TURNS + 1))
_SWAPPED = "swapped"
_POINTS: Mapping[str, float] = {"A": 1.0, "tie": 0.5, "B": 0.0}
_AS_FASTCHAT = PatternReader(
    patterns=(r"\[\[([0-9]+\.?[0-9]*)\]\]", r"\[([0-9]+\.?[0-9]*)\]"), which="first", low=0, high=1e9
)


@judge("mt_bench")
class MtBenchJudge(Judge):
    """Asks about each turn of a conversation in FastChat's way.

    With `single` a turn gets a rating from 1 to 10: `rating_turn_1`, `rating_turn_2`, and over all questions
    `rating_mean_of_items` and `rating_mean_of_categories`. Otherwise its answer is compared with that of each
    opponent, in both orders: `win_turn_1` is 1 for a win, 0.5 for a tie and 0 for a loss, and `tie_turn_1` is
    1 for a tie. Where the orders contradict each other it is a tie, and `agreement_turn_1`, which says
    whether they agree, is 0. Of several opponents these are means.

    Args:
        language: Whose references and prompts, where no files are named.
        grading: `single`, `pairwise-baseline` (one opponent) or `pairwise-all` (several).
        references: An answer file in FastChat's format; `none` for none. A file is on this machine if it
            begins with `/`, `~` or `.`, else below the data directory.
        reference_categories: The categories in which the judge reads a reference answer.
        judge_prompts: Files in FastChat's format, of which the first that has a prompt gives it; `evalkit`
            for evalkit's own prompts.
        opponents: Answer files in FastChat's format.
        reading: How ratings are read: by evalkit's rules, or as FastChat does, any number in brackets.
    """

    judges_turns: ClassVar[bool] = True
    reading_args: ClassVar[frozenset[str]] = frozenset({"reading"})

    def __init__(
        self,
        language: Language = "en",
        grading: Literal["single", "pairwise-baseline", "pairwise-all"] = "single",
        references: str = "",
        reference_categories: tuple[str, ...] = ("math", "reasoning", "coding"),
        judge_prompts: tuple[str, ...] = (),
        opponents: tuple[str, ...] = (),
        reading: Literal["evalkit", "fastchat"] = "evalkit",
    ) -> None:
        _check_opponents(grading, opponents)
        self._language: Language = language
        self._grading: Grading = "single" if grading == "single" else "pairwise"
        self._categories = frozenset(reference_categories)
        self._references = _files(references, REFERENCES[language]) if reference_categories else ()
        self._prompts = _prompt_files(language, judge_prompts)
        self._opponents = tuple(map(DataFile.given, opponents))
        self._reader = RatingReader() if reading == "evalkit" else _AS_FASTCHAT
        self._score = "rating" if grading == "single" else "win"
        scores = (self._score,) if grading == "single" else (self._score, "tie", "agreement")
        self.names = tuple(turn_score(score, turn) for score in scores for turn in _TURNS)
        self.run_level_names = mean_names(self._score)
        self._templates: dict[PromptKind, PromptTemplate] = {}
        self._known: dict[str, tuple[str, ...]] = {}
        self._others: list[dict[str, tuple[str, ...]]] = []

    def files(self) -> Sequence[DataFile]:
        """References, prompts, and the opponents' answers."""
        return (*self._references, *self._prompts, *self._opponents)

    def load(self, data: DataStore) -> None:
        """Read the files.

        Raises:
            DataError: A file is missing or damaged, or lacks a prompt.
        """
        for file in self._references:
            self._known = read_answers(data.path(file))
        self._others = [read_answers(data.path(file)) for file in self._opponents]
        if self._prompts:
            paths: list[Path] = [data.path(file) for file in self._prompts]
            self._templates = read_judge_prompts(paths, self._grading)
        else:
            self._templates = own_prompts(self._language, self._grading)

    def questions(self, unit: Unit) -> Iterator[Question]:
        """One question a turn; with opponents two for each of them.

        Raises:
            DataError: A reference answer, or that of an opponent, is missing.
        """
        asked = [unit.instance.input, *(unit.instance.extra or {}).get("follow_ups", ())]
        answers = [_text(answer) for answer in unit.turns]
        for turn in range(1, len(answers) + 1):
            places = {**_placed("question", asked, turn), **self._reference(unit, turn)}
            template = self._templates[self.prompt_kind(unit, turn)]
            if self._grading == "single":
                places |= _placed("answer", answers, turn)
                yield _question(f"turn_{turn}", template, places, turn)
                continue
            for number, others in enumerate(self._others):
                other = _found(others, unit, turn, f"opponent {self._opponents[number].path}")
                for name, (a, b) in _orders(turn, number, answers, other).items():
                    both = {**_placed("answer_a", a, turn), **_placed("answer_b", b, turn)}
                    yield _question(name, template, {**places, **both}, turn)

    def prompt_kind(self, unit: Unit, turn: int) -> PromptKind:
        """Which prompt asks about a turn."""
        return PromptKind(self._grading, unit.instance.sub_split in self._categories, turn)

    def verdict(self, unit: Unit, reply: Reply) -> Mapping[str, float]:
        """The rating of a turn, or 1, 0.5 or 0 for the answer that is judged.

        Raises:
            UnclearVerdict: The reply can't be read.
        """
        if self._grading == "single":
            rating = self._reader.read(reply.text, is_cut=reply.is_cut)
            return {f"rating_{reply.question}": float(rating)}
        points = _POINTS[str(PreferenceReader().read(reply.text, is_cut=reply.is_cut))]
        return {reply.question: 1 - points if reply.question.endswith(_SWAPPED) else points}

    def combine(self, verdicts: Mapping[str, Mapping[str, float]]) -> Mapping[str, float]:
        """The scores of each turn on which there are all verdicts."""
        if self._grading == "single":
            return super().combine(verdicts)
        return dict(_compared({name: value for each in verdicts.values() for name, value in each.items()}))

    def run_level_row(self, instance: Instance, scores: Mapping[str, float]) -> Row | None:
        """The category, and what each turn got."""
        return item_row(instance.sub_split, self._score, scores)

    def run_level_scores(self, rows: Sequence[Row]) -> Mapping[str, float]:
        """The mean over items, and the mean over categories of the means of their items."""
        return means_of(self._score, rows)

    @property
    def combines(self) -> bool:
        """Ratings are scores of their own; comparisons need both orders."""
        return self._grading == "pairwise"

    def _reference(self, unit: Unit, turn: int) -> Mapping[str, str]:
        """The reference answers up to a turn, in the categories that have some.

        Raises:
            DataError: There is none.
        """
        if unit.instance.sub_split not in self._categories:
            return {}
        what = self._references[0].path if self._references else "references"
        known = _found(self._known, unit, turn, what)
        return {f"ref_answer_{number}": text for number, text in enumerate(known[:turn], 1)}


def _check_opponents(grading: str, opponents: Sequence[str]) -> None:
    if grading == "single" and opponents:
        raise UsageError("opponents= is for grading=pairwise-baseline or grading=pairwise-all")
    if grading == "pairwise-baseline" and len(opponents) != 1:
        raise UsageError("grading=pairwise-baseline needs opponents=FILE, the answers of one model")
    if grading == "pairwise-all" and not opponents:
        raise UsageError("grading=pairwise-all needs opponents=FILE|FILE, the answers of the other models")
    if len(set(opponents)) < len(opponents):
        raise UsageError("an opponent is named twice")


def _files(given: str, default: DataFile) -> tuple[DataFile, ...]:
    if given == NO_REFERENCES:
        return ()
    return (DataFile.given(given) if given else default,)


def _prompt_files(language: Language, given: Sequence[str]) -> tuple[DataFile, ...]:
    if OWN_PROMPTS in given:
        if len(given) > 1:
            raise UsageError(f"judge_prompts={OWN_PROMPTS} takes no file next to it")
        return ()
    return tuple(map(DataFile.given, given)) or tuple(JUDGE_PROMPTS[language])


def _text(answer: Answer) -> str:
    if not answer.response.completions:
        raise DataError(f"{answer.state.key}: the answer is not known")
    return answer.response.completions[0].text


def _placed(name: str, texts: Sequence[str], turn: int) -> dict[str, str]:
    """The values of a placeholder: one text for a first turn, else one for each turn up to this one."""
    if turn == 1:
        return {name: texts[0]}
    return {f"{name}_{number}": text for number, text in enumerate(texts[:turn], 1)}


def _found(known: Mapping[str, tuple[str, ...]], unit: Unit, turn: int, where: str) -> tuple[str, ...]:
    texts = known.get(str(unit.instance.id), ())
    if len(texts) < turn:
        raise DataError(f"{where}: there is no answer to turn {turn} of question {unit.instance.id}")
    return texts


def _question(name: str, template: PromptTemplate, places: Mapping[str, str], turn: int) -> Question:
    system = filled(template.system, places) if template.system else ""
    return Question(chat_request(filled(template.user, places), system=system), name, turn)


def _orders(
    turn: int, opponent: int, own: Sequence[str], other: Sequence[str]
) -> dict[str, tuple[Sequence[str], Sequence[str]]]:
    """The names of the two questions about a turn and an opponent, each with who is A and who is B."""
    name = f"turn_{turn}.{opponent}"
    return {name: (own, other), f"{name}.{_SWAPPED}": (other, own)}


def _compared(points: Mapping[str, float]) -> Iterable[tuple[str, float]]:
    """The scores by the points of each question."""
    for turn in _TURNS:
        games = [
            (value, points[f"{name}.{_SWAPPED}"])
            for name, value in points.items()
            if name.startswith(f"turn_{turn}.") and not name.endswith(_SWAPPED)
        ]
        if not games:
            continue
        won = [first if first == second else 0.5 for first, second in games]
        yield f"win_turn_{turn}", math.fsum(won) / len(won)
        yield f"tie_turn_{turn}", won.count(0.5) / len(won)
        yield f"agreement_turn_{turn}", sum(a == b for a, b in games) / len(games)
