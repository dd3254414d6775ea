"""Data out of an archive that is not the pinned one: each command that uses it says so once."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import evalkit
from evalkit import Observer
from evalkit.registry import isolated_registries
from evalkit.results.run_directory import RunDirectory

PLUGIN = """
import json
import evalkit
from evalkit import DataFile, Instance, Reference, RunSpec, ScenarioSpec
from evalkit.data import Archive

ARCHIVE = Archive({url!r}, {pin!r}, "zip")

@evalkit.scenario("packed")
class Packed(evalkit.Scenario):
    def __init__(self, part: str) -> None:
        self.file = DataFile(f"packed/{{part}}.jsonl", archive=ARCHIVE, member=f"{{part}}.jsonl")

    def files(self):
        return (self.file,)

    def instances(self, data):
        row = json.loads(data.path(self.file).read_text())
        yield Instance(row["q"], (Reference(row["a"], ("correct",)),), split="test")

@evalkit.run_spec_function("packed")
def packed(part: str = "one") -> RunSpec:
    return RunSpec(
        name=f"packed:part={{part}}",
        scenario_spec=ScenarioSpec(name="packed", args={{"part": part}}),
        adapter_spec=evalkit.generation("", "Q", "A", max_tokens=5),
        metric_specs=evalkit.metric_specs("exact_match"),
        groups=("packed",),
    )
"""
ENTRIES = [f"packed:part={part},model=evalkit/echo" for part in ("one", "two")]


class Notes(Observer):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVALKIT_CACHE_DIR", str(tmp_path / "cache"))
    with zipfile.ZipFile("packed.zip", "w") as archive:
        for part in ("one", "two"):
            archive.writestr(f"{part}.jsonl", json.dumps({"q": part, "a": part}))
    pin = hashlib.sha256(b"another").hexdigest()
    Path("packed.py").write_text(PLUGIN.format(url=(tmp_path / "packed.zip").as_uri(), pin=pin))
    with isolated_registries():
        yield


def run(suite: str, *, unverified: bool) -> tuple[list[str], list[str], set[str]]:
    """The notes of a command that name the archive, those that its runs keep, and how the runs ended."""
    seen = Notes()
    options = {"plugins": "packed.py", "output_path": "out", "suite": suite, "unverified_data": unverified}
    results = evalkit.run(ENTRIES, observer=seen, **options)
    kept = [
        note
        for path in sorted(Path("out/runs", suite).glob("*"))
        if (manifest := RunDirectory(path).manifest()) is not None
        for note in manifest.notes
    ]
    told = [note for note in seen.notes if "packed.zip" in note and "not the one that was pinned" in note]
    return told, kept, {result.status for result in results}


def test_each_command_that_uses_it_says_so_once_and_each_run_keeps_it() -> None:
    assert run("refused", unverified=False)[2] == {"error"}
    told, kept, ended = run("accepted", unverified=True)
    assert ended == {"complete"}
    assert len(told) == 1
    assert kept == told * 2
    assert told[0].endswith("accepted by --unverified-data")

    told, kept, ended = run("later", unverified=False)
    assert ended == {"complete"}
    assert len(told) == 1
    assert kept == told * 2
    assert "accepted by an earlier --unverified-data; delete its files in" in told[0]
