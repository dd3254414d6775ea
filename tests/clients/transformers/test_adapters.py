"""Adapters: right where they fit, refused where they do not, by their kind where they can't be applied."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalkit.clients.transformers.loading import ModelSource, load
from evalkit.errors import UsageError

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore")

MakeModel = Callable[..., Path]
TEXT = "it was the best of times"
LORA: dict[str, Any] = {"r": 4, "target_modules": ["q_proj", "v_proj"], "init_lora_weights": False}
FITTING: dict[str, Callable[[], Any]] = {
    "lora": lambda: peft.LoraConfig(**LORA),
    "dora": lambda: peft.LoraConfig(**LORA, use_dora=True),
    "bias": lambda: peft.LoraConfig(**LORA, bias="all"),
    "saved": lambda: peft.LoraConfig(**LORA, modules_to_save=["lm_head", "embed_tokens"]),
    "embeddings": lambda: peft.LoraConfig(
        **{**LORA, "target_modules": ["q_proj", "embed_tokens", "lm_head"]}
    ),
    "tokens": lambda: peft.LoraConfig(**LORA, trainable_token_indices=[3, 5]),
    "ia3": lambda: peft.IA3Config(
        target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]
    ),
    "adalora": lambda: peft.AdaLoraConfig(target_modules=["q_proj"], total_step=10, init_lora_weights=False),
    "vera": lambda: peft.VeraConfig(r=4, target_modules=["q_proj"]),
    "oft": lambda: peft.OFTConfig(r=0, oft_block_size=4, target_modules=["q_proj"]),
    "loha": lambda: peft.LoHaConfig(r=4, target_modules=["q_proj"]),
}


def logprob(model: Any, folder: Path) -> float:
    """Of a text, in one plain pass."""
    from transformers import AutoTokenizer

    ids = torch.tensor([AutoTokenizer.from_pretrained(folder)(TEXT)["input_ids"]])
    with torch.inference_mode():
        rows = model(ids).logits[0, :-1].log_softmax(-1)
    found: float = rows.gather(-1, ids[0, 1:, None]).sum().item()
    return found


def trained(folder: Path, target: Path, config: Any, **base_changes: Any) -> float:
    """Write an adapter with random weights; what the model with it gives, by PEFT alone."""
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(folder)
    if (rows := base_changes.get("rows")) is not None:
        base.resize_token_embeddings(rows)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        adapted = peft.get_peft_model(base, config)
        with torch.no_grad():
            for weight in adapted.parameters():
                if weight.requires_grad:
                    weight.add_(torch.randn_like(weight) * 0.05)
    adapted.eval()
    adapted.save_pretrained(target)
    return logprob(adapted, folder)


def loaded(folder: Path, adapter: Path) -> Any:
    found = load(ModelSource(str(folder), device_map="cpu", adapter=str(adapter)))
    assert found is not None
    return found


def rewritten(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]], **config: Any) -> None:
    """Change an adapter's tensors and its configuration."""
    from safetensors.torch import load_file, save_file

    path = folder / "adapter_model.safetensors"
    save_file(change(load_file(path)), path)
    described = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**described, **config}))


@pytest.mark.parametrize("kind", FITTING)
def test_adapters_that_fit_are_right(model_of: MakeModel, tmp_path: Path, kind: str) -> None:
    expected = trained(model_of(), tmp_path / kind, FITTING[kind]())
    found = loaded(model_of(), tmp_path / kind)
    assert logprob(found.model, model_of()) == pytest.approx(expected, abs=1e-3)
    assert found.notes == ()


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        (
            "lora",
            lambda t: {k.replace(".model.model.", ".model.model.language_model."): v for k, v in t.items()},
            "8 of its 8 tensors have no place in the model",
        ),
        (
            "lora",
            lambda t: {k.replace("base_model.model.", ""): v for k, v in t.items()},
            "8 of its 8 tensors",
        ),
        (
            "lora",
            lambda t: {k: v for k, v in t.items() if "layers.1" not in k},
            r"it has no tensor for 4 places \(base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight",
        ),
        ("lora", lambda t: {}, "it has no tensor for 8 places"),
        (
            "dora",
            lambda t: {k: v for k, v in t.items() if "magnitude" not in k},
            "it has no tensor for 4 places",
        ),
        ("saved", lambda t: {k: v for k, v in t.items() if "lm_head" not in k}, "lacks the tensor .*lm_head"),
        (
            "lora",
            lambda t: {k: v[:3].contiguous() for k, v in t.items()},
            "does not fit the model: .*size mismatch",
        ),
    ],
    ids=["other_names", "no_prefix", "half", "empty", "no_magnitudes", "no_head", "other_rank"],
)
@pytest.mark.parametrize("merges", [True, False])
def test_adapters_that_do_not_fit_are_refused(
    model_of: MakeModel,
    tmp_path: Path,
    kind: str,
    change: Callable[[dict[str, Any]], dict[str, Any]],
    said: str,
    merges: bool,
) -> None:
    from transformers import AutoModelForCausalLM

    from evalkit.clients.transformers.adapters import add_adapter

    trained(model_of(), tmp_path / "adapter", FITTING[kind]())
    rewritten(tmp_path / "adapter", change)
    base = AutoModelForCausalLM.from_pretrained(model_of())
    with pytest.raises(UsageError, match=said):
        add_adapter(base, str(tmp_path / "adapter"), merges=merges)


def test_tensors_beside_those_that_the_config_names_are_refused(model_of: MakeModel, tmp_path: Path) -> None:
    trained(model_of(), tmp_path / "adapter", FITTING["lora"]())
    rewritten(tmp_path / "adapter", lambda t: t, target_modules=["q_proj"])
    with pytest.raises(UsageError, match="4 of its 8 tensors have no place"):
        loaded(model_of(), tmp_path / "adapter")


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (lambda: peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4), "PROMPT_TUNING"),
        (lambda: peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4), "PREFIX_TUNING"),
        (
            lambda: peft.PromptEncoderConfig(
                task_type="CAUSAL_LM", num_virtual_tokens=4, encoder_hidden_size=8
            ),
            "P_TUNING",
        ),
    ],
)
def test_what_can_not_be_merged_is_refused_by_its_kind(
    model_of: MakeModel, tmp_path: Path, config: Callable[[], Any], kind: str
) -> None:
    trained(model_of(), tmp_path / "adapter", config())
    with pytest.raises(UsageError, match=rf"adapter .* is of the kind {kind}, which can't be merged"):
        loaded(model_of(), tmp_path / "adapter")


def test_an_adapter_beside_quantised_weights(model_of: MakeModel, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    from evalkit.clients.transformers.adapters import add_adapter

    for kind in ("lora", "dora", "ia3", "saved"):
        expected = trained(model_of(), tmp_path / kind, FITTING[kind]())
        base = AutoModelForCausalLM.from_pretrained(model_of())
        beside = add_adapter(base, str(tmp_path / kind), merges=False)
        assert logprob(beside, model_of()) == pytest.approx(expected, abs=1e-3)


def with_new_tokens(folder: Path, target: Path, *, tied: bool = False) -> tuple[Path, Path, float, int]:
    """A base, an adapter trained after two tokens were added, and what they give a text with one of them."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|q|>", "<|a|>"]})
    tokenizer.chat_template = "{% for m in messages %}<|q|>{{ m.content }}{% endfor %}<|a|>"
    base = AutoModelForCausalLM.from_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        base.resize_token_embeddings(len(tokenizer))
        config = peft.LoraConfig(**LORA, modules_to_save=["embed_tokens"] if tied else None)
        adapted = peft.get_peft_model(base, config).eval()
    adapted.save_pretrained(target)
    tokenizer.save_pretrained(target)
    ids = torch.tensor([tokenizer(f"<|q|>{TEXT}<|a|>")["input_ids"]])
    with torch.inference_mode():
        rows = adapted(ids).logits[0, :-1].log_softmax(-1)
    return folder, target, rows.gather(-1, ids[0, 1:, None]).sum().item(), ids.shape[1]


def asked(folder: Path, *requests: Any, **args: Any) -> list[Any]:
    import asyncio

    from evalkit.clients.transformers.client import TransformersClient

    async def main() -> list[Any]:
        client = TransformersClient(model=str(folder), device_map="cpu", **args)
        try:
            await client.open()
            return await asyncio.gather(*map(client.send, requests), return_exceptions=True)
        finally:
            await client.close()

    return asyncio.run(main())


@pytest.mark.parametrize("tied", [False, True])
def test_an_adapter_brings_tokens_and_a_template_of_its_own(
    model_of: MakeModel, tmp_path: Path, tied: bool
) -> None:
    from evalkit.clients.transformers.client import TransformersClient
    from evalkit.models.tokenizers import tokenizer
    from evalkit.request import Message, Request

    base = model_of("llama", tie_word_embeddings=tied)
    _, adapter, expected, number = with_new_tokens(base, tmp_path / "adapter", tied=tied)
    scored = Request(f"<|q|>{TEXT}<|a|>", temperature=0.0, max_tokens=0, echo_prompt=True)
    chat = Request("", temperature=0.0, max_tokens=2, messages=(Message("user", TEXT),))
    answer, said = asked(base, scored, chat, adapter=str(adapter))
    assert answer.completions[0].logprob == pytest.approx(expected, abs=1e-3)
    assert answer.usage.prompt_tokens == number
    # The template writes no start token.
    assert said.usage.prompt_tokens == number - 1
    facts = TransformersClient.facts({"model": str(base), "adapter": str(adapter)})
    assert facts.tokenizer_name == str(adapter)
    assert tokenizer(str(adapter)).count("<|q|>") == 1


def test_an_adapters_files_are_part_of_the_identity(
    model_of: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evalkit.clients.transformers.client import TransformersClient

    trained(model_of(), tmp_path / "adapter", FITTING["lora"]())
    monkeypatch.chdir(tmp_path)
    args = {"model": str(model_of()), "adapter": str(tmp_path / "adapter")}
    before = TransformersClient.identity(args)
    # However it is written.
    assert TransformersClient.identity({**args, "adapter": "adapter"}) == before
    assert TransformersClient.identity({**args, "adapter": "./adapter"}) == before
    (tmp_path / "adapter" / "chat_template.jinja").write_text("{{ messages[0].content }}")
    assert TransformersClient.identity(args) != before


def test_rows_that_nobody_brings_are_not_made_up(model_of: MakeModel, tmp_path: Path) -> None:
    with_new_tokens(model_of(), tmp_path / "adapter")
    rewritten(tmp_path / "adapter", lambda t: {k: v for k, v in t.items() if "embed_tokens" not in k})
    with pytest.raises(
        UsageError, match=r"trained with 4\d\d tokens, the model has embeddings for 4\d\d, and the adapter"
    ):
        loaded(model_of(), tmp_path / "adapter")
