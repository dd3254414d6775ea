"""Whether the option that a text settles on is right: HELM's rule for GPQA and MMLU-Pro, and a robust one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

from evalkit.errors import DataError
from evalkit.instance import Instance
from evalkit.notation.letters import settled_option
from evalkit.registry import Output, metric
from evalkit.response import Completion
from evalkit.scoring.metric import Metric, require_correct_reference
from evalkit.scoring.unit import Unit, likeliest_first

_HELMS_ANSWER = r"\.*\[aA\]nswer:\s*\(?([A-J])\)?"
_ANSWER = r"[aA]nswer:\s*\(?([A-J])\)?"


@metric("chain_of_thought_correctness")
class ChainOfThoughtCorrectness(Metric):
    r"""Whether the option that the reasoning names as the answer is a right one; 0 if it names none.

    The first of these to be found anywhere gives the letter (A to J): "answer is (X)"; "Answer: (X)";
    "correct answer is …X" with no letter between; "correct answer is …X" with no capital between.

    HELM's rule, to the letter: the first match counts, and `**C**`, `\boxed{C}` or `$C$` are not read.
    `final_option_match` does better.

    Args:
        fixed: HELM's second pattern only matches the literal text "[aA]nswer:", by mistake, which is kept
            unless this is set.
    """

    takes: ClassVar[frozenset[Output] | None] = frozenset({"option_letter"})

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
            DataError: The request was not a multiple choice, or the answer holds no completion.
        """
        completions, mapping = _choice(unit)
        letter = self.find_letter(completions[0].text)
        return {"chain_of_thought_correctness": _is_right(unit, mapping, letter)}

    def find_letter(self, text: str) -> str | None:
        """The letter that the text names as its answer, or None."""
        for pattern in self._patterns:
            if match := pattern.search(text):
                return match[1]
        return None


@metric("final_option_match")
class FinalOptionMatch(Metric):
    r"""Whether the option that the answer settles on is a right one; 0 if it settles on none or on several.

    The last statement counts: "the answer is (C)" and its like, also written `**C**`, `\boxed{C}` or `$C$`;
    "C is correct"; or a last line with nothing but the letter. "The answer is A lot …" names no option, and
    letters that are not options don't count.
    """

    takes: ClassVar[frozenset[Output] | None] = frozenset({"option_letter"})

    names = ("final_option_match",)

    def check(self, instance: Instance) -> None:
        """Refuse an instance without a right answer.

        Raises:
            DataError: There is none.
        """
        require_correct_reference(self.name, instance)

    def score(self, unit: Unit) -> Mapping[str, float]:
        """`final_option_match`.

        Raises:
            DataError: The request was not a multiple choice, or the answer holds no completion.
        """
        completions, mapping = _choice(unit)
        letter = settled_option(likeliest_first(completions)[0].text, mapping)
        return {"final_option_match": _is_right(unit, mapping, letter)}


def _choice(unit: Unit) -> tuple[Sequence[Completion], Mapping[str, str]]:
    """The completions, and what the letters mean.

    Raises:
        DataError: The request was not a multiple choice, or the answer holds no completion.
    """
    answer = unit.answer
    mapping = answer.state.output_mapping
    if mapping is None:
        raise DataError(f"'{answer.state.key}' has no options to choose from")
    if not answer.response.completions:
        raise DataError(f"the answer to '{answer.state.key}' holds no completion")
    return answer.response.completions, mapping


def _is_right(unit: Unit, mapping: Mapping[str, str], letter: str | None) -> float:
    chosen = None if letter is None else mapping.get(letter)
    return float(chosen in {reference.text for reference in unit.instance.correct_references})
