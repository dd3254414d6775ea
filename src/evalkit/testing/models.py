"""Tiny models with random weights, made on disk: real checkpoints for the tests of engines and metrics.

They say nothing sensible, and load in every engine like any model of a hub. Needs the extra `hf`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalkit.clients.local.library_logs import quiet

_TEXT = (
    "The quick brown fox jumps over the lazy dog. Question: what is two plus two? Answer: four.\n\n"
    "Passage: it was the best of times, it was the worst of times; who would have thought so?\n"
    "def add(a, b):\n    return a + b\n# 0123456789 (A) (B) (C) (D)\n"
    "“naïve café” 日本語の文です。質問：答え："
)
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>{{ message.content }}{{ eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_SIZES: Mapping[str, Mapping[str, Any]] = {
    "llama": {"num_key_value_heads": 2},
    "mistral": {"num_key_value_heads": 2, "sliding_window": 16},
    "gemma2": {"num_key_value_heads": 2, "head_dim": 16, "sliding_window": 16},
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 512},
    "bloom": {"n_layer": 2, "n_head": 4},
    "opt": {"ffn_dim": 128, "word_embed_proj_dim": 64},
    "mamba": {"state_size": 8},
}


def make_tokenizer(
    folder: Path, *, vocab_size: int = 512, text: Sequence[str] = (), bos: bool = True
) -> None:
    """Train a byte-level BPE tokenizer and write it to `folder`.

    Args:
        folder: Where; made if it is not there.
        vocab_size: Most tokens, the special ones `<s>`, `</s>` and `<pad>` included.
        text: What it is trained on, besides a few sentences.
        bos: Put `<s>` before every text.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([_TEXT, *text], trainer)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 0)]
        )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)


def make_model(
    folder: Path, model_type: str = "llama", *, seed: int = 0, eos: bool = True, **config: Any
) -> Path:
    """Write a causal language model with random weights, in float32, and a tokenizer if none is there yet.

    Args:
        folder: Where; made if it is not there.
        model_type: Its architecture, as transformers call it (`llama`, `gpt2`, `mamba`, …).
        seed: Of the weights; the global generator is left as it was.
        eos: Whether the model's configuration names an end token (its tokenizer has one).
        config: What its configuration says otherwise (`hidden_size=256`, …).

    Returns:
        `folder`.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    if not (folder / "tokenizer.json").is_file():
        make_tokenizer(folder)
    sizes: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
        "vocab_size": len(AutoTokenizer.from_pretrained(folder)),
        "bos_token_id": 0,
        "eos_token_id": 1 if eos else None,
        "pad_token_id": 2,
        **_SIZES.get(model_type, {}),
        **config,
    }
    with torch.random.fork_rng(), quiet():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **sizes))
        # As they are made, weights are so small that the next token hardly depends on the text.
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if weight.ndim >= 2 and "conv" not in name and "A_log" not in name:
                    weight.mul_(3.0)
        model.save_pretrained(folder)
    return folder
