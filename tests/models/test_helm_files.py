"""HELM's own model files, in small."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from evalkit.clients import anthropic, baselines, openai, unavailable  # registers them
from evalkit.clients.factory import build_client, check_client
from evalkit.errors import ConfigError, UsageError
from evalkit.models.catalog import ModelCatalog
from evalkit.models.helm_files import is_helms, read_helm_file

assert anthropic
assert baselines
assert openai
assert unavailable

DEPLOYMENTS = """\
model_deployments:
  - name: together/own-base
    model_name: lab/own-base
    tokenizer_name: meta/llama
    max_sequence_length: 4094
    client_spec:
      class_name: "helm.clients.together_client.TogetherClient"
      args: {together_model: lab/Own-Base-hf}
  - name: mine/served
    model_name: lab/served
    tokenizer_name: simple/tokenizer1
    max_sequence_length: 2048
    client_spec:
      class_name: "helm.clients.vllm_client.VLLMChatClient"
      args: {base_url: "http://localhost:9000/v1/", vllm_model_name: lab/Served}
  - name: huggingface/local
    model_name: lab/local
    client_spec:
      class_name: "helm.clients.huggingface_client.HuggingFaceClient"
      args: {pretrained_model_name_or_path: lab/Local, device_map: auto, revision: step100}
  - name: openai/thinker-high
    model_name: openai/thinker-high
    client_spec:
      class_name: "helm.clients.openai_client.OpenAIClient"
      args: {openai_model_name: thinker, reasoning_effort: high}
  - name: anthropic/asked
    client_spec: {class_name: "helm.clients.anthropic_client.AnthropicMessagesClient"}
  - name: old/twice
    client_spec: {class_name: "helm.clients.simple_client.SimpleClient"}
    deprecated: true
  - name: old/twice
    client_spec: {class_name: "helm.clients.simple_client.SimpleClient"}
  - name: writer/palmyra
    client_spec: {class_name: "helm.clients.palmyra_client.PalmyraClient"}
  - name: openai/odd
    client_spec: {class_name: "helm.clients.openai_client.OpenAIClient", args: {output_processor: x.y}}
"""
METADATA = """\
models:
  - {name: lab/own-base, display_name: Own, description: "", creator_organization_name: Lab, access: open,
     release: 2024-05-01, num_parameters: 0, tags: [TEXT_MODEL_TAG, NO_NEWLINES_TAG]}
  - {name: openai/gpt2, display_name: Not ours, tags: [TEXT_MODEL_TAG], deployment_names: [huggingface/gpt2]}
"""
TOKENIZERS = """\
tokenizer_configs:
  - name: meta/llama
    tokenizer_spec: {class_name: "helm.tokenizers.huggingface_tokenizer.HuggingFaceTokenizer"}
    end_of_text_token: "</s>"
    prefix_token: "<s>"
"""


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    written = []
    for name, text in [
        ("model_deployments.yaml", DEPLOYMENTS),
        ("model_metadata.yaml", METADATA),
        ("tokenizer_configs.yaml", TOKENIZERS),
    ]:
        written.append(tmp_path / name)
        written[-1].write_text(text, encoding="utf-8")
    return written


def test_helms_files_are_told_from_ours(files: list[Path], tmp_path: Path) -> None:
    assert all(is_helms(path) for path in files)
    own = tmp_path / "own.yaml"
    own.write_text("model_deployments:\n  - {name: a/b, client_spec: {class_name: echo}}\n", encoding="utf-8")
    assert not is_helms(own)
    assert not is_helms(tmp_path / "missing.yaml")


@pytest.mark.parametrize(
    ("name", "client", "args"),
    [
        (
            "together/own-base",
            "openai",
            {
                "model": "lab/Own-Base-hf",
                "api_key_env": "TOGETHER_API_KEY",
                "mode": "completions",
                "base_url": "https://api.together.xyz/v1",
            },
        ),
        ("mine/served", "openai", {"model": "lab/Served", "base_url": "http://localhost:9000/v1/"}),
        (
            "huggingface/local",
            "transformers",
            {"model": "lab/Local", "device_map": "auto"},
        ),
        (
            "openai/thinker-high",
            "openai",
            {
                "model": "thinker",
                "api_key_env": "OPENAI_API_KEY",
                "max_tokens_field": "max_completion_tokens",
                "extra_body": {"reasoning_effort": "high"},
                "base_url": "https://api.openai.com/v1",
            },
        ),
        ("old/twice", "simple", {}),
    ],
)
def test_client_classes_become_clients(
    files: list[Path], name: str, client: str, args: dict[str, object]
) -> None:
    deployment = ModelCatalog.load(files).deployment(name)
    check_client(deployment)
    assert (deployment.client_spec.class_name, deployment.client_spec.args) == (client, args)


def test_what_has_no_counterpart_is_kept_by_name_and_says_why(files: list[Path]) -> None:
    catalog = ModelCatalog.load(files)
    assert catalog.resolve("writer/palmyra") == ("writer/palmyra", "writer/palmyra")
    palmyra = catalog.deployment("writer/palmyra")
    check_client(palmyra)
    with pytest.raises(UsageError, match=r"palmyra_client\.PalmyraClient has no counterpart"):
        build_client(palmyra)
    with pytest.raises(UsageError, match="'output_processor' of HELM's client"):
        build_client(catalog.deployment("openai/odd"))


def test_the_rest_of_an_entry_is_taken_over(files: list[Path]) -> None:
    catalog = ModelCatalog.load(files)
    served = catalog.deployment("mine/served")
    assert (served.model_name, served.tokenizer_name) == ("lab/served", "simple/tokenizer1")
    assert served.max_request_length == 2048
    assert catalog.deployment("huggingface/local").revision == "step100"
    assert catalog.deployment("together/own-base").tokenizer_name is None
    assert not catalog.deployment("old/twice").deprecated
    own = catalog.metadata("lab/own-base")
    assert (own.release_date, own.num_parameters) == (date(2024, 5, 1), None)
    assert catalog.tags("lab/own-base") == ("TEXT_MODEL_TAG", "NO_NEWLINES_TAG")


def test_what_is_shipped_stays_and_the_notes_say_what_was_left(files: list[Path]) -> None:
    catalog = ModelCatalog.load(files)
    assert catalog.metadata("openai/gpt2").display_name == "GPT-2 (1.5B)"
    notes = "\n".join(catalog.notes)
    assert "2 of 8 deployments can't be used" in notes
    assert "1 names are known already and stay as they are, such as openai/gpt2" in notes
    assert "1 names occur twice and the later entry counts, such as old/twice" in notes
    assert "does not fit their prompts to the window" in notes


def test_a_mistyped_key_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "model_deployments.yaml"
    path.write_text(DEPLOYMENTS.replace("tokenizer_name: meta", "tokeniser_name: meta"), encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"model_deployments.yaml:4: unknown key 'tokeniser_name'.*tokenizer"
    ):
        read_helm_file(path)
