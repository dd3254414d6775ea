"""Real vLLM, where it is installed: one engine with a tiny random Llama for all tests of this folder."""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from evalkit.clients.vllm.client import VllmClient
from evalkit.clients.vllm.model import VllmModel
from evalkit.request import Request
from evalkit.response import Completion, Response

T = TypeVar("T")
# Generous: starting vLLM takes from half a minute to a few.
_ENDS_WITHIN_S = 600.0
ARGS: dict[str, Any] = {"dtype": "float32", "enforce_eager": True, "max_num_seqs": 64}
MAX_LENGTH_TOKENS = 512


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    missing = importlib.util.find_spec("vllm") is None
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.timeout(_ENDS_WITHIN_S))
            if missing:
                item.add_marker(pytest.mark.skip(reason="vllm is not installed here; make test-vllm has it"))


class OpenEngine:
    """An open client on an event loop of its own, in a thread of its own.

    Attributes:
        client: The client; its methods run on that loop only.
    """

    def __init__(self, client: VllmModel) -> None:
        self.client = client
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine on the engine's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_ENDS_WITHIN_S)

    def ask(self, requests: Sequence[Request]) -> list[Response]:
        """The answers to requests that are all sent at once."""

        async def all_of_them() -> list[Response]:
            return await asyncio.gather(*(self.client.send(request) for request in requests))

        return self.do(all_of_them())

    def complete(self, prompt: str, **settings: Any) -> Completion:
        """The first completion of a prompt, greedy unless told otherwise."""
        return self.ask([Request(prompt, **{"temperature": 0.0, **settings})])[0].completions[0]

    def end(self) -> None:
        try:
            self.do(self.client.close())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama in float32, with its tokenizer and a chat template."""
    from evalkit.testing.models import make_model

    # vLLM's attention on a CPU takes heads of 32 at least.
    return make_model(
        tmp_path_factory.mktemp("models") / "tiny", "llama", num_attention_heads=2, num_key_value_heads=1
    )


@pytest.fixture(scope="session")
def adapter_folder(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random LoRA adapter for that model."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("models") / "adapter"
    model = AutoModelForCausalLM.from_pretrained(model_folder)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        config = LoraConfig(r=8, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        get_peft_model(model, config).save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="session")
def engine(model_folder: Path) -> Iterator[OpenEngine]:
    """The one engine."""
    opened = OpenEngine(VllmClient(model=str(model_folder), **ARGS))
    try:
        opened.do(opened.client.open())
        yield opened
    finally:
        opened.end()
