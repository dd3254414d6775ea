"""Whether an answer has the form that was asked for: Nejumi's control score of jaster datasets."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from evalkit.errors import UsageError
from evalkit.metrics.jaster_answers import AnswerMetric, Answers
from evalkit.registry import metric
from evalkit.scoring.unit import Unit
from evalkit.specs.run_spec import AdapterSpec

Rules = Literal["corrected", "original"]
FormCheck = Callable[[str], bool]

_ENTITY_TYPES = "|".join(
    ("組織名", "人名", "地名", "固有物名", "日付表現", "時刻表現", "金額表現", "割合表現")
)
_ENTITY_TYPE = re.compile(rf"[(（](?:{_ENTITY_TYPES})[)）]")
_ORIGINAL_ENTITY = re.compile(rf"^(.+?)（({_ENTITY_TYPES})）$")
_DEPENDENCY = re.compile(r"^.+\s*->\s*.+$")
_SENTIMENT = re.compile(r"\S.*\s(?:positive|neutral|negative)")
_ORIGINAL_SENTIMENT = re.compile(r"(\w+)\s+(positive|neutral|negative)")


@dataclass(frozen=True, slots=True)
class Form:
    """The form of the answers to a dataset.

    Attributes:
        has_form: Whether a text has it.
        choices: The answers there can be, where they are few.
        original: The original's check, where it is another one; None: it checks nothing.
    """

    has_form: FormCheck
    choices: tuple[str, ...] = ()
    original: FormCheck | None = None


def form_of(dataset: str, rules: Rules = "corrected") -> Form | None:
    """The form of the answers to a jaster dataset; None where they are free.

    Raises:
        UsageError: There is no such dataset.
    """
    name = dataset
    for group in ("jmmlu", "mmlu_en", "jcola"):
        if name not in _FORMS and name.startswith((f"{group}_", f"{group}-")):
            name = group
    if name not in _FORMS:
        known = ", ".join(sorted(_FORMS))
        raise UsageError(f"no form is known for the dataset '{dataset}', only for {known}; give one yourself")
    form = _FORMS[name]
    if form is None or rules == "corrected":
        return form
    return Form(form.original, form.choices) if form.original is not None else None


@metric("format_control")
class FormatControl(AnswerMetric):
    """Whether the answer has the form that its dataset asks for, right or wrong: Nejumi's control score.

    Gives `format_control`, and `format_failure`, which is 1 where the other is 0: put it next to an accuracy,
    to see how much of what is missing there is form. Nothing for a dataset with free answers.

    Args:
        dataset: The jaster dataset, which decides about the form, and how a completion is cleaned.
        answers: How the answer is read; see `evalkit.metrics.jaster_answers.AnswerReader`.
        pattern: A regular expression that finds the answer in the completion.
        rules: `corrected`, or `original`: Nejumi's, in which no named entity of wiki_ner has the form, an
            empty answer there has it, and answers E to J of mmlu_prox_ja, lines of chabsa with signs in the
            entity, and numbers of jsts go by other rules or by none.
        form: A regular expression that the whole answer must match, for a dataset of your own.
    """

    stat = "format_control"

    def __init__(
        self,
        adapter_spec: AdapterSpec,
        dataset: str = "",
        answers: Answers = "original",
        pattern: str = "",
        rules: Rules = "corrected",
        form: str = "",
    ) -> None:
        super().__init__(adapter_spec, dataset, answers, pattern)
        self._form = _own_form(form) if form else form_of(dataset, rules)
        self._allows_empty = rules == "corrected" and not form
        self.names, self.full_marks = (), {}
        if self._applies and self._form is not None:
            self.names = ("format_control", "format_failure")
            self.full_marks = dict(zip(self.names, (1.0, 0.0), strict=True))

    def score(self, unit: Unit) -> Mapping[str, float]:
        """Both scores, of the likeliest completion; nothing where answers are free."""
        if unit.per_reference or self._form is None:
            return {}
        prediction = self.predictions(unit)[0]
        has_form = self._form.has_form(prediction)
        if self._allows_empty and not prediction:
            has_form = "" in self.golds(unit)
        return dict(zip(self.names, (float(has_form), float(not has_form)), strict=True))

    def detail(self, unit: Unit) -> str:
        """The answer, where it has not the form."""
        if self.score(unit).get("format_failure") != 1.0:
            return ""
        return f"not in the form asked for: {self.predictions(unit)[0][:80]!r}"


@metric("extracted_exact_match")
class ExtractedExactMatch(AnswerMetric):
    """Whether the answer holds the right choice and no other, whatever stands around it.

    Next to `jaster_exact_match` it shows how much is lost by form alone. For datasets with few answers: the
    one that occurs, not inside a longer word, if no other occurs. Single letters must have the right case.

    Args:
        dataset: The jaster dataset, which decides which answers there are, and how a completion is cleaned.
        answers: How the answer is read; see `evalkit.metrics.jaster_answers.AnswerReader`.
        pattern: A regular expression that finds the answer in the completion.
        choices: The answers there can be, for a dataset of your own.

    Raises:
        UsageError: The dataset has other than few answers, and no choices are given.
    """

    stat = "extracted_exact_match"
    mark: ClassVar[float | None] = 1.0

    def __init__(
        self,
        adapter_spec: AdapterSpec,
        dataset: str = "",
        answers: Answers = "original",
        pattern: str = "",
        choices: tuple[str, ...] = (),
    ) -> None:
        super().__init__(adapter_spec, dataset, answers, pattern)
        form = None if choices else form_of(dataset)
        self._choices = choices or (form.choices if form is not None else ())
        if not self._choices:
            raise UsageError(f"extracted_exact_match needs choices; answers to '{dataset}' are free")

    def compare(self, gold: str, prediction: str) -> float:
        """1.0 or 0.0."""
        return float(chosen(prediction, self._choices) == gold)


def chosen(text: str, choices: tuple[str, ...]) -> str | None:
    """The one choice that a text names; None if it names none, or several."""
    if text in choices:
        return text
    longest_first = sorted(choices, key=len, reverse=True)
    names = "|".join(map(re.escape, longest_first))
    # Japanese has no blanks between words: only letters and digits of the Latin script make a longer word.
    flags = re.NOFLAG if max(map(len, choices)) == 1 else re.IGNORECASE
    found = re.findall(rf"(?<![A-Za-z0-9-])(?:{names})(?![A-Za-z0-9])", text, flags)
    spelt = {choice.lower(): choice for choice in choices}
    named = {one if one in choices else spelt[one.lower()] for one in found}
    return named.pop() if len(named) == 1 else None


def _own_form(form: str) -> Form:
    try:
        pattern = re.compile(form, re.DOTALL)
    except re.error as error:
        raise UsageError(f"form '{form}' is not a regular expression: {error}") from None
    return Form(lambda text: pattern.fullmatch(text) is not None)


def _one_of(*choices: str, original: tuple[str, ...] | None = None) -> Form:
    return Form(choices.__contains__, choices, (original or choices).__contains__)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _is_finite_number(text: str) -> bool:
    number = _number(text)
    return number is not None and math.isfinite(number)


def _is_similarity(text: str) -> bool:
    number = _number(text)
    return number is not None and 0 <= number <= 5


def _are_entities(text: str) -> bool:
    """Whether a text is names, each with its type behind it, with blanks between; names may have blanks."""
    place = 0
    for found in _ENTITY_TYPE.finditer(text):
        name = text[place : found.start()]
        if not name.strip() or (place and not name[0].isspace()):
            return False
        place = found.end()
    return not text[place:].strip()


def _are_entities_to_the_original(text: str) -> bool:
    """The original's check, to the letter: NFKC has made `(` of `（` before, so that it never matches."""
    return all(_ORIGINAL_ENTITY.match(word) for word in text.split())


def _lines(pattern: re.Pattern[str]) -> FormCheck:
    return lambda text: all(pattern.match(line) for line in text.split("\n"))


def _full_lines(pattern: re.Pattern[str]) -> FormCheck:
    return lambda text: all(pattern.fullmatch(line.strip()) for line in text.split("\n"))


_ABCD = ("A", "B", "C", "D")
_INFERENCE = _one_of("entailment", "contradiction", "neutral")
_FIGURE = Form(_is_finite_number, original=lambda text: _number(text) is not None)
_JUDGEMENT = _one_of("0", "1")

_FORMS: Mapping[str, Form | None] = {
    **dict.fromkeys(("mawps", "mgsm"), _FIGURE),
    **dict.fromkeys(("jmmlu", "mmlu_en"), _one_of(*_ABCD)),
    "jmmlu_SymbolChoice": Form(("$", "&", "#", "@").__contains__, ("$", "&", "#", "@")),
    "jmmlu_IncorrectChoice": Form(lambda text: re.fullmatch("[A-D](?: *, *[A-D]){2}", text) is not None),
    "mmlu_prox_ja": _one_of(*"ABCDEFGHIJ", original=_ABCD),
    "jblimp": _one_of("a", "b"),
    "jcommonsenseqa": _one_of(*"01234"),
    "kuci": _one_of(*"0123"),
    **dict.fromkeys(("jcola", "commonsensemoralja"), _JUDGEMENT),
    "janli": _one_of("entailment", "non-entailment"),
    **dict.fromkeys(("jnli", "jsick", "jamp"), _INFERENCE),
    "jsem": _one_of("yes", "no", "unknown", "undef"),
    "jsts": Form(_is_similarity),
    "wiki_ner": Form(_are_entities, original=_are_entities_to_the_original),
    "wiki_dependency": Form(_lines(_DEPENDENCY), original=_lines(_DEPENDENCY)),
    "chabsa": Form(_full_lines(_SENTIMENT), original=_lines(_ORIGINAL_SENTIMENT)),
    **dict.fromkeys(("jemhopqa", "niilc", "jsquad", "aio", "wiki_reading", "wiki_pas", "wiki_coreference")),
    **dict.fromkeys(("alt-e-to-j", "alt-j-to-e", "wikicorpus-e-to-j", "wikicorpus-j-to-e", "jhumaneval")),
}
