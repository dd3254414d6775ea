from __future__ import annotations

from typing import ClassVar

import pytest

from evalkit.errors import UnknownNameError
from evalkit.models.metadata import DEFAULT_TAGS
from evalkit.plugins import load_builtins


@pytest.fixture(autouse=True, scope="session")
def known_names() -> None:
    """The names of evalkit's own plugins, whichever test comes first."""
    load_builtins()


class FakeModels:
    """Models, one of them served in two places, and the wildcards of HELM's conf files."""

    deployments: ClassVar[dict[str, str]] = {
        "simple/model1": "simple/model1",
        "huggingface/gpt2": "openai/gpt2",
        "elsewhere/gpt2": "openai/gpt2",
        "together/meta/llama-2-7b": "meta/llama-2-7b",
        "amazon/nova-lite-v1:0": "amazon/nova-lite-v1:0",
        "together/ul2": "google/ul2",
        "anthropic/claude-v1.3": "anthropic/claude-v1.3",
        "anthropic/claude-2.1": "anthropic/claude-2.1",
        "anthropic/claude-3-haiku-20240307": "anthropic/claude-3-haiku-20240307",
        "google/medlm-large": "google/medlm-large",
        "litellm/openai/foo": "openai/foo",
    }
    defaults: ClassVar[dict[str, str]] = {
        "openai/gpt2": "huggingface/gpt2",
        "meta/llama-2-7b": "together/meta/llama-2-7b",
        "google/ul2": "together/ul2",
    }
    tagged: ClassVar[dict[str, tuple[str, ...]]] = {
        "google/ul2": ("NO_NEWLINES_TAG", "NLG_PREFIX_TAG"),
        "anthropic/claude-v1.3": ("ANTHROPIC_CLAUDE_1_MODEL_TAG",),
        "anthropic/claude-2.1": ("ANTHROPIC_CLAUDE_2_MODEL_TAG",),
        "anthropic/claude-3-haiku-20240307": (
            "ANTHROPIC_CLAUDE_3_MODEL_TAG",
            "INSTRUCTION_FOLLOWING_MODEL_TAG",
        ),
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

    def tags(self, model: str) -> tuple[str, ...]:
        return self.tagged.get(model, DEFAULT_TAGS)

    def tokenizer_name(self, deployment: str) -> str | None:
        return {"simple/model1": "simple/tokenizer1"}.get(deployment)


@pytest.fixture
def models() -> FakeModels:
    return FakeModels()
