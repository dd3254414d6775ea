"""The digests of known entries: a run that was started by an earlier version is found by its digest.

`digests.json` holds them as an earlier version computed them. A digest that changes on purpose is changed
there, with the reason in the row's `comment`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalkit.runs.options import RunOptions
from evalkit.runs.plan import PlanContext, make_plan, open_plan_context
from evalkit.specs.digest import run_digest

ROWS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("digests.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlanContext]:
    """Models, and folders without data: a file counts with its pinned checksum, or not at all."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVALKIT_CACHE_DIR", str(folder / "cache"))
        yield open_plan_context(RunOptions(data_dir=folder, offline=True))


def digests(entry: str, context: PlanContext) -> list[dict[str, str]]:
    """What today's code computes, one row a run, in order."""
    options = context.options.model_copy(update={"run_entries": (entry,)})
    parts = [
        (run.name, run_digest(run.identity)) for run in make_plan(replace(context, options=options)).runs
    ]
    return [
        {"name": name, "requests": digest.requests, "scores": digest.scores, "full": digest.full}
        for name, digest in parts
    ]


@pytest.mark.parametrize("row", ROWS, ids=[row["entry"] for row in ROWS])
def test_the_digests_of_known_entries_are_kept(row: dict[str, Any], context: PlanContext) -> None:
    assert digests(row["entry"], context) == row["runs"]


def test_the_known_entries_are_varied() -> None:
    assert len({run["full"] for row in ROWS for run in row["runs"]}) >= 75
