from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.errors import UsageError
from evalkit.metrics import chinese, speech
from evalkit.registry import metric_facts
from tests.scoring.units import built

GOLD, SAID = "我来到北京清华大学", "我到了北京大学"
TEXTS = st.text("我来到北京大学，。 a", max_size=9)


class Characters:
    """What HELM hands to `rouge_score`."""

    def tokenize(self, text: str) -> list[str]:
        return list(text)


def test_words_are_found_quietly_and_leave_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    chinese._segmenter.cache_clear()
    assert chinese.spaced(GOLD) == "我 来到 北京 清华大学"
    assert chinese.spaced("") == ""
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["wer", "mer", "wip", "cer"])
def test_error_rates_are_those_of_the_spaced_texts(name: str) -> None:
    score = getattr(chinese, f"chinese_{name}_score")
    rate = getattr(speech, f"{name}_score")
    assert score(GOLD, SAID) == rate("我 来到 北京 清华大学", chinese.spaced(SAID)) != 0
    assert score(GOLD, GOLD) == metric_facts(f"chinese_{name}_score").full_marks == float(name == "wip")
    assert score(GOLD, "") == 0
    assert built(f"chinese_{name}_score").lower_is_better == (
        set() if name == "wip" else {f"chinese_{name}_score"}
    )


def test_rates_by_hand() -> None:
    # One word of four replaced; two characters of twelve, the three blanks counted.
    assert chinese.chinese_wer_score(GOLD, "我来到上海清华大学") == pytest.approx(1 / 4)
    assert chinese.chinese_cer_score(GOLD, "我来到上海清华大学") == pytest.approx(2 / 12)


def test_bleu_of_helms_own_test() -> None:
    gold = "太祖武皇帝，沛國譙人也，姓曹，諱操，字孟德，漢相國參之後。"
    said = "太祖武皇帝，沛國譙人也，漢相國參之後。"
    assert chinese.chinese_bleu_1(gold, said) == pytest.approx(0.5907775139012316, abs=1e-12)


@given(TEXTS, TEXTS)
@settings(max_examples=60, deadline=None)
def test_bleu_is_nltks(gold: str, said: str) -> None:
    from nltk.translate.bleu_score import sentence_bleu

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = sentence_bleu([list(gold)], list(said), (1, 0, 0, 0))
    assert chinese.chinese_bleu_1(gold, said) == pytest.approx(expected, abs=1e-9)


@given(TEXTS, TEXTS)
@settings(max_examples=60, deadline=None)
def test_rouge_is_googles(gold: str, said: str) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    expected = RougeScorer(["rouge1", "rouge2"], tokenizer=Characters()).score(gold, said)
    assert chinese.chinese_rouge_1(gold, said) == pytest.approx(expected["rouge1"].fmeasure, abs=1e-12)
    assert chinese.chinese_rouge_2(gold, said) == pytest.approx(expected["rouge2"].fmeasure, abs=1e-12)


def test_a_missing_package_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jieba", None)
    chinese._segmenter.cache_clear()
    remedy = r"needs the package jieba; install it with: pip install 'evalkit\[metrics\]'"
    with pytest.raises(UsageError, match=remedy):
        chinese.spaced(GOLD)
    with pytest.raises(UsageError, match=f"the metric chinese_wer_score {remedy}"):
        built("chinese_wer_score")
