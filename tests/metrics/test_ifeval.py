from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import DataError
from evalkit.metrics.ifeval import CHECKS, follows, follows_loosely
from tests.scoring.units import built, instance, over_run, unit

ENGLISH = "this is a plain sentence about the weather in spring"

# Instruction, arguments, a text that follows it, one that does not.
CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("keywords:existence", {"keywords": ["Cat", "dog"]}, "cats and DOGS", "cats"),
    ("keywords:frequency", {"keyword": "cat", "relation": "at least", "frequency": 2}, "Cat, cat", "cat"),
    ("keywords:frequency", {"keyword": "cat", "relation": "less than", "frequency": 2}, "cat", "cat cat"),
    ("keywords:forbidden_words", {"forbidden_words": ["cat"]}, "cats", "A Cat!"),
    (
        "keywords:letter_frequency",
        {"letter": "A", "let_relation": "at least", "let_frequency": 3},
        "aAa",
        "aa",
    ),
    ("keywords:letter_frequency", {"letter": "#", "let_relation": "less than", "let_frequency": 1}, "a", "#"),
    (
        "language:response_language",
        {"language": "de"},
        "Das ist ein ganz gewöhnlicher deutscher Satz.",
        ENGLISH,
    ),
    (
        "length_constraints:number_sentences",
        {"relation": "less than", "num_sentences": 2},
        "Go.",
        "Go. Stop.",
    ),
    (
        "length_constraints:number_sentences",
        {"relation": "at least", "num_sentences": 2},
        "It rains. It pours.",
        "It rains.",
    ),
    ("length_constraints:number_words", {"relation": "at least", "num_words": 3}, "one two three", "one two"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "***\na\n***\nb", "a\n***\n***\nb"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "well"},
        'a\n\n"Well, b',
        "a\n\nb well",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] [b]", "[a"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "a\nP. S. b", "PS b"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "p.p.s b", "p.s. b"),
    ("detectable_content:postscript", {"postscript_marker": "N.B."}, "n.b. b", "p.s. b"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n- b", "* a\n**b**"),
    ("detectable_format:constrained_response", {}, "So: My answer is no.", "My answer is perhaps."),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* *b*", "*a* ** **"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Section", "num_sections": 2},
        "Section 1 a\nSection 2 b",
        "Section a Section 2",
    ),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "{a: 1}"),
    ("detectable_format:title", {}, "<<a>>\nb", "<< >>\n<a>"),
    ("combination:two_responses", {}, "a\n******\nb", "a******a"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it "}, "say it: no", "no"),
    ("startend:end_checker", {"end_phrase": "The end."}, 'So. "the end."', "the end. Or not"),
    ("startend:quotation", {}, ' "a" ', '"a'),
    (
        "change_case:capital_word_frequency",
        {"capital_relation": "at least", "capital_frequency": 2},
        "NO, I say",
        "No, I say",
    ),
    ("change_case:english_capital", {}, ENGLISH.upper(), ENGLISH),
    ("change_case:english_lowercase", {}, ENGLISH, ENGLISH.title()),
    ("punctuation:no_comma", {}, "a b", "a, b"),
]


@pytest.mark.parametrize(("name", "arguments", "good", "bad"), CASES)
def test_each_instruction(name: str, arguments: dict[str, Any], good: str, bad: str) -> None:
    assert follows(good, name, arguments)
    assert not follows(bad, name, arguments)
    assert not follows("  ", name, arguments)


def test_all_25_instructions_of_the_benchmark_are_known(data_dir: Path) -> None:
    text = (data_dir / "ifeval" / "input_data.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    assert set(CHECKS) == {name for row in rows for name in row["instruction_id_list"]}
    assert set(CHECKS) == {name for name, *_ in CASES}
    assert len(CHECKS) == 25
    metric = built("ifeval")
    for row in rows:
        extra = {"instruction_ids": row["instruction_id_list"], "instruction_kwargs": row["kwargs"]}
        asked = instance(extra=extra, name=f"id{row['key']}")
        metric.check(asked)
        if row["key"] % 10 == 0:
            assert 0 <= metric.score(unit(asked, row["prompt"]))["ifeval_strict_accuracy"] <= 1


def test_loosely_a_first_or_last_line_and_asterisks_may_be_dropped() -> None:
    quotation: tuple[str, dict[str, Any]] = ("startend:quotation", {})
    for text in ('Sure:\n"a"', '"a"\nBye', 'Sure:\n"a"\nBye', '**"a"**'):
        assert not follows(text, *quotation)
        assert follows_loosely(text, *quotation)
    assert not follows_loosely("a", *quotation)


def test_scores_per_prompt_and_over_all_instructions() -> None:
    metric = built("ifeval")
    kwargs = [{"num_bullets": None}, {"num_words": 2, "relation": "at least"}]
    ids = ["punctuation:no_comma", "length_constraints:number_words"]
    two = instance(extra={"instruction_ids": ids, "instruction_kwargs": kwargs})
    one = instance(extra={"instruction_ids": ids[:1], "instruction_kwargs": kwargs[:1]})
    half, full = unit(two, "Sure, yes"), unit(one, "Hm, yes\nno comma")
    assert metric.score(half) == {
        "ifeval_strict_accuracy": 0.5,
        "ifeval_prompt_strict": 0,
        "ifeval_prompt_loose": 0,
    }
    assert metric.score(full)["ifeval_prompt_loose"] == 1
    assert over_run(metric, [half, full]) == {
        "ifeval_instruction_strict": pytest.approx(1 / 3),
        "ifeval_instruction_loose": pytest.approx(2 / 3),
    }


def test_what_can_not_be_checked_is_refused() -> None:
    metric = built("ifeval")
    with pytest.raises(DataError, match="'id0' has none"):
        metric.check(instance("x"))
    with pytest.raises(DataError, match="unknown instruction punctuation:commas"):
        metric.check(instance(extra={"instruction_ids": ["punctuation:commas"], "instruction_kwargs": [{}]}))
    with pytest.raises(DataError, match="no argument 'keywords'"):
        follows("x", "keywords:existence", {})
    with pytest.raises(DataError, match="no pattern"):
        follows("x", "keywords:existence", {"keywords": ["("]})
    with pytest.raises(DataError, match="neither 'less than' nor"):
        follows("x", "length_constraints:number_words", {"relation": "over", "num_words": 1})


def test_languages_are_told_alike_every_time() -> None:
    text = "ja nein vielleicht no si maybe"
    answers = {follows(text, "language:response_language", {"language": "de"}) for _ in range(5)}
    assert len(answers) == 1
    assert follows("1 2 3", "language:response_language", {"language": "de"})
