"""Whether an answer follows its instructions: the 25 verifiable instructions of IFEval (arXiv:2311.07911)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

from evalkit.errors import DataError
from evalkit.instance import Instance
from evalkit.metrics.english_words import sentences, words
from evalkit.registry import Output, metric
from evalkit.scoring.metric import Metric
from evalkit.scoring.optional_packages import require_module
from evalkit.scoring.run_level import Row
from evalkit.scoring.unit import Unit

Arguments = Mapping[str, Any]
Check = Callable[[str, Arguments], bool]

INSTRUCTION_IDS, INSTRUCTION_KWARGS = "instruction_ids", "instruction_kwargs"
_CONSTRAINED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_FENCES = ("```json", "```Json", "```JSON", "```")
_LANGUAGE_SEED = 0


class InstructionMetric(Metric):
    """Shares of instructions followed, by a table of checks; the base of `ifeval` and its like.

    Its scores begin with `prefix`.
    """

    takes: ClassVar[frozenset[Output] | None] = frozenset({"generated_text"})

    prefix: ClassVar[str]

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self.names = tuple(
            f"{self.prefix}_{name}" for name in ("strict_accuracy", "prompt_strict", "prompt_loose")
        )
        self.run_level_names = tuple(
            f"{self.prefix}_{name}" for name in ("instruction_strict", "instruction_loose")
        )

    def check(self, instance: Instance) -> None:
        """Refuse an instance without instructions, or with one that is not known.

        Raises:
            DataError: What is missing or unknown, naming the instance.
        """
        self._instructions(instance)

    def score(self, unit: Unit) -> Mapping[str, float]:
        """The three scores per prompt."""
        strict, loose = self._followed(unit)
        scores = (sum(strict) / len(strict), float(all(strict)), float(all(loose)))
        return dict(zip(self.names, scores, strict=True))

    def run_level_row(self, unit: Unit) -> Row | None:
        """How many instructions there are, are followed strictly, and loosely."""
        strict, loose = self._followed(unit)
        return len(strict), sum(strict), sum(loose)

    def run_level_scores(self, rows: Sequence[Row]) -> Mapping[str, float]:
        """The two shares of all instructions."""
        total, strict, loose = (sum(column) for column in zip(*rows, strict=True))
        return dict(zip(self.run_level_names, (strict / total, loose / total), strict=True))

    def _followed(self, unit: Unit) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
        completions = unit.answer.response.completions
        if not completions:
            raise DataError(f"the answer to '{unit.answer.state.key}' holds no completion")
        text, instructions = completions[0].text, self._instructions(unit.instance)
        return (
            tuple(follows(text, name, arguments, self._checks) for name, arguments in instructions),
            tuple(follows_loosely(text, name, arguments, self._checks) for name, arguments in instructions),
        )

    def _instructions(self, instance: Instance) -> list[tuple[str, Arguments]]:
        extra = instance.extra or {}
        ids, kwargs = extra.get(INSTRUCTION_IDS), extra.get(INSTRUCTION_KWARGS)
        if not ids or kwargs is None or len(ids) != len(kwargs):
            raise DataError(
                f"metric '{self.prefix}' needs extra['{INSTRUCTION_IDS}'] and extra['{INSTRUCTION_KWARGS}'], "
                f"equally long; instance '{instance.id}' has none"
            )
        if unknown := sorted(set(ids) - set(self._checks)):
            raise DataError(f"instance '{instance.id}' has the unknown instruction {', '.join(unknown)}")
        given = [{key: value for key, value in one.items() if value is not None} for one in kwargs]
        return list(zip(ids, given, strict=True))


@metric("ifeval", needs=("langdetect", "nltk"))
class IfEval(InstructionMetric):
    """The share of instructions followed, strictly and loosely, per prompt and over all instructions.

    Gives, per prompt, `ifeval_strict_accuracy` (HELM's: the share of its instructions that are followed),
    `ifeval_prompt_strict` and `ifeval_prompt_loose` (whether all are); over all prompts,
    `ifeval_instruction_strict` and `ifeval_instruction_loose` (the share of all instructions). Loose: an
    instruction also counts as followed if it is after dropping the first line, the last, or both, or all
    asterisks. An empty answer follows nothing.

    Instructions are in `Instance.extra`: `instruction_ids`, and `instruction_kwargs` in the same order, whose
    None values are ignored. A sign to be counted (`#`) is counted, where the official script draws a random
    letter in its place. Two checks depend on libraries: langdetect detects languages, with a fixed
    seed (the official script's has none), sentences and capitalised words by `evalkit.metrics.english_words`.
    """

    prefix = "ifeval"

    def __init__(self) -> None:
        super().__init__(CHECKS)


def follows(
    text: str, instruction_id: str, arguments: Arguments, checks: Mapping[str, Check] | None = None
) -> bool:
    """Whether the text follows the instruction; an empty text follows none.

    Args:
        text: The answer.
        instruction_id: Which instruction it is.
        arguments: What the instruction says in particular.
        checks: All instructions; None: the 25 of IFEval.

    Raises:
        DataError: The instruction lacks an argument, or one that is a pattern can't be read.
        UsageError: The check needs a package that is not installed.
    """
    if not text.strip():
        return False
    check = (CHECKS if checks is None else checks)[instruction_id]
    try:
        return check(text, arguments)
    except KeyError as missing:
        raise DataError(f"instruction '{instruction_id}' has no argument {missing}") from None
    except re.error as error:
        raise DataError(f"instruction '{instruction_id}': {arguments} holds no pattern: {error}") from None


def follows_loosely(
    text: str, instruction_id: str, arguments: Arguments, checks: Mapping[str, Check] | None = None
) -> bool:
    """Whether the text follows the instruction as it is, or in one of seven slightly changed forms."""
    lines = text.split("\n")
    cut = [text, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    forms = dict.fromkeys([*cut, *(form.replace("*", "") for form in cut)])
    return any(follows(form, instruction_id, arguments, checks) for form in forms)


def _compared(count: int, relation: str, bound: int) -> bool:
    if relation not in ("less than", "at least"):
        raise DataError(f"'{relation}' is neither 'less than' nor 'at least'")
    return count < bound if relation == "less than" else count >= bound


def _has_keywords(text: str, arguments: Arguments) -> bool:
    return all(re.search(word, text, re.IGNORECASE) for word in arguments["keywords"])


def _keyword_frequency(text: str, arguments: Arguments) -> bool:
    count = len(re.findall(arguments["keyword"].strip(), text, re.IGNORECASE))
    return _compared(count, arguments["relation"], arguments["frequency"])


def _no_forbidden_words(text: str, arguments: Arguments) -> bool:
    return not any(re.search(rf"\b{w}\b", text, re.IGNORECASE) for w in arguments["forbidden_words"])


def _letter_frequency(text: str, arguments: Arguments) -> bool:
    count = text.lower().count(arguments["letter"].strip().lower())
    return _compared(count, arguments["let_relation"], arguments["let_frequency"])


def _language(text: str, arguments: Arguments) -> bool:
    return _is_language(text, arguments["language"])


def _num_sentences(text: str, arguments: Arguments) -> bool:
    return _compared(len(sentences(text)), arguments["relation"], arguments["num_sentences"])


def _num_words(text: str, arguments: Arguments) -> bool:
    return _compared(len(re.findall(r"\w+", text)), arguments["relation"], arguments["num_words"])


def _num_paragraphs(text: str, arguments: Arguments) -> bool:
    """Paragraphs are what stands between `***`; only the first and the last may be empty, and don't count."""
    full = [bool(part.strip()) for part in re.split(r"\s?\*\*\*\s?", text)]
    return all(full[1:-1]) and sum(full) == int(arguments["num_paragraphs"])


def _paragraph_first_word(text: str, arguments: Arguments) -> bool:
    paragraphs, wanted = text.split("\n\n"), arguments["nth_paragraph"]
    num_full = sum(bool(part.strip()) for part in paragraphs)
    if wanted > num_full or not (paragraph := paragraphs[wanted - 1].strip()):
        return False
    word = paragraph.split()[0].lstrip("'").lstrip('"')
    first = re.split(r"[.,?!'\"]", word, maxsplit=1)[0].lower()
    return num_full == int(arguments["num_paragraphs"]) and first == str(arguments["first_word"]).lower()


def _num_placeholders(text: str, arguments: Arguments) -> bool:
    return len(re.findall(r"\[.*?\]", text)) >= int(arguments["num_placeholders"])


def _postscript(text: str, arguments: Arguments) -> bool:
    marker = arguments["postscript_marker"].strip()
    patterns = {"P.P.S": r"\s*p\.\s?p\.\s?s.*$", "P.S.": r"\s*p\.\s?s\..*$"}
    pattern = patterns.get(marker, rf"\s*{marker.lower()}.*$")
    return re.search(pattern, text.lower(), re.MULTILINE) is not None


def _num_bullets(text: str, arguments: Arguments) -> bool:
    starred = re.findall(r"^\s*\*[^\*].*$", text, re.MULTILINE)
    dashed = re.findall(r"^\s*-.*$", text, re.MULTILINE)
    return len(starred) + len(dashed) == int(arguments["num_bullets"])


def _constrained_response(text: str, arguments: Arguments) -> bool:
    return any(response in text for response in _CONSTRAINED)


def _num_highlights(text: str, arguments: Arguments) -> bool:
    single = re.findall(r"\*[^\n\*]*\*", text)
    double = re.findall(r"\*\*[^\n\*]*\*\*", text)
    count = sum(bool(found.strip("*").strip()) for found in (*single, *double))
    return count >= int(arguments["num_highlights"])


def _num_sections(text: str, arguments: Arguments) -> bool:
    sections = re.split(rf"\s?{arguments['section_spliter'].strip()}\s?\d+\s?", text)
    return len(sections) - 1 >= int(arguments["num_sections"])


def _json(text: str, arguments: Arguments) -> bool:
    text = text.strip()
    for fence in _FENCES:
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def _title(text: str, arguments: Arguments) -> bool:
    return any(title.lstrip("<").rstrip(">").strip() for title in re.findall(r"<<[^\n]+>>", text))


def _two_responses(text: str, arguments: Arguments) -> bool:
    parts = [part.strip() for part in text.split("******")]
    full = [part for part in parts if part]
    return all(parts[1:-1]) and len(full) == 2 and full[0] != full[1]


def _repeat_prompt(text: str, arguments: Arguments) -> bool:
    return text.strip().lower().startswith(str(arguments["prompt_to_repeat"]).strip().lower())


def _end_phrase(text: str, arguments: Arguments) -> bool:
    return text.strip().strip('"').lower().endswith(str(arguments["end_phrase"]).strip().lower())


def _quotation(text: str, arguments: Arguments) -> bool:
    text = text.strip()
    return len(text) > 1 and text[0] == '"' == text[-1]


def _capital_word_frequency(text: str, arguments: Arguments) -> bool:
    count = sum(word.isupper() for word in words(text))
    return _compared(count, arguments["capital_relation"], arguments["capital_frequency"])


def _all_capital(text: str, arguments: Arguments) -> bool:
    return text.isupper() and _is_language(text, "en")


def _all_lowercase(text: str, arguments: Arguments) -> bool:
    return text.islower() and _is_language(text, "en")


def _no_comma(text: str, arguments: Arguments) -> bool:
    return "," not in text


CHECKS: Mapping[str, Check] = {
    "keywords:existence": _has_keywords,
    "keywords:frequency": _keyword_frequency,
    "keywords:forbidden_words": _no_forbidden_words,
    "keywords:letter_frequency": _letter_frequency,
    "language:response_language": _language,
    "length_constraints:number_sentences": _num_sentences,
    "length_constraints:number_paragraphs": _num_paragraphs,
    "length_constraints:number_words": _num_words,
    "length_constraints:nth_paragraph_first_word": _paragraph_first_word,
    "detectable_content:number_placeholders": _num_placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _num_bullets,
    "detectable_format:constrained_response": _constrained_response,
    "detectable_format:number_highlighted_sections": _num_highlights,
    "detectable_format:multiple_sections": _num_sections,
    "detectable_format:json_format": _json,
    "detectable_format:title": _title,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeat_prompt,
    "startend:end_checker": _end_phrase,
    "startend:quotation": _quotation,
    "change_case:capital_word_frequency": _capital_word_frequency,
    "change_case:english_capital": _all_capital,
    "change_case:english_lowercase": _all_lowercase,
    "punctuation:no_comma": _no_comma,
}


def _is_language(text: str, code: str) -> bool:
    """Whether the text is in the language; one without letters is in any, as in the official script."""
    detector = _language_profiles().create()
    from langdetect.lang_detect_exception import LangDetectException

    detector.seed = _LANGUAGE_SEED
    detector.append(text)
    try:
        return bool(detector.detect() == code)
    except LangDetectException:
        return True


@lru_cache(maxsize=1)
def _language_profiles() -> Any:
    require_module("langdetect", "language detection in the metric ifeval")
    from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory

    profiles = DetectorFactory()
    profiles.load_profile(PROFILES_DIRECTORY)
    return profiles
