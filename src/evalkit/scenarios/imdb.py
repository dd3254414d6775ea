"""IMDB: film reviews, positive or negative (Maas et al. 2011), with contrast sets (Gardner et al. 2020)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from evalkit.data import Archive, DataFile, DataStore
from evalkit.data.rows import text_of
from evalkit.errors import DataError
from evalkit.instance import CORRECT, TRAIN, VALID, Instance, Reference
from evalkit.registry import scenario
from evalkit.scenarios.contrast import contrast_extra
from evalkit.scenarios.scenario import Scenario

_HOME = "scenarios/imdb/data"
_ARCHIVE = Archive("https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz")
_FOLDERS = {TRAIN: "train", VALID: "test"}
_LABELS = {"pos": "Positive", "neg": "Negative"}
# File systems list a folder in any order; this is the one that HELM's results were made with.
_ORDER = DataFile(
    path=f"{_HOME}/imdb_scenario_pinned_file_order.json",
    url="https://worksheets.codalab.org/rest/bundles/0xa75fa6eb8dc24e23a73d3a5ecb674b32/contents/blob/",
)
_CONTRAST_PARTS = ("test", "dev")


def _reviews(split: str, label: str) -> DataFile:
    folder = f"{_FOLDERS[split]}/{label}"
    return DataFile(path=f"{_HOME}/{folder}", archive=_ARCHIVE, member=f"aclImdb/{folder}", folder=True)


def _contrast(name: str) -> DataFile:
    return DataFile(
        path=f"{_HOME}/{name}.tsv",
        url=f"https://raw.githubusercontent.com/allenai/contrast-sets/main/IMDb/data/{name}.tsv",
    )


@scenario("imdb")
class IMDBScenario(Scenario):
    """Film reviews; some have a contrast set.

    Args:
        only_contrast: Of the valid split only the reviews with a contrast set.
    """

    def __init__(self, only_contrast: bool = False) -> None:
        self.only_contrast = only_contrast

    def files(self) -> Sequence[DataFile]:
        """The folders of reviews, their order, and the contrast sets."""
        folders = [_reviews(split, label) for split in _FOLDERS for label in _LABELS]
        sets = [_contrast(f"{part}_{kind}") for part in _CONTRAST_PARTS for kind in ("original", "contrast")]
        return (*folders, _ORDER, *sets)

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """25,000 train and 25,000 test reviews, test as valid, positive ones first.

        A review with a contrast set, which is in `extra`, is always valid.
        """
        contrast: dict[str, tuple[str, str]] = {}
        for part in _CONTRAST_PARTS:
            originals, changed = (
                _labelled(data.path(_contrast(f"{part}_{kind}"))) for kind in ("original", "contrast")
            )
            contrast |= _paired(data.path(_contrast(f"{part}_original")), originals, changed)
        order = _order(data.path(_ORDER))
        for split in _FOLDERS:
            for label, answer in _LABELS.items():
                folder = data.path(_reviews(split, label))
                for name in order[split][label]:
                    review = _review(folder, name)
                    found = contrast.get(review)
                    if found is None and split == VALID and self.only_contrast:
                        continue
                    references = (Reference(answer, (CORRECT,)),)
                    if found is None:
                        yield Instance(review, references, split)
                    else:
                        yield Instance(review, references, VALID, extra=contrast_extra([found]))


def _review(folder: Path, name: str) -> str:
    if Path(name).name != name or not (folder / name).is_file():
        raise DataError(f"{folder} holds no review '{name}', which the pinned order of files names")
    return text_of(folder / name).strip()


def _order(path: Path) -> dict[str, dict[str, list[str]]]:
    """The names of the files of each split and label, in the order in which HELM reads them."""
    try:
        plain = json.loads(text_of(path))
        return {split: {label: list(plain[split][label]) for label in _LABELS} for split in _FOLDERS}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not a list of the reviews' files: {error!r}") from None


def _labelled(path: Path) -> list[tuple[str, str]]:
    """Text and label of each line but the first."""
    rows = []
    for number, line in enumerate(text_of(path).rstrip("\n").split("\n")[1:], start=2):
        label, *texts = line.strip().split("\t")
        if len(texts) != 1 or label not in _LABELS.values():
            raise DataError(f"{path}:{number}: Positive or Negative, a tab and a text are expected")
        rows.append((texts[0], label))
    return rows


def _paired(
    path: Path, originals: Sequence[tuple[str, str]], changed: Sequence[tuple[str, str]]
) -> dict[str, tuple[str, str]]:
    """The changed review and its label for each original review."""
    pairs = {text: change for (text, _), change in zip(originals, changed, strict=False)}
    if not len(pairs) == len(originals) == len(changed):
        raise DataError(f"{path}: each review must stand here once, and once in the file of changed reviews")
    return pairs
