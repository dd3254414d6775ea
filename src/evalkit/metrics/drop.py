"""DROP's exact match and F1 over sets of spans (Dua et al. 2019, arXiv:1903.00161; script `drop_eval.py`)."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Mapping, Sequence
from typing import ClassVar

from evalkit.errors import DataError
from evalkit.instance import Instance
from evalkit.registry import Output, metric
from evalkit.scoring.metric import Metric, compile_mapping_pattern, require_correct_reference
from evalkit.scoring.unit import Unit
from evalkit.specs.run_spec import AdapterSpec

ANSWERS = "answers"
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_TOKEN_END = re.compile(" |-")


@metric("drop")
class Drop(Metric):
    """`drop_em` and `drop_f1`, each the best over the right answers, for the likeliest completion.

    Right answers are lists of spans in `Instance.extra["answers"]`; without it each right reference is an
    answer of one span. The completion is one span. F1 is rounded to two decimals per instance, as in the
    official script.
    """

    takes: ClassVar[frozenset[Output] | None] = frozenset({"generated_text"})

    names = ("drop_em", "drop_f1")

    def __init__(self, adapter_spec: AdapterSpec) -> None:
        self._pattern = compile_mapping_pattern(adapter_spec.output_mapping_pattern)

    def check(self, instance: Instance) -> None:
        """Refuse an instance without a right answer.

        Raises:
            DataError: There is none, or `extra["answers"]` is not a list of lists of texts.
        """
        _answers(instance)

    def score(self, unit: Unit) -> Mapping[str, float]:
        """`drop_em` and `drop_f1`."""
        prediction = unit.predictions(self._pattern)[0] or ""
        exact_match, f1 = drop_best(_answers(unit.instance), [prediction])
        return {"drop_em": exact_match, "drop_f1": f1}


def drop_best(answers: Sequence[Sequence[str]], prediction: Sequence[str]) -> tuple[float, float]:
    """The best exact match and the best F1 over answers whose first span is not blank; 0 without any."""
    scores = [drop_scores(answer, prediction) for answer in answers if answer and answer[0].strip()]
    return max((s[0] for s in scores), default=0.0), max((s[1] for s in scores), default=0.0)


def drop_scores(gold: Sequence[str], prediction: Sequence[str]) -> tuple[float, float]:
    """Exact match and F1 (two decimals) of one answer; both are lists of spans, not empty.

    Exact match: the same spans, as many. F1: the mean over the longer list, in the best one-to-one
    assignment, of F1 over the sets of words, which is 0 where the gold span has numbers and the other none
    of them.
    """
    wanted, given = [_normalize(span) for span in gold], [_normalize(span) for span in prediction]
    exact_match = float(set(wanted) == set(given) and len(wanted) == len(given))
    gains = [[_bag_f1(set(w.split()), set(g.split())) for g in given] for w in wanted]
    # Added up from left to right and scaled before rounding, as NumPy does in the official script: ties such
    # as 0.475 depend on it.
    total = 0.0
    for row, column in sorted(best_assignment(gains).items()):
        total += gains[row][column]
    return exact_match, round(total / max(len(wanted), len(given)) * 100) / 100


def best_assignment(gains: Sequence[Sequence[float]]) -> dict[int, int]:
    """Row to column, each at most once and as many as there can be, of the largest sum of gains.

    Kuhn's Hungarian method with potentials, O(rows² · columns).

    Args:
        gains: One row per item, all of the same length, none negative.
    """
    if len(gains) > len(gains[0]):
        turned = best_assignment(list(zip(*gains, strict=True)))
        return {row: column for column, row in turned.items()}
    num_columns = len(gains[0])
    row_price, column_price = [0.0] * (len(gains) + 1), [0.0] * (num_columns + 1)
    owner, previous = [0] * (num_columns + 1), [0] * (num_columns + 1)
    for row in range(1, len(gains) + 1):
        owner[0], column = row, 0
        slack, done = [math.inf] * (num_columns + 1), [False] * (num_columns + 1)
        while owner[column]:
            done[column] = True
            at, nearest, step = owner[column], 0, math.inf
            for j in range(1, num_columns + 1):
                if done[j]:
                    continue
                left = -gains[at - 1][j - 1] - row_price[at] - column_price[j]
                if left < slack[j]:
                    slack[j], previous[j] = left, column
                if slack[j] < step:
                    step, nearest = slack[j], j
            for j in range(num_columns + 1):
                if done[j]:
                    row_price[owner[j]] += step
                    column_price[j] -= step
                else:
                    slack[j] -= step
            column = nearest
        while column:
            owner[column], column = owner[previous[column]], previous[column]
    return {owner[j] - 1: j - 1 for j in range(1, num_columns + 1) if owner[j]}


def _normalize(span: str) -> str:
    tokens = (_normalize_token(token) for token in _TOKEN_END.split(span.lower()))
    return " ".join(token for token in tokens if token)


def _normalize_token(token: str) -> str:
    if not _is_number(token):
        token = token.translate(_NO_PUNCTUATION)
    if _is_number(token):
        token = str(float(token))
    return " ".join(_ARTICLE.sub(" ", token).split())


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True


def _bag_f1(gold: set[str], prediction: set[str]) -> float:
    numbers = {word for word in gold if _is_number(word)}
    if numbers and not numbers & prediction:
        return 0.0
    shared = len(gold & prediction)
    precision = shared / len(prediction) if prediction else 1.0
    recall = shared / len(gold) if gold else 1.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _answers(instance: Instance) -> Sequence[Sequence[str]]:
    answers = (instance.extra or {}).get(ANSWERS)
    if answers is None:
        require_correct_reference("drop", instance)
        return [[reference.text] for reference in instance.correct_references]
    if not answers or any(isinstance(spans, str) or not spans for spans in answers):
        raise DataError(f"instance '{instance.id}': extra['{ANSWERS}'] must hold lists of spans")
    return [list(spans) for spans in answers]
