from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from evalkit.clients.factory import check_client
from evalkit.errors import ConfigError, UnknownNameError
from evalkit.models.catalog import ModelCatalog
from evalkit.models.metadata import FULL_FUNCTIONALITY_TEXT, TEXT
from evalkit.plugins import load_plugins
from evalkit.specs.model_names import ModelNames

load_plugins(())
EXAMPLE = Path(__file__).resolve().parents[2] / "model_deployments.yaml"

FILE = """\
models:
  - {name: org/described, tags: [TEXT_MODEL_TAG, CODE_MODEL_TAG, ABLATION_MODEL_TAG]}
  - {name: org/retired, tags: [TEXT_MODEL_TAG, DEPRECATED_MODEL_TAG]}
  - {name: org/unserved, tags: [TEXT_MODEL_TAG]}
model_deployments:
  - {name: one/described, model_name: org/described, client_spec: {class_name: echo}}
  - {name: two/described, model_name: org/described, client_spec: {class_name: echo}}
  - {name: old/described, model_name: org/described, client_spec: {class_name: echo}, deprecated: true}
  - {name: my/own, client_spec: {class_name: echo}}
  - {name: old/gone, model_name: org/gone, client_spec: {class_name: echo}, deprecated: true}
  - {name: x/retired, model_name: org/retired, client_spec: {class_name: echo}}
"""


@pytest.fixture(scope="module")
def shipped() -> ModelCatalog:
    return ModelCatalog.load()


@pytest.fixture
def catalog(tmp_path: Path) -> ModelCatalog:
    path = tmp_path / "mine.yaml"
    path.write_text(FILE, encoding="utf-8")
    return ModelCatalog.load([path])


def test_it_is_what_specs_ask_for(shipped: ModelCatalog) -> None:
    names: ModelNames = shipped
    assert names.resolve("simple/model1") == ("simple/model1", "simple/model1")


def test_every_shipped_deployment_has_a_client_that_takes_its_arguments(shipped: ModelCatalog) -> None:
    names = [d.name for name in shipped.names() for d in shipped.deployments_of(name)]
    assert len(names) >= 15
    for name in names:
        check_client(shipped.deployment(name))


def test_the_baselines_are_text_models(shipped: ModelCatalog) -> None:
    text = shipped.wildcard("text")
    assert text is not None
    assert text[:4] == ["simple/model1", "evalkit/random", "evalkit/majority", "evalkit/echo"]
    simple = shipped.deployment("simple/model1")
    assert (simple.tokenizer_name, simple.max_sequence_length) == ("simple/tokenizer1", 2048)


def test_a_shipped_price(shipped: ModelCatalog) -> None:
    prices = shipped.deployment("openai/gpt-4o-mini").prices
    assert prices is not None
    assert (prices.input_usd_per_million_tokens, prices.output_usd_per_million_tokens) == (0.15, 0.6)


def test_the_example_file_loads_and_its_client_takes_its_arguments() -> None:
    catalog = ModelCatalog.load([EXAMPLE])
    model, name = catalog.resolve("meta/llama-3.1-8b-instruct")
    assert (model, name) == ("meta/llama-3.1-8b-instruct", "local/llama-3.1-8b-instruct")
    args = check_client(catalog.deployment(name))
    assert args["model"] == "meta-llama/Llama-3.1-8B-Instruct"
    assert catalog.metadata(name).num_parameters == 8_030_000_000


def test_a_model_means_its_last_deployment_that_is_not_deprecated(catalog: ModelCatalog) -> None:
    assert catalog.resolve("org/described") == ("org/described", "two/described")
    assert catalog.resolve("one/described") == ("org/described", "one/described")
    assert catalog.resolve("old/described") == ("org/described", "old/described")
    assert [d.name for d in catalog.deployments_of("org/described")] == [
        "one/described",
        "two/described",
        "old/described",
    ]


def test_wildcards(catalog: ModelCatalog) -> None:
    text = catalog.wildcard("text") or []
    assert text.index("simple/model1") < text.index("org/described") < text.index("my/own")
    assert not {"org/retired", "org/unserved", "org/gone"} & set(text)
    assert catalog.wildcard("code") == ["org/described"]
    text_code = catalog.wildcard("text_code") or []
    assert text_code == text
    assert catalog.wildcard("ablation_code") == ["org/described"]
    assert "org/described" in (catalog.wildcard("ablation") or [])
    assert "my/own" not in (catalog.wildcard("ablation") or [])
    assert set(text) <= set(catalog.wildcard("all") or [])
    assert catalog.wildcard("instruction_following")
    assert catalog.wildcard("text_to_image") == []
    assert catalog.wildcard("org/described") is None
    assert catalog.wildcard("ablation_nonsense") is None


def test_an_undescribed_model_gets_the_default_tags(catalog: ModelCatalog) -> None:
    assert catalog.metadata("my/own").tags == (TEXT, FULL_FUNCTIONALITY_TEXT)
    assert "my/own" in (catalog.wildcard("full_functionality_text") or [])
    assert catalog.metadata("two/described").name == "org/described"


def test_unknown_names_come_with_the_nearest(catalog: ModelCatalog) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'simple/model1'"):
        catalog.resolve("simple/modell")
    with pytest.raises(UnknownNameError, match="openrouter"):
        catalog.deployment("nowhere/nothing-at-all")


def test_a_model_of_which_all_deployments_are_deprecated_means_the_last(catalog: ModelCatalog) -> None:
    assert catalog.resolve("org/gone") == ("org/gone", "old/gone")
    assert "org/gone" not in (catalog.wildcard("all") or [])


def test_a_retired_model_that_nobody_serves_is_refused(shipped: ModelCatalog) -> None:
    with pytest.raises(UnknownNameError, match="no longer serves it"):
        shipped.resolve("openai/curie")


@pytest.mark.parametrize(
    ("section", "entry", "kind"),
    [
        ("models", "{name: mine/x}", "model"),
        ("model_deployments", "{name: mine/x, client_spec: {class_name: echo}}", "model deployment"),
    ],
)
def test_a_name_defined_twice_is_refused_with_both_places(
    tmp_path: Path, section: str, entry: str, kind: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"{section}:\n  - {entry}\n  - {entry}\n", encoding="utf-8")
    message = rf"mine.yaml:3: the {kind} 'mine/x' is already defined at .*mine.yaml:2"
    with pytest.raises(ConfigError, match=message):
        ModelCatalog.load([path])


def test_a_file_takes_the_place_of_what_is_shipped(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "models:\n  - {name: openai/gpt-4o, display_name: Ours, tags: [TEXT_MODEL_TAG]}\n"
        "model_deployments:\n  - {name: openai/gpt-4o, client_spec: {class_name: echo}}\n",
        encoding="utf-8",
    )
    catalog = ModelCatalog.load([path])
    assert catalog.metadata("openai/gpt-4o").display_name == "Ours"
    assert catalog.deployment("openai/gpt-4o").client_spec.class_name == "echo"
    assert [d.name for d in catalog.deployments_of("openai/gpt-4o")] == ["openai/gpt-4o"]


def test_names_of_providers_need_no_file(shipped: ModelCatalog) -> None:
    assert shipped.resolve("openrouter/meta/llama-4") == ("meta/llama-4", "openrouter/meta/llama-4")
    args = shipped.deployment("openrouter/meta/llama-4").client_spec.args
    assert args["model"] == "meta/llama-4"
    assert args["api_key_env"] == "OPENROUTER_API_KEY"
    assert shipped.metadata("openrouter/meta/llama-4").tags == (TEXT, FULL_FUNCTIONALITY_TEXT)
    assert "openrouter/meta/llama-4" not in shipped.names()


def test_loading_imports_nothing_heavy() -> None:
    code = (
        "import sys; from evalkit.models.catalog import ModelCatalog; ModelCatalog.load();"
        "print([m for m in ('aiohttp', 'numpy', 'openai', 'anthropic', 'asyncio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


OTHER_HOST = "client_spec: {class_name: openai, args: {base_url: 'http://127.0.0.1:9/v1'}}"


@pytest.mark.parametrize(
    ("name", "spec", "there"),
    [
        ("openai/gpt-4o-mini", OTHER_HOST, "api.openai.com"),
        ("openai/not-shipped", OTHER_HOST, "api.openai.com"),
        ("openrouter/a/b", OTHER_HOST, "openrouter.ai"),
        ("anthropic/claude-haiku-4-5", OTHER_HOST, "api.anthropic.com"),
        ("evalkit/tiny", OTHER_HOST, "the client 'transformers'"),
        ("openai/gpt-4o", "client_spec: {class_name: anthropic}", "api.openai.com"),
    ],
)
def test_a_known_name_that_is_sent_elsewhere_is_reported(
    tmp_path: Path, name: str, spec: str, there: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"model_deployments:\n  - name: {name}\n    {spec}\n", encoding="utf-8")
    told = ModelCatalog.load([path]).moved[name]
    assert str(path) in told
    assert f"'{name}' sends requests to " in told
    assert told.endswith(f", not to {there}")


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("openai/gpt-4o-mini", "client_spec: {class_name: openai, args: {reasoning_tokens: 5}}"),
        (
            "openai/gpt-4o-mini",
            "client_spec: {class_name: openai, args: {base_url: https://API.openai.com/v1}}",
        ),
        ("local/mine", OTHER_HOST),
    ],
)
def test_what_is_sent_where_it_was_is_no_news(tmp_path: Path, name: str, spec: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"model_deployments:\n  - name: {name}\n    {spec}\n", encoding="utf-8")
    assert not ModelCatalog.load([path]).moved
