"""Several mild changes at once: HELM's canonical test of robustness."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from evalkit.data import DataFile, DataStore
from evalkit.perturbations.contractions import Contraction
from evalkit.perturbations.misspellings import Misspellings
from evalkit.perturbations.perturbation import Perturbation
from evalkit.perturbations.surface import Lowercase, Space
from evalkit.registry import perturbation


@perturbation("mild_mix")
class MildMix(Perturbation):
    """Small letters, contractions, a tenth of the words misspelt, and up to three blanks for one."""

    robustness = True

    def __init__(self) -> None:
        self._parts = (Lowercase(), Contraction(), Misspellings(prob=0.1), Space(max_spaces=3))

    def files(self) -> Sequence[DataFile]:
        """The word lists of all parts."""
        return tuple(file for part in self._parts for file in part.files())

    def prepare(self, data: DataStore) -> None:
        """Prepare all parts."""
        for part in self._parts:
            part.prepare(data)

    def perturb(self, text: str, rng: Random) -> str:
        """The text after all changes, one after the other."""
        for part in self._parts:
            text = part.perturb(text, rng)
        return text
