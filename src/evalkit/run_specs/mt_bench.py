"""MT-Bench, English and Japanese, as FastChat and the Nejumi leaderboard ask it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

from evalkit.errors import UnknownNameError, UsageError
from evalkit.registry import run_spec_function
from evalkit.run_specs.given_texts import in_name, text_given
from evalkit.run_specs.layouts import dialogue
from evalkit.specs.run_spec import AdapterSpec, RunSpec, ScenarioSpec

Language = Literal["ja", "en"]

TEMPERATURES: Mapping[str, float] = {
    "writing": 0.7,
    "roleplay": 0.7,
    "extraction": 0.0,
    "math": 0.0,
    "coding": 0.0,
    "reasoning": 0.0,
    "stem": 0.1,
    "humanities": 0.1,
}
"""FastChat's temperatures by category."""
_OTHER_CATEGORIES = 0.7
_MAX_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class _Asked:
    """What an entry asks; the fields are the parameters of the run specs."""

    questions: str = ""
    system_message: str = ""
    temperatures: tuple[str, ...] = ()
    choices: int = 1
    question_begin: int | None = None
    question_end: int | None = None
    testmode: bool = False

    def suffix(self) -> str:
        """What differs from the defaults, as the name of a run says it."""
        changed = [
            (f.name, getattr(self, f.name)) for f in fields(self) if getattr(self, f.name) != f.default
        ]
        return ",".join(f"{name}={in_name(_plain(value))}" for name, value in changed)


@run_spec_function("mt_bench_en")
def mt_bench_en(
    questions: str = "",
    system_message: str = "",
    temperatures: tuple[str, ...] = (),
    choices: int = 1,
    question_begin: int | None = None,
    question_end: int | None = None,
    testmode: bool = False,
) -> RunSpec:
    """Two turns of open questions in eight categories, in English (MT-Bench).

    Args:
        questions: Questions of your own in FastChat's format: a path from / ~ or ., else below --data-dir.
        system_message: The system message, or @FILE that holds it.
        temperatures: Of categories for which FastChat's are not to hold, such as writing:0.9|math:0.1.
        choices: How many conversations about each question.
        question_begin: The position of the first question, from 0.
        question_end: The position behind the last question.
        testmode: Ask only the first question of each category, to try things out.
    """
    return _run_spec(
        "en",
        _Asked(questions, system_message, temperatures, choices, question_begin, question_end, testmode),
    )


@run_spec_function("mt_bench_ja")
def mt_bench_ja(
    questions: str = "",
    system_message: str = "",
    temperatures: tuple[str, ...] = (),
    choices: int = 1,
    question_begin: int | None = None,
    question_end: int | None = None,
    testmode: bool = False,
) -> RunSpec:
    """Two turns of open questions in eight categories, in Japanese (Japanese MT-Bench)."""
    return _run_spec(
        "ja",
        _Asked(questions, system_message, temperatures, choices, question_begin, question_end, testmode),
    )


mt_bench_ja.__doc__ = (
    f"{mt_bench_ja.__doc__}\n\nArgs:{(inspect.getdoc(mt_bench_en) or '').partition('Args:')[2]}"
)


def _run_spec(language: Language, asked: _Asked) -> RunSpec:
    name, suffix = f"mt_bench_{language}", asked.suffix()
    args = {
        "language": language,
        "questions": asked.questions,
        "question_begin": asked.question_begin,
        "question_end": asked.question_end,
        "testmode": asked.testmode,
    }
    return RunSpec(
        name=f"{name}:{suffix}" if suffix else name,
        scenario_spec=ScenarioSpec(name="mt_bench", args=args),
        adapter_spec=_adapter_spec(asked),
        groups=("mt_bench", name),
    )


def _adapter_spec(asked: _Asked) -> AdapterSpec:
    if asked.choices < 1:
        raise UsageError(f"choices={asked.choices}: at least 1 conversation must be had")
    own = _temperatures(asked.temperatures, is_known=not asked.questions)
    plain = dialogue("", max_tokens=_MAX_TOKENS).model_dump()
    return AdapterSpec.model_validate(
        {
            **plain,
            "instructions": text_given("system_message", asked.system_message),
            "temperature": _OTHER_CATEGORIES,
            "temperatures": {**TEMPERATURES, **own},
            "num_trials": asked.choices,
        }
    )


def _temperatures(given: Sequence[str], *, is_known: bool) -> dict[str, float]:
    """The temperatures of an entry, by category.

    Args:
        given: `category:temperature` each.
        is_known: Whether the categories are MT-Bench's; questions of one's own may have others.

    Raises:
        UsageError: One is not of that form, a category is given twice, or MT-Bench has no such category.
    """
    found: dict[str, float] = {}
    for text in given:
        category, colon, number = text.rpartition(":")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not colon or not 0 <= value < float("inf"):
            raise UsageError(f"temperatures: '{text}' is not category:temperature, such as writing:0.7")
        if is_known and category not in TEMPERATURES:
            raise UnknownNameError("category of MT-Bench", category, TEMPERATURES)
        if category in found:
            raise UsageError(f"temperatures: {category} is given twice")
        found[category] = value
    return found


def _plain(value: object) -> object:
    return "|".join(value) if isinstance(value, tuple) else value
