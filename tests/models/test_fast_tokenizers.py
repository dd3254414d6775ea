"""Tokenizers from a tokenizer.json: many at once, limits without counting, forks and threads."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.errors import UsageError
from evalkit.models.tokenizers import tokenizer
from evalkit.models.tokenizers.fast import FastTokenizer
from evalkit.models.tokenizers.growth import growth_of
from evalkit.tokenization import Tokenizer
from tests.models.made_tokenizers import KINDS, TEXTS, byte_level, save


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(byte_level(), tmp_path_factory.mktemp("model"), bos_token="<s>", eos_token="</s>")


def test_many_are_the_same_as_one_by_one(folder: Path) -> None:
    found = tokenizer(str(folder))
    texts = [*TEXTS, "", " ", TEXTS[0] * 50]
    assert found.encode_many(texts) == [found.encode(text) for text in texts]
    assert found.count_many(texts) == [found.count(text) for text in texts]
    assert found.count_many(texts) == [len(found.encode(text)) for text in texts]
    assert [found.decode(found.encode(text)) for text in texts] == texts
    assert found.count_many([]) == []


def test_a_special_token_is_one_token_and_none_is_added(folder: Path) -> None:
    found = tokenizer(str(folder))
    assert found.prefix_token == "<s>"
    assert found.count("<s>") == 1
    assert found.count("<s>The") == 1 + found.count("The")
    assert found.decode(found.encode("<s>The")) == "<s>The"


def test_lone_surrogates_are_replaced(folder: Path) -> None:
    found = tokenizer(str(folder))
    assert found.decode(found.encode("a\ud800b")) == "a\ufffdb"
    assert found.count_many(["ab", "a\ud800b", "\ud83d\ude42"]) == [
        found.count("ab"),
        found.count("a\ufffdb"),
        found.count("🙂"),
    ]


def test_settings_of_whoever_saved_it_do_not_count(tmp_path: Path) -> None:
    made = byte_level()
    made.enable_truncation(3)
    made.enable_padding(length=7)
    found = tokenizer(str(save(made, tmp_path)))
    assert found.count_many(["", TEXTS[0]]) == [0, len(byte_level().encode(TEXTS[0]).ids)]


@pytest.mark.parametrize(
    ("config", "prefix"),
    [
        ({"bos_token": {"content": "<s>"}, "eos_token": "</s>"}, "<s>"),
        ({"bos_token": None, "eos_token": "<|end|>"}, "<|end|>"),
        ({}, ""),
    ],
)
def test_the_prefix_is_the_start_token_or_else_the_end_token(
    tmp_path: Path, config: dict[str, Any], prefix: str
) -> None:
    assert tokenizer(str(save(byte_level(), tmp_path, **config))).prefix_token == prefix


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(UsageError, match=r"can't be read: .*tokenizer\.json"):
        tokenizer(str(tmp_path)).count("a")


def test_a_file_is_read_once_and_again_when_it_changes(tmp_path: Path) -> None:
    save(byte_level(), tmp_path)
    first, second = (
        FastTokenizer(tmp_path / "tokenizer.json", "a"),
        FastTokenizer(tmp_path / "tokenizer.json", "a"),
    )
    ready = threading.Barrier(4)
    counts = []

    def count(found: Tokenizer) -> None:
        ready.wait()
        counts.append(found.count_many(TEXTS))

    threads = [threading.Thread(target=count, args=(found,)) for found in (first, second, first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [counts[0]] * 4
    assert first._loaded[0] is second._loaded[0]
    save(byte_level(added=("anatomy",)), tmp_path)
    changed = tokenizer(str(tmp_path))
    assert changed.count("anatomy") == 1 < first.count("anatomy")


# Limits to the number of tokens


@cache
def made(kind: str) -> tuple[Any, Any]:
    backend = KINDS[kind]()
    return backend, growth_of(backend)


# Characters that grow when they are composed, decomposed, lowered or split, and special tokens.
awkward = st.sampled_from(
    [
        *"aZ  \n\t9x▁é日ﬁﷺ½İȺΰ𝅘𝅥𝅮क़🙂",
        "e\u0301",
        "\u0344",
        "\ufb2c",
        "<s>",
        "</s>",
        "yy",
        "xy",
        "<|end|>",
        "The ",
        "\x00",
    ]
)
texts = st.lists(awkward | st.characters(exclude_categories=["Cs"]), max_size=40).map("".join)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)
@given(text=texts)
def test_no_text_has_more_tokens_than_the_limit(kind: str, text: str) -> None:
    backend, growth = made(kind)
    assert len(backend.encode(text, add_special_tokens=False)) <= growth.most_tokens(text)


@pytest.mark.parametrize(
    ("kind", "ascii_limit", "other_limit"),
    [
        ("byte_level", 4, 6),
        ("prefix_space", 5, 7),
        ("nfkc", 4, 66),
        ("nfd_lower", 4, math.inf),
        ("short_added", 4, 6),
        ("short_added_prefix_space", math.inf, math.inf),
        ("split_then_bytes", 4, 18),
        ("sentencepiece_bpe", 5, 7),
        ("unknown_blank", math.inf, math.inf),
        ("unigram", 5, 67),
        ("word_piece", 4, math.inf),
    ],
)
def test_limits_are_as_low_as_they_can_be_shown(kind: str, ascii_limit: float, other_limit: float) -> None:
    _, growth = made(kind)
    assert growth.most_tokens("a b.") == ascii_limit
    assert growth.most_tokens("日本") == other_limit


@pytest.mark.parametrize(("form", "factor"), [("NFC", 3), ("NFD", 3), ("NFKC", 11), ("NFKD", 11)])
def test_characters_grow_by_the_known_factors(form: Any, factor: int) -> None:
    characters = (chr(code) for code in range(0x80, 0x30000) if not 0xD800 <= code < 0xE000)
    grown = max(len(unicodedata.normalize(form, c).encode()) / len(c.encode()) for c in characters)
    assert grown == factor


# Forks


_FORKING = """
import os, sys
from evalkit.models.tokenizers import tokenizer
found = tokenizer(sys.argv[1])
texts = ["The following are multiple choice questions"] * 100
before = found.count_many(texts)
child = os.fork()
if child == 0:
    os._exit(0 if found.count_many(texts) == before else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert os.system("true") == 0
"""


def test_forked_children_count_too_and_nothing_warns(folder: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TOKENIZERS_PARALLELISM"}
    ended = subprocess.run(
        [sys.executable, "-c", _FORKING, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
