from __future__ import annotations

import importlib.util
import logging
from typing import Any

import pytest

from evalkit.errors import DataError, UsageError
from evalkit.metrics.translation import BleuJa
from evalkit.registry import METRICS
from tests.metrics.japanese_texts import pairs
from tests.scoring.units import built, instance, over_run, unit

sacrebleu: Any = pytest.importorskip("sacrebleu", reason="sacrebleu is not installed")
HAS_MECAB = all(importlib.util.find_spec(module) for module in ("MeCab", "ipadic"))
KINDS = [
    ("bleu_en", "13a", {}),
    ("bleu_ja", "char", {"tokens": "char"}),
    pytest.param(
        *("bleu_ja", "ja-mecab", {}),
        marks=pytest.mark.skipif(not HAS_MECAB, reason="mecab-python3 and ipadic are not installed"),
    ),
]


def normalised(gold: str, said: str) -> tuple[str, str]:
    """What the original compares, by its own steps."""
    import unicodedata

    said = said.split("\n\n")[0].strip().strip("'").strip('"').strip()
    return unicodedata.normalize("NFKC", gold), unicodedata.normalize("NFKC", said)


@pytest.mark.parametrize(("name", "tokens", "args"), KINDS)
def test_as_sacrebleu(name: str, tokens: str, args: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    metric, rows = built(name, **args), []
    single = sacrebleu.metrics.BLEU(tokenize=tokens, effective_order=True)
    golds, answers = [], []
    for gold, said in pairs(1000, seed=11):
        wanted, given = normalised(gold, said)
        if not wanted.strip():
            continue
        rows.append(unit(instance(gold), said))
        golds.append(wanted)
        answers.append(given)
        expected = single.sentence_score(given, [wanted]).score / 100 if given.strip() else 0.0
        assert metric.score(rows[-1])[name] == pytest.approx(expected, abs=1e-12), (gold, said)
    corpus = sacrebleu.metrics.BLEU(tokenize=tokens).corpus_score(answers, [golds])
    assert len(rows) > 850
    assert over_run(metric, rows)[f"{name}_corpus"] == pytest.approx(corpus.score / 100, abs=1e-12)


def test_a_short_right_answer_has_full_bleu() -> None:
    # Without effective_order two words have no order 3 and 4, and smoothing leaves less than 1.
    assert built("bleu_en").score(unit(instance("the cat"), "the cat"))["bleu_en"] == pytest.approx(1)
    plain = sacrebleu.metrics.BLEU().corpus_score(["the cat"], [["the cat"]]).score
    assert plain < 100


def test_japanese_is_not_one_word() -> None:
    gold, said = "彼は東京へ行った", "彼は大阪へ行った"
    assert built("bleu_en").score(unit(instance(gold), said))["bleu_en"] == 0
    assert built("bleu_ja", tokens="char").score(unit(instance(gold), said))["bleu_ja"] > 0.3


def test_the_corpus_is_not_the_mean() -> None:
    rows = [unit(instance("the cat sat on the mat"), "the cat"), unit(instance("a b c d"), "a b c d")]
    metric = built("bleu_en")
    mean = sum(metric.score(row)["bleu_en"] for row in rows) / 2
    assert abs(over_run(metric, rows)["bleu_en_corpus"] - mean) > 0.05


def test_empty_texts() -> None:
    metric = built("bleu_en")
    assert metric.score(unit(instance("a"), " "))["bleu_en"] == 0
    with pytest.raises(DataError, match="empty"):
        metric.check(instance("a", "\u3000"))


@pytest.mark.skipif(HAS_MECAB, reason="mecab-python3 is installed")
def test_without_mecab_the_remedy_is_named() -> None:
    assert METRICS.get("bleu_ja") is BleuJa
    with pytest.raises(UsageError, match=r"evalkit\[japanese\]"):
        BleuJa.check_machine({})
    BleuJa.check_machine({"tokens": "char"})
