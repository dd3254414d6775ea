"""What vLLM takes silently: files that lack weights, and parts of an adapter that it has no place for."""

from __future__ import annotations

import json
import struct
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from evalkit.clients.local.checkpoint import Checkpoint, check_weights, named, structure
from evalkit.clients.local.library_logs import quiet
from evalkit.errors import UsageError
from evalkit.models.weights import read_json

# Weights that are read by their names in the files; other formats come from other programs.
_READ_BY_NAME = (None, "auto", "safetensors", "pt", "hf")
# What changes which weights a model has.
_OTHER_MODEL = ("hf_overrides", "hf_config_path", "config_format", "model_impl")
# As the format has it.
_LONGEST_HEADER_BYTES = 100_000_000
_PREFIX = "base_model.model."
_LOW_RANK = (".lora_A.weight", ".lora_B.weight", ".lora_embedding_A", ".lora_embedding_B")
_WHOLE = (".base_layer.weight", ".weight")
# Parts of PEFT's LoRA that vLLM has not.
_BEYOND_LORA = (
    "use_dora",
    "modules_to_save",
    "lora_bias",
    "trainable_token_indices",
    "alora_invocation_tokens",
    "layer_replication",
    "use_qalora",
)
# With these, which modules an adapter should have is more than a question of their names.
_CHOOSES_MODULES = ("layers_to_transform", "exclude_modules", "target_parameters", "layer_replication")


def check_model(
    model_name: str,
    folder: Path,
    adapter: Path | None,
    *,
    engine_args: Mapping[str, Any],
    trust_remote_code: bool = False,
    for_embeddings: bool = False,
) -> Checkpoint:
    """Refuse a model whose files lack weights, and an adapter that does not fit it.

    Nothing of the model is checked where the arguments make vLLM read it other than by the names of its
    tensors, where it is quantised, and where transformers does not know its architecture.

    Args:
        model_name: What messages call it.
        folder: Its files.
        adapter: Those of the adapter that is put on top.
        engine_args: Other arguments of vLLM.
        trust_remote_code: Whether code that comes with the model may run.
        for_embeddings: Whether it is opened for embeddings, which need no output head.

    Raises:
        UsageError: Weights are missing; the adapter does not fit, or is one that vLLM does not apply.
    """
    if adapter is not None:
        _check_kind(adapter)
    is_other = any(engine_args.get(name) is not None for name in _OTHER_MODEL)
    if engine_args.get("load_format") not in _READ_BY_NAME or is_other or _is_quantised(folder):
        return Checkpoint()
    with quiet():
        found = structure(str(folder), trust_remote_code=trust_remote_code)
    if found is None:
        return Checkpoint()
    model, info = found
    checked = check_weights(model_name, model, info)
    if checked.lacks_head and not for_embeddings:
        raise UsageError(
            f"the model {model_name} can't generate: its files hold no output head; it gives embeddings "
            "(runner: pooling)"
        )
    if adapter is not None:
        _check_adapter(adapter, model)
    return checked


def _check_kind(adapter: Path) -> None:
    config = read_json(adapter / "adapter_config.json")
    kind = config.get("peft_type")
    if kind != "LORA":
        raise UsageError(
            f"the adapter {adapter} is of the kind {kind}; vLLM applies LoRA only: use the transformers "
            "engine, or merge the adapter into the model"
        )
    if beyond := [name for name in _BEYOND_LORA if config.get(name)]:
        raise UsageError(
            f"the adapter {adapter} was trained with {', '.join(beyond)}, which vLLM does not apply: use the "
            "transformers engine, or merge the adapter into the model"
        )


def _is_quantised(folder: Path) -> bool:
    config = read_json(folder / "config.json")
    parts = [config, *(part for part in config.values() if isinstance(part, dict))]
    return any(part.get("quantization_config") is not None for part in parts)


def _check_adapter(adapter: Path, model: Any) -> None:
    """Whether each tensor of a LoRA has a place that vLLM fills, and each place a tensor."""
    shapes = _tensor_shapes(adapter / "adapter_model.safetensors")
    # A model of several parts has other names in vLLM than in transformers.
    if shapes is None or getattr(model.config, "sub_configs", None):
        return
    rows = {
        name: int(module.weight.shape[0])
        for name, module in model.named_modules()
        if _is_embedding(module, model)
    }
    modules = {name for name, _ in model.named_modules()}
    low_rank, placeless, dropped = set(), [], []
    for tensor, shape in sorted(shapes.items()):
        name = tensor.removeprefix(_PREFIX)
        ending = next((ending for ending in _LOW_RANK if name.endswith(ending)), None)
        whole = next((name.removesuffix(ending) for ending in _WHOLE if name.endswith(ending)), None)
        if ending is not None and name.removesuffix(ending) in modules:
            low_rank.add(name.removesuffix(ending))
        elif ending is not None:
            placeless.append(tensor)
        elif whole is None or rows.get(whole) != shape[0]:
            dropped.append(tensor)
    _refuse(adapter, len(shapes), placeless, _unfilled(adapter, modules, low_rank), dropped)


def _refuse(
    adapter: Path,
    number: int,
    placeless: Collection[str],
    unfilled: Collection[str],
    dropped: Collection[str],
) -> None:
    wrong = []
    if placeless:
        wrong.append(
            f"{len(placeless)} of its {number} tensors have no place in the model ({named(placeless)})"
        )
    if unfilled:
        wrong.append(f"for {len(unfilled)} modules it has no tensor ({named(unfilled)})")
    if wrong:
        raise UsageError(
            f"the adapter {adapter} does not fit the model: {'; '.join(wrong)}. Name the model that it was "
            "trained on, or rename its tensors"
        )
    if dropped:
        raise UsageError(
            f"the adapter {adapter} has {len(dropped)} tensors that vLLM does not apply ({named(dropped)}): "
            "use the transformers engine, or merge the adapter into the model"
        )


def _unfilled(adapter: Path, modules: Collection[str], low_rank: Collection[str]) -> list[str]:
    config = read_json(adapter / "adapter_config.json")
    targets = config.get("target_modules")
    if not isinstance(targets, list) or any(config.get(name) for name in _CHOOSES_MODULES):
        return []
    wanted = (name for name in modules if any(name == t or name.endswith(f".{t}") for t in targets))
    return sorted(name for name in wanted if name not in low_rank)


def _is_embedding(module: Any, model: Any) -> bool:
    return module is model.get_input_embeddings() or module is model.get_output_embeddings()


def _tensor_shapes(path: Path) -> dict[str, list[int]] | None:
    """The names and shapes of a file's tensors; None where there is no such file."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _LONGEST_HEADER_BYTES:
                raise ValueError(f"its header would have {length} bytes")
            header = json.loads(file.read(length))
        return {name: tensor["shape"] for name, tensor in header.items() if name != "__metadata__"}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, struct.error, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise UsageError(f"the adapter's weights {path} can't be read: {error}") from None
