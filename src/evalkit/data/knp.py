"""Documents in the format of KNP, in which the Wikipedia Annotated Corpus and the Kyoto corpora come.

A sentence begins with `# S-ID:…` and ends with `EOS`. `* 2D` begins a phrase (bunsetsu) that depends on
phrase 2, `+ 3D <rel …/><NE:…>` a base phrase with its relations and named entities, and each other line is a
word: surface, reading, base form, part of speech, and more.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from evalkit.data.rows import text_of
from evalkit.errors import DataError

_ID = re.compile(r"# S-ID:(\S+)(.*)")
_PHRASE = re.compile(r"\* (-?\d+)[DPAI](?: |$)")
_BASE_PHRASE = re.compile(r"\+ -?\d+[DPAI](?: (.*))?$")
_RELATION = re.compile(r'<rel type="([^"]*)"(?: mode="([^"]*)")? target="[^"]*" sid="([^"]*)" id="(\d+)"/>')
_ENTITY = re.compile(r"<NE:([A-Z]+):([^<>]+)>")
_BRACKETS = "括弧始:"  # the comment of a sentence that stood in brackets in another
# What a mention of something does not need: particles, copulas, punctuation.
_FUNCTIONAL = frozenset({"助詞", "判定詞", "特殊"})


class Word(NamedTuple):
    """A word: as it is written, how it is read, and its part of speech."""

    surface: str
    reading: str
    part: str


class Relation(NamedTuple):
    """What a base phrase has to do with another.

    Attributes:
        kind: A case such as `ガ`, or `=` for what means the same.
        mode: `AND`, `OR` or `？` for one of several annotations; else "".
        sentence: The id of the sentence in which the other is.
        number: Its number there.
    """

    kind: str
    mode: str
    sentence: str
    number: int


@dataclass(slots=True)
class BasePhrase:
    """A base phrase.

    Attributes:
        phrase: The number of the phrase that it is in.
        entities: Category and text of the named entities that end here.
    """

    phrase: int
    relations: list[Relation]
    entities: list[tuple[str, str]]
    words: list[Word] = field(default_factory=list)


@dataclass(slots=True)
class Sentence:
    """A sentence.

    Attributes:
        in_brackets: Whether it stood in brackets in the sentence before.
        heads: For each phrase the number of the one that it depends on; -1: none.
    """

    id: str
    in_brackets: bool
    heads: list[int] = field(default_factory=list)
    base_phrases: list[BasePhrase] = field(default_factory=list)

    @property
    def words(self) -> list[Word]:
        """All words."""
        return [word for part in self.base_phrases for word in part.words]

    @property
    def text(self) -> str:
        """The sentence as it is written."""
        return "".join(word.surface for word in self.words)

    def phrase(self, number: int) -> str:
        """A phrase as it is written."""
        parts = [part for part in self.base_phrases if part.phrase == number]
        return "".join(word.surface for part in parts for word in part.words)

    def mention(self, number: int) -> str:
        """What a base phrase speaks of: its phrase up to it, without particles, copulas and punctuation."""
        last = self.base_phrases[number]
        parts = [part for part in self.base_phrases[: number + 1] if part.phrase == last.phrase]
        words = [word for part in parts for word in part.words]
        while words and words[-1].part in _FUNCTIONAL:
            words.pop()
        while words and words[0].part == "特殊":
            words.pop(0)
        return "".join(word.surface for word in words)


def knp_sentences(path: Path) -> Sequence[Sentence]:
    """The sentences of a document.

    Raises:
        DataError: It is not in the format of KNP; the message says where.
    """
    sentences: list[Sentence] = []
    current: Sentence | None = None
    for number, line in enumerate(text_of(path).split("\n"), start=1):
        if line == "EOS":
            current = None
        elif not line:
            continue
        elif current is None or not current.heads:
            # A word can be `#`; a comment only comes before the first phrase.
            if found := _ID.match(line):
                current = Sentence(found[1], _BRACKETS in found[2])
                sentences.append(current)
            elif current is not None and (phrase := _PHRASE.match(line)):
                current.heads.append(int(phrase[1]))
            elif not line.startswith("#"):
                raise DataError(f"{path}:{number}: '# S-ID:' and then '* ' are expected, not {line[:40]!r}")
        elif not _continue(current, line):
            raise DataError(f"{path}:{number}: a phrase, a word or EOS is expected, not {line[:40]!r}")
    if current is not None:
        raise DataError(f"{path}: the last sentence has no EOS; the file may be truncated")
    return sentences


def _continue(sentence: Sentence, line: str) -> bool:
    """Take a line of a sentence after its first phrase; whether it is one."""
    if phrase := _PHRASE.match(line):
        sentence.heads.append(int(phrase[1]))
        return True
    if base_phrase := _BASE_PHRASE.match(line):
        features = base_phrase[1] or ""
        relations = [
            Relation(kind, mode, sid, int(at)) for kind, mode, sid, at in _RELATION.findall(features)
        ]
        entities = [(category, name) for category, name in _ENTITY.findall(features)]
        sentence.base_phrases.append(BasePhrase(len(sentence.heads) - 1, relations, entities))
        return True
    fields = line.split(" ")
    if len(fields) < 4 or not sentence.base_phrases:
        return False
    sentence.base_phrases[-1].words.append(Word(fields[0], fields[1], fields[3]))
    return True
