"""From a judge's reply to its verdict, by rules that are the same for every judge.

A reader is a small configuration with one method, `read`. It gives the verdict or raises `UnclearVerdict`:
it never guesses, never moves a verdict into its scale, and never gives a number that means "none". Thinking
is not part of a reply. Several verdicts in one reply count as one where they say the same, and are unclear
where they differ.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from evalkit.errors import ConfigError, UnclearVerdict
from evalkit.judges.json_schema import JsonSchema
from evalkit.notation.json_objects import RepeatedKeyError, json_objects
from evalkit.notation.numbers import number_of
from evalkit.notation.preferences import Preference, bracketed_preferences, stated_preferences
from evalkit.notation.ratings import Rating, bracketed_ratings, distinct, stated_ratings
from evalkit.thinking import is_only_thinking, without_thinking

Verdict = float | Preference
"""A rating on a scale, or which of two answers is preferred."""

_LONGEST_SHOWN = 60


class _Reader(BaseModel):
    """What all readers share."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    def read(self, reply: str, *, is_cut: bool = False) -> Verdict:
        """The verdict of a reply.

        Args:
            reply: What the judge said.
            is_cut: Whether it ends where the length limit was: what is at its end may have gone on, and
                another verdict may have followed one in words.

        Raises:
            UnclearVerdict: There is none, or several that differ, or one that the scale does not have.
        """
        answer = without_thinking(reply)
        if not answer.strip():
            ending = "ends within its thinking" if is_only_thinking(reply) else "is empty"
            raise UnclearVerdict(f"the reply {ending}")
        try:
            return self._verdict(answer, is_cut)
        except UnclearVerdict as error:
            if is_cut:
                raise UnclearVerdict(f"{error}; it was cut off at its length limit") from None
            raise

    def _verdict(self, answer: str, is_cut: bool) -> Verdict:
        raise NotImplementedError


class _Scale(_Reader):
    """A reader whose verdicts are numbers between two ends, both included.

    Attributes:
        low: The lowest verdict.
        high: The highest.
        step: Verdicts are `low` plus whole multiples of it; None: any number between the ends.
    """

    low: float = 1
    high: float = 10
    step: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> _Scale:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(
                f"the scale from {self.low:g} to {self.high:g} has no room; low must be below high"
            )
        return self

    def on_scale(self, value: Fraction, shown: str) -> float:
        """The value, if the scale has it.

        Raises:
            UnclearVerdict: It does not; says what is written.
        """
        low = Fraction(str(self.low))
        if not low <= value <= Fraction(str(self.high)):
            raise UnclearVerdict(f"{_short(shown)} is outside the scale from {self.low:g} to {self.high:g}")
        if self.step is not None and (value - low) % Fraction(str(self.step)):
            raise UnclearVerdict(f"{_short(shown)} is between two steps of {self.step:g}")
        return float(value)


class RatingReader(_Scale):
    """Reads a rating: `[[7]]`, `[[ 8 ]]`, `[[10/10]]`, `[[7.5]]`, `［［８］］`, else `Rating: 8`, `評価：８`.

    A fraction means "of": its lower number must be the top of the scale. Ratings on another scale,
    percentages and ranges are unclear.

    Attributes:
        prose: Whether a reply without double brackets may state its rating in words.
    """

    kind: Literal["rating"] = "rating"
    prose: bool = True

    def _verdict(self, answer: str, is_cut: bool) -> float:
        found = bracketed_ratings(answer)
        if not found and self.prose and not is_cut:
            found = stated_ratings(answer)
        if not found:
            raise UnclearVerdict(
                "the reply states no rating" if self.prose and not is_cut else "the reply has no [[rating]]"
            )
        values = {self._value(rating): rating for rating in distinct(found)}
        if len(values) > 1:
            shown = ", ".join(_short(rating.text) for rating in values.values())
            raise UnclearVerdict(f"the reply has several ratings: {_short(shown)}")
        return next(iter(values))

    def _value(self, rating: Rating) -> float:
        if rating.value is None:
            raise UnclearVerdict(f"{_short(rating.text)} is not one rating")
        if rating.top is not None and rating.top != Fraction(str(self.high)):
            raise UnclearVerdict(f"{_short(rating.text)} is on a scale up to {rating.top}, not {self.high:g}")
        return self.on_scale(rating.value, rating.text)


class PreferenceReader(_Reader):
    """Reads which of two answers is better: `[[A]]`, `[[B]]`, `[[C]]` or `[[tie]]`, else `Verdict: A`.

    Attributes:
        ties: Whether a tie is a verdict.
        prose: Whether a reply without double brackets may state its verdict in words.
    """

    kind: Literal["preference"] = "preference"
    ties: bool = True
    prose: bool = True

    def _verdict(self, answer: str, is_cut: bool) -> Preference:
        found = bracketed_preferences(answer)
        if not found and self.prose and not is_cut:
            found = stated_preferences(answer)
        if not found:
            raise UnclearVerdict(
                "the reply states no preference"
                if self.prose and not is_cut
                else "the reply has no [[A]] or [[B]]"
            )
        different = list(dict.fromkeys(found))
        if len(different) > 1:
            raise UnclearVerdict(f"the reply has several verdicts: {', '.join(different)}")
        if different[0] == "tie" and not self.ties:
            raise UnclearVerdict("the reply calls it a tie, which this judge must not")
        return different[0]


class PatternReader(_Scale):
    """Reads what a regular expression finds; the first expression that is found at all decides.

    Attributes:
        patterns: Tried in order. The verdict is the group `verdict`, else the first group, else all of the
            match.
        values: The number of each text that may be found, compared without case and blanks around it; None:
            what is found must be a number.
        which: Which match of the deciding expression counts; "only": all must say the same.
    """

    kind: Literal["patterns"] = "patterns"
    patterns: tuple[str, ...] = Field(min_length=1)
    values: dict[str, float] | None = None
    which: Literal["only", "first", "last"] = "only"

    @field_validator("patterns")
    @classmethod
    def _compile(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for position, pattern in enumerate(patterns):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"pattern {position + 1} is not a regular expression: {error}") from None
        return patterns

    def _verdict(self, answer: str, is_cut: bool) -> float:
        goes_on = is_cut and (answer[-1].isalnum() or answer[-1] in ".,/")
        for pattern in self.patterns:
            matches = re.finditer(pattern, answer)
            found = [_captured(match) for match in matches if not (goes_on and match.end() == len(answer))]
            if not found:
                continue
            chosen = found if self.which == "only" else [found[0 if self.which == "first" else -1]]
            values = {self._value(text): text for text in chosen}
            if len(values) > 1:
                raise UnclearVerdict(f"the reply has several verdicts: {_short(', '.join(values.values()))}")
            return next(iter(values))
        raise UnclearVerdict("no pattern is found in the reply")

    def _value(self, text: str) -> float:
        if self.values is not None:
            folded = {name.strip().casefold(): value for name, value in self.values.items()}
            if (value := folded.get(text.strip().casefold())) is None:
                raise UnclearVerdict(f"{_short(text)} is not one of {', '.join(self.values)}")
            return value
        number = number_of(text)
        if number is None:
            raise UnclearVerdict(f"{_short(text)} is not a number")
        return self.on_scale(number, text)


class JsonReader(_Reader):
    """Reads one field of a JSON object that satisfies a schema.

    The object may be all of the reply, stand in a fenced block, or between sentences. Objects that don't
    satisfy the schema are passed over if another does.

    Attributes:
        field: The name of the field; `scores.overall` for one within another.
        answer_schema: What the object must satisfy, `schema` in a file.
        values: The number of each text that the field may have.
        then: How the field is read: a number must be on its scale; a text goes through this reader.
    """

    kind: Literal["json"] = "json"
    field: str = "rating"
    answer_schema: JsonSchema = Field(default=JsonSchema(), alias="schema")
    values: dict[str, float] | None = None
    then: RatingReader | PreferenceReader = Field(default=RatingReader())

    _LONGEST_REASONS: ClassVar[int] = 3

    def _verdict(self, answer: str, is_cut: bool) -> Verdict:
        try:
            objects = json_objects(answer)
        except RepeatedKeyError as error:
            raise UnclearVerdict(f"the reply's JSON contradicts itself: {error}") from None
        if not objects:
            raise UnclearVerdict("the reply holds no JSON object")
        faults = [list(self.answer_schema.faults(each)) for each in objects]
        valid = [each for each, wrong in zip(objects, faults, strict=True) if not wrong]
        if not valid:
            raise UnclearVerdict(f"the reply's JSON: {'; '.join(faults[-1][: self._LONGEST_REASONS])}")
        verdicts = list(dict.fromkeys(self._of(each) for each in valid))
        if len(verdicts) > 1:
            raise UnclearVerdict(f"the reply has several verdicts: {', '.join(map(str, verdicts))}")
        return verdicts[0]

    def _of(self, plain: Mapping[str, Any]) -> Verdict:
        value: Any = plain
        for part in self.field.split("."):
            if not isinstance(value, Mapping) or part not in value:
                raise UnclearVerdict(f"the reply's JSON lacks '{self.field}'")
            value = value[part]
        if self.values is not None:
            names = {name.strip().casefold(): number for name, number in self.values.items()}
            said = str(value).strip().casefold() if isinstance(value, str | bool) else None
            if said not in names:
                raise UnclearVerdict(
                    f"'{self.field}' is {_short(repr(value))}, not one of {', '.join(self.values)}"
                )
            return names[said]
        if isinstance(value, str):
            return self.then.read(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise UnclearVerdict(f"'{self.field}' is {_short(repr(value))}, not a verdict")
        if isinstance(self.then, PreferenceReader):
            raise UnclearVerdict(f"'{self.field}' is the number {value:g}, not a preference")
        return self.then.on_scale(Fraction(str(value)), str(value))


VerdictReader = RatingReader | PreferenceReader | PatternReader | JsonReader
"""How replies are read. All of it belongs to the digest of the scores, nothing to that of the requests."""

_ANY_READER: TypeAdapter[VerdictReader] = TypeAdapter(Annotated[VerdictReader, Field(discriminator="kind")])


def verdict_reader(plain: Mapping[str, Any], source: str) -> VerdictReader:
    """The reader that a configuration describes: `{"kind": "rating", "low": 0, "high": 5}`.

    Args:
        plain: `kind` is rating, preference, patterns or json; the rest are that reader's attributes.
        source: Where it is written, for errors.

    Raises:
        ConfigError: It is not a reader; names the place and what is allowed.
    """
    try:
        return _ANY_READER.validate_python({"kind": "rating", **plain})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"][1:]) or "kind"
        raise ConfigError(f"{source}: verdict reader, '{place}': {first['msg']}") from None


def _captured(match: re.Match[str]) -> str:
    if "verdict" in match.re.groupindex:
        return match["verdict"] or ""
    return (match[1] or "") if match.re.groups else match[0]


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= _LONGEST_SHOWN else f"{plain[:_LONGEST_SHOWN]}…"
