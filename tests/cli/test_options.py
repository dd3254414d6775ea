"""Options from files, flags and keywords."""

from __future__ import annotations

from pathlib import Path

import pytest

import evalkit
from evalkit.runs.options import read_options
from tests.cli.conftest import Call

ENTRY = 'entries: [{description: "%s:model=evalkit/echo"}]\n'


@pytest.fixture
def confs(tmp_path: Path) -> tuple[Path, Path]:
    first, second = tmp_path / "first.conf", tmp_path / "second.conf"
    first.write_text(ENTRY % "arithmetic")
    second.write_text(ENTRY % "simple_mcqa")
    return first, second


@pytest.mark.parametrize("flags", [("--conf-file",), ("--conf-paths",), ("-c",)])
@pytest.mark.parametrize("command", ["plan", "run", "validate"])
def test_a_conf_file_by_any_name(
    call: Call, confs: tuple[Path, Path], command: str, flags: tuple[str]
) -> None:
    called = call(command, *flags, confs[0], "-m", 2)
    assert called.code == 0
    assert "arithmetic" in called.out


def test_several_conf_files_under_both_names(call: Call, confs: tuple[Path, Path]) -> None:
    for flags in (
        ("--conf-file", confs[0], confs[1]),
        ("--conf-file", confs[0], "--conf-paths", confs[1]),
        ("-c", confs[0], "--conf-file", confs[1]),
    ):
        out = call("plan", *flags, "-m", 2).out
        assert "arithmetic" in out
        assert "simple_mcqa" in out


@pytest.mark.parametrize("value", ["first.conf", "[first.conf]", "[first.conf, second.conf]"])
def test_conf_file_is_a_key_too(confs: tuple[Path, Path], value: str) -> None:
    config = confs[0].parent / "options.yaml"
    config.write_text(f"conf_file: {value}\n")
    found = confs[: 2 if "second" in value else 1]
    assert read_options(config, {}).conf_paths == found
    # What is given wins over the file, whatever both are called.
    assert read_options(config, {"conf_paths": (confs[1],)}).conf_paths == (confs[1],)
    assert read_options(config, {"conf_file": confs[1]}).conf_paths == (confs[1],)


def test_and_a_keyword(confs: tuple[Path, Path]) -> None:
    names = [run.name for run in evalkit.plan(conf_file=str(confs[0]), max_eval_instances=2).runs]
    assert len(names) == 1
    assert names[0].startswith("arithmetic:")
