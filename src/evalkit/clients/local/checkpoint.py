"""Whether the files of a model hold all of its weights.

Transformers and vLLM fill in what is missing, at random or with whatever lies in memory, and go on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from evalkit.errors import UsageError

_NUM_SHOWN = 4
_MIN_PREFIXED = 3


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is known of a model's files that hold what they have to.

    Attributes:
        notes: For the user: tensors that the model has no place for, and buffers that it computed itself.
        lacks_head: They are those of a model without an output head, which gives embeddings only.
    """

    notes: tuple[str, ...] = ()
    lacks_head: bool = False


def check_weights(model_name: str, model: Any, info: Mapping[str, Any]) -> Checkpoint:
    """Refuse a model whose checkpoint does not hold all of its weights.

    Args:
        model_name: What messages call it.
        model: As transformers loaded it.
        info: What transformers says of the loading (`output_loading_info`).

    Raises:
        UsageError: Weights are missing, or have another shape than the model's; names the first few.
    """
    unexpected = sorted(info.get("unexpected_keys") or ())
    mismatched = sorted(info.get("mismatched_keys") or (), key=lambda found: str(found[0]))
    # A buffer is made by the model's own code, the same at each start; weights are made up.
    made = {name for name, _ in model.named_buffers()}
    missing: list[str] = []
    computed: list[str] = []
    for name in sorted(info.get("missing_keys") or ()):
        (computed if name in made else missing).append(name)
    lacks_head = bool(missing) and _is_trunk(model) and set(missing) <= _head_names(model)
    if mismatched:
        shapes = [f"{name} {_shape(files)}, not {_shape(wanted)}" for name, files, wanted in mismatched]
        raise UsageError(
            f"the model {model_name} can't be used: in its files {_tensors(len(mismatched))} have another "
            f"shape than config.json says: {named(shapes)}; get the config.json that was saved with them"
        )
    if missing and not lacks_head:
        raise UsageError(
            f"the model {model_name} can't be used: its files lack {len(missing)} of "
            f"{len(model.state_dict())} tensors ({named(missing)}), which would be filled with random "
            f"numbers; {_advice(missing, unexpected)}"
        )
    if errors := list(info.get("error_msgs") or ()):
        raise UsageError(f"the model {model_name} can't be used: {' '.join(str(errors[0]).split())}")
    notes = []
    if lacks_head:
        notes.append("its files hold no output head: it gives embeddings, and neither generates nor scores")
    if unexpected:
        notes.append(
            f"its files hold {_tensors(len(unexpected))} that the model does not have; evalkit ignores "
            f"them: {named(unexpected)}"
        )
    if computed:
        notes.append(
            f"its files lack {len(computed)} buffers, which keep the values they start with: "
            f"{named(computed)}"
        )
    return Checkpoint(tuple(notes), lacks_head)


def structure(folder: str, **common: Any) -> tuple[Any, Mapping[str, Any]] | None:
    """A model without its weights, and what transformers says of the files that hold them.

    None where transformers can't read them.

    Args:
        folder: The files.
        common: More arguments of `from_pretrained`.
    """
    from transformers import AutoModelForCausalLM

    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            folder,
            device_map="meta",
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            local_files_only=True,
            **common,
        )
    except Exception:  # noqa: BLE001 - another engine may be able to, and says if it is not
        return None
    return model, info


def named(names: Collection[str]) -> str:
    """The first few of some names, and how many more there are."""
    shown = ", ".join(list(names)[:_NUM_SHOWN])
    more = len(names) - _NUM_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _advice(missing: Collection[str], unexpected: Collection[str]) -> str:
    """What to do about missing weights."""
    prefix = _common_prefix(unexpected) if len(unexpected) >= _MIN_PREFIXED else ""
    if prefix and any(name.removeprefix(prefix) in missing for name in unexpected):
        what = " (the model was saved as torch.compile had wrapped it)" if "_orig_mod." in prefix else ""
        return f"the names in its files begin with '{prefix}'{what}: rename them without it"
    return "save the model again, or download its files again"


def _common_prefix(names: Iterable[str]) -> str:
    """The parts that all names begin with, such as `_orig_mod.` (a whole name is not such a part)."""
    parts = [name.split(".")[:-1] for name in names]
    common: list[str] = []
    for at_one_place in zip(*parts, strict=False):
        if len(set(at_one_place)) > 1:
            break
        common.append(at_one_place[0])
    return "".join(f"{part}." for part in common)


def _is_trunk(model: Any) -> bool:
    """Whether the files are, by their own account, those of a model without an output head."""
    saved = getattr(model.config, "architectures", None) or ()
    return bool(saved) and all(name.endswith("Model") and not name.endswith("LMHeadModel") for name in saved)


def _head_names(model: Any) -> set[str]:
    head = model.get_output_embeddings()
    own = {id(module): name for name, module in model.named_modules()}
    return set() if head is None else {f"{own.get(id(head))}.{name}" for name, _ in head.named_parameters()}


def _tensors(number: int) -> str:
    return "1 tensor" if number == 1 else f"{number} tensors"


def _shape(shape: Iterable[int]) -> str:
    return "×".join(str(int(size)) for size in shape) or "1"
