"""FastChat's files of MT-Bench: questions, reference answers and judge prompts, English and Japanese."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from evalkit.data.file import DataFile
from evalkit.data.rows import json_rows
from evalkit.errors import DataError

Language = Literal["ja", "en"]
MAX_TURNS = 2
"""FastChat's judge prompts are about one turn, or about the second of two."""

_ENGLISH = "https://raw.githubusercontent.com/lm-sys/FastChat/main/fastchat/llm_judge/data"
_JAPANESE = "https://raw.githubusercontent.com/Stability-AI/FastChat/jp-stable/fastchat/llm_judge/data"


def _file(path: str, url: str, sha256: str) -> DataFile:
    return DataFile(path, url=url, sha256=sha256)


QUESTIONS: Mapping[Language, DataFile] = {
    "en": _file(
        "mt_bench/question.jsonl",
        f"{_ENGLISH}/mt_bench/question.jsonl",
        "119565adbab82227089cefdb44c8d7e2cf04dc0a0ec233634c82e7d4e2a944f7",
    ),
    "ja": _file(
        "japanese_mt_bench/question_full.jsonl",
        f"{_JAPANESE}/japanese_mt_bench/question_full.jsonl",
        "8f56c8bd5ff93d2120409bc8f77f0020e673c74548c9637f2aace12a323834e5",
    ),
}
REFERENCES: Mapping[Language, DataFile] = {
    "en": _file(
        "mt_bench/reference_answer/gpt-4.jsonl",
        f"{_ENGLISH}/mt_bench/reference_answer/gpt-4.jsonl",
        "f957a5bc977badb66885ec970e6cd08527845780313f0995764260e5777b9b3f",
    ),
    "ja": _file(
        "japanese_mt_bench/reference_answer/gpt-4.jsonl",
        f"{_JAPANESE}/japanese_mt_bench/reference_answer/gpt-4.jsonl",
        "0631685c4ebc66390970588b658e4d19047fafb0a00ec1d841616686c07b0d6b",
    ),
}
_PROMPTS = _file(
    "mt_bench/judge_prompts.jsonl",
    f"{_ENGLISH}/judge_prompts.jsonl",
    "fd283293406d024f44c174b094ef48031d0687a4682fd3a56b29b138f80281b6",
)
_JAPANESE_PROMPTS = _file(
    "japanese_mt_bench/judge_ja_prompts.jsonl",
    f"{_JAPANESE}/judge_ja_prompts.jsonl",
    "a3ef723f4e282ced514c8919773549675f0c0f87a61e5a5f46c320b048803b40",
)
JUDGE_PROMPTS: Mapping[Language, Sequence[DataFile]] = {
    # The Japanese file has no prompts for second turns.
    "en": (_PROMPTS,),
    "ja": (_JAPANESE_PROMPTS, _PROMPTS),
}


@dataclass(frozen=True, slots=True)
class Question:
    """A question of MT-Bench.

    Attributes:
        turns: What the user says, turn by turn.
    """

    id: str
    category: str
    turns: tuple[str, ...]


def question_id(given: object) -> str:
    """The id of a question as text; FastChat's files have numbers, and numbers as texts.

    Raises:
        ValueError: It is neither a whole number nor a text.
    """
    if isinstance(given, str) and given.strip():
        return str(int(given)) if given.strip().isdecimal() else given.strip()
    if isinstance(given, int) and not isinstance(given, bool):
        return str(given)
    raise ValueError(f"a question_id must be a whole number or a text, not {given!r}")


def read_questions(path: Path) -> list[Question]:
    """The questions of a `question.jsonl`, in order.

    Raises:
        DataError: The file has another layout, or an id twice.
    """
    questions: dict[str, Question] = {}
    for row in json_rows(path, {"question_id": (int, str), "category": str, "turns": list}):
        name = _id_of(path, row)
        turns = row["turns"]
        if not 1 <= len(turns) <= MAX_TURNS or not all(isinstance(turn, str) for turn in turns):
            raise DataError(f"{path}: question {name} needs 1 or {MAX_TURNS} texts in 'turns'")
        if name in questions:
            raise DataError(f"{path}: two questions have the id {name}")
        questions[name] = Question(name, row["category"], tuple(turns))
    if not questions:
        raise DataError(f"{path} has no questions")
    return list(questions.values())


def read_answers(path: Path) -> dict[str, tuple[str, ...]]:
    """The turns of the first choice of each question in an answer file; of two rows, the last.

    Raises:
        DataError: The file has another layout.
    """
    answers: dict[str, tuple[str, ...]] = {}
    for row in json_rows(path, {"question_id": (int, str), "choices": list}):
        name = _id_of(path, row)
        first = row["choices"][0] if row["choices"] else None
        turns = first.get("turns") if isinstance(first, dict) else None
        if not isinstance(turns, list) or not turns or not all(isinstance(turn, str) for turn in turns):
            raise DataError(f"{path}: the answer to question {name} needs choices[0].turns, a list of texts")
        answers[name] = tuple(turns)
    return answers


def _id_of(path: Path, row: Mapping[str, Any]) -> str:
    try:
        return question_id(row["question_id"])
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
