"""What is missing from a model's files, or too much, is refused or reported, never filled in."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalkit.clients.transformers.client import TransformersClient
from evalkit.errors import BadRequestError, UsageError
from evalkit.request import Request
from evalkit.response import Response

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

MakeModel = Callable[..., Path]
Tensors = dict[str, Any]
GREEDY = Request("it was the best of times", temperature=0.0, max_tokens=8)


def opened(folder: Path, *requests: Request, **args: Any) -> tuple[list[Any], tuple[str, ...]]:
    """The answers to some requests, and what the client notes."""

    async def main() -> tuple[list[Any], tuple[str, ...]]:
        client = TransformersClient(model=str(folder), **{"device_map": "cpu", **args})
        try:
            await client.open()
            answers = await asyncio.gather(*map(client.send, requests), return_exceptions=True)
            return answers, client.notes
        finally:
            await client.close()

    return asyncio.run(main())


def changed(folder: Path, target: Path, change: Callable[[Tensors], Mapping[str, Any]]) -> Path:
    """A copy of a model with other tensors."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, target)
    tensors = dict(change(load_file(target / "model.safetensors")))
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    return target


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda t: {k: v for k, v in t.items() if k != "lm_head.weight"},
            r"lack 1 of 21 tensors \(lm_head.weight\)",
        ),
        (
            lambda t: {k: v for k, v in t.items() if ".1.mlp." not in k},
            r"lack 3 of 21 tensors \(model.layers.1.mlp.down_proj.weight, ",
        ),
        (lambda t: {"lm_head.weight": t["lm_head.weight"]}, r"lack 20 of 21 tensors .* and 16 more"),
        (
            lambda t: {f"_orig_mod.{k}": v for k, v in t.items()},
            r"lack 21 of 21 .* begin with '_orig_mod.' .*torch.compile.* rename them",
        ),
        (
            lambda t: {f"module.{k}": v for k, v in t.items()},
            r"lack 21 of 21 .* begin with 'module.': rename them",
        ),
        (
            lambda t: {k: v[:9].contiguous() if k == "lm_head.weight" else v for k, v in t.items()},
            r"another shape than config.json says: lm_head.weight 9×64, not \d+×64",
        ),
    ],
    ids=["head", "layer", "one", "compiled", "wrapped", "shape"],
)
def test_weights_that_the_files_lack_are_not_invented(
    model_of: MakeModel, tmp_path: Path, change: Callable[[Tensors], Tensors], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        opened(changed(model_of(), tmp_path / "broken", change), GREEDY)


def test_one_shard_of_several_lacks_a_tensor(model_of: MakeModel, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForCausalLM

    folder = tmp_path / "sharded"
    shutil.copytree(model_of(), folder)
    (folder / "model.safetensors").unlink()
    AutoModelForCausalLM.from_pretrained(model_of()).save_pretrained(folder, max_shard_size="100KB")
    index = folder / "model.safetensors.index.json"
    places = json.loads(index.read_text())["weight_map"]
    assert len(set(places.values())) > 1
    (whole,), notes = opened(folder, GREEDY)
    assert (whole.completions, notes) == (opened(model_of(), GREEDY)[0][0].completions, ())
    name = next(name for name in places if name.endswith("0.mlp.up_proj.weight"))
    shard = folder / places[name]
    save_file({k: v for k, v in load_file(shard).items() if k != name}, shard, metadata={"format": "pt"})
    with pytest.raises(UsageError, match=rf"lack 1 of 21 tensors \({name}\)"):
        opened(folder, GREEDY)


def test_tensors_without_a_place_are_noted(model_of: MakeModel, tmp_path: Path) -> None:
    def with_third_layer(tensors: Tensors) -> Tensors:
        third = {k.replace(".1.", ".2."): v.clone() for k, v in tensors.items() if ".layers.1." in k}
        return {**tensors, **third}

    folder = changed(model_of(), tmp_path / "three", with_third_layer)
    (answer,), notes = opened(folder, GREEDY)
    assert answer.completions == opened(model_of(), GREEDY)[0][0].completions
    (note,) = notes
    assert "9 tensors that the model does not have" in note
    assert "model.layers.2.input_layernorm.weight" in note
    assert "5 more" in note


def test_what_a_library_warns_of_is_noted(model_of: MakeModel, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    shutil.copytree(model_of(), folder)
    config = json.loads((folder / "config.json").read_text())
    config["eos_token_id"] = 99_999
    (folder / "config.json").write_text(json.dumps(config))
    _, notes = opened(folder, GREEDY)
    assert any("transformers warns" in note and "99999" in note for note in notes)


@pytest.mark.parametrize(
    "model_type",
    ["llama", "gpt2", "opt", "bloom", "mamba", "gemma2", "mistral", "gpt_neox", "phi", "olmo"],
)
def test_whole_models_are_neither_refused_nor_noted(model_of: MakeModel, model_type: str) -> None:
    (answer,), notes = opened(model_of(model_type), GREEDY)
    assert isinstance(answer, Response)
    assert notes == ()


def test_tied_weights_are_not_missing(model_of: MakeModel, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = model_of("llama", tie_word_embeddings=True)
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    (answer,), notes = opened(folder, GREEDY)
    assert isinstance(answer, Response)
    assert notes == ()


def test_a_model_without_a_head_gives_embeddings_only(model_of: MakeModel, tmp_path: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    folder = tmp_path / "trunk"
    AutoModel.from_pretrained(model_of()).save_pretrained(folder)
    AutoTokenizer.from_pretrained(model_of()).save_pretrained(folder)
    embedded = replace(GREEDY, embedding=True, max_tokens=0)
    scored = replace(GREEDY, echo_prompt=True, max_tokens=0)
    (vector, *refused), notes = opened(folder, embedded, GREEDY, scored)
    (whole,), _ = opened(model_of(), embedded)
    assert vector.embedding == pytest.approx(whole.embedding)
    assert all(isinstance(error, BadRequestError) and "no output head" in str(error) for error in refused)
    assert any("no output head" in note for note in notes)


@pytest.mark.filterwarnings("ignore")
def test_an_adapter_is_not_taken_for_a_model(model_of: MakeModel, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folder = tmp_path / "both"
    shutil.copytree(model_of(), folder)
    base = AutoModelForCausalLM.from_pretrained(model_of())
    get_peft_model(base, LoraConfig(target_modules=["q_proj"])).save_pretrained(folder)
    with pytest.raises(UsageError, match="holds an adapter"):
        opened(folder, GREEDY)
