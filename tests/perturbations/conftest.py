"""Word lists in the form of HELM's, small enough to follow by hand, in a data directory of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import evalkit.perturbations.contractions
import evalkit.perturbations.contrast_sets
import evalkit.perturbations.dialect
import evalkit.perturbations.gender
import evalkit.perturbations.mild_mix
import evalkit.perturbations.misspellings
import evalkit.perturbations.person_name
import evalkit.perturbations.surface
import evalkit.perturbations.synonym
import evalkit.perturbations.translation  # noqa: F401 - all register themselves
from evalkit.data import DataStore

MISSPELLINGS = {
    "Already": ["Aready", "Alreayd", "Allready"],
    "the": ["tjhe", "tghe", "hten", "teh", "ther", "thge", "tje"],
    "not": ["onot", "nto"],
    "available": [
        "availabe", "avalable", "availaible", "availiable", "availible", "avaliable", "availble", "avilable",
    ],
    "about": ["abbout"],
    "about the": ["aboutthe"],
    "a lot": ["alot"],
}  # fmt: skip
DIALECT = {"this": ["dis"], "will": ["gon"], "be": ["b"], "my": ["mah"], "ask": ["aks", "axe"], "'em": ["em"]}
PERSON_NAMES = """\
jack,first_name,race,white_american,gender,male
peter,first_name,race,white_american,gender,male
lauren,first_name,race,white_american,gender,female
sam,first_name,race,white_american
lamar,first_name,race,black_american,gender,male
tyree,first_name,race,black_american,gender,male
sharise,first_name,race,black_american,gender,female
smith,last_name,race,white
garcia,last_name,race,hispanic
"""


@pytest.fixture
def data(tmp_path: Path) -> DataStore:
    """A data directory with word lists; nothing is downloaded, and no checksum compared."""
    folder = tmp_path / "data" / "perturbations"
    for path, text in {
        "misspellings/correct_to_misspelling.json": json.dumps(MISSPELLINGS),
        "dialect/SAE_to_AAVE_mapping.json": json.dumps(DIALECT),
        "person_name/data/person_names.txt": PERSON_NAMES,
    }.items():
        file = folder / path
        file.parent.mkdir(parents=True)
        file.write_text(text, encoding="utf-8")
    return DataStore(mirror=tmp_path / "data", cache=tmp_path / "cache", offline=True, verify=False)
