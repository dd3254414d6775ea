"""Any causal language model of transformers, in this process: batched, never idle, answered one by one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from evalkit.clients.client import Client, ModelFacts
from evalkit.clients.conversation import Conversation
from evalkit.clients.local.facts import model_facts, model_identity
from evalkit.clients.local.library_logs import quiet
from evalkit.clients.local.prompting import ChatStyle
from evalkit.clients.local.template_date import day_of
from evalkit.clients.transformers.job import NO_PROMPT, Job
from evalkit.clients.transformers.loading import ModelSource, load
from evalkit.clients.transformers.worker import Worker
from evalkit.errors import UsageError
from evalkit.models.weights import chat_template
from evalkit.registry import client

if TYPE_CHECKING:
    from evalkit.clients.transformers.batching import BatchLimit
    from evalkit.clients.transformers.worker import ReadyModel
    from evalkit.request import Request
    from evalkit.response import Response
from evalkit.thinking import ThinkingStyle

_WINDOW = 4096


class _AnswerQueue:
    """Carries answers from the engine's thread to the event loop, many with one wake-up."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._waiting: deque[tuple[asyncio.Future[Response], Response | Exception]] = deque()
        self._called = False

    def send(self, future: asyncio.Future[Response], answer: Response | Exception) -> None:
        """From the thread."""
        with self._lock:
            self._waiting.append((future, answer))
            if self._called:
                return
            self._called = True
        _call(self._loop, self._deliver)

    def _deliver(self) -> None:
        with self._lock:
            answers, self._waiting = self._waiting, deque()
            self._called = False
        for future, answer in answers:
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)


@client("transformers")
class TransformersClient(Client):
    """A model of the transformers library in this process, on CPU or GPU.

    Requests are computed in batches as they come; each is answered when it is finished.

    Args:
        model: A folder, a name of the Hugging Face Hub, or a model that comes with evalkit (`evalkit/tiny`).
        revision: Commit, branch or tag of the Hub.
        dtype: `auto` (as the weights are stored), `float32`, `bfloat16` or `float16`.
        device_map: A device (`cpu`, `cuda:1`), or how accelerate spreads the model (`auto`, … or a map);
            left out: the GPU if there is one, else the CPU.
        quantization: `int8` or `int4` (needs bitsandbytes), or a quantization config.
        adapter: Folder or name of a PEFT adapter that is put on top (needs peft).
        attn_implementation: How attention is computed (`sdpa`, `eager`, …).
        chat_template: A chat template file, or the name of one of those that the model brings.
        chat_template_args: More variables for the template (`enable_thinking: false`).
        chat_prompts: Put plain prompts through the chat template too, as the user's message.
        chat_date: The day that a chat template is given if it asks for the date.
        conversation: How chats are written as one text, in place of a chat template.
        thinking: Whether the model thinks before it answers, or its marks (`{open: …, close: …}`);
            left out: what its prompts and its completions say.
        trust_remote_code: Run the code that comes with the model.
        max_length: Longest prompt and completion together, in tokens; left out: what the model says.
        max_batch_size: Most sequences in a batch; left out: what suits the device.
        max_batch_tokens: Most tokens in a batch, padding and tokens to come included; left out: likewise.
        logprobs: Give each generated token with its log-probability.
        pooling: How embeddings are made of the last layer: the `mean` of all tokens, or the `last` one.
    """

    resident: ClassVar[bool] = True
    embeds: ClassVar[bool] = True
    transport: ClassVar[frozenset[str]] = frozenset({"device_map", "max_batch_size", "max_batch_tokens"})
    needs: ClassVar[tuple[tuple[str, ...], str]] = (("torch", "transformers"), "hf")
    window: int = _WINDOW

    def __init__(  # noqa: PLR0913 - what a deployment may say of a model
        self,
        *,
        model: str,
        revision: str | None = None,
        dtype: str = "auto",
        device_map: str | dict[str, Any] | None = None,
        quantization: str | dict[str, Any] | None = None,
        adapter: str | None = None,
        attn_implementation: str | None = None,
        chat_template: str | None = None,
        chat_template_args: dict[str, Any] | None = None,
        chat_prompts: bool = False,
        chat_date: str | None = None,
        conversation: dict[str, Any] | None = None,
        thinking: bool | dict[str, Any] | None = None,
        trust_remote_code: bool = False,
        max_length: int | None = None,
        max_batch_size: int | None = None,
        max_batch_tokens: int | None = None,
        logprobs: bool = False,
        pooling: str = "mean",
    ) -> None:
        if pooling not in ("mean", "last"):
            raise UsageError(f"pooling is '{pooling}'; it must be mean or last")
        for name, value in (
            ("max_length", max_length),
            ("max_batch_size", max_batch_size),
            ("max_batch_tokens", max_batch_tokens),
        ):
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}; it must be at least 1")
        self._source = ModelSource(
            model=model,
            revision=revision,
            dtype=dtype,
            device_map=device_map,
            quantization=quantization,
            adapter=adapter,
            attn_implementation=attn_implementation,
            trust_remote_code=trust_remote_code,
            max_length=max_length,
        )
        self._template_name, self._template_args = chat_template, chat_template_args
        self._day, self._conversation = day_of(chat_date), Conversation.of(conversation)
        self._wrap, self._with_logprobs, self._pooling = chat_prompts, logprobs, pooling
        self._style = ThinkingStyle.of(thinking)
        self._limits = (max_batch_tokens, max_batch_size)
        self._worker: Worker | None = None
        self._answers: _AnswerQueue | None = None
        self._ended: asyncio.Event | None = None

    @classmethod
    def identity(cls, args: Mapping[str, Any]) -> dict[str, Any]:
        """What can change an answer: the model's files by what is in them, and how they are used."""
        return model_identity(args, cls.transport)

    @classmethod
    def facts(cls, args: Mapping[str, Any]) -> ModelFacts:
        """The model's tokenizer and longest text, as its files say; nothing where they are not here."""
        return model_facts(args)

    async def open(self) -> None:
        """Load the model, on a thread that owns it from then on.

        Raises:
            UsageError: Its files are not here, or are not what they should be; a library is missing.
        """
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        ended = asyncio.Event()

        def on_ready(error: BaseException | None) -> None:
            def tell() -> None:
                if ready.done():
                    return
                if error is None:
                    ready.set_result(None)
                else:
                    ready.set_exception(error)

            _call(loop, tell)

        self._answers, self._ended = _AnswerQueue(loop), ended
        self._worker = Worker(self._load, on_ready, lambda: _call(loop, ended.set), _free_memory)
        self._worker.start()
        await ready

    async def send(self, request: Request) -> Response:
        """The answer, whenever it is ready; cancelling it takes the request out of its batch.

        Raises:
            BadRequestError: The prompt is too long, can't be made of the chat, does not fit into memory
                (`out_of_memory`), or the model fails on it (`engine_error`).
        """
        assert self._worker is not None, "not opened"
        assert self._answers is not None
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        answers = self._answers
        if self._conversation is not None:
            request = self._conversation.applied(request)
        job = Job(request, NO_PROMPT, lambda answer: answers.send(future, answer), time.perf_counter())
        self._worker.submit(job)
        try:
            return await future
        except asyncio.CancelledError:
            job.cancelled = True
            raise

    async def close(self) -> None:
        """End the thread, and give the model's memory back; waits for the step it is in."""
        worker, ended = self._worker, self._ended
        self._worker = None
        if worker is not None and ended is not None:
            worker.close()
            await ended.wait()
            worker.join()

    def _load(self, go_on: Callable[[], bool]) -> tuple[ReadyModel, BatchLimit] | None:
        from evalkit.clients.transformers.model import LocalModel

        loaded = load(self._source, go_on)
        if loaded is None:
            return None
        folder = self._source.folder
        template = chat_template(folder, self._template_name, self._source.adapter_folder)
        if folder is None and template is None:
            template = loaded.tokenizer.chat_template
        if self._conversation is not None:
            self._conversation = self._conversation.with_tokens(loaded.tokenizer)
        style = ChatStyle(template, self._template_args, self._wrap, self._day)
        with quiet():  # it is tried out
            ready = LocalModel(
                loaded,
                style,
                name=self._source.model,
                with_logprobs=self._with_logprobs,
                pooling="last" if self._pooling == "last" else "mean",
                style=self._style,
            )
        self.notes = (*loaded.notes, *ready.notes)
        return ready, ready.limit(*self._limits)


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], object]) -> None:
    # The loop may be closed: then no request waits any more.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(function)


def _free_memory() -> None:
    import torch

    from evalkit.clients.transformers.memory import free_memory

    free_memory(torch.device("cuda") if torch.cuda.is_available() else None)
