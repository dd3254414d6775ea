from __future__ import annotations

import json
from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.models.weights import (
    chat_template,
    fetch_description,
    find_model,
    fingerprint,
    is_folder,
    max_length_tokens,
)


def make_model(folder: Path, **config: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 2048, **config}))
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 40_000)
    return folder


def test_a_folder_is_found_and_one_without_a_model_is_told(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "mine")
    assert find_model(str(folder)) == folder
    assert is_folder(str(folder))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"has no config\.json"):
        find_model(str(tmp_path / "empty"))
    with pytest.raises(UsageError, match="does not exist"):
        find_model("./no/such/folder")


def test_a_model_of_the_hub_is_found_in_its_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    stored = tmp_path / "hub" / "models--lab--model"
    snapshot = make_model(stored / "snapshots" / "0a1b")
    (stored / "refs").mkdir()
    (stored / "refs" / "main").write_text("0a1b\n")
    assert find_model("lab/model") == snapshot
    assert find_model("lab/model", "0a1b") == snapshot
    assert find_model("lab/model", "v2") is None
    assert find_model("lab/other") is None
    assert not is_folder("lab/model")


def test_a_description_that_cannot_be_had_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    fetch_description("lab/model-that-is-nowhere")
    assert find_model("lab/model-that-is-nowhere") is None


@pytest.mark.parametrize(
    ("config", "length"),
    [
        ({}, 2048),
        ({"max_position_embeddings": None, "n_positions": 1024}, 1024),
        ({"max_position_embeddings": None, "text_config": {"max_position_embeddings": 77}}, 77),
        ({"max_position_embeddings": None}, None),
    ],
)
def test_the_longest_text(config: dict[str, object], length: int | None, tmp_path: Path) -> None:
    assert max_length_tokens(make_model(tmp_path / "m", **config)) == length


def test_a_fingerprint_tells_models_apart_and_not_places(tmp_path: Path) -> None:
    first = fingerprint(make_model(tmp_path / "a"))
    assert fingerprint(make_model(tmp_path / "b")) == first
    (tmp_path / "b" / "README.md").write_text("words about it")
    assert fingerprint(tmp_path / "b") == first
    weights = bytearray((tmp_path / "b" / "model.safetensors").read_bytes())
    weights[:] = weights[1:] + weights[:1]
    (tmp_path / "b" / "model.safetensors").write_bytes(weights)
    assert fingerprint(tmp_path / "b") != first
    assert fingerprint(make_model(tmp_path / "c", rope_theta=1)) != first


def test_chat_templates_by_file_name_and_default(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m")
    assert chat_template(folder, None) is None
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ old }}"}))
    assert chat_template(folder, None) == "{{ old }}"
    (folder / "chat_template.jinja").write_text("{{ own }}")
    assert chat_template(folder, None) == "{{ own }}"
    several = [{"name": "default", "template": "{{ a }}"}, {"name": "rag", "template": "{{ b }}"}]
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": several}))
    assert chat_template(folder, "rag") == "{{ b }}"
    (tmp_path / "mine.jinja").write_text("{{ mine }}")
    assert chat_template(folder, str(tmp_path / "mine.jinja")) == "{{ mine }}"
    with pytest.raises(UsageError, match=r"no chat template 'tools' \(it has: default, rag\)"):
        chat_template(folder, "tools")
    with pytest.raises(UsageError, match="can't be read"):
        chat_template(folder, "nowhere.jinja")
