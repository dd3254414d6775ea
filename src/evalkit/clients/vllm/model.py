"""The arguments of a model that vLLM's engine and vLLM's server share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from evalkit.clients.allowance import Allowance
from evalkit.clients.client import Client, ModelFacts
from evalkit.clients.conversation import Conversation
from evalkit.clients.local.facts import model_facts, model_identity
from evalkit.clients.local.template_date import day_of
from evalkit.errors import UsageError
from evalkit.models.weights import brings_tokenizer, read_json
from evalkit.request import Request

_WINDOW = 2048
_WINDOW_PER_SEQUENCE = 4
# Ranks of low-rank adapters that vLLM makes room for.
_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


@dataclass(kw_only=True, eq=False, repr=False)
class VllmModel(Client):
    """A model that vLLM runs; the clients that derive from this describe the arguments."""

    resident: ClassVar[bool] = True
    needs: ClassVar[tuple[tuple[str, ...], str]] = (("vllm",), "vllm")
    transport: ClassVar[frozenset[str]] = frozenset(
        {
            "tensor_parallel_size",
            "gpu_memory_utilization",
            "max_num_seqs",
            "enable_prefix_caching",
            "enforce_eager",
            "log_path",
        }
    )

    model: str
    revision: str | None = None
    dtype: str = "auto"
    quantization: str | None = None
    max_length: int | None = None
    adapter: str | None = None
    chat_template: str | None = None
    chat_date: str | None = None
    trust_remote_code: bool = False
    thinking: bool | dict[str, Any] | None = None
    conversation: dict[str, Any] | None = None
    seed: int = 0
    engine_args: dict[str, Any] | None = None
    tensor_parallel_size: int = 1
    gpu_memory_utilization: float | None = None
    max_num_seqs: int | None = None
    enable_prefix_caching: bool = True
    enforce_eager: bool = False
    log_path: str | None = None

    def __post_init__(self) -> None:
        for name in ("max_length", "tensor_parallel_size", "max_num_seqs"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise UsageError(f"{name} is {value}; it must be at least 1")
        self.day = day_of(self.chat_date)
        self.format = Conversation.of(self.conversation)
        self.window = _WINDOW if self.max_num_seqs is None else _WINDOW_PER_SEQUENCE * self.max_num_seqs

    @classmethod
    def identity(cls, args: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments that can change an answer; model, adapter and template count by their files."""
        return model_identity(args, cls.transport)

    @classmethod
    def facts(cls, args: Mapping[str, Any]) -> ModelFacts:
        """What the model's files say of its tokenizer and length."""
        return model_facts(args)

    @classmethod
    def allowance(cls, args: Mapping[str, Any], request: Request) -> Allowance:
        """At least one token for each completion: vLLM generates one to score a prompt."""
        return Allowance(max(1, request.max_tokens) * request.num_completions)

    def engine_arguments(self, folder: Path | None) -> dict[str, Any]:
        """What vLLM's engine is started with, by its names for it.

        Args:
            folder: Where the model's files are; None: vLLM has to fetch them.

        Raises:
            UsageError: The adapter is not there.
        """
        arguments: dict[str, Any] = {
            "model": self.model if folder is None else str(folder),
            "dtype": self.dtype,
            "seed": self.seed,
            "trust_remote_code": self.trust_remote_code,
            "tensor_parallel_size": self.tensor_parallel_size,
            "enable_prefix_caching": self.enable_prefix_caching,
            "enforce_eager": self.enforce_eager,
            # As many alternatives as a request asks for.
            "max_logprobs": -1,
        }
        optional = {
            "revision": self.revision if folder is None else None,
            "quantization": self.quantization,
            "max_model_len": self.max_length,
            "gpu_memory_utilization": self.gpu_memory_utilization,
            "max_num_seqs": self.max_num_seqs,
        }
        arguments |= {name: value for name, value in optional.items() if value is not None}
        if (adapter := self.adapter_folder()) is not None:
            arguments |= {"enable_lora": True, "max_lora_rank": _lora_rank(adapter)}
            if brings_tokenizer(adapter):
                arguments["tokenizer"] = str(adapter)
        return arguments | (self.engine_args or {})

    def adapter_folder(self) -> Path | None:
        """Where the adapter's files are; None if there is none.

        Raises:
            UsageError: The folder holds no adapter.
        """
        if self.adapter is None:
            return None
        folder = Path(self.adapter).expanduser().absolute()
        if not (folder / "adapter_config.json").is_file():
            raise UsageError(
                f"the adapter {self.adapter} has no adapter_config.json; it must be the folder of a LoRA"
            )
        return folder

    def check(self, folder: Path, *, for_embeddings: bool = False) -> None:
        """See that the model's files and the adapter's hold what they have to; sets `notes`.

        Raises:
            UsageError: They do not.
        """
        from evalkit.clients.vllm.checking import check_model

        checked = check_model(
            self.model,
            folder,
            self.adapter_folder(),
            engine_args=self.engine_args or {},
            trust_remote_code=self.trust_remote_code,
            for_embeddings=for_embeddings,
        )
        self.notes = checked.notes

    def tokenizer(self, folder: Path | None) -> tuple[Any, tuple[str, ...]]:
        """The model's tokenizer, or its adapter's, and what the user should know of it.

        Args:
            folder: Where the model's files are; None: transformers finds them.

        Raises:
            UsageError: It can't be made as its file says.
        """
        from evalkit.clients.local.tokenizers import open_tokenizer

        common: dict[str, Any] = {"trust_remote_code": self.trust_remote_code}
        if (adapter := self.adapter_folder()) is not None and brings_tokenizer(adapter):
            return open_tokenizer(str(adapter), adapter, **common)
        if folder is not None:
            return open_tokenizer(str(folder), folder, **common)
        return open_tokenizer(self.model, None, revision=self.revision or "main", **common)

    def log(self) -> Path | None:
        """The file that vLLM's log is appended to; None: it is dropped."""
        return None if self.log_path is None else Path(self.log_path).expanduser().absolute()


def _lora_rank(folder: Path) -> int:
    """Room for the adapter's largest rank, in a size that vLLM offers."""
    config = read_json(folder / "adapter_config.json")
    pattern = config.get("rank_pattern")
    given = [config.get("r", 8), *(pattern.values() if isinstance(pattern, dict) else ())]
    largest = max([1, *(rank for rank in given if isinstance(rank, int))])
    return next((rank for rank in _LORA_RANKS if rank >= largest), largest)
