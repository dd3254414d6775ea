"""Scores of multiple choice where each reference was its own request."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

from evalkit.errors import DataError
from evalkit.instance import Instance
from evalkit.metrics.prompt_logprobs import prompt_tokens
from evalkit.registry import Output, metric
from evalkit.response import Token
from evalkit.scoring.metric import Metric, adapter_of, require_correct_reference
from evalkit.scoring.unit import Answer, Unit
from evalkit.specs.run_spec import AdapterSpec


@metric("basic_reference")
class BasicReference(Metric):
    """Which reference the model finds likeliest, for adapters that have each of them scored on its own.

    They are `multiple_choice_separate_*` and plugins that give `reference_logprobs`. A reference's score is
    its log-probability per token; where calibration is asked for (`multiple_choice_separate_calibrated`) it
    is its log-probability in the question minus that after the bare "Answer:". Gives

    - `exact_match`: the share of right ones among the references of the highest score (1 or 0 but for ties);
    - `max_prob`: the highest probability when the scores go through a softmax;
    - `predicted_index`: the first reference of the highest score.

    Requests of all other adapters give nothing here.

    Which tokens are the reference's: HELM takes as many from the end as " " plus the reference has under
    the model's tokenizer. Here the answer's own tokens decide: the shortest run that covers the reference
    where it stands at the end of the prompt, so no tokenizer is needed. Both agree unless a tokenizer makes
    the blank before the reference its own token, which HELM counts in.
    """

    takes: ClassVar[frozenset[Output]] = frozenset({"reference_logprobs"})

    def __init__(self, adapter_spec: AdapterSpec) -> None:
        adapter = adapter_of(adapter_spec)
        # A plugin that asks per reference and does not say what it gives has them scored.
        self._applies = adapter.per_reference and bool(self.takes & (adapter.gives or self.takes))
        self._modes = adapter.modes
        self._calibrated = "calibration" in self._modes
        self._suffix = adapter_spec.output_suffix + adapter_spec.global_suffix
        if self._applies:
            self.names = ("exact_match", "max_prob", "predicted_index")
            self.full_marks = {"exact_match": 1.0}

    def check(self, instance: Instance) -> None:
        """Refuse an instance without a right answer.

        Raises:
            DataError: There is none.
        """
        if self._applies:
            require_correct_reference(self.name, instance)

    def score(self, unit: Unit) -> Mapping[str, float]:
        """`exact_match`, `max_prob` and `predicted_index`.

        Raises:
            DataError: A reference has no request, or its tokens and log-probabilities did not come back, or
                all have the probability 0.
        """
        if not self._applies:
            return {}
        scores = self._reference_scores(unit)
        highest = max(scores)
        if not math.isfinite(highest) or any(math.isnan(score) for score in scores):
            raise DataError(
                f"the references of instance '{unit.instance.id}' have the scores "
                f"{', '.join(map(str, scores))}, of which none can be chosen"
            )
        winners = {i for i, score in enumerate(scores) if score == highest}
        right = {i for i, reference in enumerate(unit.instance.references) if reference.is_correct}
        return {
            "exact_match": len(winners & right) / len(winners),
            "max_prob": 1 / math.fsum(math.exp(score - highest) for score in scores),
            "predicted_index": float(min(winners)),
        }

    def _reference_scores(self, unit: Unit) -> list[float]:
        asked = {(a.state.reference_index, a.state.request_mode): a for a in unit.answers}
        scores = []
        certain: list[str] = []
        for index, reference in enumerate(unit.instance.references):
            sums: list[tuple[float, int]] = []
            for mode in self._modes:
                answer = asked.get((index, mode))
                if answer is None:
                    raise DataError(
                        f"reference {index} of instance '{unit.instance.id}' has no {mode} request"
                    )
                logprobs = [
                    t.logprob
                    for t in reference_tokens(answer, reference.text, self._suffix)
                    if t.logprob is not None
                ]
                if not logprobs:
                    raise DataError(f"the answer to '{answer.state.key}' has no token log-probabilities")
                sums.append((math.fsum(logprobs), len(logprobs)))
            original, num_tokens = sums[0]
            if original == 0:
                certain.append(reference.text)
            scores.append(original - sums[1][0] if self._calibrated else original / num_tokens)
        # Of two that go on differently only one can be; "2" and "20" may both be.
        if any(a[: len(b)] != b[: len(a)] for a, b in itertools.combinations(certain, 2)):
            raise DataError(
                f"different references of instance '{unit.instance.id}' have the probability 1 "
                f"({', '.join(map(repr, certain))}): their tokens were not scored"
            )
        return scores


def reference_tokens(answer: Answer, reference: str, suffix: str = "") -> Sequence[Token]:
    """The tokens of an echoed prompt that the reference is made of.

    They are the shortest run of tokens that covers the reference where it stands at the end of the prompt;
    the first may also hold the blank before it. Tokens that hold nothing but `suffix` are left out.

    Args:
        answer: A request with `echo_prompt`, and its response.
        reference: The text of the reference.
        suffix: What the adapter puts after the reference.

    Raises:
        DataError: The prompt does not end with the reference (cut to fit, or changed by a substitution), or
            the response has no tokens, or tokens that spell something else.
    """
    key, ending = answer.state.key, reference + suffix
    if not reference or not answer.state.request.prompt.endswith(ending):
        raise DataError(f"the prompt of '{key}' does not end with the reference '{reference}'")
    tokens = prompt_tokens(answer)
    start = stop = len(tokens)
    covered = ""
    while len(covered) < len(ending) and start > 0:
        start -= 1
        covered = tokens[start].text + covered
        if len(covered) <= len(suffix):
            stop = start
    if not covered.endswith(ending):
        raise DataError(f"the tokens of the answer to '{key}' do not end with the reference '{reference}'")
    return tokens[start:stop]
