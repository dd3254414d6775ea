from __future__ import annotations

import pytest

import evalkit.metrics.jaster  # noqa: F401 - registers char_f1
from evalkit.errors import DataError, UsageError
from evalkit.metrics.jaster_answers import AnswerReader
from tests.scoring.units import built, instance


@pytest.mark.parametrize(
    ("dataset", "completion", "answer"),
    [
        ("jnli", "\n\n Entailment \n\nreason", "entailment"),
        ("jcommonsenseqa", "\n\n2\n\n3", "2"),
        ("wiki_ner", " 東京（地名）\n\nx", "東京(地名)"),
        ("jemhopqa", "回答:答え: YES", "yes"),
        ("niilc", "応答： 東京", "応答: 東京"),  # a full-width colon is none of the original's words
        ("jmmlu_anatomy", "回答: b", "B"),
        ("jmmlu", "回答: b", "回答: b"),
        ("mmlu_en_anatomy", "ANSWER: c", "C"),
        ("mmlu_en_anatomy", "Answer: c", "ANSWER: C"),
        ("mgsm", "\n\n5", ""),
        ("mgsm", " ５ ", "5"),
        ("chabsa", "\"'A社 positive'\"", "'A社 positive'"),
        ("chabsa", "'\"A社 positive\"'", "A社 positive"),
        ("", "{x}\n🙂\n\ny", "{x}\n🙂"),
        ("", "", ""),
    ],
)
def test_the_original(dataset: str, completion: str, answer: str) -> None:
    assert AnswerReader(dataset).predicted(completion) == answer


def test_a_right_answer_only_gets_nfkc() -> None:
    assert AnswerReader("jemhopqa").right(" 'ＹＥＳ' \n\nx") == " 'YES' \n\nx"
    assert AnswerReader("jemhopqa", "corrected").right("ＹＥＳ") == "yes"
    assert AnswerReader("jmmlu", "corrected").right("a") == "A"


def test_corrected() -> None:
    assert AnswerReader("mgsm", "corrected").predicted("\n\n5\n\n6") == "5"
    assert AnswerReader("jmmlu", "corrected").predicted("\n\n回答: b") == "B"
    assert AnswerReader("mmlu_en", "corrected").predicted("ANSWER: b") == "B"
    assert AnswerReader("jnli", "corrected").predicted("Neutral") == "neutral"


def test_as_generated() -> None:
    assert AnswerReader("jnli", "as_generated").predicted(" 'Ａ'\n\nb ") == "'A'\n\nb"


@pytest.mark.parametrize(
    ("pattern", "completion", "answer"),
    [
        (r"<answer>(.*?)</answer>", "I think\n\n<answer>\n5 </answer>\n\n6", "5"),
        (r"<answer>(.*?)</answer>", "5", ""),
        (r"[A-D]", "It is B, not C", "B"),
        (r"^(.*?)(?=\n\n|\Z)", "a\nb\n\nc", "a\nb"),
        (r"(A)|B", "B", ""),
    ],
)
def test_patterns(pattern: str, completion: str, answer: str) -> None:
    assert AnswerReader("mgsm", pattern=pattern).predicted(completion) == answer


def test_what_is_refused() -> None:
    with pytest.raises(UsageError, match="not a regular expression"):
        built("char_f1", pattern="(")
    with pytest.raises(UsageError, match="as_generated"):
        built("char_f1", answers="other")
    with pytest.raises(DataError, match="id0"):
        built("char_f1").check(instance(wrong=["x"]))
