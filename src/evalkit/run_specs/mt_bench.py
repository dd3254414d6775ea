"""MT-Bench, English and Japanese, as FastChat and the Nejumi leaderboard ask it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

from evalkit.errors import UnknownNameError, UsageError
from evalkit.registry import run_spec_function
from evalkit.run_specs.entry_texts import in_name, text_given
from evalkit.run_specs.layouts import dialogue
from evalkit.specs.run_spec import AdapterSpec, JudgeSpec, RunSpec, ScenarioSpec

Language = Literal["ja", "en"]
Grading = Literal["single", "pairwise-baseline", "pairwise-all"]
Reading = Literal["evalkit", "fastchat"]

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
_REFERENCE_CATEGORIES = ("math", "reasoning", "coding")


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
    grading: Grading = "single"
    opponents: tuple[str, ...] = ()
    references: str = ""
    reference_categories: tuple[str, ...] = _REFERENCE_CATEGORIES
    judge_prompts: tuple[str, ...] = ()
    judgements: int = 1
    reading: Reading = "evalkit"

    def suffix(self) -> str:
        """What differs from the defaults, as the name of a run says it."""
        changed = [
            (f.name, getattr(self, f.name)) for f in fields(self) if getattr(self, f.name) != f.default
        ]
        return ",".join(f"{name}={in_name(_plain(value))}" for name, value in changed)


def _register(language: Language, what: str) -> None:
    """Make the run spec of a language."""

    def run_spec(  # noqa: PLR0913 - one argument per option of an entry
        questions: str = "",
        system_message: str = "",
        temperatures: tuple[str, ...] = (),
        choices: int = 1,
        question_begin: int | None = None,
        question_end: int | None = None,
        testmode: bool = False,
        grading: Grading = "single",
        opponents: tuple[str, ...] = (),
        references: str = "",
        reference_categories: tuple[str, ...] = _REFERENCE_CATEGORIES,
        judge_prompts: tuple[str, ...] = (),
        judgements: int = 1,
        reading: Reading = "evalkit",
    ) -> RunSpec:
        """Ask two turns of open questions in eight categories, WHAT; judge=DEPLOYMENT grades them.

        Args:
            questions: Questions of your own in FastChat's format: a path from / ~ or ., or below --data-dir.
            system_message: The system message, or @FILE that holds it.
            temperatures: Of categories for which FastChat's are not to hold, such as writing:0.9|math:0.1.
            choices: How many conversations about each question.
            question_begin: The position of the first question, from 0.
            question_end: The position behind the last question.
            testmode: Ask only the first question of each category, to try things out.
            grading: Rate each turn, or compare it with that of one opponent, or of several.
            opponents: For comparisons, answer files in FastChat's format, as FILE|FILE.
            references: Reference answers in FastChat's format; none for none, as for questions of your own.
            reference_categories: The categories in which the judge reads a reference answer.
            judge_prompts: Prompts in FastChat's format, as FILE|FILE; evalkit for evalkit's own.
            judgements: How many judgements of each turn.
            reading: How ratings are read: by evalkit's rules, or any number in brackets, as FastChat does.
        """
        asked = _Asked(
            questions,
            system_message,
            temperatures,
            choices,
            question_begin,
            question_end,
            testmode,
            grading,
            opponents,
            references,
            reference_categories,
            judge_prompts,
            judgements,
            reading,
        )
        return _run_spec(language, asked)

    name = f"mt_bench_{language}"
    run_spec.__doc__ = (inspect.getdoc(run_spec) or "").replace("WHAT", what)
    run_spec.__qualname__ = run_spec.__name__ = name
    run_spec_function(name)(run_spec)


_register("en", "in English (MT-Bench)")
_register("ja", "in Japanese (Japanese MT-Bench)")


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
        judge_specs=(_judge_spec(language, asked),),
        groups=("mt_bench", name),
    )


def _judge_spec(language: Language, asked: _Asked) -> JudgeSpec:
    if asked.judgements < 1:
        raise UsageError(f"judgements={asked.judgements}: each turn needs at least 1")
    args = {
        "language": language,
        "grading": asked.grading,
        # FastChat's answers are to its own questions, whose ids others may have too.
        "references": asked.references or ("none" if asked.questions else ""),
        "reference_categories": asked.reference_categories,
        "judge_prompts": asked.judge_prompts,
        "opponents": asked.opponents,
        "reading": asked.reading,
    }
    return JudgeSpec(name="mt_bench", args=args, num_opinions=asked.judgements, is_optional=True)


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
