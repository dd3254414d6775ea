"""Names from elsewhere with what a terminal obeys in them: nothing of it arrives, and no line is faked."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.workspace import Finished, Workspace

FAKED = "note: all is well"
ESCAPES = f"\x1b]0;owned\x07\x1b]52;c;aGk=\x07\x1b[2J\n{FAKED}\u202e\u2066\x9b2J\x00\r"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
FORMATS = ("table", "markdown", "csv", "json", "latex")


def refuse_obeyed(finished: Finished) -> None:
    told = finished.out + finished.err
    assert "Traceback" not in told
    assert not OBEYED.findall(told), finished
    # Further lines of a remark are set in.
    assert not re.findall(f"^{FAKED}", told, re.MULTILINE), finished


def rename(path: Path, change: Any) -> None:
    plain = json.loads(path.read_text(encoding="utf-8"))
    change(plain)
    path.write_text(json.dumps(plain), encoding="utf-8")


def spoil_run(plain: dict[str, Any]) -> None:
    plain["name"] += ESCAPES
    plain["adapter_spec"]["model"] += ESCAPES
    plain["groups"] = [f"group{ESCAPES}"]


def spoil_stats(stats: list[dict[str, Any]]) -> None:
    for stat in stats:
        if stat["name"]["name"] == "exact_match":
            stat["name"]["name"] += ESCAPES


def spoil_rows(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        spoil_stats(row["stats"])


def test_names_of_an_imported_run(workspace: Workspace) -> None:
    assert workspace.evalkit("run", "-q", "-r", "simple_mcqa:model=evalkit/random").code == 0
    assert workspace.evalkit("export", "helm", workspace.suite(), "--output-path", "out").code == 0
    (folder,) = (path.parent for path in (workspace.path / "out").rglob("run_spec.json"))
    rename(folder / "run_spec.json", spoil_run)
    rename(folder / "stats.json", spoil_stats)
    rename(folder / "per_instance_stats.json", spoil_rows)
    imported = workspace.evalkit("import", "helm", folder, "--suite", "theirs")
    assert imported.code == 0, imported
    refuse_obeyed(imported)
    theirs = workspace.suite("theirs")
    assert not [path for path in theirs.rglob("*") if OBEYED.search(str(path))]
    for chosen in FORMATS:
        for words in ((), ("--groups",), ("--usage", "--by-split")):
            shown = workspace.evalkit("summarize", theirs, *words, "-f", chosen)
            assert shown.code == 0, shown
            refuse_obeyed(shown)
    refuse_obeyed(workspace.evalkit("score", theirs))
    # To JSON the escaped name is the same name.
    (board,) = {row["model"] for row in json.loads(shown_json(workspace, theirs))["rows"]}
    assert board.endswith(ESCAPES)


def shown_json(workspace: Workspace, suite: Path) -> str:
    return workspace.evalkit("summarize", suite, "--groups", "-f", "json").out


@pytest.mark.parametrize(
    "words",
    [
        ("plan", "-r", f"simple_mcqa:model={ESCAPES}"),
        ("plan", "-r", f"{ESCAPES}:model=evalkit/random"),
        ("run", "--suite", ESCAPES, "-r", "simple_mcqa:model=evalkit/random"),
        ("show", ESCAPES),
        ("list", "model", "--model-deployments", ESCAPES),
        ("summarize", ESCAPES),
        ("import", "helm", ESCAPES),
    ],
    ids=lambda words: words[0],
)
def test_names_of_a_command(workspace: Workspace, words: tuple[str, ...]) -> None:
    refuse_obeyed(workspace.evalkit(*(word.replace("\x00", "") for word in words)))


@pytest.mark.parametrize(
    "deployment",
    [
        {"name": f"x/{ESCAPES}", "client_spec": {"class_name": "openai"}},
        {"name": "x/y", "client_spec": {"class_name": f"openai{ESCAPES}"}},
        {"name": "x/y", "client_spec": {"class_name": "openai", "args": {ESCAPES: 1}}},
        {"name": "x/y", "client_spec": {"class_name": "openai", "args": {"base_url": f"http://{ESCAPES}"}}},
        {"name": "openai/gpt-4o", "client_spec": {"class_name": f"c{ESCAPES}"}},
    ],
)
def test_names_in_a_file(workspace: Workspace, deployment: dict[str, Any]) -> None:
    text = json.dumps({"model_deployments": [deployment]})
    workspace.deployments_path.write_text(text, encoding="utf-8")
    model = deployment["name"] if deployment["name"] == "openai/gpt-4o" else "x/y"
    refuse_obeyed(workspace.evalkit("plan", "-r", f"simple_mcqa:model={model}"))
    refuse_obeyed(workspace.evalkit("list", "model"))
