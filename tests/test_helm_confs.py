"""HELM's own conf files plan: what is ported has HELM's names, the rest is told to be left out."""

from __future__ import annotations

import csv
import importlib
import io
import pkgutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalkit.catalog import BUILTIN_PACKAGES
from evalkit.errors import UsageError
from evalkit.options import RunOptions
from evalkit.planning import Plan, make_plan, open_workplace
from evalkit.registry import RUN_SPECS
from evalkit.specs.conf import ConfEntry, read_conf

Golden = Callable[[str], Any]
TO_RUN = ("simple/model1",)
NOTHING_LEFT = "nothing is left to run"


@pytest.fixture(scope="module", autouse=True)
def builtins() -> None:
    """Every built-in plugin, whether the catalogue lists it already or not."""
    for name in sorted(BUILTIN_PACKAGES):
        for module in pkgutil.iter_modules(importlib.import_module(name).__path__):
            importlib.import_module(f"{name}.{module.name}")


@pytest.fixture
def confs(data_dir: Path) -> tuple[Path, ...]:
    return tuple(sorted((data_dir / "helm_conf").rglob("*.conf")))


def planned(tmp_path: Path, *confs: Path) -> Plan:
    options = RunOptions(conf_paths=confs, models_to_run=TO_RUN, data_dir=tmp_path, offline=True)
    return make_plan(open_workplace(options))


def ours(conf: Path) -> list[ConfEntry]:
    """The entries that are not for one other model only."""
    return [entry for entry in read_conf(conf) if "model=openai/gpt2" not in entry.description]


def test_all_confs_plan_together_and_quickly(
    confs: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("planning opened a socket")

    assert len(confs) == 42
    monkeypatch.setattr(socket, "socket", refused)
    start = time.process_time()
    plan = planned(tmp_path, *confs)
    assert time.process_time() - start < 3
    assert len(plan.runs) >= 400
    assert any("'quac' is not ported yet" in note for note in plan.notes)


def test_each_conf_plans_or_says_that_nothing_is_left(confs: tuple[Path, ...], tmp_path: Path) -> None:
    num_planned = 0
    for conf in confs:
        if any(entry.description.partition(":")[0] in RUN_SPECS for entry in ours(conf)):
            num_planned += bool(planned(tmp_path, conf).runs)
        else:
            with pytest.raises(UsageError, match=f"(?s)^{NOTHING_LEFT}\n.*is not ported yet"):
                planned(tmp_path, conf)
    assert num_planned >= 18


def test_ported_entries_have_helms_names(golden: Golden, confs: tuple[Path, ...], tmp_path: Path) -> None:
    rows = csv.DictReader(io.StringIO(golden("run_names.tsv")), delimiter="\t", quoting=csv.QUOTE_NONE)
    expected = {(row["conf"], row["description"]): row["run_names"] for row in rows}
    compared = 0
    for conf in confs:
        try:
            plan = planned(tmp_path, conf)
        except UsageError:
            continue
        names: dict[str, list[str]] = {}
        for run in plan.runs:
            names.setdefault(run.entry, []).append(run.name)
        for entry, made in names.items():
            observed = expected.get((conf.name, entry), "unresolved")
            if observed != "unresolved":
                assert " | ".join(made) == observed
                compared += 1
    assert compared >= 640
