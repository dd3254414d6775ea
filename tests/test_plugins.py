"""Plugins from files, modules and installed packages; broken ones named and isolated."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalkit.errors import PluginError, UnknownNameError
from evalkit.plugins import broken_plugins, load_installed, load_plugins
from evalkit.registry import METRICS, isolated_registries

GOOD = """
from evalkit import metric

@metric("{name}")
def plain(gold: str, prediction: str) -> float:
    return 0.5
"""


@pytest.fixture(autouse=True)
def isolated() -> Iterator[None]:
    modules = set(sys.modules)
    with isolated_registries():
        yield
    for name in set(sys.modules) - modules:
        if name.startswith(("evalkit_plugin_", "my_plugin", "installed_")):
            del sys.modules[name]


def test_a_file_is_loaded_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(GOOD.format(name="from_file"))
    load_plugins([str(path), str(path)])
    assert METRICS.get("from_file")("a", "b") == 0.5
    assert str(path) in METRICS.origins["from_file"]


def test_a_module_in_the_working_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_plugin.py").write_text(GOOD.format(name="from_module"))
    monkeypatch.chdir(tmp_path)
    load_plugins(["my_plugin"])
    assert "from_module" in METRICS
    assert str(tmp_path) not in sys.path


def test_a_named_plugin_that_fails_says_where(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text("x = 1\nimport not_there_at_all\n")
    with pytest.raises(PluginError) as raised:
        load_plugins([str(path)])
    message = str(raised.value)
    assert "No module named 'not_there_at_all'" in message
    assert f"{path}:2" in message


def test_a_missing_file_is_named() -> None:
    with pytest.raises(PluginError, match=r"nowhere\.py does not exist"):
        load_plugins(["nowhere.py"])


def test_two_files_claiming_one_name_are_both_named(tmp_path: Path) -> None:
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text(GOOD.format(name="same"))
    with pytest.raises(PluginError) as raised:
        load_plugins([str(tmp_path / "one.py"), str(tmp_path / "two.py")])
    assert "one.py" in str(raised.value)
    assert "two.py" in str(raised.value)


def install(folder: Path, name: str, source: str) -> None:
    """What pip leaves behind for a package with an `evalkit.plugins` entry point."""
    (folder / f"{name}.py").write_text(source)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[evalkit.plugins]\n{name} = {name}\n")


def test_installed_plugins_load_and_broken_ones_are_isolated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "installed_bad", "import not_there_at_all\n")
    install(tmp_path, "installed_good", GOOD.format(name="from_package"))
    monkeypatch.syspath_prepend(tmp_path)
    load_installed()
    assert "from_package" in METRICS
    assert "installed_bad" in str(broken_plugins())
    with pytest.raises(UnknownNameError, match=r"installed_bad.*not_there_at_all"):
        METRICS.get("from_bad_package")
