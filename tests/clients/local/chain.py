"""A model whose next token depends on the last one alone: it says what a test wants it to say."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from evalkit.testing.models import make_tokenizer

SPECIAL = ("<|im_start|>", "<|im_end|>", "<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|return|>")
THOUGHT = ("<think>", "</think>")
# A step is so sure that all others are as good as impossible.
_SURE = 40.0


def make_chain(folder: Path, answers: Mapping[str, str], *, chat_template: str | None = None) -> Path:
    """Write a model that continues each prompt's last token with its answer, and then its end token `</s>`.

    No token of the answers may come twice. The marks of chats and channels are special tokens that end
    nothing; those of thinking are tokens like any others.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

    make_tokenizer(folder, vocab_size=600, text=[*answers.values()] * 3)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL)})
    tokenizer.add_tokens(list(THOUGHT))
    if chat_template is not None:
        tokenizer.chat_template = chat_template
    tokenizer.save_pretrained(folder)
    size = len(tokenizer) + len(tokenizer) % 2
    steps = _steps(tokenizer, answers)
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=size,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        head_dim=32,  # vLLM on a CPU takes no others than multiples of it
        max_position_embeddings=512,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng():
        model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim >= 2:
                weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(size))
        for last, following in steps.items():
            # The norm makes a length of sqrt(size) of what is of length 1.
            model.lm_head.weight[following, last] = _SURE / size**0.5
    model.save_pretrained(folder)
    return folder


def _steps(tokenizer: Any, answers: Mapping[str, str]) -> dict[int, int]:
    steps: dict[int, int] = {}
    for prompt_end, answer in answers.items():
        last = tokenizer(prompt_end, add_special_tokens=False)["input_ids"][-1]
        said = [last, *tokenizer(answer, add_special_tokens=False)["input_ids"]]
        assert len(set(said)) == len(said), tokenizer.convert_ids_to_tokens(said)
        assert steps.keys().isdisjoint(said), tokenizer.convert_ids_to_tokens(said)
        steps |= dict(pairwise([*said, 1]))
    return steps
