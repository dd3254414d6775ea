from __future__ import annotations

from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.clients.local.detokenizer import Detokenizer, StopDetector

pytest.importorskip("transformers")


def byte_signs() -> dict[int, str]:
    """GPT-2's table: the printable sign that stands in a vocabulary for each byte."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    signs = {byte: chr(byte) for byte in plain}
    others = [byte for byte in range(256) if byte not in signs]
    return signs | {byte: chr(256 + number) for number, byte in enumerate(others)}


BYTE_OF_SIGN = {sign: byte for byte, sign in byte_signs().items()}


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoTokenizer

    from evalkit.testing.models import make_tokenizer

    folder = tmp_path_factory.mktemp("bytes")
    make_tokenizer(folder)
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def word_piece_like(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tokenizer that drops the blank before a text's first word, as Llama's does."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator(["the capital of France is Paris and not London"] * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


@pytest.fixture(scope="module")
def byte_fallback() -> Any:
    """A tokenizer that spells characters it does not know by their bytes, as Llama 2's does."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁abcdefghijklmnopqrstuvwxyz.は"]
    vocabulary = {word: number for number, word in enumerate([*words, "▁t", "▁th"])}
    merges = [("▁", "t"), ("▁t", "h")]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


def ids_of(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def test_the_blank_before_the_first_word_is_kept(word_piece_like: Any) -> None:
    detokenizer = Detokenizer(word_piece_like)
    ids = ids_of(word_piece_like, "the capital of France is Paris")
    at = len(ids_of(word_piece_like, "the capital of France is"))
    assert detokenizer.text(ids[:at], ids[at:]) == " Paris"
    assert detokenizer.text([], ids) == "the capital of France is Paris"
    assert "".join(detokenizer.pieces(ids[:at], ids[at:])) == " Paris"


def test_a_prompt_that_ends_within_a_character(byte_level: Any) -> None:
    detokenizer = Detokenizer(byte_level)
    ids = ids_of(byte_level, "é🦊 b")
    for at in range(len(ids)):
        assert detokenizer.text(ids[:at], ids[at:]).endswith(" b") or at == len(ids) - 1


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.sampled_from("abc \n.é日🦊—"), max_size=30))
def test_pieces_are_the_text(byte_level: Any, text: str) -> None:
    detokenizer = Detokenizer(byte_level)
    prompt, ids = ids_of(byte_level, "Question:"), ids_of(byte_level, text)
    pieces = detokenizer.pieces(prompt, ids)
    assert len(pieces) == len(ids)
    assert "".join(pieces) == text


def stop_at(tokenizer: Any, text: str, stops: tuple[str, ...]) -> tuple[int, str, int, bool]:
    """After how many tokens a text that comes token by token is stopped, and what is left of it."""
    watch = StopDetector(Detokenizer(tokenizer), ids_of(tokenizer, "Q:"), stops)
    ids = ids_of(tokenizer, text)
    seen = next((n for n in range(1, len(ids) + 1) if watch.stops(ids[:n])), len(ids))
    ending = watch.ending(ids[:seen])
    return seen, ending.text, ending.num_tokens, ending.stopped


@settings(max_examples=300)
@given(st.data())
def test_pieces_are_the_text_with_special_tokens_and_halves_of_characters(
    byte_level: Any, data: st.DataObject
) -> None:
    ids = st.lists(st.integers(0, len(byte_level) - 1) | st.sampled_from([0, 1, 2]), max_size=12)
    prompt, tokens = data.draw(ids), data.draw(ids)
    detokenizer = Detokenizer(byte_level)
    assert {0, 1, 2} == detokenizer.special.keys()
    assert "".join(detokenizer.pieces(prompt, tokens)) == detokenizer.text(prompt, tokens)


def test_halves_of_a_character_are_not_joined_over_a_special_token(byte_level: Any) -> None:
    def ids(text: str) -> list[int]:
        return list(byte_level(text, add_special_tokens=False)["input_ids"])

    first, *others = ids("本")
    assert others, "one token spells it: nothing is tested"
    [pad] = byte_level.convert_tokens_to_ids(["<pad>"])
    watch = StopDetector(Detokenizer(byte_level), ids("the"), ())
    assert watch.ending([first, *others, *ids("& the")]).text == "本& the"
    ending = watch.ending([first, pad, *others, *ids("& the")])
    assert ending.text.endswith("& the")
    assert "本" not in ending.text


def test_a_stop_that_spans_tokens(byte_level: Any) -> None:
    text = "one two\n\nQuestion: three"
    stop = "two\n\nQ"
    assert len(ids_of(byte_level, stop)) > 1
    seen, left, num_tokens, stopped = stop_at(byte_level, text, (stop,))
    assert (left, stopped) == ("one ", True)
    assert seen < len(ids_of(byte_level, text))
    assert num_tokens <= len(ids_of(byte_level, "one "))


def test_a_stop_inside_a_token(byte_level: Any) -> None:
    (whole,) = (i for i in range(len(byte_level)) if byte_level.decode([i]) == " Answer")
    watch = StopDetector(Detokenizer(byte_level), [], ("nsw",))
    assert watch.stops([whole])
    ending = watch.ending([whole])
    # The token spells part of what is left, and so counts.
    assert (ending.text, ending.num_tokens) == (" A", 1)


def test_the_first_of_several_stops_cuts(byte_level: Any) -> None:
    _, left, _, stopped = stop_at(byte_level, "a b. c\nd", ("\n", "."))
    assert (left, stopped) == ("a b", True)


def test_a_stop_at_the_very_beginning_leaves_nothing(byte_level: Any) -> None:
    assert stop_at(byte_level, "\nmore", ("\n",))[1:] == ("", 0, True)


def test_without_a_stop_the_text_is_whole(byte_level: Any) -> None:
    text = "it was the best of times"
    assert stop_at(byte_level, text, ("\n", "", "worst"))[1:] == (text, len(ids_of(byte_level, text)), False)


@settings(max_examples=150, deadline=None)
@given(
    st.text(alphabet=st.sampled_from("ab \n.é🦊"), max_size=25),
    st.lists(st.text(alphabet=st.sampled_from("ab \n.é🦊"), min_size=1, max_size=3), max_size=3),
)
def test_stops_are_exact(byte_level: Any, text: str, stops: list[str]) -> None:
    seen, left, _, stopped = stop_at(byte_level, text, tuple(stops))
    # What would have come after the first complete stop sequence was never generated.
    made = byte_level.decode(ids_of(byte_level, text)[:seen]) if stopped else text
    expected = min((made.find(stop) for stop in stops if stop in made), default=len(made))
    assert left == made[:expected]
    assert stopped == any(stop in text for stop in stops)
    # It is not noticed late: without the last token, no stop was complete.
    before = byte_level.decode(ids_of(byte_level, text)[: seen - 1]) if stopped else ""
    assert not any(stop in before for stop in stops)


@pytest.mark.parametrize(
    ("answer", "right"), [("東亮", 6), ("価", 3), ("ab", 2), ("a東", 4), ("🦊", 4), ("🦊b", 5)]
)
@pytest.mark.parametrize("name", ["byte_level", "byte_fallback"])
def test_a_character_of_several_tokens_before_a_stop(
    request: pytest.FixtureRequest, name: str, answer: str, right: int
) -> None:
    tokenizer = request.getfixturevalue(name)
    ids = ids_of(tokenizer, f"{answer}\n")
    assert len(ids) == right + 1, "every byte is a token, and the stop is one"
    assert stop_at(tokenizer, f"{answer}\n", ("\n",))[1:] == (answer, right, True)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab th.日東亮は🦊é👩\u200d"), max_size=25), st.sampled_from("\n|東"))
@pytest.mark.parametrize("name", ["byte_level", "byte_fallback"])
@pytest.mark.parametrize("more", ["", "\n東亮 and 🦊🦊 after it"])
def test_tokens_before_a_stop_are_those_that_end_before_it(
    request: pytest.FixtureRequest, name: str, more: str, text: str, stop: str
) -> None:
    tokenizer = request.getfixturevalue(name)
    ids = ids_of(tokenizer, f"{text}{stop}{more}")
    ending = StopDetector(Detokenizer(tokenizer), [], (stop,)).ending(ids)
    left = text.split(stop)[0]
    assert (ending.text, ending.stopped) == (left, True)
    # Whole characters only: the fewest tokens that have all bytes of what is left.
    spelt = list(accumulate(bytes_of(tokenizer, ids), initial=b""))
    right = next(number for number, raw in enumerate(spelt) if raw.startswith(left.encode()))
    assert ending.num_tokens == right


def bytes_of(tokenizer: Any, ids: list[int]) -> list[bytes]:
    """What each token spells, from the vocabulary alone."""
    spelt = []
    for token in tokenizer.convert_ids_to_tokens(ids):
        if tokenizer.unk_token is None:
            spelt.append(bytes(BYTE_OF_SIGN[sign] for sign in token))
        elif token.startswith("<0x"):
            spelt.append(bytes([int(token[3:5], 16)]))
        else:
            spelt.append(token.replace("▁", " ").encode())
    return spelt


def test_most_tokens_are_not_looked_at_closely(byte_level: Any) -> None:
    class Counting(Detokenizer):
        looked = 0

        def text(self, prompt: Any, tokens: Any) -> str:
            self.looked += 1
            return super().text(prompt, tokens)

    detokenizer = Counting(byte_level)
    watch = StopDetector(detokenizer, [], ("\n",))
    ids = ids_of(byte_level, "it was the best of times, it was the worst of times; who would know?")
    assert not any(watch.stops(ids[:n]) for n in range(1, len(ids) + 1))
    assert detokenizer.looked <= 2
