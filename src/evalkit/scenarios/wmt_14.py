"""WMT 2014: translation from and into English (Bojar et al. 2014)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from evalkit.data import DataFile, DataStore, HubSplit
from evalkit.data.huggingface import hub_file, shuffled
from evalkit.data.rows import count_rows, json_rows, json_rows_at
from evalkit.errors import DataError, UsageError
from evalkit.instance import CORRECT, TEST, TRAIN, VALID, Instance, Reference
from evalkit.registry import scenario
from evalkit.scenarios.scenario import Scenario

Language = Literal["cs", "de", "en", "fr", "hi", "ru"]

_REVISION = "b199e406369ec1b7634206d3ded5ba45de2fe696"
_SPLITS = {"train": TRAIN, "validation": VALID, "test": TEST}
_MAX_TRAIN = 20_000
_SHUFFLE_SEED = 42
_FIELDS = {"translation": dict}


@scenario("wmt_14")
class WMT14Scenario(Scenario):
    """Sentences with a translation; one of the two languages is English.

    Args:
        source_language: The language to translate from.
        target_language: The language to translate into.
    """

    def __init__(self, source_language: Language, target_language: Language) -> None:
        languages = {source_language, target_language}
        if len(languages) != 2 or "en" not in languages:
            raise UsageError(
                f"wmt_14: {source_language}-{target_language} is no pair of English and another language"
            )
        self.source_language, self.target_language = source_language, target_language

    def files(self) -> Sequence[DataFile]:
        """Train, validation and test at a pinned revision."""
        return tuple(self._file(part) for part in _SPLITS)

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """Train, drawn as HELM does: of 20,000 sentences those with a new translation. All valid and test."""
        for part, split in _SPLITS.items():
            path = data.path(self._file(part))
            pairs = self._drawn(path) if split == TRAIN else self._pairs(path, json_rows(path, _FIELDS))
            for source, target in pairs:
                yield Instance(source, (Reference(target, (CORRECT,)),), split)

    def _drawn(self, path: Path) -> Iterator[tuple[str, str]]:
        drawn = shuffled(count_rows(path), _SHUFFLE_SEED, limit=_MAX_TRAIN)
        seen = set()
        for source, target in self._pairs(path, json_rows_at(path, drawn, _FIELDS)):
            if target not in seen:
                seen.add(target)
                yield source, target

    def _pairs(self, path: Path, rows: Iterable[dict[str, Any]]) -> Iterator[tuple[str, str]]:
        """Sentence and translation of each row."""
        for row in rows:
            try:
                yield row["translation"][self.source_language], row["translation"][self.target_language]
            except KeyError as missing:
                raise DataError(f"{path}: a row has no translation for {missing}") from None

    def _file(self, part: str) -> DataFile:
        other = self.source_language if self.target_language == "en" else self.target_language
        return hub_file(HubSplit("wmt14", part, _REVISION, config=f"{other}-en"))
