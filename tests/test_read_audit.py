"""A scenario that reads a file which it does not declare is reported; one that declares it sees its edits."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import evalkit
from evalkit import Observer
from evalkit.cli.plan import describe_run
from evalkit.read_audit import watched_reads
from evalkit.registry import isolated_registries
from evalkit.results.run_result import RunResult
from evalkit.runs.load import load_instances
from evalkit.runs.options import RunOptions
from evalkit.runs.plan import make_plan, open_plan_context

PLUGIN = '''
import json, os, gzip, csv, sqlite3
from pathlib import Path
import evalkit
from evalkit import DataFile, Instance, Reference, RunSpec, ScenarioSpec
from evalkit.data.rows import json_rows

HERE = Path(__file__).parent
{at_import}

@evalkit.scenario("trivia")
class Trivia(evalkit.Scenario):
    """Questions of a file."""

    def __init__(self) -> None:
        {at_making}

    def files(self):
        return {files}

    def instances(self, data):
        rows = {rows}
        for row in rows:
            yield Instance(row["q"], (Reference(row["a"], ("correct",)),), split="test")


@evalkit.run_spec_function("trivia")
def trivia() -> RunSpec:
    return RunSpec(
        name="trivia",
        scenario_spec=ScenarioSpec(name="trivia"),
        adapter_spec=evalkit.generation("", "Question", "Answer", max_tokens=5),
        metric_specs=evalkit.metric_specs("exact_match"),
        groups=("trivia",),
    )
'''
PARSED = "[json.loads(line) for line in {}.splitlines()]"
READ = PARSED.format('(HERE / "trivia.jsonl").read_text()')
ENTRY = "trivia:model=evalkit/echo"


class Notes(Observer):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.results: list[RunResult] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture(autouse=True)
def isolated() -> Iterator[None]:
    with isolated_registries():
        yield


def write_data(folder: Path, question: str = "Who?") -> Path:
    path = folder / "trivia.jsonl"
    path.write_text(json.dumps({"q": question, "a": "me"}) + "\n")
    return path


def write_plugin(
    folder: Path, rows: str, files: str = "()", at_making: str = "pass", at_import: str = ""
) -> str:
    path = folder / "plugin.py"
    path.write_text(PLUGIN.format(rows=rows, files=files, at_making=at_making, at_import=at_import))
    return str(path)


def notes_of(plugin: str, **options: object) -> list[str]:
    context = open_plan_context(
        RunOptions.model_validate({"run_entries": (ENTRY,), "plugins": (plugin,), **options})
    )
    (run,) = make_plan(context).runs
    row = describe_run(run, context)
    assert row["problem"] is None
    return list(row["notes"])


@pytest.mark.parametrize(
    ("rows", "more"),
    [
        (READ, {}),
        (PARSED.format('os.pread(os.open(HERE / "trivia.jsonl", os.O_RDONLY), 99, 0).decode()'), {}),
        ('[dict(q="q", a="a")] * len(list(csv.reader((HERE / "trivia.jsonl").read_text())))', {}),
        ('list(json_rows(HERE / "trivia.jsonl", {"q": str}))', {}),
        ("self.rows", {"at_making": f"self.rows = {READ}"}),
        ("ROWS", {"at_import": f"ROWS = {READ}"}),
        (READ, {"files": '(DataFile.local(HERE / "other.jsonl"),)'}),
    ],
)
def test_what_is_read_undeclared_is_reported(tmp_path: Path, rows: str, more: dict[str, str]) -> None:
    data = write_data(tmp_path)
    (tmp_path / "other.jsonl").write_text("")
    (note,) = notes_of(write_plugin(tmp_path, rows, **more))
    assert f"scenario 'trivia' reads {data}, which its files() does not declare" in note
    assert "DataFile.local('trivia.jsonl')" in note


def test_other_ways_to_open_are_seen_too(tmp_path: Path) -> None:
    import gzip
    import sqlite3

    write_data(tmp_path)
    with gzip.open(tmp_path / "a.gz", "wt") as stream:
        stream.write("{}")
    sqlite3.connect(tmp_path / "b.db").close()
    (tmp_path / "link.txt").symlink_to(tmp_path / "trivia.jsonl")
    opened = (
        'sqlite3.connect(HERE / "b.db").close(), (HERE / "link.txt").read_text(), '
        'gzip.decompress((HERE / "a.gz").read_bytes())'
    )
    (note,) = notes_of(write_plugin(tmp_path, f"[] if ({opened},) == 0 else [dict(q='q', a='a')]"))
    assert all(str(tmp_path / name) in note for name in ("a.gz", "b.db", "trivia.jsonl"))


@pytest.mark.parametrize(
    ("files", "rows"),
    [
        ('(DataFile.local(HERE / "trivia.jsonl"),)', PARSED.format("data.path(self.files()[0]).read_text()")),
        ("(DataFile.local(HERE),)", READ),
        ('(DataFile("t.jsonl", url=(HERE / "trivia.jsonl").as_uri()),)', READ),
        ('(DataFile("trivia.jsonl"),)', READ),
    ],
)
def test_what_is_declared_is_not_reported(tmp_path: Path, files: str, rows: str) -> None:
    write_data(tmp_path)
    assert notes_of(write_plugin(tmp_path, rows, files), data_dir=tmp_path) == []


@pytest.mark.parametrize("link", ["folder/a.jsonl", "folder/sub"])
def test_what_links_in_a_declared_folder_lead_to_is_declared(tmp_path: Path, link: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    data = write_data(tmp_path / "elsewhere")
    (tmp_path / "folder").mkdir()
    (tmp_path / link).symlink_to(data if link.endswith("jsonl") else data.parent)
    read = READ.replace(
        'HERE / "trivia.jsonl"',
        f'HERE / "{link}"' if link.endswith("jsonl") else f'HERE / "{link}/{data.name}"',
    )
    assert read != READ
    assert notes_of(write_plugin(tmp_path, read, '(DataFile.local(HERE / "folder"),)')) == []


HARMLESS = [
    "__import__('xml.dom.minidom')",
    "__import__('beside')",
    "Path('/dev/null').read_text()",
    "Path('/proc/self/status').read_text()",
    "Path('/etc/hostname').exists() and Path('/etc/hostname').read_text()",
    "(HERE / '.settings').read_text()",
    "Path(evalkit.__file__).read_text()",
    "Path(json.__file__).read_text()",
    "(HERE / 'made.txt').write_text('x'), (HERE / 'made.txt').read_text()",
    "__import__('evalkit.models.tokenizers').models.tokenizers.tokenizer('evalkit/tiny').count('x')",
    "__import__('inspect').getsource(Trivia)",
    "__import__('logging').getLogger().warning('x')",
    "__import__('zoneinfo').ZoneInfo('UTC')",
    "__import__('tempfile').NamedTemporaryFile().close()",
    "__import__('importlib.metadata').metadata.distribution('evalkit').read_text('METADATA')",
    "os.listdir(HERE)",
]


@pytest.mark.parametrize("harmless", HARMLESS)
def test_there_is_no_false_alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harmless: str) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (tmp_path / "beside.py").write_text("import email.mime.text")
    (tmp_path / ".settings").write_text("")
    rows = f"[dict(q='q', a='a')] if [{harmless}] else []"
    for _ in range(2):
        assert notes_of(write_plugin(tmp_path, rows, at_import=harmless.replace("Trivia", "Path"))) == []
    sys.modules.pop("beside", None)


def test_an_edit_of_a_declared_file_makes_another_run(tmp_path: Path) -> None:
    data, plugin = write_data(tmp_path, "Who?"), ""
    plugin = write_plugin(
        tmp_path,
        PARSED.format("data.path(self.files()[0]).read_text()"),
        '(DataFile.local(HERE / "trivia.jsonl"),)',
    )

    def answers(fresh: bool = False) -> tuple[str, ...]:
        (result,) = evalkit.run(ENTRY, plugins=[plugin], output_path=tmp_path / "out", fresh=fresh)
        assert result.status == "complete", result.message
        assert result.path is not None
        return tuple(p for r in evalkit.load_run(result.path).records() for p in r.prompts)

    assert "Who?" in answers()[0]
    write_data(tmp_path, "What?")
    assert "What?" in answers()[0]
    assert data.is_file()
    write_data(tmp_path, "Whom?")
    assert "Whom?" in answers(fresh=True)[0]


def test_a_complete_run_of_an_undeclared_file_says_so_again(tmp_path: Path) -> None:
    write_data(tmp_path)
    plugin, seen = write_plugin(tmp_path, READ), []
    for _ in range(2):
        notes = Notes()
        evalkit.run(ENTRY, plugins=[plugin], output_path=tmp_path / "out", observer=notes)
        seen.append([note for note in notes.notes if "does not declare" in note])
    assert [len(notes) for notes in seen] == [1, 1]


def test_data_that_changes_between_plan_and_loading_is_refused(tmp_path: Path) -> None:
    write_data(tmp_path)
    plugin = write_plugin(tmp_path, READ, '(DataFile.local(HERE / "trivia.jsonl"),)')
    context = open_plan_context(RunOptions(run_entries=(ENTRY,), plugins=(plugin,)))
    (run,) = make_plan(context).runs
    write_data(tmp_path, "Edited?")
    with pytest.raises(evalkit.EvalkitError, match="its data changed after it was planned"):
        load_instances(run, context)


def test_a_missing_local_file_is_told_by_the_plan(tmp_path: Path) -> None:
    plugin = write_plugin(tmp_path, READ, '(DataFile.local(HERE / "trivia.jsonl"),)')
    (run,) = make_plan(open_plan_context(RunOptions(run_entries=(ENTRY,), plugins=(plugin,)))).runs
    assert f"looked at {tmp_path / 'trivia.jsonl'}" in run.problem


def test_only_the_thread_and_the_time_of_loading_are_watched(tmp_path: Path) -> None:
    data = write_data(tmp_path)
    with watched_reads(__name__) as reads, watched_reads("evalkit.scenarios.simple") as builtin:
        data.read_text()
    data.read_text()
    assert list(reads.files) == [os.path.realpath(data)]
    assert not builtin.files
