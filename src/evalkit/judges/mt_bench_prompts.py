"""The prompts of the judge of MT-Bench: those of FastChat's files, and evalkit's own.

There are eight, named as in FastChat's `judge_prompts.jsonl`: about one answer or about two, with a reference
answer or without, about the first turn or about the second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evalkit.data.fastchat import Language
from evalkit.data.rows import json_rows
from evalkit.errors import ConfigError, DataError
from evalkit.judges.prompt_template import PromptTemplate

Grading = Literal["single", "pairwise"]


@dataclass(frozen=True, slots=True)
class PromptKind:
    """What a prompt is about.

    Attributes:
        has_reference: Whether the judge reads reference answers.
        turn: The turn that is judged, 1 or 2.
    """

    grading: Grading
    has_reference: bool
    turn: int

    @property
    def name(self) -> str:
        """FastChat's name."""
        names = {"single": ("single-v1", "single-math-v1"), "pairwise": ("pair-v2", "pair-math-v1")}
        return names[self.grading][self.has_reference] + ("-multi-turn" if self.turn > 1 else "")

    @property
    def placeholders(self) -> tuple[str, ...]:
        """What such a prompt must show: the questions, the answers, and the references."""
        turns = ("",) if self.turn == 1 else ("_1", "_2")
        sides = ("",) if self.grading == "single" else ("_a", "_b")
        references = [f"ref_answer_{turn}" for turn in range(1, self.turn + 1)] if self.has_reference else []
        answers = [f"answer{side}{turn}" for side in sides for turn in turns]
        return (*(f"question{turn}" for turn in turns), *answers, *references)


def kinds(grading: Grading) -> tuple[PromptKind, ...]:
    """The four kinds of prompts for this grading."""
    return tuple(PromptKind(grading, is_guided, turn) for is_guided in (False, True) for turn in (1, 2))


def read_judge_prompts(paths: Iterable[Path], grading: Grading) -> dict[PromptKind, PromptTemplate]:
    """The prompts in files in FastChat's format; the first file that has a prompt gives it.

    Raises:
        DataError: A prompt is missing or unfit, or a file is damaged; names it.
    """
    fields = {"name": str, "system_prompt": str, "prompt_template": str}
    texts: dict[str, tuple[PromptTemplate, Path]] = {}
    for path in (paths := list(paths)):
        for row in json_rows(path, fields):
            template = PromptTemplate(row["prompt_template"], row["system_prompt"])
            texts.setdefault(row["name"], (template, path))
    found = {}
    for kind in kinds(grading):
        if kind.name not in texts:
            where = " and ".join(map(str, paths))
            raise DataError(f"{where}: there is no judge prompt '{kind.name}'")
        template, path = texts[kind.name]
        try:
            needed = kind.placeholders
            found[kind] = template.checked(needed, needed, f"{path}, prompt '{kind.name}'")
        except ConfigError as error:
            raise DataError(str(error)) from None
    return found


@dataclass(frozen=True, slots=True)
class _Words:
    """The sentences that evalkit's prompts are made of, in one language."""

    system: str
    task: Mapping[Grading, str]
    criteria: str
    guided: str
    second_turn: str
    fairness: str
    ending: Mapping[Grading, str]
    labels: Mapping[str, str]


_WORDS: Mapping[Language, _Words] = {
    "en": _Words(
        system="You are a strict and fair examiner who grades what AI assistants write.",
        task={
            "single": "Grade the assistant's answer below.",
            "pairwise": "Decide which of the two assistants below answers better.",
        },
        criteria=(
            "Look at whether it does what the user asks for, whether what it says is true, whether anything "
            "of importance is left out, and whether it is clear and pleasant to read."
        ),
        guided=(
            "What counts is whether the result is right and whether the way to it holds. Compare with the "
            "reference answer step by step, and name each mistake that you find."
        ),
        second_turn="Only what is said in the second turn counts; the first one shows what it is about.",
        fairness=(
            "Neither the order in which they stand, nor their names, nor the length of what they write may "
            "count."
        ),
        ending={
            "single": (
                "First give your reasons in a few sentences. Then write your grade, from 1 (of no use) to 10 "
                "(could hardly be better), in double square brackets, such as: Grade: [[6]]"
            ),
            "pairwise": (
                "First give your reasons in a few sentences. Then write [[A]] if assistant A is better, "
                "[[B]] if assistant B is better, and [[C]] if they are equally good."
            ),
        },
        labels={
            "question": "Question",
            "answer": "Answer",
            "answer_a": "Answer of assistant A",
            "answer_b": "Answer of assistant B",
            "ref_answer": "Reference answer",
        },
    ),
    "ja": _Words(
        system="あなたは、AIアシスタントの文章を厳正かつ公平に採点する試験官です。",
        task={
            "single": "次のアシスタントの回答を採点してください。",
            "pairwise": "次の二つのアシスタントのうち、どちらの回答が優れているかを判定してください。",
        },
        criteria=(
            "利用者の求めに応えているか、内容が正しいか、大切な点が抜けていないか、分かりやすく読みやすいかを見てください。"
            "質問が別の言語を求めていない限り、日本語で書かれていない回答は大きく減点してください。"
        ),
        guided=(
            "結果が正しいか、そこに至る過程に誤りがないかを重視してください。参照回答と一つずつ比べ、見つけた誤りをすべて挙げてください。"
            "プログラムや計算結果だけの回答を除き、日本語で書かれていない回答は減点してください。"
        ),
        second_turn="評価の対象は二回目のやり取りだけです。一回目は話の流れを示すために載せています。",
        fairness="並び順、名前、文章の長さを判定に影響させないでください。",
        ending={
            "single": (
                "まず理由を数文で述べ、そのあとに1（役に立たない）から10（ほぼ申し分ない）までの点数を、"
                "二重の角括弧に入れて書いてください。例：点数：[[6]]"
            ),
            "pairwise": (
                "まず理由を数文で述べ、そのあとに、アシスタントAが優れていれば[[A]]、アシスタントBが優れていれば[[B]]、"
                "同等であれば[[C]]と書いてください。"
            ),
        },
        labels={
            "question": "質問",
            "answer": "回答",
            "answer_a": "アシスタントAの回答",
            "answer_b": "アシスタントBの回答",
            "ref_answer": "参照回答",
        },
    ),
}


def own_prompts(language: Language, grading: Grading) -> dict[PromptKind, PromptTemplate]:
    """Evalkit's prompts, which need no file."""
    return {kind: _own_prompt(_WORDS[language], kind) for kind in kinds(grading)}


def _own_prompt(words: _Words, kind: PromptKind) -> PromptTemplate:
    gap = "" if words is _WORDS["ja"] else " "
    sentences = [
        words.task[kind.grading],
        words.guided if kind.has_reference else words.criteria,
        words.second_turn if kind.turn > 1 else "",
        words.fairness if kind.grading == "pairwise" else "",
        words.ending[kind.grading],
    ]
    blocks = [gap.join(filter(None, sentences))]
    for place in _reading_order(kind):
        name, _, turn = place.rpartition("_")
        label = words.labels[name if turn.isdecimal() else place]
        title = f"{label} {turn}" if turn.isdecimal() and kind.turn > 1 else label
        blocks.append(f"<<< {title} >>>\n{{{place}}}")
    return PromptTemplate("\n\n".join(blocks) + "\n\n<<< >>>", words.system)


def _reading_order(kind: PromptKind) -> list[str]:
    """The placeholders turn by turn: the question, its reference, the answers."""
    order = ("question", "ref_answer", "answer_a", "answer_b", "answer")

    def place_of(name: str) -> tuple[str, int]:
        stem, _, turn = name.rpartition("_")
        return (turn, order.index(stem)) if turn.isdecimal() else ("1", order.index(name))

    return sorted(kind.placeholders, key=place_of)
