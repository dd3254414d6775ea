"""Whether the letter at the end of a reasoning is right: HELM's metric for GPQA and MMLU-Pro."""

from __future__ import annotations

import re
from collections.abc import Mapping

from evalkit.errors import DataError
from evalkit.instance import Instance
from evalkit.metrics.metric import Metric, Unit, require_correct_reference
from evalkit.registry import metric

_HELMS_ANSWER = r"\.*\[aA\]nswer:\s*\(?([A-J])\)?"
_ANSWER = r"[aA]nswer:\s*\(?([A-J])\)?"


@metric("chain_of_thought_correctness")
class ChainOfThoughtCorrectness(Metric):
    """Whether the option that the reasoning names as the answer is a right one; 0 if it names none.

    The first of these to be found anywhere gives the letter (A to J): "answer is (X)"; "Answer: (X)";
    "correct answer is …X" with no letter between; "correct answer is …X" with no capital between.

    Args:
        fixed: HELM's second pattern only matches the literal text "[aA]nswer:", by mistake, which is kept
            unless this is set.
    """

    names = ("chain_of_thought_correctness",)

    def __init__(self, fixed: bool = False) -> None:
        patterns = (
            r"answer is \(?([A-J])\)?",
            _ANSWER if fixed else _HELMS_ANSWER,
            r"correct answer is [^A-Za-z]*([A-J])",
            r"correct answer is [^A-Z]*([A-J])",
        )
        self._patterns = tuple(re.compile(pattern) for pattern in patterns)

    def check(self, instance: Instance) -> None:
        """Refuse an instance without a right answer.

        Raises:
            DataError: There is none.
        """
        require_correct_reference(self.name, instance)

    def score(self, unit: Unit) -> Mapping[str, float]:
        """`chain_of_thought_correctness`.

        Raises:
            DataError: The request was no multiple choice, or the answer holds no completion.
        """
        answer = unit.answer
        mapping = answer.state.output_mapping
        if mapping is None:
            raise DataError(f"'{answer.state.key}' has no options to choose from")
        if not answer.response.completions:
            raise DataError(f"the answer to '{answer.state.key}' holds no completion")
        letter = self.find_letter(answer.response.completions[0].text)
        chosen = None if letter is None else mapping.get(letter)
        right = {reference.text for reference in unit.instance.correct_references}
        return {"chain_of_thought_correctness": float(chosen in right)}

    def find_letter(self, text: str) -> str | None:
        """The letter that the text names as its answer, or None."""
        for pattern in self._patterns:
            if match := pattern.search(text):
                return match[1]
        return None
