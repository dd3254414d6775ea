"""A judge that rates each answer on a scale, for any benchmark whose answers are texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from evalkit.data import DataFile, DataStore
from evalkit.errors import UsageError
from evalkit.judges.judge import MAX_TOKENS, Judge, Question, Reply
from evalkit.judges.prompt_template import PromptTemplate, read_prompt_template
from evalkit.judges.shown_texts import texts_of
from evalkit.judges.verdicts import VerdictReader, verdict_reader
from evalkit.registry import judge
from evalkit.scoring.unit import Unit

PLACEHOLDERS = ("question", "answer", "reference")
_REQUIRED = ("answer",)
_DEFAULT = """\
Please rate the answer of an AI assistant to the question below. Consider whether it is correct, helpful, \
relevant and complete. First explain your rating in a few sentences. Then give it as a number from {low} to \
{high} in double square brackets, for example: "Rating: [[{high}]]".

[Question]
{question}

[The assistant's answer]
{answer}
[End of the assistant's answer]
"""


@judge("rating")
class RatingJudge(Judge):
    """Rates each answer on a scale.

    A template is a file with the places {question}, {answer} and {reference}; with the suffix .yaml or .json
    it has `user` and `system`. How a reply is read is in the page on judges.

    Args:
        template: The template's file; "" for one that comes with evalkit.
        low: The lowest rating.
        high: The highest.
        verdict: How a reply is read, where it is not a rating: `kind` is rating, patterns or json.
        temperature: Of the judge's reply.
        max_tokens: Longest reply.
        response_schema: A JSON Schema that the reply is to satisfy, sent to servers that take one.
    """

    names = ("rating",)
    reading_args: ClassVar[frozenset[str]] = frozenset({"verdict"})

    def __init__(
        self,
        template: str = "",
        low: float = 1,
        high: float = 10,
        verdict: Mapping[str, Any] | None = None,
        temperature: float = 0.0,
        max_tokens: int = MAX_TOKENS,
        response_schema: Mapping[str, Any] | None = None,
    ) -> None:
        self._response_schema = response_schema
        self._reader = _reader(verdict or {}, {"low": low, "high": high})
        self._files = (DataFile.local(template),) if template else ()
        default = _DEFAULT.replace("{low}", f"{low:g}").replace("{high}", f"{high:g}")
        self._template = PromptTemplate(default)
        self._temperature, self._max_tokens = temperature, max_tokens

    def files(self) -> Sequence[DataFile]:
        """The template, if it is a file."""
        return self._files

    def load(self, data: DataStore) -> None:
        """Read the template.

        Raises:
            ConfigError: It can't be read, or lacks a place, or has an unknown one.
        """
        for file in self._files:
            self._template = read_prompt_template(Path(data.path(file)), PLACEHOLDERS, _REQUIRED)

    def questions(self, unit: Unit) -> Iterable[Question]:
        """One question per unit."""
        values = texts_of(unit)
        request = self._template.request(
            values,
            temperature=self._temperature,
            max_tokens=self._max_tokens,
            response_schema=self._response_schema,
        )
        yield Question(request)

    def verdict(self, unit: Unit, reply: Reply) -> Mapping[str, float]:
        """The rating.

        Raises:
            UnclearVerdict: The reply has none, or several that differ.
        """
        return {"rating": float(self._reader.read(reply.text, is_cut=reply.is_cut))}


def _reader(plain: Mapping[str, Any], scale: Mapping[str, float]) -> VerdictReader:
    """How replies are read; what the reader does not say of its scale, the judge's scale says."""
    kind = plain.get("kind", "rating")
    if kind == "preference":
        raise UsageError("judge 'rating' reads ratings; the judge 'pairwise' reads preferences")
    given = {"then": {"kind": "rating", **scale}} if kind == "json" else scale
    return verdict_reader({**given, **plain}, "judge 'rating'")
