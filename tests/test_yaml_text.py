"""YAML and conf files of a few hundred bytes that would take all memory, or the process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from evalkit import yaml_text
from evalkit.errors import ConfigError
from evalkit.models.catalog import ModelCatalog
from evalkit.runs.options import read_options
from evalkit.specs.conf import parse_conf, read_conf

LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
ODD = {
    "aliases": LAUGHS,
    "itself": "&a [*a]\n",
    "brackets": "[" * 100_000,
    "braces": "{a: " * 100_000,
    "dashes": "- " * 100_000,
    "indents": "\n".join(" " * depth + "a:" for depth in range(3000)),
    "digits": "model_deployments: " + "9" * 10_000,
    "hexadecimal digits": "model_deployments: 0x" + "f" * 5000,
    "binary digits": "model_deployments: 0b" + "1" * 50_000,
    "base 60": "model_deployments: 1" + ":59" * 5000,
    "date": "model_deployments: 2026-99-99",
    "list as key": "? [a]\n: b\n",
}


READERS: dict[str, Callable[[Path], object]] = {
    "deployments": lambda path: ModelCatalog.load([path]),
    "config": lambda path: read_options(path, {}),
    "conf": read_conf,
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("kind", READERS)
def test_hostile_yaml_is_one_error(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(ODD[name])
    with pytest.raises(ConfigError, match=r"x\.yaml"):
        READERS[kind](path)


@pytest.mark.parametrize("number", ["9" * 10_000, "-" + "9" * 5000])
def test_a_number_of_a_conf_is_refused_or_read(number: str) -> None:
    with pytest.raises(ConfigError, match="too many digits"):
        parse_conf(f'entries: [{{description: "x", priority: {number}}}]', "x.conf")


@pytest.mark.parametrize("number", ["01.5", "1e999"])
def test_a_number_that_json_has_not_is_no_traceback(number: str) -> None:
    with pytest.raises(ConfigError, match="whole number"):
        parse_conf(f'entries: [{{description: "x", priority: {number}}}]', "x.conf")


def test_an_endless_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_text, "MAX_FILE_BYTES", 1000)
    for kind in ("config", "conf"):
        with pytest.raises(ConfigError, match="it is not a regular file"):
            READERS[kind](Path("/dev/zero"))
