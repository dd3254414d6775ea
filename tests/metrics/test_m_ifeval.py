from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import DataError, UsageError
from evalkit.metrics.ifeval import follows, follows_loosely
from evalkit.metrics.japanese_words import sentences
from evalkit.metrics.m_ifeval import _BY_CHARACTERS, _BY_WORDS, _RULES, MIfEvalJa
from tests.scoring.units import built, instance, over_run, unit

HAS_JANOME = importlib.util.find_spec("janome") is not None
needs_janome = pytest.mark.skipif(not HAS_JANOME, reason="janome is not installed")
CHARACTERS = {**_RULES, **_BY_CHARACTERS}
AT_LEAST, LESS = "以上", "未満"

# Instruction without `ja:`, arguments, a text that follows it, one that does not.
CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("combination:repeat_prompt", {"prompt_to_repeat": "何？ "}, " 何？それは", "はい。何？"),
    ("combination:two_responses", {}, "あ******い", "あ******あ"),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[名前][場所]", "［名前］［場所］"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "本文\np. s. 追伸", "PS 追伸"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S."}, "P.P.S. x", "P. P. S. x"),
    ("detectable_content:postscript", {"postscript_marker": "追伸"}, "本文\n追伸 x", "本文"),
    ("detectable_format:constrained_response", {}, "答え：はい、そうです。", "はい、そうです"),
    ("detectable_format:json_format", {}, '```json\n{"名前": "🙂"}\n```', "{名前: 1}"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "章", "num_sections": 2},
        "第1章 a 第２章 b",
        "第一章 第二章",
    ),
    ("detectable_format:nominal_ending", {"count": 2}, "これは本。それは傘！", "「本。」です。これは傘！"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "・あ\n ・い", "・あ\n- い"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "・あ\n・・い", "・あ\n・い"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "《あ》《い》", "《あ》《 》"),
    ("detectable_format:number_numbered_lists", {"num_items": 2}, "1. あ\n２. い", "1. あ\n2.い"),
    ("detectable_format:title", {}, "『題』本文", "『』「題」"),
    ("keywords:existence", {"keywords": ["夢", "現実"]}, "夢と現実", "夢だけ"),
    ("keywords:forbidden_words", {"forbidden_words": ["肌"]}, "顔です", "肌です"),
    ("keywords:frequency", {"keyword": "夢", "relation": AT_LEAST, "frequency": 2}, "夢の夢", "夢"),
    ("keywords:frequency", {"keyword": "夢", "relation": LESS, "frequency": 2}, "夢", "夢の夢"),
    (
        "keywords:letter_frequency",
        {"letter": "か", "let_relation": AT_LEAST, "let_frequency": 2},
        "かカ",
        "か",
    ),
    ("keywords:letter_frequency", {"letter": "か", "let_relation": LESS, "let_frequency": 2}, "かが", "カカ"),
    (
        "language:response_language",
        {"language": "ja"},
        "これは日本語の文章です。",
        "Das ist ein deutscher Satz.",
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"first_word": "首", "num_paragraphs": 2, "nth_paragraph": 2},
        "あ\n\n「首は長い」",
        "首\n\n足首",
    ),
    ("length_constraints:number_letters", {"relation": AT_LEAST, "num_letters": 3}, "あ\nい", "あい"),
    ("length_constraints:number_letters", {"relation": LESS, "num_letters": 2}, "🙂", "🙂🙂"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "あ\n***\nい", "あ***\n***い"),
    (
        "length_constraints:number_sentences",
        {"relation": AT_LEAST, "num_sentences": 2},
        "あ。い",
        "「あ。い。」と言う。",
    ),
    ("length_constraints:number_sentences", {"relation": LESS, "num_sentences": 2}, "彼の\n本。", "あ\nい"),
    ("letters:furigana", {}, "東京（とうきょう）へ", "東京（トウキョウ）へ"),
    ("letters:furigana", {}, "ひらがな", "東京(とうきょう)へ"),
    ("letters:hiragana_only", {}, "ひらがなー。1🙂", "ひらがなカ"),
    ("letters:kanji", {"relation": AT_LEAST, "kanji_limit": 2}, "漢字", "漢じ"),
    ("letters:kanji", {"relation": LESS, "kanji_limit": 2}, "字", "漢字"),
    ("letters:kansuuji", {}, "三つ", "３つ"),
    ("letters:katakana_only", {}, "カタカナ・ﾊﾝｶｸ。1", "カタかナ"),
    ("letters:no_hiragana", {}, "漢字カナ", "漢字か"),
    ("letters:no_katakana", {}, "漢字かな", "ｶﾅ"),
    ("punctuation:no_comma", {}, "はい，そう", "はい、そう"),
    ("punctuation:no_period", {}, "はい！", "はい。"),
    ("startend:end_checker", {"end_phrase": "終わりです。"}, "これで「終わりです。」 ", "終わりです。はい"),
    ("startend:quotation", {}, " 「全部」\n", "「半分」です"),
    ("startend:sentence_unified_end", {"ending": "です"}, "本です。傘です！", "本です。傘だ。"),
    ("startend:sentence_unified_end", {"ending": "です"}, "「行く。」です", "本です。\n"),
]


@pytest.mark.parametrize(("name", "arguments", "good", "bad"), CASES)
def test_the_rules(name: str, arguments: dict[str, Any], good: str, bad: str) -> None:
    assert follows(good, f"ja:{name}", arguments, CHARACTERS)
    assert not follows(bad, f"ja:{name}", arguments, CHARACTERS)
    assert not follows(" \n", f"ja:{name}", arguments, CHARACTERS)


@needs_janome
@pytest.mark.parametrize(
    ("name", "arguments", "good", "bad"), [c for c in CASES if f"ja:{c[0]}" in _BY_WORDS]
)
def test_the_rules_by_words(name: str, arguments: dict[str, Any], good: str, bad: str) -> None:
    checks = {**_RULES, **_BY_WORDS}
    assert follows(good, f"ja:{name}", arguments, checks)
    assert not follows(bad, f"ja:{name}", arguments, checks)


@needs_janome
def test_a_word_inside_a_word() -> None:
    arguments = {"keywords": ["京都"]}
    assert follows("東京都", "ja:keywords:existence", arguments, CHARACTERS)
    assert not follows("東京都", "ja:keywords:existence", arguments, {**_RULES, **_BY_WORDS})


def test_loose() -> None:
    text = "はい、答えます。\n「本文です」"
    assert not follows(text, "ja:startend:quotation", {}, CHARACTERS)
    assert follows_loosely(text, "ja:startend:quotation", {}, CHARACTERS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("これは、彼の\n本です。", ["これは、彼の本です。"]),
        ("「はい。そうです。」と言った。", ["「はい。そうです。」と言った。"]),
        ("なぜ？！そう！", ["なぜ?", "!", "そう!"]),
        ("一行目\n\n二行目\n", ["一行目", "二行目"]),
        ("（注。これ）です。次", ["(注。これ)です。", "次"]),
        ("『本。』読む。", ["『本。", "』読む。"]),
        ("3.5です。。次…そう", ["3.5です。", "。", "次…そう"]),
        ("「開く。閉じない", ["「開く。", "閉じない"]),
        ("の\nの\nあ", ["の", "の", "あ"]),
        ("", []),
    ],
)
def test_sentences_as_the_segmenter_of_the_official_script(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_all_33_rules_and_every_real_row(data_dir: Path) -> None:
    path = data_dir / "m_ifeval" / "ja_input_data.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    names = {name for row in rows for name in row["instruction_id_list"]}
    assert len(rows) == 172
    assert len(names) == 33
    assert names == set(CHARACTERS) == {*_RULES, *_BY_WORDS} == {f"ja:{name}" for name, *_ in CASES}
    metric, units = built("m_ifeval_ja", words="characters"), []
    for row in rows:
        extra = {"instruction_ids": row["instruction_id_list"], "instruction_kwargs": row["kwargs"]}
        asked = instance(extra=extra, name=str(row["key"]))
        metric.check(asked)
        units.append(unit(asked, row["prompt"]))
    followed = [metric.score(one) for one in units]
    run = over_run(metric, units)
    assert 0.1 < run["m_ifeval_ja_instruction_strict"] <= run["m_ifeval_ja_instruction_loose"] < 0.9
    prompt = sum(scores["m_ifeval_ja_prompt_strict"] for scores in followed) / len(rows)
    assert prompt != run["m_ifeval_ja_instruction_strict"]


def test_what_is_refused() -> None:
    metric = built("m_ifeval_ja", words="characters")
    with pytest.raises(DataError, match="unknown instruction ja:none"):
        metric.check(instance(extra={"instruction_ids": ["ja:none"], "instruction_kwargs": [{}]}))
    with pytest.raises(DataError, match="m_ifeval_ja"):
        metric.check(instance())
    arguments = {"relation": "at least", "num_letters": 3}
    with pytest.raises(DataError, match="neither '未満' nor '以上'"):
        follows("あ", "ja:length_constraints:number_letters", arguments, CHARACTERS)


@pytest.mark.skipif(HAS_JANOME, reason="janome is installed")
def test_without_janome_the_remedy_is_named() -> None:
    with pytest.raises(UsageError, match=r"janome; install it with: pip install 'evalkit\[japanese\]'"):
        MIfEvalJa.check_machine({})
    MIfEvalJa.check_machine({"words": "characters"})
