"""The shipped models of HELM resolve as in HELM, and change prompts as in HELM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import evalkit.run_specs.gsm
import evalkit.run_specs.mmlu  # noqa: F401 - these imports register the plugins
from evalkit.errors import UsageError
from evalkit.models.catalog import ModelCatalog
from evalkit.models.metadata import KNOWN_TAGS
from evalkit.specs.conf import ConfEntry
from evalkit.specs.expand import ExpandOptions, expand_entries
from evalkit.specs.fixups import FIX_UPS

Golden = Callable[[str], Any]


@pytest.fixture(scope="module")
def shipped() -> ModelCatalog:
    return ModelCatalog.load()


@pytest.mark.parametrize(
    ("name", "deployment"),
    [
        ("openai/gpt2", "huggingface/gpt2"),
        ("google/ul2", "together/ul2"),
        ("anthropic/claude-v1.3", "anthropic/claude-v1.3"),
        ("anthropic/claude-3-haiku-20240307", "anthropic/claude-3-haiku-20240307"),
        ("google/medlm-large", "google/medlm-large"),
        ("amazon/nova-lite-v1:0", "amazon/nova-lite-v1:0"),
        ("meta/llama-2-7b", "together/llama-2-7b"),
        ("simple/model1", "simple/model1"),
    ],
)
def test_models_have_helms_deployments(shipped: ModelCatalog, name: str, deployment: str) -> None:
    assert shipped.resolve(name) == (name, deployment)


def test_every_model_that_an_expander_probe_names_resolves_as_in_helm(
    shipped: ModelCatalog, golden: Golden
) -> None:
    compared = 0
    for row in golden("run_expanders.json"):
        if row["options"] or ",model=" not in row["description"].replace(":", ","):
            continue
        for observed in row.get("run_specs", ()):
            adapter = observed["adapter_spec"]
            if "model_deployment=" not in row["description"]:
                assert shipped.resolve(adapter["model"]) == (
                    adapter["model"],
                    adapter["model_deployment"],
                ) or (
                    shipped.resolve(adapter["model_deployment"])
                    == (adapter["model"], adapter["model_deployment"])
                )
                compared += 1
    assert compared >= 120


@pytest.mark.parametrize(
    "description",
    [
        "mmlu:subject=anatomy,model=google/ul2",
        "mmlu:subject=anatomy,model=anthropic/claude-v1.3",
        "gsm:model=anthropic/claude-v1.3",
        "gsm:model=anthropic/claude-2.1",
        "gsm:model=anthropic/claude-3-haiku-20240307",
        "mmlu:subject=anatomy,model=google/medlm-large",
        "mmlu:subject=anatomy,model=amazon/nova-lite-v1:0",
        "mmlu:subject=anatomy,model=litellm/openai/foo",
        "gsm:model=together/meta/llama-2-7b",
    ],
)
def test_prompts_are_changed_for_models_as_in_helm(
    shipped: ModelCatalog, golden: Golden, description: str
) -> None:
    row = next(row for row in golden("run_expanders.json") if row["description"] == description)
    (made,) = expand_entries([ConfEntry(description)], shipped, ExpandOptions()).run_specs
    (observed,) = row["run_specs"]
    assert made.run_spec.name == observed["name"]
    assert made.run_spec.adapter_spec.model_dump(mode="json", exclude_none=True) == observed["adapter_spec"]


@pytest.mark.parametrize("name", ["openai/curie", "tsinghua/glm"])
def test_models_that_helm_runs_for_nothing_are_refused(shipped: ModelCatalog, name: str) -> None:
    with pytest.raises(UsageError, match="no longer serves it"):
        expand_entries([ConfEntry(f"gsm:model={name}")], shipped, ExpandOptions())


def test_every_fix_up_has_a_model(shipped: ModelCatalog) -> None:
    tags = {tag for fix_up in FIX_UPS for tag in fix_up.tags}
    assert tags <= set(KNOWN_TAGS)
    text = [shipped.metadata(name) for name in shipped.names()]
    carried = {tag for model in text for tag in model.tags}
    # Vision models are not shipped.
    unseen = {"GOOGLE_GEMINI_PRO_VISION_V1_TAG", "IDEFICS_INSTRUCT_MODEL_TAG"}
    assert tags - carried <= {*unseen, "LLAVA_MODEL_TAG", "OPEN_FLAMINGO_MODEL_TAG"}
