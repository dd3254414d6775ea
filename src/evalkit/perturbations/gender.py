"""Gendered words exchanged for those of another gender."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Literal

from evalkit.data import DataFile, DataStore
from evalkit.errors import DataError, UsageError
from evalkit.perturbations.perturbation import Perturbation, checked_probability
from evalkit.perturbations.words import match_case
from evalkit.registry import perturbation

_GENDERS = ("neutral", "female", "male")
# One row per line: the neutral, female and male word. HELM's lists and order (Garg et al. 2018, Bolukbasi et
# al. 2016, Lauscher et al. 2022), with its slip: "grandfather" is next to "grandmothers".
_TERMS = """
child daughter son
children daughters sons
parent mother father
parents mothers fathers
kiddo girl boy
kiddos girls boys
person woman man
people women men
sibling sister brother
siblings sisters brothers
nibling niece nephew
niblings nieces nephews
monarch queen king
monarchs queens kings
server waitress waiter
servers waitresses waiters
parent mom dad
parents moms dads
stepchild stepdaughter stepson
stepchildren stepdaughters stepsons
stepparent stepmother stepfather
stepparents stepmothers stepfathers
stepparent stepmom stepdad
stepparents stepmoms stepdads
grandchild granddaughter grandson
grandchildren granddaughters grandsons
grandparent grandmother grandfather
grandparents grandmothers grandfather
grandparent grandma granddad
grandparents grandmas granddads
human female male
humans females males
"""
_PRONOUNS = """
they she he
them her him
their her his
theirs hers his
themselves herself himself
"""


@perturbation("gender")
class Gender(Perturbation):
    """Words for one gender in place of those for another.

    Args:
        mode: Nouns (`terms`) or pronouns.
        prob: Share of the words replaced.
        source_class: The gender replaced: male, female or neutral, or one of `mapping_file_genders`.
        target_class: The gender that takes its place.
        mapping_file_path: Other words, by their place below the data directory: a JSON list of rows, each
            with one word per gender.
        mapping_file_genders: The genders of that file, in the order of its rows.
        bidirectional: Then also replace words of the target by those of the source.
    """

    fairness = True
    changes_references = True

    def __init__(
        self,
        mode: Literal["terms", "pronouns"],
        prob: float,
        source_class: str,
        target_class: str,
        mapping_file_path: str | None = None,
        mapping_file_genders: list[str] | None = None,
        bidirectional: bool = False,
    ) -> None:
        self._prob, self._bidirectional = checked_probability(prob), bidirectional
        self._file: DataFile | None = None
        self._genders: tuple[str, ...] = _GENDERS
        if mapping_file_path is not None and mapping_file_genders is not None:
            self._file = DataFile(mapping_file_path)
            self._genders = tuple(gender.lower() for gender in mapping_file_genders)
        elif mapping_file_path is not None or mapping_file_genders is not None:
            raise UsageError("set both mapping_file_path and mapping_file_genders, or neither")
        self._source, self._target = source_class.lower(), target_class.lower()
        for gender in (self._source, self._target):
            if gender not in self._genders:
                raise UsageError(f"'{gender}' is not one of {', '.join(self._genders)}")
        rows = _TERMS if mode == "terms" else _PRONOUNS
        self._exchanges = self._exchanged([row.split() for row in rows.split("\n") if row])

    def files(self) -> Sequence[DataFile]:
        """The word list, where another than HELM's is wanted."""
        return (self._file,) if self._file is not None else ()

    def prepare(self, data: DataStore) -> None:
        """Read the word list, where another than HELM's is wanted."""
        if self._file is not None:
            self._exchanges = self._exchanged(_read_rows(data.path(self._file), len(self._genders)))

    def perturb(self, text: str, rng: Random) -> str:
        """The text with some words replaced, pair of words by pair of words.

        A word counts where something that is not a letter or digit stands on both sides.
        """
        for pattern, substitute in self._exchanges:
            text = pattern.sub(lambda match, to=substitute: self._replaced(match, to, rng), text)  # type: ignore[misc]
        return text

    def _replaced(self, match: re.Match[str], substitute: str, rng: Random) -> str:
        if rng.random() >= self._prob:
            return match[0]
        return match[0].replace(match[1], match_case(match[1], substitute))

    def _exchanged(self, rows: Sequence[Sequence[str]]) -> list[tuple[re.Pattern[str], str]]:
        """Patterns with what takes the place of the word that they find."""
        source, target = self._genders.index(self._source), self._genders.index(self._target)
        pairs = [(row[source], row[target]) for row in rows]
        if self._bidirectional:
            pairs += [(to, word) for word, to in pairs]
        return [(re.compile(rf"\W({re.escape(word)})\W", re.IGNORECASE), to) for word, to in pairs]


def _read_rows(path: Path, width: int) -> list[list[str]]:
    try:
        rows = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error}); the file may be truncated") from None
    if not isinstance(rows, list) or not rows:
        raise DataError(f"{path}: a JSON list of rows is expected")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, list) or len(row) != width:
            raise DataError(f"{path}: row {number} does not hold {width} words, one per gender")
    return [[str(word).lower() for word in row] for row in rows]
