from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from evalkit.data import DataStore
from evalkit.errors import DataError, UnknownNameError
from evalkit.scenarios.mmlu import SUBJECTS, MMLUScenario


def mirror_with(folder: Path, dev: Sequence[str]) -> DataStore:
    for part, lines in (("dev", dev), ("val", []), ("test", [])):
        path = folder / "mmlu" / "data" / part / f"anatomy_{part}.csv"
        path.parent.mkdir(parents=True)
        path.write_text("".join(line + "\n" for line in lines), "utf-8")
    return DataStore(mirror=folder, cache=folder / "cache", offline=True)


def test_subjects() -> None:
    assert len(set(SUBJECTS)) == 57
    with pytest.raises(UnknownNameError, match="did you mean 'anatomy'"):
        MMLUScenario("anatomie")


def test_options_that_read_alike_are_all_right(tmp_path: Path) -> None:
    store = mirror_with(tmp_path, ['"Which, then?",x,y,x,C'])
    (instance,) = MMLUScenario("anatomy").instances(store)
    assert instance.input == "Which, then?"
    assert [(r.text, r.is_correct) for r in instance.references] == [("x", True), ("y", False), ("x", True)]


@pytest.mark.parametrize("letter", ["", "D", "a", "AB", "1"])
def test_bad_letter_is_an_error(tmp_path: Path, letter: str) -> None:
    store = mirror_with(tmp_path, ["q,x,y,z,A", f"q,x,y,z,{letter}"])
    with pytest.raises(DataError, match=r"anatomy_dev.csv:2: .*letter"):
        list(MMLUScenario("anatomy").instances(store))
