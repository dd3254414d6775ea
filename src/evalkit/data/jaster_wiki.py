"""The five jaster datasets from the Wikipedia Annotated Corpus: a text, and one kind of its annotations.

The text of an item is a document without what stood in brackets, which would tell readings and other names.
Documents without an annotation of the kind are left out.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from evalkit.data.jaster_splits import SPLITS, Sample, Upstream
from evalkit.data.knp import Relation, Sentence, knp_sentences
from evalkit.data.rows import text_of

_FOLDER = "wikipedia_annotated_corpus"
_CATEGORIES = {
    "ORGANIZATION": "組織名",
    "PERSON": "人名",
    "LOCATION": "地名",
    "ARTIFACT": "固有物名",
    "DATE": "日付表現",
    "TIME": "時刻表現",
    "MONEY": "金額表現",
    "PERCENT": "割合表現",
}
_CASES = ("ガ", "デ", "ト", "ニ", "ヘ", "ヲ", "カラ", "ガ２", "マデ", "ヨリ")
_UNSURE = "？"
_LETTER_NAMES = """
    えー びー しー でぃー いー えふ じー えいち あい じぇー けー える えむ えぬ おー ぴー きゅー あーる
    えす てぃー ゆー ぶい だぶりゅー えっくす わい ぜっと
"""
_LETTERS = dict(zip(string.ascii_uppercase, _LETTER_NAMES.split(), strict=True))
_TO_HIRAGANA = {code: code - 0x60 for code in range(ord("ァ"), ord("ヶ") + 1)}


def wiki_upstreams() -> dict[str, Upstream]:
    """By dataset: where it comes from."""
    lists = {split: (f"{_FOLDER}/id/{split}.id",) for split in SPLITS}
    return {
        name: Upstream("kept", lists, _reader(annotate), listed=_documents)
        for name, annotate in _ANNOTATIONS.items()
    }


def _documents(path: Path) -> list[str]:
    """The documents of a split, by its list of ids."""
    ids = text_of(path).split()
    return [f"{_FOLDER}/knp/{document[:8]}/{document}.knp" for document in ids]


def _reader(annotate: Callable[[Sequence[Sentence]], str]) -> Callable[[Path], list[Sample]]:
    def read(path: Path) -> list[Sample]:
        sentences = [sentence for sentence in knp_sentences(path) if not sentence.in_brackets]
        text, output = "".join(sentence.text for sentence in sentences), annotate(sentences)
        return [Sample(text, output)] if text and output else []

    return read


def _reading(sentences: Sequence[Sentence]) -> str:
    """The text in hiragana; a word in Latin capitals is read letter by letter."""
    words = [word for sentence in sentences for word in sentence.words]
    return "".join(
        "".join(_LETTERS[letter] for letter in word.surface)
        if re.fullmatch("[A-Z]+", word.surface)
        else word.reading.translate(_TO_HIRAGANA)
        for word in words
    )


def _entities(sentences: Sequence[Sentence]) -> str:
    """Named entities with their types, on one line."""
    found = [
        f"{name}（{_CATEGORIES[category]}）"
        for sentence in sentences
        for part in sentence.base_phrases
        for category, name in part.entities
        if category in _CATEGORIES
    ]
    return " ".join(found)


def _dependencies(sentences: Sequence[Sentence]) -> str:
    """A line for each phrase that depends on another."""
    return "\n".join(
        f"{sentence.phrase(number)} -> {sentence.phrase(head)}"
        for sentence in sentences
        for number, head in enumerate(sentence.heads)
        if head >= 0
    )


def _arguments(sentences: Sequence[Sentence]) -> str:
    """A line for each predicate that has arguments in the text."""
    by_id = {sentence.id: sentence for sentence in sentences}
    lines = []
    for sentence in sentences:
        for number, part in enumerate(sentence.base_phrases):
            found = [
                f"{case}：{mention}"
                for case in _CASES
                for relation in part.relations
                if relation.kind == case and relation.mode != _UNSURE
                if (mention := _mention(by_id, relation))
            ]
            predicate = sentence.mention(number)
            if found and predicate:
                lines.append(" ".join((predicate, *found)))
    return "\n".join(lines)


def _coreferences(sentences: Sequence[Sentence]) -> str:
    """A line for each thing that the text mentions more than once."""
    by_id = {sentence.id: sentence for sentence in sentences}
    cluster_of: dict[tuple[str, int], list[tuple[str, int]]] = {}
    for sentence in sentences:
        for number, part in enumerate(sentence.base_phrases):
            here = (sentence.id, number)
            for relation in part.relations:
                if relation.kind != "=" or relation.mode == _UNSURE or not _mention(by_id, relation):
                    continue
                other = (relation.sentence, relation.number)
                one, two = cluster_of.setdefault(other, [other]), cluster_of.setdefault(here, [here])
                if one is not two:
                    one += two
                    cluster_of.update(dict.fromkeys(two, one))
    order = {(s.id, n): at for at, (s, n) in enumerate((s, n) for s in sentences for n in _numbers(s))}
    clusters = {id(cluster): sorted(cluster, key=order.__getitem__) for cluster in cluster_of.values()}
    lines = []
    for places in sorted(clusters.values(), key=lambda places: order[places[0]]):
        mentions = [by_id[sid].mention(number) for sid, number in places]
        if len(shown := [mention for mention in mentions if mention]) > 1:
            lines.append(" ".join(shown))
    return "\n".join(lines)


def _numbers(sentence: Sentence) -> range:
    return range(len(sentence.base_phrases))


def _mention(by_id: Mapping[str, Sentence], relation: Relation) -> str:
    """What a relation points at; "" if that is not in the text."""
    sentence = by_id.get(relation.sentence)
    if sentence is None or relation.number not in _numbers(sentence):
        return ""
    return sentence.mention(relation.number)


_ANNOTATIONS: Mapping[str, Callable[[Sequence[Sentence]], str]] = {
    "wiki_reading": _reading,
    "wiki_ner": _entities,
    "wiki_dependency": _dependencies,
    "wiki_pas": _arguments,
    "wiki_coreference": _coreferences,
}
