"""vLLM takes files that lack weights, and adapters that do not fit, without a word; evalkit refuses them."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from evalkit.clients.vllm.client import VllmClient
from evalkit.clients.vllm.model import VllmModel
from evalkit.clients.vllm.server import VllmServerClient
from evalkit.errors import UsageError

Tensors = dict[str, Any]


def refusal(kind: type[VllmModel], folder: Path, **args: Any) -> str:
    """Why a client is not opened; vLLM is not started for that."""

    async def main() -> str:
        client = kind(model=str(folder), **args)
        try:
            with pytest.raises(UsageError) as caught:
                await client.open()
        finally:
            await client.close()
        return str(caught.value)

    return asyncio.run(main())


def rewritten(folder: Path, target: Path, name: str, change: Callable[[Tensors], Mapping[str, Any]]) -> Path:
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, target)
    save_file(dict(change(load_file(target / name))), target / name, metadata={"format": "pt"})
    return target


def lora(folder: Path, **config: Any) -> Path:
    """A LoRA of the first projection of each of two layers, with random weights."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(exist_ok=True)
    described = {"peft_type": "LORA", "r": 8, "lora_alpha": 8, "target_modules": ["q_proj"], **config}
    (folder / "adapter_config.json").write_text(json.dumps(described))
    tensors: Tensors = {}
    for layer in range(2):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        tensors |= {f"{name}.lora_A.weight": torch.randn(8, 64), f"{name}.lora_B.weight": torch.randn(64, 8)}
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


@pytest.mark.parametrize("kind", [VllmClient, VllmServerClient])
def test_weights_that_the_files_lack_are_not_invented(
    model_folder: Path, tmp_path: Path, kind: type[VllmModel]
) -> None:
    def without_mlp(tensors: Tensors) -> Tensors:
        return {k: v for k, v in tensors.items() if ".1.mlp." not in k}

    broken = rewritten(model_folder, tmp_path / "broken", "model.safetensors", without_mlp)
    assert "lack 3 of 21 tensors (model.layers.1.mlp.down_proj.weight" in refusal(kind, broken)


@pytest.mark.parametrize(
    ("change", "config", "said"),
    [
        (
            lambda t: {k.replace(".model.layers", ".language_model.model.layers"): v for k, v in t.items()},
            {},
            "4 of its 4 tensors have no place in the model",
        ),
        (
            lambda t: {k: v for k, v in t.items() if ".0." in k},
            {},
            "for 1 modules it has no tensor (model.layers.1.self_attn.q_proj)",
        ),
        (
            lambda t: {**t, "base_model.model.model.embed_tokens.weight": t[next(iter(t))].new_zeros(9, 64)},
            {},
            "1 tensors that vLLM does not apply (base_model.model.model.embed_tokens.weight)",
        ),
        (dict, {"peft_type": "IA3"}, "is of the kind IA3; vLLM applies LoRA only"),
        (dict, {"use_dora": True}, "was trained with use_dora, which vLLM does not apply"),
        (dict, {"modules_to_save": ["lm_head"]}, "was trained with modules_to_save"),
    ],
    ids=["other_names", "half", "embeddings", "kind", "dora", "saved"],
)
def test_an_adapter_that_vllm_would_leave_out_is_refused(
    model_folder: Path,
    tmp_path: Path,
    change: Callable[[Tensors], Tensors],
    config: dict[str, Any],
    said: str,
) -> None:
    whole = lora(tmp_path / "whole", **config)
    adapter = rewritten(whole, tmp_path / "adapter", "adapter_model.safetensors", change)
    assert said in refusal(VllmClient, model_folder, adapter=str(adapter))


def test_what_fits_is_not_refused(model_folder: Path, tmp_path: Path) -> None:
    client = VllmClient(model=str(model_folder), adapter=str(lora(tmp_path / "whole")))
    client.check(model_folder)
    assert client.notes == ()
