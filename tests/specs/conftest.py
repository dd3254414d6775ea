from __future__ import annotations

from typing import ClassVar

import pytest

import evalkit.run_specs.arithmetic
import evalkit.run_specs.gsm
import evalkit.run_specs.mmlu
import evalkit.run_specs.simple  # noqa: F401
from evalkit.errors import UnknownNameError


class FakeModels:
    """Five models, one of them served in two places, and the wildcards of HELM's conf files."""

    deployments: ClassVar[dict[str, str]] = {
        "simple/model1": "simple/model1",
        "huggingface/gpt2": "openai/gpt2",
        "elsewhere/gpt2": "openai/gpt2",
        "together/meta/llama-2-7b": "meta/llama-2-7b",
        "amazon/nova-lite-v1:0": "amazon/nova-lite-v1:0",
    }
    defaults: ClassVar[dict[str, str]] = {
        "openai/gpt2": "huggingface/gpt2",
        "meta/llama-2-7b": "together/meta/llama-2-7b",
    }
    wildcards: ClassVar[dict[str, list[str]]] = {
        "text": ["openai/gpt2", "simple/model1"],
        "text_code": ["openai/gpt2", "simple/model1"],
        "ablation_full_functionality_text": ["openai/gpt2"],
        "biomedical": [],
    }

    def wildcard(self, name: str) -> list[str] | None:
        return self.wildcards.get(name)

    def resolve(self, name: str) -> tuple[str, str]:
        if name in self.deployments:
            return self.deployments[name], name
        if name in self.defaults:
            return name, self.defaults[name]
        raise UnknownNameError("model", name, [*self.deployments, *self.defaults, *self.wildcards])


@pytest.fixture
def models() -> FakeModels:
    return FakeModels()
