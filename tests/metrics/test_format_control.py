from __future__ import annotations

from typing import Any

import pytest

import evalkit.metrics.jaster  # noqa: F401 - registers the metrics
from evalkit.errors import UsageError
from evalkit.metrics.format_control import chosen
from tests.scoring.units import built, instance, unit


def control(dataset: str, said: str, gold: str = "x", **args: Any) -> float:
    found = built("format_control", dataset=dataset, **args).score(unit(instance(gold), said))
    assert found["format_failure"] == 1 - found["format_control"]
    return found["format_control"]


@pytest.mark.parametrize(
    ("dataset", "good", "bad"),
    [
        ("mawps", ["3", "-1.5", "１２", "1e3"], ["3個", "1,000", "", "nan", "inf"]),
        ("mgsm", ["3"], ["答えは3", "\n\n3"]),
        ("jmmlu_anatomy", ["A", "答え: b"], ["E", "A.", "AB", ""]),
        ("mmlu_en_anatomy", ["ANSWER: c"], ["Answer: c"]),
        ("mmlu_prox_ja", ["A", "J"], ["K", ""]),
        ("jblimp", ["a", "b"], ["c", "A"]),
        ("jcommonsenseqa", ["0", "4", "'3'"], ["5", "0.", "1 です"]),
        ("kuci", ["3"], ["4"]),
        ("jcola-in-domain", ["0", "1"], ["2"]),
        ("commonsensemoralja", ["1"], ["はい"]),
        ("janli", ["Entailment", "non-entailment\n\nbecause"], ["neutral", "entailment."]),
        ("jnli", ["CONTRADICTION"], ["非含意", "entailment neutral"]),
        ("jsem", ["yes", "undef"], ["はい", "true"]),
        ("jsts", ["0", "4.5", "５"], ["5.1", "-1", "nan", "4点"]),
        (
            "wiki_ner",
            [
                "東京（地名）",
                "東京(地名) 信長（人名）",
                "Mac　OS X（固有物名） 東京（地名）",
                "A（人名）\nB（人名）",
            ],
            [
                "東京",
                "東京（都市）",
                "東京（地名）。",
                "",
                "東京（地名）信長（人名）",
                "（地名）",
                "東京（地名） 信長",
            ],
        ),
        ("wiki_ner", ["Mac　OS X（固有物名） 東京（地名）"], ["東京（地名）信長（人名）"]),
        ("wiki_ner", ["A (株)（組織名）\n🙂（固有物名）".replace(" ", "")], ["{東京}（地名", "（地名）"]),
        ("wiki_dependency", ["a -> b\nc->d"], ["a b", "a -> b\nc", "->", ""]),
        ("chabsa", ["A社 positive\nB・C－D neutral", "A 社 negative"], ["A社", "positive", "A社 good", ""]),
        ("jmmlu_SymbolChoice", ["$", "＠"], ["A"]),
        ("jmmlu_IncorrectChoice", ["A,B,D", "b, c, d"], ["A,B", "A,B,E"]),
    ],
)
def test_the_forms(dataset: str, good: list[str], bad: list[str]) -> None:
    assert [control(dataset, said) for said in good] == [1.0] * len(good), good
    assert [control(dataset, said) for said in bad] == [0.0] * len(bad), bad


def test_named_entities_can_never_have_the_form_of_the_original() -> None:
    # NFKC makes ASCII of the brackets that the original asks for.
    for said in ("東京（地名）", "東京(地名)"):
        assert control("wiki_ner", said, rules="original") == 0
        assert control("wiki_ner", said) == 1
    assert control("wiki_ner", "", rules="original") == 1
    assert control("wiki_ner", "") == 0


def test_an_empty_answer_has_the_form_where_nothing_is_to_be_found() -> None:
    for dataset in ("wiki_ner", "chabsa", "wiki_dependency"):
        assert control(dataset, " ", gold="") == 1
        assert control(dataset, "", gold="東京（地名）") == 0


@pytest.mark.parametrize(
    ("dataset", "said", "original"),
    [
        ("mmlu_prox_ja", "E", 0),
        ("mawps", "nan", 1),
        ("mgsm", "inf", 1),
        ("chabsa", "B・C positive", 0),
        ("chabsa", "A社 positive です", 1),
        ("jnli", "neutral", 1),
        ("wiki_dependency", "a -> b", 1),
    ],
)
def test_the_rules_of_the_original(dataset: str, said: str, original: float) -> None:
    assert control(dataset, said, rules="original") == original
    if dataset not in ("jnli", "wiki_dependency"):
        assert control(dataset, said) == 1 - original


def test_free_answers_have_no_form() -> None:
    for dataset, args in (("niilc", {}), ("alt-e-to-j", {}), ("jsts", {"rules": "original"})):
        metric = built("format_control", dataset=dataset, **args)  # type: ignore[arg-type]
        assert (metric.names, metric.score(unit(instance("x"), "y"))) == ((), {})
    for dataset in ("", "jnIi", "jmmluanatomy"):
        with pytest.raises(UsageError, match="no form is known for the dataset"):
            built("format_control", dataset=dataset)


def test_a_form_of_ones_own() -> None:
    assert control("", "42", form=r"\d+") == 1
    assert control("", "42 or so", form=r"\d+") == 0
    assert control("", "", form=r"\d*") == 1
    with pytest.raises(UsageError, match="not a regular expression"):
        built("format_control", form="(")


def test_what_was_said_instead_is_shown() -> None:
    metric = built("format_control", dataset="jcommonsenseqa")
    assert metric.detail(unit(instance("1"), "1 です")) == "not in the form asked for: '1 です'"
    assert metric.detail(unit(instance("1"), "2")) == ""
    assert metric.lower_is_better == {"format_failure"}


LABELS = ("entailment", "contradiction", "neutral")


@pytest.mark.parametrize(
    ("text", "choices", "expected"),
    [
        ("entailmentです。", LABELS, "entailment"),
        ("答えはNeutral", LABELS, "neutral"),
        ("entailment、いや neutral", LABELS, None),
        ("entailment. entailment!", LABELS, "entailment"),
        ("non-entailment", ("entailment", "non-entailment"), "non-entailment"),
        ("non-entailment", LABELS, None),
        ("(A)", tuple("ABCD"), "A"),
        ("A社ではなくB", tuple("ABCD"), None),
        ("Answer: B", tuple("ABCD"), "B"),
        ("答えは3です", tuple("01234"), "3"),
        ("13", tuple("01234"), None),
        ("", LABELS, None),
        ("🙂{yes}", ("yes", "no"), "yes"),
    ],
)
def test_the_choice_in_a_text(text: str, choices: tuple[str, ...], expected: str | None) -> None:
    assert chosen(text, choices) == expected


def test_extracted_beside_exact() -> None:
    asked = unit(instance("3"), "答えは3です")
    assert built("jaster_exact_match", dataset="jcommonsenseqa").score(asked)["jaster_exact_match"] == 0
    assert built("extracted_exact_match", dataset="jcommonsenseqa").score(asked) == {
        "extracted_exact_match": 1
    }
    assert control("jcommonsenseqa", "答えは3です") == 0
    own = built("extracted_exact_match", choices=("はい", "いいえ"))
    assert own.score(unit(instance("はい"), "はい、そうです")) == {"extracted_exact_match": 1}
    with pytest.raises(UsageError, match="answers to 'niilc' are free"):
        built("extracted_exact_match", dataset="niilc")
