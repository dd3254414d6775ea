"""Whether a Japanese answer follows its instructions: the 33 kinds of M-IFEval (arXiv:2502.04688)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Literal

from evalkit.errors import DataError
from evalkit.metrics.ifeval import CHECKS, Arguments, Check, InstructionMetric
from evalkit.metrics.japanese_words import sentences, words
from evalkit.registry import metric
from evalkit.scoring.optional_packages import require_module

Words = Literal["janome", "characters"]

_CONSTRAINED = ("はい、そうです。", "いいえ、違います。", "どちらとも言えません。")
_KANJI = "一-龯"  # U+4E00 to U+9FAF
_QUOTED = re.compile(r"「.*?」|『.*?』")
_SENTENCE_END = re.compile(r"[。！？]")
_TO_KATAKANA = 96
_NOUN_LIKE = re.compile(rf"[{_KANJI}ァ-ヺー]")


@metric("m_ifeval_ja", needs=("langdetect",))
class MIfEvalJa(InstructionMetric):
    """The share of Japanese instructions followed, strictly and loosely, per prompt and over all of them.

    Gives, per prompt, `m_ifeval_ja_strict_accuracy` (the share of its instructions that are followed),
    `m_ifeval_ja_prompt_strict` and `m_ifeval_ja_prompt_loose` (whether all are); over all prompts,
    `m_ifeval_ja_instruction_strict`, which is Nejumi's score, and `m_ifeval_ja_instruction_loose`. Loose as
    in `ifeval`. An empty answer follows nothing.

    Instructions are in `Instance.extra`: `instruction_ids` (`ja:letters:hiragana_only`, …), and
    `instruction_kwargs` in the same order. The rules are the official script's. langdetect
    recognises languages, with a fixed seed; the official script has none.

    Args:
        words: `janome`: keywords are whole words, and a nominal ending is a noun before `。`, `！` or `？`,
            by janome as in the official script; needs the extra `japanese`. `characters`: a keyword may be
            inside a word, and a kanji or katakana before `。`, `！` or `？` is a nominal ending.
    """

    prefix = "m_ifeval_ja"

    def __init__(self, words: Words = "janome") -> None:
        super().__init__({**_RULES, **(_BY_WORDS if words == "janome" else _BY_CHARACTERS)})

    @classmethod
    def check_machine(cls, args: Mapping[str, Any]) -> None:
        """Refuse a machine without janome, unless characters are enough.

        Raises:
            UsageError: It is not installed; says how to.
        """
        if args.get("words", "janome") == "janome":
            require_module("janome", "the metric m_ifeval_ja (unless words=characters)", "japanese")


def _compared(count: int, relation: str, bound: int) -> bool:
    if relation not in ("未満", "以上"):
        raise DataError(f"'{relation}' is neither '未満' nor '以上'")
    return count < bound if relation == "未満" else count >= bound


def _num_matches(pattern: str, text: str) -> int:
    return len(re.findall(pattern, text, re.MULTILINE))


def _letter_frequency(text: str, arguments: Arguments) -> bool:
    """Hiragana, and the same letter in katakana."""
    letter = arguments["letter"]
    count = text.count(letter) + text.count(chr(ord(letter) + _TO_KATAKANA))
    return _compared(count, arguments["let_relation"], arguments["let_frequency"])


def _postscript(text: str, arguments: Arguments) -> bool:
    marker = arguments["postscript_marker"].strip()
    patterns = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
    return re.search(patterns.get(marker, re.escape(marker)), text, re.IGNORECASE) is not None


def _num_highlights(text: str, arguments: Arguments) -> bool:
    found = re.findall(r"《[^\n《》]*》", text)
    return sum(bool(one.strip("《》").strip()) for one in found) >= int(arguments["num_highlights"])


def _num_sections(text: str, arguments: Arguments) -> bool:
    splitter = arguments["section_spliter"].strip()
    return len(re.findall(rf"第\d+{splitter}", text)) >= int(arguments["num_sections"])


def _title(text: str, arguments: Arguments) -> bool:
    return any(one.lstrip("『").rstrip("』").strip() for one in re.findall(r"『[^\n]+』", text))


def _paragraph_first_word(text: str, arguments: Arguments) -> bool:
    paragraphs, wanted = text.split("\n\n"), arguments["nth_paragraph"]
    num_full = sum(bool(part.strip()) for part in paragraphs)
    if wanted > num_full or not (paragraph := paragraphs[wanted - 1].strip()):
        return False
    begins = paragraph.lstrip("「").lstrip("『").startswith(str(arguments["first_word"]).lower())
    return begins and num_full == int(arguments["num_paragraphs"])


def _furigana(text: str, arguments: Arguments) -> bool:
    return _num_matches(f"[{_KANJI}]+", text) == _num_matches(f"[{_KANJI}]+（[ぁ-ん]+）", text)


def _only(is_of_script: Callable[[str], bool]) -> Check:
    """Whether all letters belong to a script; other signs may be anywhere."""
    return lambda text, _: all(
        is_of_script(char) or not unicodedata.category(char).startswith("L") for char in text
    )


def _is_hiragana(char: str) -> bool:
    return "ぁ" <= char <= "ん" or char == "ー"


def _is_katakana(char: str) -> bool:
    return "ァ" <= char <= "ン" or char in "ー・" or "ｦ" <= char <= "ﾟ"


def _no_katakana(text: str, arguments: Arguments) -> bool:
    return re.search("[ァ-ヺｦ-ﾟ]", text) is None


def _end_phrase(text: str, arguments: Arguments) -> bool:
    return text.strip().strip("」』").endswith(arguments["end_phrase"].strip().strip("」』"))


def _unified_end(text: str, arguments: Arguments) -> bool:
    parts = _SENTENCE_END.split(_QUOTED.sub("", text))
    return all(part.endswith(arguments["ending"]) for part in parts if part)


def _has_words(text: str, arguments: Arguments) -> bool:
    return {word.surface for word in words(text)}.issuperset(arguments["keywords"])


def _word_frequency(text: str, arguments: Arguments) -> bool:
    count = sum(word.surface == arguments["keyword"].strip() for word in words(text))
    return _compared(count, arguments["relation"], arguments["frequency"])


def _no_forbidden_words(text: str, arguments: Arguments) -> bool:
    return {word.surface for word in words(text)}.isdisjoint(arguments["forbidden_words"])


def _nominal_endings(text: str, arguments: Arguments) -> bool:
    found = words(_QUOTED.sub("", text))
    count = sum(word.is_noun and end.surface in "。！？" for word, end in pairwise(found))
    return count >= int(arguments["count"])


def _nominal_endings_by_characters(text: str, arguments: Arguments) -> bool:
    parts = _SENTENCE_END.split(_QUOTED.sub("", text))[:-1]
    return sum(bool(part and _NOUN_LIKE.match(part[-1])) for part in parts) >= int(arguments["count"])


_BY_WORDS: Mapping[str, Check] = {
    "ja:keywords:existence": _has_words,
    "ja:keywords:frequency": _word_frequency,
    "ja:keywords:forbidden_words": _no_forbidden_words,
    "ja:detectable_format:nominal_ending": _nominal_endings,
}
_BY_CHARACTERS: Mapping[str, Check] = {
    "ja:keywords:existence": lambda text, args: all(word in text for word in args["keywords"]),
    "ja:keywords:frequency": lambda text, args: _compared(
        text.count(args["keyword"].strip()), args["relation"], args["frequency"]
    ),
    "ja:keywords:forbidden_words": lambda text, args: not any(w in text for w in args["forbidden_words"]),
    "ja:detectable_format:nominal_ending": _nominal_endings_by_characters,
}
_RULES: Mapping[str, Check] = {
    # The same as in English.
    **{
        f"ja:{name}": CHECKS[name]
        for name in (
            "combination:two_responses",
            "detectable_content:number_placeholders",
            "detectable_format:json_format",
            "language:response_language",
            "length_constraints:number_paragraphs",
        )
    },
    "ja:combination:repeat_prompt": lambda text, args: text.strip().startswith(
        args["prompt_to_repeat"].strip()
    ),
    "ja:detectable_content:postscript": _postscript,
    "ja:detectable_format:constrained_response": lambda text, _: any(one in text for one in _CONSTRAINED),
    "ja:detectable_format:multiple_sections": _num_sections,
    "ja:detectable_format:number_bullet_lists": lambda text, args: (
        _num_matches(r"^\s*・[^・].*$", text) == args["num_bullets"]
    ),
    "ja:detectable_format:number_highlighted_sections": _num_highlights,
    "ja:detectable_format:number_numbered_lists": lambda text, args: (
        _num_matches(r"^\s*\d+\.\s.*$", text) == args["num_items"]
    ),
    "ja:detectable_format:title": _title,
    "ja:keywords:letter_frequency": _letter_frequency,
    "ja:length_constraints:nth_paragraph_first_word": _paragraph_first_word,
    "ja:length_constraints:number_letters": lambda text, args: _compared(
        len(text), args["relation"], args["num_letters"]
    ),
    "ja:length_constraints:number_sentences": lambda text, args: _compared(
        len(sentences(text)), args["relation"], args["num_sentences"]
    ),
    "ja:letters:furigana": _furigana,
    "ja:letters:hiragana_only": _only(_is_hiragana),
    "ja:letters:kanji": lambda text, args: _compared(
        _num_matches(f"[{_KANJI}]", text), args["relation"], args["kanji_limit"]
    ),
    "ja:letters:kansuuji": lambda text, _: re.search(r"\d", text) is None,
    "ja:letters:katakana_only": _only(_is_katakana),
    "ja:letters:no_hiragana": lambda text, _: re.search("[ぁ-ゖ]", text) is None,
    "ja:letters:no_katakana": _no_katakana,
    "ja:punctuation:no_comma": lambda text, _: "、" not in text,
    "ja:punctuation:no_period": lambda text, _: "。" not in text,
    "ja:startend:end_checker": _end_phrase,
    "ja:startend:quotation": lambda text, _: (
        len(text.strip()) > 1 and text.strip()[0] == "「" and text.strip()[-1] == "」"
    ),
    "ja:startend:sentence_unified_end": _unified_end,
}
