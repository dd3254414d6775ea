"""Engines opened otherwise: for embeddings, and with an adapter; each as the transformers engine has it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evalkit.clients.client import Client
from evalkit.clients.transformers.client import TransformersClient
from evalkit.clients.vllm.client import VllmClient
from evalkit.request import Request
from evalkit.response import Response
from tests.vllm.conftest import ARGS

pytestmark = pytest.mark.slow
TEXTS = ("the quick brown fox", "it was the best of times", "日本語の文です。")


def asked(client: Client, requests: Sequence[Request]) -> list[Response]:
    """The answers of a client that is opened for them."""

    async def ask() -> list[Response]:
        await client.open()
        try:
            return await asyncio.gather(*(client.send(request) for request in requests))
        finally:
            await client.close()

    return asyncio.run(ask())


def transformers(folder: Path, **args: Any) -> TransformersClient:
    return TransformersClient(model=str(folder), dtype="float32", **args)


def test_embeddings_are_those_of_the_other_engine(model_folder: Path) -> None:
    requests = [Request(text, embedding=True) for text in TEXTS]
    theirs = asked(VllmClient(model=str(model_folder), runner="pooling", **ARGS), requests)
    for ours, other in zip(asked(transformers(model_folder), requests), theirs, strict=True):
        assert ours.embedding is not None
        assert other.embedding == pytest.approx(ours.embedding, abs=1e-4)
        assert other.usage == ours.usage


def test_an_adapter_is_put_on_top(model_folder: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    make_adapter(model_folder, adapter)
    requests = [Request(text, temperature=0.0, max_tokens=12) for text in TEXTS]
    with_adapter = VllmClient(model=str(model_folder), adapter=str(adapter), **ARGS)
    plain, ours, theirs = (
        [answer.completions[0].text for answer in asked(client, requests)]
        for client in (
            transformers(model_folder),
            transformers(model_folder, adapter=str(adapter)),
            with_adapter,
        )
    )
    assert theirs == ours
    assert ours != plain


def make_adapter(model_folder: Path, folder: Path) -> None:
    """A random LoRA adapter."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(model_folder)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        config = LoraConfig(r=8, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        get_peft_model(model, config).save_pretrained(str(folder))
