"""BLEU of translations into Japanese and English as llm-jp-eval has it, through `sacrebleu`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

from evalkit.errors import DataError
from evalkit.instance import Instance
from evalkit.metrics.jaster_answers import AnswerMetric, Answers
from evalkit.registry import metric
from evalkit.scoring.optional_packages import require_module
from evalkit.scoring.run_level import Row
from evalkit.scoring.unit import Unit
from evalkit.specs.run_spec import AdapterSpec

JapaneseTokens = Literal["ja-mecab", "char"]

_ORDERS = 4


class Bleu(AnswerMetric):
    """BLEU of one answer, from 0 to 1, and of all answers together; the base of the metrics below."""

    tokens: str

    def __init__(
        self, adapter_spec: AdapterSpec, dataset: str = "", answers: Answers = "original", pattern: str = ""
    ) -> None:
        super().__init__(adapter_spec, dataset, answers, pattern)
        if self._applies:
            self.run_level_names = (f"{self.stat}_corpus",)

    def check(self, instance: Instance) -> None:
        """Refuse an instance without a right answer, or with an empty one.

        Raises:
            DataError: It has none, or one is empty.
        """
        super().check(instance)
        if any(r.is_correct and not self._reader.right(r.text).strip() for r in instance.references):
            raise DataError(f"metric '{self.name}': a right answer of instance '{instance.id}' is empty")

    def compare(self, gold: str, prediction: str) -> float:
        """BLEU of a single pair, with the orders of n-grams that it has; 0 for an empty answer."""
        if not prediction.strip():
            return 0.0
        return float(_bleu(self.tokens, True).corpus_score([prediction], [[gold]]).score) / 100

    def run_level_row(self, unit: Unit) -> Row | None:
        """Matches and totals of n-grams of order 1 to 4, and both lengths."""
        if unit.per_reference:
            return None
        references = [[gold] for gold in self.golds(unit)]
        found = _bleu(self.tokens, False).corpus_score([self.predictions(unit)[0]], references)
        return (*found.counts, *found.totals, found.sys_len, found.ref_len)

    def run_level_scores(self, rows: Sequence[Row]) -> Mapping[str, float]:
        """BLEU of the sums, from 0 to 1: `sacrebleu`'s corpus BLEU with its defaults."""
        sums = [sum(column) for column in zip(*rows, strict=True)]
        counts, totals = sums[:_ORDERS], sums[_ORDERS : 2 * _ORDERS]
        bleu = _bleu(self.tokens, False)
        found = bleu.compute_bleu(counts, totals, sums[-2], sums[-1], smooth_method=bleu.smooth_method)
        return {self.run_level_names[0]: float(found.score) / 100}


@metric("bleu_en", needs=("sacrebleu",))
class BleuEn(Bleu):
    """BLEU of an English answer by `sacrebleu` (tokens `13a`), from 0 to 1; a run's `bleu_en` is their mean.

    As llm-jp-eval has it: an order of n-grams that a short answer has not does not count. `bleu_en_corpus` is
    BLEU of all answers together, from the sums over the run.

    Args:
        dataset: The jaster dataset, which decides how a completion is cleaned.
        answers: How the answer is read; see `evalkit.metrics.jaster_answers.AnswerReader`.
        pattern: A regular expression that finds the answer in the completion.
    """

    stat = "bleu_en"
    tokens = "13a"


@metric("bleu_ja", needs=("sacrebleu",))
class BleuJa(Bleu):
    """BLEU of a Japanese answer by `sacrebleu`, from 0 to 1; a run's `bleu_ja` is their mean.

    Otherwise as `bleu_en`; `bleu_ja_corpus` is BLEU of all answers together.

    Args:
        dataset: The jaster dataset, which decides how a completion is cleaned.
        answers: How the answer is read; see `evalkit.metrics.jaster_answers.AnswerReader`.
        pattern: A regular expression that finds the answer in the completion.
        tokens: `ja-mecab`: words by MeCab with its IPA dictionary, as in llm-jp-eval; needs the extra
            `japanese`. `char`: single characters; other numbers, and no further package.
    """

    stat = "bleu_ja"

    def __init__(
        self,
        adapter_spec: AdapterSpec,
        dataset: str = "",
        answers: Answers = "original",
        pattern: str = "",
        tokens: JapaneseTokens = "ja-mecab",
    ) -> None:
        super().__init__(adapter_spec, dataset, answers, pattern)
        self.tokens = tokens

    @classmethod
    def check_machine(cls, args: Mapping[str, Any]) -> None:
        """Refuse a machine without MeCab, unless characters are the tokens.

        Raises:
            UsageError: MeCab or its dictionary is not installed.
        """
        if args.get("tokens", "ja-mecab") == "ja-mecab":
            _require_mecab()


def _require_mecab() -> None:
    for module in ("MeCab", "ipadic"):
        require_module(module, "the metric bleu_ja (unless tokens=char)", "japanese")


@lru_cache(maxsize=8)
def _bleu(tokens: str, has_effective_order: bool) -> Any:
    if tokens == "ja-mecab":
        _require_mecab()  # scores may be made on another machine than the run was planned on
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize=tokens, effective_order=has_effective_order)
