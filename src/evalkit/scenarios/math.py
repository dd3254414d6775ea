"""MATH: problems from mathematics competitions (Hendrycks et al. 2021)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evalkit.data import DataFile, DataStore, HubSplit
from evalkit.data.huggingface import hub_file, shuffled
from evalkit.data.rows import json_rows
from evalkit.errors import UnknownNameError, UsageError
from evalkit.instance import CORRECT, TEST, TRAIN, Instance, Reference
from evalkit.notation.boxes import boxed_answer
from evalkit.registry import scenario
from evalkit.scenarios.scenario import Scenario

_REVISION = "71b758ecc688b2822d07ffa7f8393299f1dc7cac"
_SUBJECTS = {
    "number_theory": "Number Theory",
    "intermediate_algebra": "Intermediate Algebra",
    "algebra": "Algebra",
    "prealgebra": "Prealgebra",
    "geometry": "Geometry",
    "counting_and_probability": "Counting & Probability",
    "precalculus": "Precalculus",
}
_LEVELS = range(1, 6)
_SHUFFLE_SEED = 42
# The few-shot prompt of the paper; one problem lacks its closing dollar sign there too.
_OFFICIAL_EXAMPLES = (
    (r"What is $\left(\frac{7}{8}\right)^3 \cdot \left(\frac{7}{8}\right)^{-3}$?", "1"),
    (
        "In how many ways can 4 books be selected from a shelf of 6 books if the order in which the books "
        "are selected does not matter?",
        "15",
    ),
    ("Find the distance between the points $(2,1,-4)$ and $(5,8,-3).$", r"\sqrt{59}"),
    (
        "The faces of an octahedral die are labeled with digits $1$ through $8$. What is the probability, "
        "expressed as a common fraction, of rolling a sum of $15$ with a pair of such octahedral dice?",
        r"\frac{1}{32}",
    ),
    (
        "The first three terms of an arithmetic sequence are 1, 10 and 19, respectively. What is the value "
        "of the 21st term?",
        "181",
    ),
    (r"Calculate $6 \cdot 8\frac{1}{3}", "50"),
    (
        "When the binary number $100101110010_2$ is divided by 4, what is the remainder (give your answer in "
        "base 10)?",
        "2",
    ),
    (r"How many zeros are at the end of the product 25 $\times$ 240?", "3"),
)


@scenario("math")
class MATHScenario(Scenario):
    """Problems from mathematics competitions.

    Args:
        subject: Their field, such as `number_theory`.
        level: Their difficulty, 1 to 5.
        use_official_examples: The train split is the eight examples of the paper.
        use_chain_of_thought: References are whole solutions instead of answers; not with official examples.
    """

    def __init__(
        self,
        subject: str,
        level: int,
        use_official_examples: bool = False,
        use_chain_of_thought: bool = False,
    ) -> None:
        if subject not in _SUBJECTS:
            raise UnknownNameError("MATH subject", subject, _SUBJECTS)
        if level not in _LEVELS:
            raise UsageError(f"math: level={level} is not between 1 and 5")
        if use_official_examples and use_chain_of_thought:
            raise UsageError("math: the official examples hold no reasoning to show")
        self.subject, self.level = _SUBJECTS[subject], f"Level {level}"
        self.use_official_examples, self.use_chain_of_thought = use_official_examples, use_chain_of_thought

    def files(self) -> Sequence[DataFile]:
        """Train, unless the official examples stand in for it, and test, at a pinned revision."""
        return (_file(TEST),) if self.use_official_examples else (_file(TRAIN), _file(TEST))

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """Train, then test, sorted by problem and shuffled as HELM does; the only reference is right.

        Where answers are asked for, a problem whose solution boxes none is left out, as HELM means to do
        before it stops there with a KeyError.
        """
        if self.use_official_examples:
            for problem, answer in _OFFICIAL_EXAMPLES:
                yield Instance(problem, (Reference(answer, (CORRECT,)),), TRAIN)
        else:
            yield from self._from_file(data, TRAIN)
        yield from self._from_file(data, TEST)

    def _from_file(self, data: DataStore, split: str) -> Iterator[Instance]:
        fields = dict.fromkeys(("problem", "level", "type", "solution"), str)
        rows = sorted(json_rows(data.path(_file(split)), fields), key=lambda row: str(row["problem"]))
        for row in (rows[position] for position in shuffled(len(rows), _SHUFFLE_SEED)):
            if row["type"] != self.subject or row["level"] != self.level:
                continue
            answer = row["solution"] if self.use_chain_of_thought else boxed_answer(row["solution"])
            if answer is not None:
                yield Instance(row["problem"], (Reference(answer, (CORRECT,)),), split)


def _file(split: str) -> DataFile:
    return hub_file(HubSplit("hendrycks/competition_math", split, _REVISION, script=True))
