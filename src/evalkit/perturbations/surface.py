"""Changes of letters, blanks and filler words that need no word list."""

from __future__ import annotations

import re
from random import Random

from evalkit.errors import UsageError
from evalkit.perturbations.perturbation import Perturbation, checked_probability
from evalkit.registry import perturbation

# Keys at a distance of one on a QWERTY keyboard; HELM's choice and order, which the draws depend on.
_NEIGHBOURS = dict(
    q="was", w="qesad", e="wsdfr", r="edfgt", t="rfghy", y="tghju", u="yhjki", i="ujklo", o="iklp", p="ol",
    a="qwsz", s="weadzx", d="erfcxs", f="rtgvcd", g="tyhbvf", h="yujnbg", j="uikmnh", k="iolmj", l="opk",
    z="asx", x="sdcz", c="dfvx", v="fgbc", b="ghnv", n="hjmb", m="jkn",
)  # fmt: skip
_OF_SPEAKERS = (
    "I think", "I believe", "I mean", "I guess", "that is", "I assume", "I feel", "In my opinion",
    "I would say",
)  # fmt: skip
_OF_DOUBT = ("maybe", "perhaps", "probably", "possibly", "most likely")
_OF_SPEECH = ("uhm", "umm", "ahh", "err", "actually", "obviously", "naturally", "like", "you know")


@perturbation("lowercase")
class Lowercase(Perturbation):
    """All letters small."""

    robustness = True

    def perturb(self, text: str, rng: Random) -> str:
        """The text in small letters."""
        return text.lower()


@perturbation("extra_space")
class ExtraSpace(Perturbation):
    """Every blank several times.

    Args:
        num_spaces: Blanks in place of each.
    """

    robustness = True

    def __init__(self, num_spaces: int) -> None:
        self._blanks = " " * num_spaces

    def perturb(self, text: str, rng: Random) -> str:
        """The text with each blank replaced."""
        return text.replace(" ", self._blanks)


@perturbation("space")
class Space(Perturbation):
    """A random number of blanks wherever there are some.

    Args:
        max_spaces: Most spaces in a row; at least one.
    """

    robustness = True

    def __init__(self, max_spaces: int) -> None:
        if max_spaces < 1:
            raise UsageError(f"max_spaces must be at least 1, not {max_spaces}")
        self._max_spaces = max_spaces

    def perturb(self, text: str, rng: Random) -> str:
        """The text with each run of blanks replaced by one of random length."""
        return re.sub(" +", lambda _: " " * rng.randint(1, self._max_spaces), text)


@perturbation("typos")
class Typos(Perturbation):
    """Letters replaced by their neighbours on the keyboard.

    Args:
        prob: Share of the letters replaced.
    """

    robustness = True

    def __init__(self, prob: float) -> None:
        self._prob = checked_probability(prob)

    def perturb(self, text: str, rng: Random) -> str:
        """The text with slips of the finger."""
        return "".join([self._typed(letter, rng) for letter in text])

    def _typed(self, letter: str, rng: Random) -> str:
        small = typed = letter.lower()
        if small in _NEIGHBOURS and rng.random() < self._prob:
            typed = rng.choice(_NEIGHBOURS[small])
        return typed if small == letter else typed.upper()


@perturbation("filler_words")
class FillerWords(Perturbation):
    """Words put in that say nothing.

    Args:
        insert_prob: Share of the words that get a filler before them.
        max_num_insert: Most fillers; None: no limit.
        speaker_ph: Also "I think" and the like.
        uncertain_ph: Also "maybe" and the like.
        fill_ph: Also "uhm" and the like.
    """

    robustness = True

    def __init__(
        self,
        insert_prob: float = 0.333,
        max_num_insert: int | None = None,
        speaker_ph: bool = True,
        uncertain_ph: bool = True,
        fill_ph: bool = True,
    ) -> None:
        kinds = ((speaker_ph, _OF_SPEAKERS), (uncertain_ph, _OF_DOUBT), (fill_ph, _OF_SPEECH))
        self._fillers = [filler for wanted, fillers in kinds if wanted for filler in fillers]
        if not self._fillers:
            raise UsageError("no kind of filler words is left to choose from")
        self._prob, self._most = checked_probability(insert_prob), max_num_insert

    def perturb(self, text: str, rng: Random) -> str:
        """The text with fillers before some of its words."""
        words: list[str] = []
        num_inserted = 0
        for word in text.split(" "):
            if (self._most is None or num_inserted < self._most) and rng.random() <= self._prob:
                words.append(rng.choice(self._fillers))
                num_inserted += 1
            words.append(word)
        return " ".join(words)


@perturbation("style")
class Style(Perturbation):
    """Words put at the end, such as a style asked of an image: `a dog, watercolor`.

    Args:
        suffix: The words.
    """

    def __init__(self, suffix: str) -> None:
        self._suffix = suffix

    def perturb(self, text: str, rng: Random) -> str:
        """The text, a comma, and the suffix."""
        return f"{text}, {self._suffix}"
