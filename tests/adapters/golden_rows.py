"""Golden rows as evalkit's objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evalkit.instance import Instance, Reference
from evalkit.specs.run_spec import AdapterSpec
from evalkit.tokenization import Tokenizer


def adapter_spec(plain: Mapping[str, Any]) -> AdapterSpec:
    """The spec of a row, without HELM's fields that evalkit does not have."""
    return AdapterSpec.model_validate({k: v for k, v in plain.items() if k in AdapterSpec.model_fields})


def instance(plain: Mapping[str, Any]) -> Instance:
    references = tuple(Reference(r["output"]["text"], tuple(r["tags"])) for r in plain["references"])
    extra = dict(plain.get("extra_data") or {})
    if messages := plain["input"].get("messages"):
        extra["messages"] = messages
    return Instance(plain["input"]["text"], references, plain["split"], plain["id"], extra=extra or None)


class CharacterTokenizer(Tokenizer):
    """One token per character, like that of HELM's simple/model1."""

    prefix_token = "<s>"
    stand_in = True

    def encode(self, text: str) -> list[str]:
        return list(text)

    def decode(self, tokens: Sequence[str]) -> str:
        return "".join(tokens)

    def count(self, text: str) -> int:
        return len(text)
