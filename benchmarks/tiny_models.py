"""What the benchmarks of local engines share: a small random Llama on disk, and prompts of chosen lengths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from evalkit.testing.models import make_model, make_tokenizer

_SYLLABLES = [a + b for a, b in zip("bcdfghjklmnprstvwxyz", "aeiou" * 4, strict=True)]


def random_words(random: Random, number: int) -> list[str]:
    """Made-up words, some of them numbers."""
    return [
        str(random.randrange(1000))
        if random.random() < 0.1
        else "".join(random.choice(_SYLLABLES) for _ in range(random.randint(1, 4)))
        for _ in range(number)
    ]


def random_llama(folder: Path, *, hidden: int = 256, layers: int = 4, **config: Any) -> Path:
    """A Llama with random weights, in float32 and without an end token, and a tokenizer of 8,192 tokens."""
    random = Random(0)
    text = [" ".join(random_words(random, 50)) for _ in range(400)]
    make_tokenizer(folder, vocab_size=8192, text=text)
    sizes: dict[str, Any] = {
        "hidden_size": hidden,
        "intermediate_size": hidden * 3,
        "num_hidden_layers": layers,
        "num_attention_heads": max(4, hidden // 64),
        "num_key_value_heads": max(2, hidden // 128),
        "max_position_embeddings": 4096,
        "vocab_size": 8192,
    }
    return make_model(folder, "llama", eos=False, **{**sizes, **config})


def prompts_of(tokenizer: Any, lengths: Sequence[int], seed: int = 1) -> list[str]:
    """A text of each length, in tokens as the tokenizer counts them, special ones included."""
    random = Random(seed)
    prompts = []
    for length in lengths:
        text = " ".join(random_words(random, length))
        ids = tokenizer(text, add_special_tokens=False)["input_ids"][: length - 1]
        prompts.append(tokenizer.decode(ids))
    return prompts
