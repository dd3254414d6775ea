"""Loading a model and its tokenizer."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.clients.local.checkpoint import Checkpoint, check_weights
from evalkit.clients.local.library_logs import library_warnings, quiet
from evalkit.clients.local.tokenizers import open_tokenizer
from evalkit.clients.transformers.batching import is_out_of_memory
from evalkit.errors import UsageError
from evalkit.models.weights import (
    brings_tokenizer,
    find_adapter,
    find_model,
    is_folder,
    max_length_tokens,
)

_HUB_TIMEOUT_S = 20.0
_DTYPES = ("auto", "float32", "bfloat16", "float16", "float64")
_PLACES = ("cpu", "cuda", "mps", "xpu")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that is ready to compute.

    Attributes:
        model: A causal language model of transformers, in evaluation mode.
        tokenizer: Its tokenizer.
        device: Where inputs go.
        is_recurrent: It keeps a state (Mamba, …) in place of keys and values: nothing can be shared or padded
            away by a mask alone.
        max_length_tokens: Longest prompt and completion together; None: no limit is known.
        notes: What the user should know of it: what of its files is not used, and what its libraries warn of.
        lacks_head: It gives embeddings only.
    """

    model: Any
    tokenizer: Any
    device: Any
    is_recurrent: bool
    max_length_tokens: int | None
    notes: tuple[str, ...] = ()
    lacks_head: bool = False


@dataclass(frozen=True, slots=True)
class ModelSource:
    """What is loaded, and how.

    Attributes:
        model: A folder, a shipped model, or a name of the Hugging Face Hub.
        revision: Of the Hub's model: a commit, branch or tag; None: `main`.
        dtype: What its numbers are kept as; "auto": as they are stored.
        device_map: Where its parts go: a device ("cuda:1"), or one of accelerate's ways to spread it over
            devices ("auto", …); None: the GPU if there is one, else the CPU.
        quantization: "int8" or "int4" (by bitsandbytes), or a quantization config as transformers reads it.
        adapter: A PEFT adapter's folder or name, put on top; None: the model as it is.
        attn_implementation: How attention is computed ("sdpa", "eager", …); None: what transformers chooses.
        trust_remote_code: Run the code that comes with the model.
        max_length: Longest prompt and completion together, in tokens; None: what its config says.
    """

    model: str
    revision: str | None = None
    dtype: str = "auto"
    device_map: str | Mapping[str, Any] | None = None
    quantization: str | Mapping[str, Any] | None = None
    adapter: str | None = None
    attn_implementation: str | None = None
    trust_remote_code: bool = False
    max_length: int | None = None

    def __post_init__(self) -> None:
        if self.dtype not in _DTYPES:
            raise UsageError(f"dtype is '{self.dtype}'; it must be one of {', '.join(_DTYPES)}")
        if isinstance(self.quantization, str) and self.quantization not in ("int8", "int4"):
            raise UsageError(
                f"quantization is '{self.quantization}'; it must be int8, int4, or a quantization config"
            )
        if self.adapter is not None and importlib.util.find_spec("peft") is None:
            raise UsageError("an adapter needs peft; run: pip install peft")

    @property
    def folder(self) -> Path | None:
        """Where the files are; None if they are not on this machine.

        Raises:
            UsageError: A folder is named that holds no model.
        """
        return find_model(self.model, self.revision)

    @property
    def adapter_folder(self) -> Path | None:
        """Where the adapter's files are; None if there is none, or they are not on this machine."""
        return None if self.adapter is None else find_adapter(self.adapter)


def load(source: ModelSource, go_on: Callable[[], bool] = lambda: True) -> LoadedModel | None:
    """Load a model; takes its time.

    Args:
        source: What to load.
        go_on: Asked now and then; once it says no, loading ends.

    Returns:
        The model; None if it was not to go on.

    Raises:
        UsageError: Its files are not here and can't be fetched, or are not what they should be.
    """
    folder = source.folder
    named = source.model if folder is None else str(folder)
    common: dict[str, Any] = {"trust_remote_code": source.trust_remote_code}
    if folder is None:
        common["revision"] = source.revision or "main"
    with quiet(), library_warnings() as warned, _explained(source):
        if folder is None:
            _find_on_hub(source)
        adapter = source.adapter_folder
        if adapter is not None and brings_tokenizer(adapter):
            common_of = {"trust_remote_code": source.trust_remote_code}
            tokenizer, notes = open_tokenizer(str(adapter), adapter, **common_of)
        else:
            tokenizer, notes = open_tokenizer(named, folder, **common)
        if not go_on():
            return None
        model, checkpoint = _load_weights(source, named, common)
        if not go_on():
            return None
        if source.adapter is not None:
            model = _adapted(model, adapter, source.adapter)
    model.eval()
    limit = source.max_length
    if limit is None:
        limit = max_length_tokens(folder) if folder is not None else _stated_length(model)
    return LoadedModel(
        model,
        tokenizer,
        model.device,
        _is_recurrent(model),
        limit,
        notes=(*notes, *checkpoint.notes, *warned),
        lacks_head=checkpoint.lacks_head,
    )


def _find_on_hub(source: ModelSource) -> None:
    """Ask once: where there is no network, loading would ask for each file, again and again."""
    from huggingface_hub import model_info

    model_info(source.model, revision=source.revision, timeout=_HUB_TIMEOUT_S)


def _load_weights(source: ModelSource, named: str, common: Mapping[str, Any]) -> tuple[Any, Checkpoint]:
    """The model with all of its weights, and what is to be known of its files."""
    from transformers import AutoModelForCausalLM

    # `check_weights` reports what does not fit and refuses it; transformers would fill it in.
    options: dict[str, Any] = {
        "dtype": source.dtype,
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,
        **common,
    }
    device, device_map = _place(source.device_map)
    if source.attn_implementation is not None:
        options["attn_implementation"] = source.attn_implementation
    if source.quantization is not None:
        options["quantization_config"] = _quantization_config(source.quantization)
        # Quantised weights are made where they are to stay.
        device_map = device_map or {"": device}
    if device_map is not None:
        if importlib.util.find_spec("accelerate") is None:
            raise UsageError("device_map needs accelerate; run: pip install 'evalkit[hf]'")
        model, info = AutoModelForCausalLM.from_pretrained(named, device_map=device_map, **options)
    else:
        model, info = AutoModelForCausalLM.from_pretrained(named, **options)
    if getattr(model, "_hf_peft_config_loaded", False):
        raise UsageError(
            f"{source.model} holds an adapter (adapter_config.json): name the model that it was trained on "
            "as model, and this as adapter"
        )
    checkpoint = check_weights(source.model, model, info)
    return (model if device_map is not None else model.to(device)), checkpoint


def _place(device_map: str | Mapping[str, Any] | None) -> tuple[str | None, Any]:
    """A single device, or the device map for accelerate."""
    import torch

    if device_map is None:
        return ("cuda" if torch.cuda.is_available() else "cpu"), None
    if isinstance(device_map, str) and device_map.partition(":")[0] in _PLACES:
        return device_map, None
    return None, device_map if isinstance(device_map, str) else dict(device_map)


def _quantization_config(quantization: str | Mapping[str, Any]) -> Any:
    if not isinstance(quantization, str):
        return dict(quantization)
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UsageError(f"quantization {quantization} needs bitsandbytes; run: pip install bitsandbytes")
    from transformers import BitsAndBytesConfig

    if quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True)


def _adapted(model: Any, folder: Path | None, adapter: str) -> Any:
    from evalkit.clients.transformers.adapters import add_adapter

    named = adapter if folder is None else str(folder)
    # Quantised weights can't be added to.
    return add_adapter(model, named, merges=getattr(model, "hf_quantizer", None) is None)


def _is_recurrent(model: Any) -> bool:
    if getattr(model, "_is_stateful", False):
        return True
    config = model.config.get_text_config(decoder=True)
    kinds = getattr(config, "layer_types", None) or ()
    return any(kind in ("linear_attention", "conv", "hybrid", "mamba", "recurrent") for kind in kinds)


def _stated_length(model: Any) -> int | None:
    length = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
    return length if isinstance(length, int) and length > 0 else None


@contextmanager
def _explained(source: ModelSource) -> Iterator[None]:
    """What goes wrong with files, in our words."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        if not is_folder(source.model) and source.folder is None:
            revision = f" --revision {source.revision}" if source.revision else ""
            raise UsageError(
                f"the model {source.model} is not on this machine and can't be downloaded from here; where "
                f"there is a network: hf download {source.model}{revision}"
            ) from error
        said = " ".join(str(error).split())[:500]
        raise UsageError(f"the model {source.model} can't be loaded: {said}") from error
