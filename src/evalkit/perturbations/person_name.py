"""Names of persons exchanged for those of another group."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Literal

from evalkit.data import DataFile, DataStore
from evalkit.errors import DataError, UsageError
from evalkit.instance import Instance
from evalkit.perturbations.perturbation import Perturbation, checked_probability
from evalkit.perturbations.words import match_case
from evalkit.registry import perturbation

# First names: Caliskan et al. 2017, from Greenwald et al. 1998. Last names: Garg et al. 2018.
PERSON_NAMES = DataFile(
    "perturbations/person_name/data/person_names.txt",
    url="https://storage.googleapis.com/crfm-helm-public/source_datasets/augmentations/"
    "person_name_perturbation/person_names.txt",
)
_GENDER = "gender"
_GENDERS = ("female", "male", "neutral")
_SEPARATOR = re.compile(r"(\W)")


@dataclass(slots=True)
class _Draws:
    """What has been drawn for the names of one instance, so that input and references agree."""

    rng: Random
    substitutes: dict[str, str] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)


@perturbation("person_name")
class PersonName(Perturbation):
    """Names typical of one group in place of those typical of another, the same all through an instance.

    Args:
        prob: Share of the names replaced.
        source_class: Category to value, such as `{"race": "white_american"}`: whose names are replaced.
        target_class: Category to value: whose names take their place.
        name_file_path: Other names, by their place below the data directory; each line is
            `name,first_name|last_name,category,value,…`.
        person_name_type: Which names: first or last ones.
        preserve_gender: Replace a name by one of the same gender, where its gender is known.
    """

    fairness = True
    changes_references = True

    def __init__(
        self,
        prob: float,
        source_class: dict[str, str],
        target_class: dict[str, str],
        name_file_path: str | None = None,
        person_name_type: Literal["first_name", "last_name"] = "first_name",
        preserve_gender: bool = True,
    ) -> None:
        if preserve_gender and person_name_type != "first_name":
            raise UsageError("only first names have a gender; set preserve_gender to false for last names")
        self._prob, self._preserve_gender = checked_probability(prob), preserve_gender
        self._source, self._target = _lowered(source_class), _lowered(target_class)
        self._file = PERSON_NAMES if name_file_path is None else DataFile(name_file_path)
        self._type = person_name_type
        self._options: dict[str, list[str]] = {}

    def files(self) -> Sequence[DataFile]:
        """The list of names."""
        return (self._file,)

    def prepare(self, data: DataStore) -> None:
        """Read the names, and find for each of the source class what can take its place.

        Raises:
            DataError: The list is missing or malformed, or has no names of one of the classes.
        """
        path = data.path(self._file)
        classes = _read_names(path, self._type)
        targets = _names_of(self._target, classes, path)
        of_gender = {gender: set(classes.get((_GENDER, gender), ())) for gender in _GENDERS}
        if self._preserve_gender and not any(of_gender.values()):
            raise DataError(f"{path}: no name has a gender to preserve")
        for name in _names_of(self._source, classes, path):
            gender = next((g for g in _GENDERS if name in of_gender[g]), None)
            if self._preserve_gender and gender is not None:
                self._options[name] = [target for target in targets if target in of_gender[gender]]
            else:
                self._options[name] = targets

    def perturb(self, text: str, rng: Random) -> str:
        """The text with some names replaced."""
        return self._renamed(text, _Draws(rng))

    def copy_of(self, instance: Instance, rng: Random) -> Instance:
        """A copy in which each name has become the same other name everywhere."""
        draws = _Draws(rng)
        references = tuple(replace(r, text=self._renamed(r.text, draws)) for r in instance.references)
        return replace(instance, input=self._renamed(instance.input, draws), references=references)

    def _renamed(self, text: str, draws: _Draws) -> str:
        return "".join([self._substituted(token, draws) for token in _SEPARATOR.split(text)])

    def _substituted(self, token: str, draws: _Draws) -> str:
        name = token.lower()
        if name in self._options and name not in draws.substitutes and name not in draws.kept:
            if draws.rng.random() >= self._prob:
                draws.kept.add(name)
            elif self._options[name]:
                draws.substitutes[name] = draws.rng.choice(self._options[name])
        return match_case(token, draws.substitutes[name]) if name in draws.substitutes else token


def _lowered(names: Mapping[str, str]) -> dict[str, str]:
    if not names:
        raise UsageError("a class of names needs at least one category, such as race=white_american")
    return {category.lower(): value.lower() for category, value in names.items()}


def _read_names(path: Path, kind: str) -> dict[tuple[str, str], list[str]]:
    """The names by category and value, in small letters, in the order of the file."""
    classes: dict[tuple[str, str], list[str]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error})") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, *rest = (part.strip().lower() for part in line.rstrip(" ,").split(","))
        if len(rest) < 3 or len(rest) % 2 == 0:
            raise DataError(f"{path}:{number}: not of the form name,first_name|last_name,category,value,…")
        if rest[0] == kind:
            for place in zip(rest[1::2], rest[2::2], strict=True):
                classes.setdefault(place, []).append(name)
    return classes


def _names_of(
    wanted: Mapping[str, str], classes: Mapping[tuple[str, str], list[str]], path: Path
) -> list[str]:
    """The names that belong to a class in every category; those of the first category, in their order."""
    first, *others = wanted.items()
    names = classes.get(first, [])
    for place in others:
        names = [name for name in names if name in classes.get(place, ())]
    if not names:
        described = " and ".join(f"{category} {value}" for category, value in wanted.items())
        raise DataError(f"{path}: there are no names of {described}")
    return names
