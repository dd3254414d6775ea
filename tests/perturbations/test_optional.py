"""Perturbations that need more than evalkit brings along say what."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest

import evalkit.perturbations.synonym as synonym
import evalkit.perturbations.translation as translation
from evalkit.data import DataStore
from evalkit.errors import UsageError
from evalkit.perturbations.augmenter import Augmenter
from tests.perturbations.copies import changed, spec


def test_synonym_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synonym, "find_spec", lambda name: None if name == "spacy" else object())
    with pytest.raises(UsageError, match="needs spacy: pip install spacy nltk"):
        Augmenter.of(spec(("synonym", {"prob": 0.5})))


def test_translate_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> ModuleSpec | None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(translation, "find_spec", missing)
    with pytest.raises(UsageError, match="pip install google-cloud-translate"):
        Augmenter.of(spec(("translate", {"language_code": "es"})))


@dataclass
class Token:
    text: str
    pos_: str
    whitespace_: str = " "


def test_synonyms_are_looked_up_by_base_form(data: DataStore, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {"This": "PRON", "Movies": "NOUN", "were": "AUX", "good": "ADJ"}
    words = {"movie:n": ["movies", "picture"], "good:s": ["fine", "near"]}
    assert data.mirror is not None
    path = data.mirror / synonym.SYNONYMS.path
    path.parent.mkdir()
    path.write_text(json.dumps(words))

    class WordNet:
        def ensure_loaded(self) -> None: ...

        def _morphy(self, word: str, part: str) -> list[str]:
            return [word.removesuffix("s")]

    modules: dict[str, Any] = {"spacy": ModuleType("spacy"), "nltk.corpus": ModuleType("nltk.corpus")}
    modules["spacy"].load = lambda name: lambda text: [Token(w, parts[w]) for w in text.split()]
    modules["nltk.corpus"].wordnet = WordNet()
    monkeypatch.setattr(synonym, "find_spec", lambda name: object())
    monkeypatch.setattr(synonym, "import_module", modules.__getitem__)
    assert changed("This Movies were good", data, "synonym", prob=1.0) in (
        "This Picture were fine ",
        "This Picture were near ",
    )


def test_translate_asks_the_service(data: DataStore, monkeypatch: pytest.MonkeyPatch) -> None:
    library: Any = ModuleType("translate_v2")

    class Client:
        def translate(self, text: str, target_language: str) -> dict[str, str]:
            return {"translatedText": f"{target_language}:{text}", "input": text}

    library.Client = Client
    monkeypatch.setattr(translation, "find_spec", lambda name: object())
    monkeypatch.setattr(translation, "import_module", lambda name: library)
    assert changed("a dog", data, "translate", language_code="es") == "es:a dog"
    assert Augmenter.of(spec(("translate", {"language_code": "es"}))).asks_service
    assert "google.cloud" not in sys.modules
