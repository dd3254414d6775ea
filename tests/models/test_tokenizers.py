"""Tokenizers by name: those that need nothing, those of models and of OpenAI, and plugins."""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import PluginError, UnknownNameError, UsageError
from evalkit.models.tokenizers import (
    MissingTokenizerError,
    counting_tokenizer,
    estimate_tokens,
    is_tokenizer,
    openai,
    tokenizer,
    usable,
)
from evalkit.registry import TOKENIZERS, isolated_registries
from evalkit.registry import tokenizer as register
from evalkit.tokenization import Tokenizer
from tests.models.made_tokenizers import byte_level, save

ANY_TEXT = st.text(alphabet=st.characters(), max_size=60)


@pytest.fixture(autouse=True)
def empty_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What this machine happens to have is no part of these tests."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "tiktoken"))


# Without a library


@pytest.mark.parametrize("name", ["simple/tokenizer1", "bytes"])
@given(text=st.text(max_size=60))
def test_decoding_undoes_encoding(name: str, text: str) -> None:
    found = tokenizer(name)
    tokens = found.encode(text)
    assert found.decode(tokens) == text
    assert found.count(text) == len(tokens)
    assert found.count_many([text, ""]) == [len(tokens), 0]
    assert found.encode_many([text]) == [tokens]


@given(ANY_TEXT)
def test_bytes_count_any_text_lone_surrogates_too(text: str) -> None:
    found = tokenizer("bytes")
    assert found.count(text) == len(found.encode(text)) >= len(text)


def test_one_token_per_character() -> None:
    assert tokenizer("simple/tokenizer1").encode("aあ ") == ["a", "あ", " "]


def test_a_character_cut_in_two_is_dropped() -> None:
    found = tokenizer("bytes")
    assert found.decode(found.encode("aあ")[:-1]) == "a"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("日本語", 3), ("日本 ab", 3), ("кот", 2), ("😀", 1)],
)
def test_estimate(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


@given(ANY_TEXT, ANY_TEXT)
def test_estimate_grows_with_the_text(a: str, b: str) -> None:
    assert max(estimate_tokens(a), estimate_tokens(b)) <= estimate_tokens(a + b) <= len(a + b)


# Names


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("simple/tokenizer", "did you mean 'simple/tokenizer1'"),
        ("byte", "did you mean 'bytes'"),
        ("hugingface/gpt2", "did you mean 'huggingface/gpt2'"),
        ("meta/llama", r"that of a model is huggingface/<model>"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest(name: str, meant: str) -> None:
    with pytest.raises(UnknownNameError, match=meant):
        tokenizer(name)
    assert not is_tokenizer(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("openai/cl100k", "did you mean 'cl100k_base'"),
        ("openai", r"write openai/<encoding>"),
        ("./no-such-folder", "does not exist"),
        (".", "holds none"),
    ],
)
def test_an_impossible_name_says_why(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message) as raised:
        tokenizer(name)
    assert not isinstance(raised.value, MissingTokenizerError)
    with pytest.raises(UsageError, match=message):
        usable(name)


def test_bytes_stand_in_for_what_is_known_but_not_here() -> None:
    assert usable("simple/tokenizer1") == ("simple/tokenizer1", "")
    name, note = usable("openai/o200k_base")
    assert name == "bytes"
    assert "o200k_base.tiktoken is not stored at" in note
    assert "fits prompts by their bytes, which is stricter" in note
    assert not is_tokenizer("openai/o200k_base")
    with pytest.raises(UnknownNameError):
        usable("nobody/nothing")


def test_only_a_models_own_tokenizer_is_good_for_estimates(tmp_path: Path) -> None:
    folder = save(byte_level(), tmp_path / "model")
    assert counting_tokenizer(str(folder)) is not None
    assert [counting_tokenizer(n) for n in (None, "bytes", "simple/tokenizer1", "openai/gpt2")] == [None] * 4


# Of a model


def put_in_cache(hub: Path, name: str, revision: str, commit: str, **config: Any) -> Path:
    stored = hub / f"models--{name.replace('/', '--')}"
    (stored / "refs").mkdir(parents=True, exist_ok=True)
    (stored / "refs" / revision).write_text(commit)
    return save(byte_level(), stored / "snapshots" / commit, **config)


def test_the_tokenizer_of_a_model_in_the_local_cache(tmp_path: Path) -> None:
    put_in_cache(tmp_path / "hub", "lab/base", "main", "1" * 40, bos_token="<s>")
    put_in_cache(tmp_path / "hub", "lab/base", "v2", "2" * 40, bos_token="</s>")
    put_in_cache(tmp_path / "hub", "gpt2", "main", "3" * 40)
    assert tokenizer("huggingface/lab/base").prefix_token == "<s>"
    assert tokenizer("huggingface/lab/base@v2").prefix_token == "</s>"
    assert tokenizer(f"huggingface/lab/base@{'2' * 40}").prefix_token == "</s>"
    assert tokenizer("huggingface/gpt2").count("anatomy") > 0
    with pytest.raises(MissingTokenizerError, match=r"hf download lab/base --revision v3 --include"):
        tokenizer("huggingface/lab/base@v3")
    with pytest.raises(MissingTokenizerError, match=r"hf download lab/other --include"):
        tokenizer("huggingface/lab/other")


def test_a_folder_is_named_by_its_path_or_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(byte_level(), tmp_path / "out" / "mine", bos_token="<s>")
    (folder / "config.json").unlink()
    monkeypatch.chdir(tmp_path)
    counts = {
        tokenizer(name).count("The following are")
        for name in (str(folder), "./out/mine", "./out/mine/tokenizer.json", "./out/../out/mine")
    }
    assert len(counts) == 1
    (folder / "config.json").write_text("{}")
    assert {tokenizer("out/mine").count("The following are")} == counts  # as an engine's `model` names it
    assert tokenizer("./out/mine/tokenizer.json").prefix_token == "<s>"


def test_a_missing_library_is_named_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(byte_level(), tmp_path / "model")
    real = sys.modules["importlib.util"].find_spec
    missing = ("tokenizers", "tiktoken", "transformers")
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *more: None if name in missing else real(name, *more)
    )
    with pytest.raises(
        MissingTokenizerError, match=r"needs tokenizers; run: pip install 'evalkit\[tokenizers\]'"
    ):
        tokenizer(str(folder))
    with pytest.raises(
        MissingTokenizerError, match=r"needs tiktoken; run: pip install 'evalkit\[tokenizers\]'"
    ):
        tokenizer("openai/cl100k_base")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(MissingTokenizerError, match=r"run: pip install 'evalkit\[hf\]'"):
        tokenizer(str(folder))


def test_without_tokenizer_json_transformers_makes_it(tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "bone", "##s", "of"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "BertTokenizer", "model_max_length": 4, "bos_token": "[CLS]"}'
    )
    found = tokenizer(str(tmp_path))
    assert found.encode("The bones of the bone") == [5, 6, 7, 8, 5, 6]
    assert found.count_many(["the", "", "the bones"]) == [1, 0, 3]
    assert found.count("bones") == 2
    assert found.decode([5, 6, 7]) == "the bones"
    assert found.prefix_token == "[CLS]"
    assert found.most_tokens("the") == float("inf")


def test_what_transformers_can_not_make_is_said(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"not a model")
    with pytest.raises(UsageError, match="transformers can't make the tokenizer"):
        tokenizer(str(tmp_path)).count("a")


# Of OpenAI

MERGES = [b"th", b"the", b" the", b"an", b"at", b"my"]
URL = "https://example.com/encodings/tiny_base.tiktoken"


@pytest.fixture
def tiny_base(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An encoding of its own in tiktoken's register, its file where tiktoken keeps files."""
    import tiktoken.registry
    from tiktoken.load import load_tiktoken_bpe

    ranks = [*(bytes([byte]) for byte in range(256)), *MERGES]
    data = b"".join(base64.b64encode(token) + f" {rank}\n".encode() for rank, token in enumerate(ranks))
    sha256 = hashlib.sha256(data).hexdigest()

    def tiny() -> dict[str, Any]:
        return {
            "name": "cl100k_base",
            "pat_str": r" ?\p{L}+|\s+|.",
            "mergeable_ranks": load_tiktoken_bpe(URL, expected_hash=sha256),
            "special_tokens": {"<|endoftext|>": len(ranks)},
        }

    monkeypatch.setattr(tiktoken.registry, "ENCODING_CONSTRUCTORS", {"cl100k_base": tiny})
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    monkeypatch.setattr(openai, "FILES", {"cl100k_base": {URL: sha256}})
    path = openai.kept_at(URL)
    path.parent.mkdir()
    path.write_bytes(data)
    return path


def test_an_encoding_whose_file_is_here(tiny_base: Path) -> None:
    found = tokenizer("openai/cl100k_base")
    texts = ["the anatomy of the", "", "<|endoftext|>the", "<|endofprompt|>", "日本 a\ud800b", "the " * 100]
    assert found.encode("the anatomy of the") == [257, 32, 259, 260, 111, 261, 32, 111, 102, 258]
    assert found.decode(found.encode(texts[0])) == texts[0]
    assert found.encode_many(texts) == [found.encode(text) for text in texts]
    assert found.count_many(texts) == [len(found.encode(text)) for text in texts]
    assert found.count(found.prefix_token) == 1
    assert all(found.count(text) <= found.most_tokens(text) for text in texts)
    assert counting_tokenizer("openai/cl100k_base") is not None


def test_a_damaged_file_is_never_fetched_anew(tiny_base: Path) -> None:
    tiny_base.write_bytes(b"half of a f")
    found = tokenizer("openai/cl100k_base")
    with pytest.raises(MissingTokenizerError, match="is damaged; get it where there is a network"):
        found.count("the")
    assert tiny_base.read_bytes() == b"half of a f"


def test_a_cache_that_is_switched_off_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    assert not is_tokenizer("openai/cl100k_base")


def test_the_files_are_those_that_tiktoken_asks_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import tiktoken.load

    public = importlib.import_module("tiktoken_ext.openai_public")

    asked: dict[str, str] = {}

    def read(url: str, expected_hash: str) -> bytes:
        asked[url] = expected_hash
        raise LookupError

    monkeypatch.setattr(tiktoken.load, "read_file_cached", read)
    for name, files in openai.FILES.items():
        asked.clear()
        with pytest.raises(LookupError):
            public.ENCODING_CONSTRUCTORS[name]()
        assert asked.items() <= files.items(), name
    assert set(public.ENCODING_CONSTRUCTORS) == set(openai.FILES)
    kept = [openai.kept_at(url).parent for url in asked]
    assert kept == [tmp_path / "tiktoken"]


# Plugins


class Words(Tokenizer):
    """One token per word."""

    def encode(self, text: str) -> list[str]:
        """The words."""
        return text.split()

    def decode(self, tokens: Sequence[str]) -> str:
        """The words with blanks between them."""
        return " ".join(tokens)


@pytest.fixture
def registered() -> Iterator[None]:
    """A tokenizer and a source of tokenizers, as a plugin file has them."""
    with isolated_registries():
        register("words")(Words)

        @register("lab/cut")
        def cut(length: int) -> Tokenizer:
            """Words of at most so many characters.

            Args:
                length: Characters.
            """

            class Cut(Words):
                def encode(self, text: str) -> list[str]:
                    return [word[:length] for word in text.split()]

            return Cut()

        register("broken")(dict)
        register("greedy")(lambda a, b: Words())
        yield


def test_a_plugin_needs_only_encode_and_decode(registered: None) -> None:
    found = tokenizer("words")
    assert found.count_many(["a b", "c"]) == [2, 1]
    assert found.encode_many(["a b"]) == [["a", "b"]]
    assert (found.count("a b c"), found.most_tokens("a b c"), found.prefix_token) == (3, float("inf"), "")
    assert counting_tokenizer("words") is not None
    with pytest.raises(UnknownNameError, match="did you mean 'words'"):
        tokenizer("wrods")


def test_a_source_is_given_the_rest_of_the_name(registered: None) -> None:
    assert tokenizer("lab/cut/2").encode("one three") == ["on", "th"]
    with pytest.raises(UsageError, match=r"tokenizer 'lab/cut/x': 'x' is not an int"):
        tokenizer("lab/cut/x")
    with pytest.raises(UsageError, match="write lab/cut/<length>"):
        tokenizer("lab/cut")


def test_a_wrong_plugin_is_told_with_its_place(registered: None) -> None:
    with pytest.raises(PluginError, match=r"'broken'.*must derive from"):
        tokenizer("broken")
    with pytest.raises(PluginError, match=r"'greedy'.*test_tokenizers.*more than one argument"):
        tokenizer("greedy/1")


def test_the_builtin_ones_are_described() -> None:
    from evalkit.catalog import describe

    described = {name: describe("tokenizer", name) for name in TOKENIZERS.names()}
    assert set(described) >= {"bytes", "folder", "huggingface", "openai", "simple/tokenizer1"}
    for name, entry in described.items():
        assert entry["doc"], name
        assert all(parameter["doc"] for parameter in entry["params"]), name


def test_nothing_heavy_is_imported_before_a_token_is_made(tmp_path: Path) -> None:
    folder = save(byte_level(), tmp_path / "model")
    source = f"""
import json, sys
from evalkit.models.tokenizers import is_tokenizer, tokenizer
names = [{str(folder)!r}, "bytes", "openai/cl100k_base", "huggingface/gpt2"]
known = [is_tokenizer(name) for name in names]
print(json.dumps([known, sorted({{"tokenizers", "tiktoken", "transformers", "torch"}} & set(sys.modules))]))
"""
    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout) == [[True, True, False, False], []]
