"""Small real tokenizers of the kinds that models have, trained in the tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

TEXTS = [
    "The following are multiple choice questions (with answers) about anatomy.",
    "Question: What is the embryological origin of the hyoid bone?\nA. The first pharyngeal arch\n",
    "Answer: D\n\nQuestion: Which of these branches of the trigeminal nerve contain motor processes?",
    "日本語のテキストと、そのなかの言葉。 Déjà vu, naïve café; ½ of ﬁfty. 🙂 🙂",
]
SPECIAL = ["<s>", "</s>", "<|end|>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def byte_level(
    *, prefix_space: bool = False, normalizer: Any = None, added: tuple[str, ...] = ()
) -> Tokenizer:
    """As GPT-2 and most after it: BPE over bytes."""
    made = Tokenizer(models.BPE())
    made.normalizer = normalizer
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=400, initial_alphabet=alphabet, special_tokens=SPECIAL, show_progress=False
        ),
    )
    made.add_tokens([AddedToken(text) for text in added])
    return made


def split_then_bytes() -> Tokenizer:
    """As newer models: a pattern of their own, digits apart, then bytes; composed characters."""
    made = byte_level(normalizer=normalizers.NFC())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pattern=" ", behavior="merged_with_next"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return made


def sentencepiece_bpe(*, blank_known: bool = True) -> Tokenizer:
    """As Llama 2: blanks made visible, unknown characters as bytes."""
    characters = sorted({c for text in TEXTS[:3] for c in text} | ({"▁"} if blank_known else set()))
    vocabulary = {token: i for i, token in enumerate(["<unk>", *SPECIAL, *BYTES, *characters, "th", "the"])}
    made = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=[("t", "h"), ("th", "e")],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.add_special_tokens(SPECIAL)
    return made


def unigram() -> Tokenizer:
    """As T5 and its like: pieces with probabilities, compatibility characters replaced."""
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    made.train_from_iterator(
        TEXTS,
        trainers.UnigramTrainer(
            vocab_size=120, special_tokens=["<unk>", *SPECIAL], unk_token="<unk>", show_progress=False
        ),
    )
    return made


def word_piece() -> Tokenizer:
    """As BERT: lower case, no accents, blanks around CJK characters."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.train_from_iterator(
        TEXTS,
        trainers.WordPieceTrainer(vocab_size=200, special_tokens=["[UNK]", *SPECIAL], show_progress=False),
    )
    return made


KINDS: Mapping[str, Callable[[], Tokenizer]] = {
    "byte_level": byte_level,
    "prefix_space": lambda: byte_level(prefix_space=True),
    "nfkc": lambda: byte_level(normalizer=normalizers.NFKC()),
    "nfd_lower": lambda: byte_level(
        normalizer=normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase()])
    ),
    "short_added": lambda: byte_level(added=("x", "yy")),
    "short_added_prefix_space": lambda: byte_level(prefix_space=True, added=("x", "yy")),
    "split_then_bytes": split_then_bytes,
    "sentencepiece_bpe": sentencepiece_bpe,
    "unknown_blank": lambda: sentencepiece_bpe(blank_known=False),
    "unigram": unigram,
    "word_piece": word_piece,
}


def save(made: Tokenizer, folder: Path, **config: Any) -> Path:
    """Write a tokenizer as a model's folder has it; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text("{}")
    return folder
