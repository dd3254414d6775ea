"""Words of one dialect exchanged for those of another."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from evalkit.data import DataFile, DataStore
from evalkit.errors import UsageError
from evalkit.perturbations.perturbation import Perturbation, checked_probability
from evalkit.perturbations.words import alternation, match_case, read_substitutes
from evalkit.registry import perturbation

# By source and target dialect. From VALUE (Ziems et al. 2022, https://arxiv.org/abs/2204.03031).
_DICTIONARIES = {
    ("SAE", "AAVE"): DataFile(
        "perturbations/dialect/SAE_to_AAVE_mapping.json",
        url="https://storage.googleapis.com/crfm-helm-public/source_datasets/augmentations/"
        "dialect_perturbation/SAE_to_AAVE_mapping.json",
    )
}


@perturbation("dialect")
class Dialect(Perturbation):
    """Standard American English with words of African-American Vernacular English, or another such pair.

    Args:
        prob: Share of the words replaced, of those that the dictionary has.
        source_class: The dialect of the texts: SAE.
        target_class: The dialect wanted: AAVE.
        mapping_file_path: A dictionary for other dialects, by its place below the data directory: JSON that
            maps each word to a list of words.
    """

    fairness = True
    changes_references = True

    def __init__(
        self, prob: float, source_class: str, target_class: str, mapping_file_path: str | None = None
    ) -> None:
        self._prob = checked_probability(prob)
        pair = source_class.upper(), target_class.upper()
        if mapping_file_path is not None:
            self._file = DataFile(mapping_file_path)
        elif pair in _DICTIONARIES:
            self._file = _DICTIONARIES[pair]
        else:
            known = ", ".join(f"{source} to {target}" for source, target in _DICTIONARIES)
            raise UsageError(
                f"no dictionary from {pair[0]} to {pair[1]} is known, only {known}; give mapping_file_path"
            )
        self._substitutes: dict[str, list[str]] = {}
        self._pattern = re.compile(r"(?!)")

    def files(self) -> Sequence[DataFile]:
        """The dictionary."""
        return (self._file,)

    def prepare(self, data: DataStore) -> None:
        """Read the dictionary."""
        found = read_substitutes(data.path(self._file))
        self._substitutes = {word.lower(): substitutes for word, substitutes in found.items()} | found
        words = alternation(word.lower() for word in found)
        self._pattern = re.compile(rf"[^\w-]({words})[^\w-]", re.IGNORECASE)

    def perturb(self, text: str, rng: Random) -> str:
        """The text with some words replaced.

        A word counts where other characters than letters, digits and `-` stand on both sides, so not at the
        very beginning or end; of two neighbours with one blank between them, the second does not.
        """

        def replaced(match: re.Match[str]) -> str:
            word = match[1]
            if rng.random() >= self._prob or (known := self._substitutes.get(word.lower())) is None:
                return match[0]
            return match[0].replace(word, match_case(word, rng.choice(known)))

        return self._pattern.sub(replaced, text)
