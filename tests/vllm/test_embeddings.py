"""An engine opened for embeddings, which are those of the transformers engine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

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


def test_embeddings_are_those_of_the_other_engine(model_folder: Path) -> None:
    requests = [Request(text, embedding=True) for text in TEXTS]
    theirs = asked(VllmClient(model=str(model_folder), runner="pooling", **ARGS), requests)
    for ours, other in zip(
        asked(TransformersClient(model=str(model_folder), dtype="float32"), requests), theirs, strict=True
    ):
        assert ours.embedding is not None
        assert other.embedding == pytest.approx(ours.embedding, abs=1e-4)
        assert other.usage == ours.usage
