"""Words exchanged for synonyms of theirs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from random import Random
from typing import Any

from evalkit.data import DataFile, DataStore
from evalkit.errors import DataError, UsageError
from evalkit.perturbations.perturbation import Perturbation, checked_probability
from evalkit.perturbations.words import match_case, read_substitutes
from evalkit.registry import perturbation

# WordNet's synonyms by base form and part of speech (`movie:n`).
SYNONYMS = DataFile(
    "perturbations/synonym/wordnet_synonyms.json",
    url="https://storage.googleapis.com/crfm-helm-public/source_datasets/augmentations/"
    "synonym_perturbation/wordnet_synonyms.json",
)
_MODEL = "en_core_web_sm"
_PARTS_OF_SPEECH = {"VERB": "v", "NOUN": "n", "ADV": "r", "ADJ": "s"}


@perturbation("synonym")
class Synonym(Perturbation):
    """Verbs, nouns, adverbs and adjectives replaced by synonyms from WordNet.

    Needs spaCy with its English model, and NLTK with its data set `wordnet`.

    Args:
        prob: Share of the words replaced, of those that have synonyms.

    Raises:
        UsageError: A library is missing; the message has the command.
    """

    robustness = True

    def __init__(self, prob: float) -> None:
        self._prob = checked_probability(prob)
        missing = [name for name in ("spacy", "nltk", _MODEL) if find_spec(name) is None]
        if missing:
            raise UsageError(
                f"perturbation 'synonym' needs {', '.join(missing)}: pip install spacy nltk, then "
                f"python -m spacy download {_MODEL}, and python -m nltk.downloader wordnet"
            )
        self._synonyms: dict[str, list[str]] = {}
        self._tagger: Any = None
        self._wordnet: Any = None

    def files(self) -> Sequence[DataFile]:
        """The list of synonyms."""
        return (SYNONYMS,)

    def prepare(self, data: DataStore) -> None:
        """Read the synonyms, and load spaCy's model and WordNet's base forms.

        Raises:
            DataError: One of them is missing or malformed.
        """
        self._synonyms = read_substitutes(data.path(SYNONYMS))
        self._tagger = import_module("spacy").load(_MODEL)
        wordnet = import_module("nltk.corpus").wordnet
        try:
            wordnet.ensure_loaded()
        except LookupError:
            raise DataError(
                "perturbation 'synonym' needs WordNet: python -m nltk.downloader wordnet"
            ) from None
        self._wordnet = wordnet

    def perturb(self, text: str, rng: Random) -> str:
        """The text with some words replaced."""
        return "".join([self._substituted(token, rng) + token.whitespace_ for token in self._tagger(text)])

    def _substituted(self, token: Any, rng: Random) -> str:
        word: str = token.text
        synonyms = [synonym for synonym in dict.fromkeys(self._found(token)) if synonym != word.lower()]
        if not synonyms or rng.random() >= self._prob:
            return word
        return match_case(word, rng.choice(synonyms))

    def _found(self, token: Any) -> Iterator[str]:
        part_of_speech = _PARTS_OF_SPEECH.get(token.pos_)
        if part_of_speech is not None:
            # All base forms, as HELM takes them; the public `morphy` gives the first only.
            for base in self._wordnet._morphy(token.text.lower(), part_of_speech):
                yield from self._synonyms.get(f"{base}:{part_of_speech}", ())
