"""Functions known only from examples (Treutlein et al. 2024): what does code that calls them print?

The names say nothing; a model knows the functions only if it was trained on their values. Questions are drawn
as the authors' generator draws them, from the stream of `numpy.random.default_rng`.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from evalkit.data import DataStore
from evalkit.errors import UsageError, nearest_names
from evalkit.instance import CORRECT, TEST, TRAIN, Instance, Reference
from evalkit.registry import scenario
from evalkit.scenarios.numpy_random import NumpyGenerator
from evalkit.scenarios.scenario import Scenario

Kind = Literal["single_function"]
Function = Callable[[int], int | float | bool]

NUM_TRAIN = 20

DEFINITIONS: Mapping[str, Function] = {
    "add_5": lambda n: n + 5,
    "add_14": lambda n: n + 14,
    "subtract_1": lambda n: n - 1,
    "subtract_11": lambda n: n - 11,
    "multiply_3": lambda n: n * 3,
    "multiply_4": lambda n: n * 4,
    "negate": lambda n: -n,
    "identity": lambda n: n,
    "int_div_3": lambda n: n // 3,
    "int_div_4": lambda n: n // 4,
    "mod_2": lambda n: n % 2,
    "mod_3": lambda n: n % 3,
    "bool_mod_2": lambda n: n % 2 == 0,
    "bool_geq_3": lambda n: n >= 3,
    "float_mult_3_div_2": lambda n: n * 3 / 2,
    "float_mult_7_div_4": lambda n: n * 7 / 4,
    "affine_3x_2": lambda n: 3 * n + 2,
    "affine_neg5x_3": lambda n: -5 * n + 3,
    "relu_neg2": lambda n: max(n, -2),
}
"""What a name can mean."""

NAMES: Mapping[str, str] = {
    "adarnq": "bool_geq_3",
    "baevqx": "bool_mod_2",
    "chmkka": "mod_2",
    "ckhtts": "multiply_4",
    "iguwcb": "float_mult_3_div_2",
    "klmyfm": "mod_3",
    "kmknfu": "multiply_3",
    "kwoats": "int_div_4",
    "njrogi": "affine_neg5x_3",
    "okzfyc": "subtract_11",
    "oyhvra": "add_14",
    "psvnji": "int_div_3",
    "pyalvt": "add_5",
    "qcnqty": "negate",
    "riodwl": "identity",
    "spnitk": "subtract_1",
    "vrskwd": "relu_neg2",
    "wqnhib": "affine_3x_2",
    "xftybj": "float_mult_7_div_4",
}
"""The names that the authors' example gives to 19 functions."""

IN_DISTRIBUTION = ((-99, 99),)
OUT_OF_DISTRIBUTION = ((99, 199), (-199, -99))

_INPUT_VARIABLES = (None, None, "x", "a")
_OUTPUT_VARIABLES = (None, None, "out", "y")


class Question(NamedTuple):
    """What a kind of question draws.

    Attributes:
        text: The code shown.
        answer: What it prints.
        function: The definition that is asked about, such as `add_5`.
        extra: What else was drawn.
    """

    text: str
    answer: str
    function: str
    extra: Mapping[str, Any]


@scenario("functions")
class FunctionsScenario(Scenario):
    """Code that calls functions with opaque names; the answer is what it prints. Scores by function are kept.

    Args:
        kind: What is asked: `single_function`, what a call with one number prints.
        num_test: How many test instances to make, besides 20 train instances.
        seed: Other seeds give other questions.
        names: Name in the code to definition (`add_5`, …); the default is the authors' example of 19.
        input_ranges: Where inputs come from, as (from, to) without the end; each range is as likely.
        min_imports: Import up to this many names, to make the one that counts less obvious.
    """

    def __init__(
        self,
        kind: Kind = "single_function",
        num_test: int = 1000,
        seed: int = 100,
        names: dict[str, str] | None = None,
        input_ranges: tuple[tuple[int, int], ...] = IN_DISTRIBUTION,
        min_imports: int = 2,
    ) -> None:
        self.names = dict(sorted((NAMES if names is None else names).items()))
        self.kind, self.num_test, self.seed, self.min_imports = kind, num_test, seed, min_imports
        self.input_ranges = input_ranges
        self._ask: Callable[[NumpyGenerator, tuple[int, int]], Question] = {
            "single_function": self._single_function
        }[kind]
        self._check()

    def _check(self) -> None:
        if self.num_test < 1:
            raise UsageError(f"functions: num_test={self.num_test} is not positive")
        if self.seed < 0:
            raise UsageError(f"functions: seed={self.seed} is negative")
        if self.min_imports < 1:
            raise UsageError(f"functions: min_imports={self.min_imports} is not positive")
        if not self.input_ranges or any(low >= high for low, high in self.input_ranges):
            raise UsageError("functions: input_ranges needs ranges (from, to) that are not empty")
        if not self.names:
            raise UsageError("functions: names is empty")
        for name, definition in self.names.items():
            if not name.isidentifier() or keyword.iskeyword(name):
                raise UsageError(f"functions: '{name}' can't be the name of a function")
            if definition not in DEFINITIONS:
                nearest = nearest_names(definition, DEFINITIONS)
                hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
                raise UsageError(f"functions: there is no definition '{definition}'{hint}")

    def sizes(self) -> Mapping[str, int]:
        """20 train, `num_test` test."""
        return {TRAIN: NUM_TRAIN, TEST: self.num_test}

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """20 train and `num_test` test instances; what was drawn for each is in its extra data.

        Test questions are the authors' data set of this seed; a larger `num_test` goes on where a smaller one
        ends. Questions may repeat, as theirs may. Train questions come from their own stream.
        """
        for rng, split, count in (
            (NumpyGenerator((self.seed, 1)), TRAIN, NUM_TRAIN),
            (NumpyGenerator(self.seed), TEST, self.num_test),
        ):
            for _ in range(count):
                question = self._question(rng)
                yield Instance(
                    question.text,
                    (Reference(question.answer, (CORRECT,)),),
                    split,
                    sub_split=question.function,
                    extra={"kind": self.kind, "function": question.function, **question.extra},
                )

    def _question(self, rng: NumpyGenerator) -> Question:
        ranges = self.input_ranges
        # The authors choose among weighted configurations, of which each has one range; one is drawn too.
        return self._ask(rng, rng.weighted_choice(ranges, [1 / len(ranges)] * len(ranges)))

    def _single_function(self, rng: NumpyGenerator, inputs: tuple[int, int]) -> Question:
        """`print(f(x))`, with variables for input and output or without."""
        name = rng.choice(tuple(self.names))
        pieces = [self._imports(rng, (name,))]
        number = rng.integers(*inputs)
        input_variable, output_variable = rng.choice(_INPUT_VARIABLES), rng.choice(_OUTPUT_VARIABLES)
        if input_variable:
            pieces.append(f"{input_variable} = {number}")
        call = f"{name}({input_variable or number})"
        if output_variable:
            pieces.append(f"{output_variable} = {call}")
        pieces.append(f"print({output_variable or call})")
        definition = self.names[name]
        answer = str(DEFINITIONS[definition](number))
        return Question("\n\n".join(pieces), answer, definition, {"variable": name, "input": number})

    def _imports(self, rng: NumpyGenerator, needed: Sequence[str]) -> str:
        """The import line: the names needed, and others up to `min_imports`, which may be the same again."""
        everything = tuple(self.names)
        others = [rng.choice(everything) for _ in range(self.min_imports - len(needed))]
        shown = sorted({*needed, *others})
        rng.shuffle(shown)
        return f"from functions import {', '.join(shown)}"
