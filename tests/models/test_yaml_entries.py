from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import ConfigError
from evalkit.models.deployment import ModelDeployment
from evalkit.models.metadata import ModelMetadata
from evalkit.models.yaml_entries import read_entries
from evalkit.specs.spec import Spec
from tests.planted import KEYS, Planted, pieces

SECTIONS: dict[str, type[Spec]] = {"models": ModelMetadata, "model_deployments": ModelDeployment}

GOOD = """\
models:
  - name: a/b
model_deployments:
  - name: x/b
    model_name: a/b
    client_spec:
      class_name: echo
    limits: {max_concurrency: 3}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "deployments.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_entries_come_in_order_with_their_places(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    entries = read_entries(path, SECTIONS)
    assert [(e.section, e.place) for e in entries] == [
        ("models", f"{path}:2"),
        ("model_deployments", f"{path}:4"),
    ]
    assert isinstance(entries[1].value, ModelDeployment)
    assert entries[1].value.limits.max_concurrency == 3


@pytest.mark.parametrize("text", ["", "# nothing\n", "models:\n", "models: []\n"])
def test_an_empty_file_has_no_entries(tmp_path: Path, text: str) -> None:
    assert read_entries(write(tmp_path, text), SECTIONS) == []


@pytest.mark.parametrize(
    ("right", "wrong", "line", "message"),
    [
        ("models:", "modles:", 1, "unknown key 'modles'; did you mean 'models'?"),
        ("model_name:", "modelname:", 5, "unknown key 'modelname' of 'x/b'; did you mean 'model_name'?"),
        ("class_name:", "classname:", 7, "unknown key 'classname' of 'x/b'; did you mean 'class_name'?"),
        ("max_concurrency", "max_concurency", 8, "did you mean 'max_concurrency'?"),
        ("    client_spec:\n      class_name: echo\n", "", 4, "the key 'client_spec' of 'x/b' is missing"),
        ("concurrency: 3", "concurrency: many", 8, "'limits.max_concurrency' of 'x/b': Input should be a"),
        ("model_name: a/b", "name: a/b", 5, "the key 'name' is already set on line 4"),
        ("  - name: a/b", "  name: a/b", 1, "'models' must be a list"),
        ("name: a/b\n", "name: [a/b\n", 3, "expected"),
    ],
)
def test_mistakes_are_named_with_line_and_nearest_key(
    tmp_path: Path, right: str, wrong: str, line: int, message: str
) -> None:
    assert right in GOOD
    path = write(tmp_path, GOOD.replace(right, wrong, 1))
    with pytest.raises(ConfigError) as caught:
        read_entries(path, SECTIONS)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["- a\n", "just text\n", "3\n"])
def test_a_file_of_another_shape_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="models, model_deployments"):
        read_entries(write(tmp_path, text), SECTIONS)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_entries(tmp_path / "none.yaml", SECTIONS)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="can't be read"):
        read_entries(path, SECTIONS)


@given(st.text(max_size=80))
def test_no_text_makes_it_fail_in_another_way(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("yaml") / "x.yaml"
    path.write_bytes(text.encode("utf-8", "replace"))
    with suppress(ConfigError):
        read_entries(path, SECTIONS)


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize(
    ("right", "wrong", "line"),
    [
        ("models:", "{}:", 1),
        ("model_name", "{}", 5),
        ("    client_spec:", "    {}: x\n    client_spec:", 6),
        ("class_name: echo", "{}: echo", 7),
        ("class_name: echo", "class_name: echo\n      args: {{? {} : 1, ? {} : 2}}", 8),
        ("max_concurrency", "{}", 8),
        ("{max_concurrency: 3}", "{}", 8),
        ("class_name: echo", "class_name: *{}", 7),
        ("class_name: echo", "class_name: !{} x", 7),
    ],
)
def test_a_key_in_the_place_of_a_fields_name_is_not_shown(
    tmp_path: Path, planted: Planted, name: str, right: str, wrong: str, line: int
) -> None:
    key = planted.use(name)
    planted.own.add("deployments.yaml")
    path = write(
        tmp_path, GOOD.replace(right, wrong.replace("{}", key).replace("{{", "{").replace("}}", "}"))
    )
    with pytest.raises(ConfigError) as caught:
        read_entries(path, SECTIONS)
    told = str(caught.value)
    assert told.startswith(f"{path}:{line}: ")
    assert not [piece for piece in pieces(key) if piece.decode() in told]
