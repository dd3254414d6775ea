"""A PEFT adapter on top of a model: whether it fits, and how it is added."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping
from typing import Any

from evalkit.clients.local.checkpoint import named
from evalkit.errors import UsageError

_NAME = "default"
_PREFIX = "base_model.model."


def add_adapter(model: Any, adapter: str, *, merges: bool = True) -> Any:
    """A model with an adapter added to its weights.

    Args:
        model: Of transformers.
        adapter: The adapter's folder, or its name on the Hugging Face Hub.
        merges: Whether the adapter becomes part of the weights; quantised weights can't be added to, and the
            adapter stays next to them.

    Raises:
        UsageError: The adapter is of a kind that evalkit does not apply, or does not fit the model.
    """
    from peft import PeftConfig, PeftModel
    from peft.utils import get_peft_model_state_dict, load_peft_weights, set_peft_model_state_dict

    try:
        config = PeftConfig.from_pretrained(adapter)
    except Exception as error:
        raise UsageError(f"the adapter {adapter} can't be read: {_said(error)}") from error
    _check_kind(adapter, config)
    try:
        weights = load_peft_weights(adapter, device="cpu")
    except Exception as error:
        raise UsageError(f"the adapter {adapter} can't be read: {_said(error)}") from error
    _resize_embeddings(model, adapter, config, weights)
    try:
        adapted = PeftModel.from_pretrained(model, adapter, adapter_name=_NAME)
        # Once more, for what it says: PEFT only warns of what is missing, and drops what is too much.
        result = set_peft_model_state_dict(adapted, weights, adapter_name=_NAME)
        kept = get_peft_model_state_dict(adapted, adapter_name=_NAME, save_embedding_layers=False)
    except Exception as error:
        said = f"it lacks the tensor {error}" if isinstance(error, KeyError) else _said(error)
        raise UsageError(f"the adapter {adapter} does not fit the model: {said}") from error
    unplaced = [name for name in result.unexpected_keys if not _is_copy(name, weights)]
    _check_fit(adapter, len(weights), unplaced=unplaced, unfilled=_unfilled(result.missing_keys, kept))
    adapted.eval()
    if not merges:
        # PEFT has put its layers into the model itself.
        return adapted.get_base_model()
    if not hasattr(adapted.base_model, "merge_and_unload"):
        raise UsageError(_not_applied(adapter, config))
    try:
        return adapted.merge_and_unload()
    except (ValueError, NotImplementedError, TypeError, AttributeError) as error:
        raise UsageError(f"{_not_applied(adapter, config)} ({_said(error)})") from error


def _check_kind(adapter: str, config: Any) -> None:
    """Refuse what adds no weights: trained prompts, which would have to stand before every text."""
    if config.is_prompt_learning or config.peft_type in ("ADAPTION_PROMPT", "XLORA"):
        raise UsageError(_not_applied(adapter, config))


def _not_applied(adapter: str, config: Any) -> str:
    kind = getattr(config.peft_type, "value", config.peft_type)
    return (
        f"the adapter {adapter} is of the kind {kind}, which can't be merged into a model's weights; use "
        "one that can (LoRA, DoRA, IA3, …)"
    )


def _is_copy(name: str, weights: Container[str]) -> bool:
    """Whether a tensor is there once more under its plain name; PEFT saves embeddings so."""
    plain = name.replace(".modules_to_save.", ".").replace(".original_module.", ".")
    return plain != name and plain in weights


def _unfilled(missing: Iterable[str], kept: Container[str]) -> list[str]:
    """Of all that no tensor was found for, the model's own weights included, what the adapter should hold."""
    plain = (name.replace(f".modules_to_save.{_NAME}", "").replace(f".{_NAME}", "") for name in missing)
    # DoRA's magnitudes are kept without the last part of their name.
    return [name for name in plain if name in kept or name.removesuffix(".weight") in kept]


def _check_fit(
    adapter: str, num_tensors: int, *, unplaced: Collection[str], unfilled: Collection[str]
) -> None:
    wrong = []
    if unplaced:
        placeless = named(sorted(unplaced))
        wrong.append(f"{len(unplaced)} of its {num_tensors} tensors have no place in the model ({placeless})")
    if unfilled:
        wrong.append(f"it has no tensor for {len(unfilled)} places ({named(sorted(unfilled))})")
    if wrong:
        raise UsageError(
            f"the adapter {adapter} does not fit the model: {'; '.join(wrong)}. Name the model that it was "
            "trained on, loaded by the same class, or rename its tensors"
        )


def _resize_embeddings(model: Any, adapter: str, config: Any, weights: Mapping[str, Any]) -> None:
    """Give the model as many rows as the adapter was trained with, if it brings the new ones."""
    parts = {"input": model.get_input_embeddings(), "output": model.get_output_embeddings()}
    names = {id(module): name for name, module in model.named_modules()}
    rows = int(parts["input"].weight.shape[0])
    trained = _trained_tokens(config)
    whole, seen = {}, [max(trained) + 1] if trained and max(trained) >= rows else []
    for part, module in parts.items():
        if module is None or (name := names.get(id(module))) is None:
            continue
        whole[part], partial = _rows(weights, name)
        seen += [number for number in (whole[part], partial) if number is not None]
    wanted = max(seen, default=rows)
    if wanted == rows:
        return
    tied = parts["output"] is None or parts["output"].weight is parts["input"].weight
    brought = [part for part, number in whole.items() if number == wanted]
    by_token = set(range(rows, wanted)) <= trained
    has_all = bool(brought) if tied else len(brought) == len(whole)
    if wanted > rows and not has_all and not (by_token and (tied or "output" in brought)):
        raise UsageError(
            f"the adapter {adapter} was trained with {wanted:,} tokens, the model has embeddings for "
            f"{rows:,}, and the adapter's files lack the others: save it with its embeddings "
            "(save_embedding_layers=True), or name the model with the added tokens"
        )
    model.resize_token_embeddings(wanted, mean_resizing=False)


def _rows(weights: Mapping[str, Any], name: str) -> tuple[int | None, int | None]:
    """How many tokens an embedding has by the adapter: by its own copy of it, and by what is added to it."""
    found: dict[bool, int] = {}
    for key, tensor in weights.items():
        ending = key.removeprefix(_PREFIX).removeprefix(f"{name}.")
        if ending == key.removeprefix(_PREFIX):
            continue
        if ending in ("weight", "base_layer.weight", "modules_to_save.weight", "original_module.weight"):
            found[True] = int(tensor.shape[0])
        elif ending.startswith("lora_embedding_A"):
            found[False] = int(tensor.shape[1])
        elif ending == "lora_B.weight":
            found[False] = int(tensor.shape[0])
    return found.get(True), found.get(False)


def _trained_tokens(config: Any) -> set[int]:
    """The tokens whose rows the adapter brings one by one."""
    named_tokens = (
        getattr(config, "trainable_token_indices", None) or getattr(config, "token_indices", None) or ()
    )
    if isinstance(named_tokens, Mapping):
        return {int(token) for tokens in named_tokens.values() for token in tokens}
    return {int(token) for token in named_tokens}


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__
