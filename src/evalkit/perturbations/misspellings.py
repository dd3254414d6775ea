"""Words misspelt as people misspell them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from evalkit.data import Archive, DataFile, DataStore
from evalkit.perturbations.perturbation import Perturbation, checked_probability
from evalkit.perturbations.words import alternation, match_case, read_substitutes
from evalkit.registry import perturbation

# HELM publishes its list (from Wikipedia's of common misspellings) as part of its package only.
MISSPELLINGS = DataFile(
    "perturbations/misspellings/correct_to_misspelling.json",
    sha256="2f8e118895e52426bacd0cd32dfd0c14708e845c910d129f2d03571fe9f75c8b",
    archive=Archive(
        "https://files.pythonhosted.org/packages/b4/d5/"
        "18497aaf16271b7393892812f35305d4cd393b67cac25d36472d6d42800a/crfm_helm-0.5.14-py3-none-any.whl",
        sha256="55e1c25408a4d5d871bb06fe7c469f10e8c6b16e83861ba5e90a3ed0134aea33",
        kind="zip",
    ),
    member="helm/benchmark/augmentations/correct_to_misspelling.json",
)


@perturbation("misspellings")
class Misspellings(Perturbation):
    """Common misspellings, from Wikipedia's list.

    Args:
        prob: Share of the words replaced, of those that the list has.
    """

    robustness = True

    def __init__(self, prob: float) -> None:
        self._prob = checked_probability(prob)
        self._wrong: dict[str, list[str]] = {}
        self._pattern = re.compile(r"(?!)")

    def files(self) -> Sequence[DataFile]:
        """The list of misspellings."""
        return (MISSPELLINGS,)

    def prepare(self, data: DataStore) -> None:
        """Read the list."""
        self._wrong = read_substitutes(data.path(MISSPELLINGS))
        self._pattern = re.compile(rf"\b{alternation(self._wrong)}\b")

    def perturb(self, text: str, rng: Random) -> str:
        """The text with some words misspelt."""

        def misspelt(match: re.Match[str]) -> str:
            word = match[0]
            return match_case(word, rng.choice(self._wrong[word])) if rng.random() < self._prob else word

        return self._pattern.sub(misspelt, text)
