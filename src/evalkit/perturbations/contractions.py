"""English contractions, made and undone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random

from evalkit.perturbations.perturbation import Perturbation
from evalkit.perturbations.words import alternation, match_case
from evalkit.registry import perturbation

# Ending, its long form, and the words that take it.
_REGULAR = (
    ("'d", "would", "he i it she that there they we you"),
    ("'d", "did", "how where"),
    ("'ll", "will", "he how i it she they we who you"),
    ("'m", "am", "i"),
    ("'re", "are", "they we what you"),
    ("'s", "is", "he how it she that there what when where who why"),
    ("'ve", "have", "could i might must should they we where who would you"),
    (
        "n't",
        "not",
        "are could did does do had has have is might must need ought should was were would",
    ),
)
_FULL_OF = {f"{word}{end}": f"{word} {full}" for end, full, words in _REGULAR for word in words.split()}
_FULL_OF |= {"can't": "cannot", "shan't": "shall not", "won't": "will not", "ma'am": "madam"}
_SHORT_OF = {full: short for short, full in _FULL_OF.items()} | {"how do you": "how'd'y"}
_FULL_OF |= {"ain't": "is not"}


@perturbation("contraction")
class Contraction(Perturbation):
    """Words drawn together: "she is" becomes "she's", but not at the end of a sentence."""

    robustness = True
    _pattern = re.compile(rf"\b({alternation(_SHORT_OF)})\b ", re.IGNORECASE)

    def perturb(self, text: str, rng: Random) -> str:
        """The text with contractions wherever a blank follows."""
        return self._pattern.sub(lambda match: _exchanged(match[1], _SHORT_OF) + " ", text)


@perturbation("expansion")
class Expansion(Perturbation):
    """Contractions written out: "she's" becomes "she is"."""

    robustness = True
    _pattern = re.compile(rf"\b{alternation(_FULL_OF)}\b", re.IGNORECASE)

    def perturb(self, text: str, rng: Random) -> str:
        """The text without contractions."""
        return self._pattern.sub(lambda match: _exchanged(match[0], _FULL_OF), text)


def _exchanged(words: str, forms: Mapping[str, str]) -> str:
    # A pattern that ignores case also takes letters such as the dotless i, which no table has.
    form = forms.get(words.lower())
    return words if form is None else match_case(words, form)
