"""Upstream files of jaster's translations, minimal pairs and programs."""

from __future__ import annotations

import ast
import random
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from evalkit.data.jaster_splits import SPLITS, Sample, Upstream
from evalkit.data.rows import csv_records, json_rows, text_of
from evalkit.data.xml_text import texts_at, xml_of
from evalkit.errors import DataError

_ALT, _KYOTO = "alt", "wikicorpus"
_PROGRAM_FIELDS = dict.fromkeys(("prompt", "entry_point", "test"), str)


def corpus_upstreams() -> dict[str, Upstream]:
    """By dataset: where it comes from."""
    lists = {split: (f"{_ALT}/URL-{split}.txt",) for split in SPLITS}
    texts = (f"{_ALT}/data_en.txt", f"{_ALT}/data_ja.txt")
    articles = {"all": (f"{_KYOTO}/Wiki_Corpus_List_2.01.csv",)}
    found = {}
    for direction in ("e-to-j", "j-to-e"):
        into_japanese = direction == "e-to-j"
        found[f"alt-{direction}"] = Upstream(
            "kept", lists, partial(_alt, into_japanese=into_japanese), also_read=texts
        )
        found[f"wikicorpus-{direction}"] = Upstream(
            "four_fifths", articles, partial(_kyoto, into_japanese=into_japanese), listed=_articles
        )
    pairs = {"all": ("jblimp/validated_minimal_pairs.jsonl",)}
    programs = {"all": ("jhumaneval/jhuman-eval.jsonl",)}
    return {
        **found,
        "jblimp": Upstream("parts", pairs, _minimal_pairs),
        "jhumaneval": Upstream("parts", programs, _programs),
    }


def _alt(path: Path, into_japanese: bool) -> list[Sample]:
    """The sentences of the articles in a list that both languages have, in the order of the Japanese file."""
    articles = {name.removeprefix("URL.") for name in _by_id(path)}
    english, japanese = _by_id(path.parent / "data_en.txt"), _by_id(path.parent / "data_ja.txt")
    samples = []
    for name, text in japanese.items():
        other = english.get(name, "")
        if text and other and name.split(".")[1:2] and name.split(".")[1] in articles:
            samples.append(Sample(other, text) if into_japanese else Sample(text, other))
    return samples


def _by_id(path: Path) -> dict[str, str]:
    """A file of ALT: an id, a tab and a text a line."""
    found = {}
    for number, line in enumerate(text_of(path).split("\n"), start=1):
        name, mark, text = line.rstrip("\r").partition("\t")
        if not name.strip():
            continue
        if not mark or "." not in name:
            raise DataError(f"{path}:{number}: an id such as SNT.80188.1, a tab and a text are expected")
        found[name] = text.strip()
    return found


def _articles(path: Path) -> list[str]:
    """The files that the corpus's list names: `BDS00001.xml` is in the folder `BDS`."""
    names = [row["File name"] for row in csv_records(path, ("File name",))]
    return [f"{_KYOTO}/{name[:3]}/{name}" for name in names]


def _kyoto(path: Path, into_japanese: bool) -> list[Sample]:
    """The sentences of an article with their last, checked translation."""
    samples = []
    for sentence in xml_of(path).iter("sen"):
        japanese, english = texts_at(sentence, "j"), texts_at(sentence, "e[@type='check']")
        if japanese and english and japanese[0] and english[-1]:
            pair = (english[-1], japanese[0]) if into_japanese else (japanese[0], english[-1])
            samples.append(Sample(*pair))
    return samples


def _minimal_pairs(path: Path) -> list[Sample]:
    """Two sentences, the right one as often a as b."""
    generator = random.Random(42)
    samples = []
    for row in json_rows(path, dict.fromkeys(("good_sentence", "bad_sentence"), str)):
        good, bad = row["good_sentence"], row["bad_sentence"]
        label = generator.choice("ab")
        first, second = (good, bad) if label == "a" else (bad, good)
        samples.append(Sample(f"a：{first}\nb：{second}", label))
    return samples


def _programs(path: Path) -> list[Sample]:
    """A function to complete, and a list of statements that test it."""
    samples = []
    for row in json_rows(path, _PROGRAM_FIELDS):
        try:
            statements = _statements(row)
        except (SyntaxError, ValueError) as error:
            raise DataError(f"{path}: the test of '{row['entry_point']}' can't be read: {error}") from None
        samples.append(Sample(row["prompt"], repr(statements)))
    return samples


def _statements(row: Mapping[str, str]) -> list[str]:
    """The statements of a test of HumanEval, by the name of the function.

    Functions of the prompt that the test calls come first: an answer need not repeat them.
    """
    name = row["entry_point"]
    checks = [n for n in ast.parse(row["test"]).body if isinstance(n, ast.FunctionDef) and n.name == "check"]
    if not checks or not checks[0].args.args:
        raise ValueError("there is no function check(candidate)")
    candidate = checks[0].args.args[0].arg
    body = checks[0].body
    called = set()
    for node in (node for statement in body for node in ast.walk(statement)):
        if isinstance(node, ast.Name):
            node.id = name if node.id == candidate else node.id
            called.add(node.id)
    given = ast.parse(f"{row['prompt']}\n    pass\n").body
    helpers: list[ast.stmt] = [
        node for node in given if isinstance(node, ast.FunctionDef) and node.name in called - {name}
    ]
    sources = [*(given if helpers else ()), *ast.parse(row["test"]).body]
    imports = [node for node in sources if isinstance(node, ast.Import | ast.ImportFrom)]
    return list(dict.fromkeys(ast.unparse(node) for node in (*imports, *helpers, *body)))
