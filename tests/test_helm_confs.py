"""HELM's own conf files plan: what is ported has HELM's names, the rest is told to be left out."""

from __future__ import annotations

import csv
import importlib
import io
import pkgutil
import re
import socket
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalkit.catalog import BUILTIN_PACKAGES
from evalkit.errors import UsageError
from evalkit.registry import RUN_SPECS
from evalkit.runs.options import RunOptions
from evalkit.runs.plan import Plan, make_plan, open_plan_context
from evalkit.specs.conf import ConfEntry, read_conf

Golden = Callable[[str], Any]
TO_RUN, OTHERS = ("simple/model1",), ("openai/gpt2",)
NOTHING_LEFT = "nothing is left to run"
LEFT_OUT = re.compile("is not ported yet|is not among --models-to-run|^  … and .* more reasons")
COUNTS = {"compared": 645, "unresolved": 20}


@pytest.fixture(scope="module", autouse=True)
def builtins() -> None:
    """Every built-in plugin, whether the catalogue lists it already or not."""
    for name in sorted(BUILTIN_PACKAGES):
        for module in pkgutil.iter_modules(importlib.import_module(name).__path__):
            importlib.import_module(f"{name}.{module.name}")


@pytest.fixture
def confs(data_dir: Path) -> tuple[Path, ...]:
    return tuple(sorted((data_dir / "helm_conf").rglob("*.conf")))


def planned(tmp_path: Path, *confs: Path, models: tuple[str, ...] = TO_RUN, **more: Any) -> Plan:
    options = RunOptions(conf_paths=confs, models_to_run=models, data_dir=tmp_path, offline=True, **more)
    return make_plan(open_plan_context(options))


def is_ported(entry: ConfEntry) -> bool:
    return entry.description.partition(":")[0] in RUN_SPECS and "dataset=apps" not in entry.description


def is_for(entry: ConfEntry, models: tuple[str, ...]) -> bool:
    """Whether an entry gives runs of these models: HELM's confs name wildcards, or one other model."""
    return f"model={OTHERS[0]}" not in entry.description if models == TO_RUN else not is_for(entry, TO_RUN)


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


def test_each_conf_plans_or_says_why_each_entry_is_left_out(confs: tuple[Path, ...], tmp_path: Path) -> None:
    num_planned = 0
    for conf in confs:
        try:
            plan = planned(tmp_path, conf)
        except UsageError as error:
            first, *reasons = str(error).splitlines()
            assert first == NOTHING_LEFT, conf
            assert reasons, conf
            assert all(LEFT_OUT.search(reason) for reason in reasons), reasons
            assert not any(is_ported(entry) and is_for(entry, TO_RUN) for entry in read_conf(conf)), conf
            continue
        left_out = [note for note in plan.notes if note.startswith("left out")]
        assert all(LEFT_OUT.search(note) for note in left_out), left_out
        assert not plan.bad_entries
        num_planned += 1
    assert num_planned == 18


def test_ported_entries_have_helms_names(golden: Golden, confs: tuple[Path, ...], tmp_path: Path) -> None:
    rows = csv.DictReader(io.StringIO(golden("run_names.tsv")), delimiter="\t", quoting=csv.QUOTE_NONE)
    expected = {(row["conf"], row["description"]): row["run_names"] for row in rows}
    counts: Counter[str] = Counter()
    for conf in confs:
        for models in (TO_RUN, OTHERS):
            wanted = [e for e in read_conf(conf) if is_ported(e) and is_for(e, models)]
            if not wanted:
                continue
            names: dict[str, list[str]] = {}
            for run in planned(tmp_path, conf, models=models).runs:
                names.setdefault(run.entry, []).append(run.name)
            for entry in {entry.description for entry in wanted}:
                observed = expected[conf.name, entry]
                if observed == "unresolved":  # HELM needed a network
                    counts[observed] += 1
                    continue
                assert " | ".join(names[entry]) == observed
                counts["compared"] += 1
    assert counts == COUNTS


def test_one_bad_entry_in_a_conf_of_helms_is_named_and_can_be_left_out(
    confs: tuple[Path, ...], tmp_path: Path
) -> None:
    source = next(conf for conf in confs if '"gsm:model=text_code,stop=none"' in conf.read_text())
    conf = tmp_path / source.name
    wrong = "gsm:model=text_code,stop=none,stop=none"
    conf.write_text(source.read_text().replace("gsm:model=text_code,stop=none", wrong))
    with pytest.raises(UsageError, match="'stop' is given twice; leave one out") as caught:
        planned(tmp_path, conf)
    assert f"{conf}:" in str(caught.value)
    plan = planned(tmp_path, conf, skip_bad_entries=True)
    assert {bad.entry for bad in plan.bad_entries} == {wrong}
    assert len(plan.runs) == len(planned(tmp_path, source).runs) - 1
