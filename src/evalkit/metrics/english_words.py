"""English sentences and words, through NLTK, without the data that NLTK would have to download.

The official scripts use NLTK's `punkt` model, which only comes by download. Here its algorithm runs with a
fixed list of abbreviations in place of the trained one, so that a score is the same on every machine. Both
agree unless a sentence ends in, or holds, an abbreviation that only one of them knows.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from evalkit.scoring.optional_packages import require_module

_ABBREVIATIONS = (
    "a.m adm al approx apr aug av ave bros capt cf cmdr co col corp dec dept dr e.g est etc feb fig fri gen "
    "gov hon i.e inc jan jr lt ltd maj messrs mon mr mrs ms mt no nov oct op p p.m ph.d prof rep rev sat sen "
    "sept sgt sr st sun thu tue u.k u.n u.s v vol vs wed"
)


def sentences(text: str) -> list[str]:
    """The sentences of a text, without the blanks around them.

    Raises:
        UsageError: NLTK is not installed.
    """
    return [str(sentence) for sentence in _sentence_splitter().tokenize(text)]


def words(text: str) -> list[str]:
    """The words and punctuation marks of a text, by NLTK's Treebank-like rules, sentence by sentence.

    Raises:
        UsageError: NLTK is not installed.
    """
    tokenizer = _word_splitter()
    return [str(word) for sentence in sentences(text) for word in tokenizer.tokenize(sentence)]


@lru_cache(maxsize=1)
def _sentence_splitter() -> Any:
    require_module("nltk", "splitting a text into sentences")
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer

    parameters = PunktParameters()
    parameters.abbrev_types.update(_ABBREVIATIONS.split())
    return PunktSentenceTokenizer(parameters)


@lru_cache(maxsize=1)
def _word_splitter() -> Any:
    require_module("nltk", "splitting a text into words")
    from nltk.tokenize.destructive import NLTKWordTokenizer

    return NLTKWordTokenizer()
