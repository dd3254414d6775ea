"""Any model that vLLM runs, by its asynchronous engine."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from evalkit.clients.local.prompting import ChatStyle, Prompter
from evalkit.clients.vllm.model import VllmModel
from evalkit.clients.vllm.warm_up import WarmUpGate
from evalkit.errors import BadRequestError
from evalkit.models.weights import chat_template, find_model
from evalkit.registry import client
from evalkit.request import Request
from evalkit.response import Response
from evalkit.thinking import ThinkingStyle

if TYPE_CHECKING:
    from evalkit.clients.vllm.engine import Engine
    from evalkit.clients.vllm.requests import Requests

_FIRST_REQUESTS = 4
_FIRST_S = 1.0


@client("vllm")
@dataclass(kw_only=True, eq=False, repr=False)
class VllmClient(VllmModel):
    """A model that vLLM's engine runs on this machine, fed as fast as it answers.

    Args:
        model: A folder, a shipped model, or a name of the Hugging Face Hub.
        revision: Of the Hub's model: a commit, branch or tag.
        dtype: What its numbers are kept as; `auto`: as they are stored.
        quantization: How weights are quantised (`fp8`, `awq`, `bitsandbytes`, …), if the model does not say.
        max_length: Longest prompt and completion together, in tokens; left out: what the model takes.
        adapter: The folder of a LoRA adapter that is put on top.
        chat_template: A template file (`….jinja`), or the name of one that the model brings.
        chat_template_args: More variables for the chat template (`enable_thinking`, …).
        chat_prompts: Put plain prompts into the chat template too, as the user's message.
        chat_date: The day that a chat template is given if it asks for the date.
        trust_remote_code: Run the code that comes with the model.
        conversation: How chats are written as one text, in place of a chat template.
        thinking: Whether the model thinks before it answers, or its marks (`{open: …, close: …}`);
            left out: what its name, its prompts and its completions say.
        runner: `pooling` gives embeddings, and nothing else.
        pooling: Embeddings are the `mean` of the last layer over all tokens, or its `last`.
        logprobs: Give the tokens with their log-probabilities even where a request wants no alternatives.
        seed: What the engine's own randomness starts from; requests have seeds of their own.
        engine_args: Anything else that vLLM's engine takes, by its name there.
        tensor_parallel_size: How many GPUs share the model.
        gpu_memory_utilization: The part of a GPU's memory that it may take; left out: vLLM's default.
        max_num_seqs: How many sequences are computed at once; left out: vLLM's default for the device.
        enable_prefix_caching: Compute what prompts begin with in common once.
        enforce_eager: Start sooner and run slower: without compiling and capturing.
        log_path: A file that vLLM's log is appended to; left out: it is dropped.
    """

    embeds: ClassVar[bool] = True

    chat_template_args: dict[str, Any] | None = None
    chat_prompts: bool = False
    runner: Literal["generate", "pooling"] = "generate"
    pooling: Literal["mean", "last"] = "mean"
    logprobs: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._engine: Engine | None = None
        self._asker: Requests | None = None
        self._warm_up = WarmUpGate(_FIRST_REQUESTS, _FIRST_S)

    async def open(self) -> None:
        """Start the engine: half a minute for the smallest model.

        Raises:
            UsageError: A folder, an adapter or a chat template is not there.
            SystemicError: vLLM does not start; says why.
        """
        from evalkit.clients.vllm.engine import Engine

        folder = find_model(self.model, self.revision)
        template = chat_template(folder, self.chat_template, self.adapter_folder())
        embeds = self.runner == "pooling"
        if folder is not None:
            await asyncio.to_thread(self.check, folder, for_embeddings=embeds)
        arguments = {"runner": self.runner, **self.engine_arguments(folder)}
        if self.runner == "pooling":
            arguments |= {"convert": "embed", "pooler_config": {"pooling_type": self.pooling.upper()}}
        adapter = self.adapter_folder()
        self._engine = Engine(arguments, self.log())
        llm = await self._engine.start()
        if folder is None and (fetched := find_model(self.model, self.revision)) is not None:
            await asyncio.to_thread(self.check, fetched, for_embeddings=embeds)

        from evalkit.clients.local.detokenizer import Detokenizer
        from evalkit.clients.vllm.requests import Requests

        # One of its own: vLLM uses its tokenizer in this thread, prompts are made in another.
        tokenizer, notes = await asyncio.to_thread(self.tokenizer, folder)
        if folder is None and template is None:
            template = tokenizer.chat_template
        if self.format is not None:
            self.format = self.format.with_tokens(tokenizer)
        style = ChatStyle(template, self.chat_template_args, self.chat_prompts, self.day)
        prompter = Prompter(tokenizer, style, llm.model_config.get_vocab_size())
        self.notes = (*notes, *self.notes, *prompter.notes)
        self._asker = Requests(
            self._engine,
            prompter,
            # Where vLLM makes another tokenizer of the files, its own spells otherwise, too.
            Detokenizer(copy.deepcopy(tokenizer) if notes else llm.get_tokenizer()),
            max_length_tokens=llm.model_config.max_model_len,
            adapter=None if adapter is None else str(adapter),
            with_logprobs=self.logprobs,
            shares_prefixes=self.enable_prefix_caching,
            name=self.model,
            style=ThinkingStyle.of(self.thinking),
        )

    async def send(self, request: Request) -> Response:
        """One attempt.

        Raises:
            TransientError: The engine died while it was computing this.
            BadRequestError: The engine refuses this request; or it has died too often.
        """
        assert self._asker is not None
        if request.embedding != (self.runner == "pooling"):
            raise BadRequestError(
                "this model is opened for generation; embeddings need runner: pooling"
                if request.embedding
                else "this model is opened for embeddings and generates nothing (runner: pooling)"
            )
        if self.format is not None:
            request = self.format.applied(request)
        await self._warm_up.wait()
        try:
            return await self._asker.ask(request)
        finally:
            self._warm_up.open_for_all()

    async def close(self) -> None:
        """End the engine's processes and free their memory."""
        self._asker = None
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await engine.stop()
