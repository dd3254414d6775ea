"""Reasoning with rules in simple English, as HELM generates it (Liang et al. 2022)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from evalkit.data import DataStore
from evalkit.errors import UnknownNameError
from evalkit.instance import CORRECT, Instance, Reference
from evalkit.registry import scenario
from evalkit.scenarios.scenario import Scenario
from evalkit.scenarios.synthetic_reasoning import SPLIT_SIZES

Difficulty = Literal["easy", "medium", "hard"]

_SEED = 42
_PERSON = "person"
_SUBJECTS = {
    _PERSON: ("Alice", "Bob", "Carol", "Dan", "Erin", "Frank"),
    "animal": (
        *("dog", "cat", "rabbit", "mouse", "tiger", "lion", "bear", "squirrel", "cow", "panda", "hedgehog"),
        *("elephant", "giraffe", "hippo"),
    ),
    "plant": ("poppy", "dandelion", "tree", "rose", "sunflower"),
}
# Each attribute with its synonyms; the first is the one that rules use.
_SYNONYMS = {
    words.split()[0]: tuple(words.split())
    for words in (
        *("young", "soft", "sad", "scary", "cold chill cool", "hot warm", "smart clever wise intelligent"),
        *("clean tidy", "small little tiny", "big enormous giant huge", "good kind nice", "beautiful pretty"),
        *("red crimson", "blue cobalt", "green viridian", "purple violet", "boring dull"),
        *("old ancient antique", "strong powerful muscular", "weak frail fragile", "fast quick"),
        *("slow sluggish", "bad evil wicked mean", "happy elated glad cheerful"),
        "round circular spherical",
    )
}
_ATTRIBUTES = tuple(_SYNONYMS)
_MAX_RULES, _FEWEST_LEFT = 5, 2
_P_NOTHING = 0.1


@dataclass(frozen=True, slots=True)
class _Rule:
    """If `who` has all (or any) of the conditions, the consequence holds."""

    who: str
    conditions: tuple[str, ...]
    consequence: str
    conjunction: str

    def holds(self, attributes: Sequence[str]) -> bool:
        found = [condition in attributes for condition in self.conditions]
        return all(found) if self.conjunction == "and" else any(found)

    def text(self) -> str:
        conditions = f" {self.conjunction} ".join(self.conditions)
        if _is_person(self.who):
            return f"If {self.who} is {conditions}, then {self.who} is {self.consequence}."
        article = "an" if self.who[0] in "aeiou" else "a"
        return f"If {article} {self.who} is {conditions}, then the {self.who} is {self.consequence}."


@scenario("synthetic_reasoning_natural")
class SyntheticReasoningNaturalScenario(Scenario):
    """Rules about a person, animal or plant, and a fact to which some of them apply.

    Args:
        difficulty: easy: all rules name the subject; medium: some name its kind; hard: the fact uses
            synonyms, too.
    """

    def __init__(self, difficulty: str) -> None:
        if difficulty not in get_args(Difficulty):
            known = get_args(Difficulty)
            raise UnknownNameError("difficulty of synthetic_reasoning_natural", difficulty, known)
        self.difficulty = difficulty

    def sizes(self) -> Mapping[str, int]:
        """1000 train, 5000 valid, 5000 test."""
        return SPLIT_SIZES

    def instances(self, data: DataStore) -> Iterator[Instance]:
        """1000 train, 5000 valid and 5000 test questions with one right answer each."""
        rng = random.Random(_SEED)
        for split, size in SPLIT_SIZES.items():
            for _ in range(size):
                question, answer = self._sample(rng)
                yield Instance(question, (Reference(answer, (CORRECT,)),), split)

    def _sample(self, rng: random.Random) -> tuple[str, str]:
        """A question and its answer."""
        kind = rng.choice(list(_SUBJECTS))
        subject = rng.choice(_SUBJECTS[kind])
        rules = self._rules(rng, kind, subject)
        told, consequences = self._fact(rng, rules)
        name = subject if _is_person(subject) else f"the {subject}"
        capital = name[0].upper() + name[1:]
        question = "\n".join(
            [
                *(rule.text() for rule in rules),
                "Fact:",
                f"{capital} is {' and '.join(told)}.",
                f"The following can be determined about {name}:",
            ]
        )
        answer = f"{capital} is {' and '.join(consequences)}." if consequences else "Nothing."
        return question, answer

    def _rules(self, rng: random.Random, kind: str, subject: str) -> list[_Rule]:
        """Up to five rules; no attribute is in two of them."""
        left = list(_ATTRIBUTES)
        rules: list[_Rule] = []
        rng.shuffle(left)
        while len(left) > _FEWEST_LEFT and len(rules) < _MAX_RULES:
            who = subject if self.difficulty == "easy" else rng.choice([kind, subject])
            used = rng.randint(2, 3)
            (*conditions, consequence), left = left[:used], left[used:]
            rules.append(_Rule(who, tuple(conditions), consequence, rng.choice(["and", "or"])))
        return rules

    def _fact(self, rng: random.Random, rules: Sequence[_Rule]) -> tuple[Sequence[str], list[str]]:
        """Two attributes as stated, and what follows; now and then nothing does."""
        while True:
            attributes = rng.sample(_ATTRIBUTES, 2)
            # Drawn in every difficulty, so that medium and hard share the stream.
            synonyms = [rng.choice(_SYNONYMS[attribute]) for attribute in attributes]
            consequences = [
                rule.consequence
                for rule in rules
                if rule.consequence not in attributes and rule.holds(attributes)
            ]
            if consequences or rng.random() <= _P_NOTHING:
                return (synonyms if self.difficulty == "hard" else attributes), consequences


def _is_person(who: str) -> bool:
    return who == _PERSON or who in _SUBJECTS[_PERSON]
