"""What can't be written never fails a command: characters, readers that went, streams that are closed."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from evalkit.cli import main
from evalkit.cli.console import plain_spelling
from tests.cli.conftest import Call

ENCODINGS = ("ascii", "latin-1", "cp437", "cp932", "cp1252")
RUN = ("run", "-r", "trivia:model=evalkit/majority", "--plugin", "trivia.py", "-o", "out")
COMMANDS: Sequence[tuple[str, ...]] = (
    RUN,
    ("run", "--help"),
    ("plan", *RUN[1:]),
    ("plan", "--requests", *RUN[1:]),
    ("plan", "--requests", "--json", *RUN[1:]),
    ("list",),
    ("list", "--json"),
    ("show", "trivia", "--plugin", "trivia.py"),
    ("show", "trivia", "--json", "--plugin", "trivia.py"),
    ("summarize", "-o", "out"),
    ("summarize", "-o", "out", "--groups"),
    ("summarize", "-o", "out", "--groups", "-f", "markdown"),
    ("summarize", "-o", "out", "--json"),
    ("summarize", "--help"),
    ("score", "out", "--plugin", "trivia.py"),
    ("validate", *RUN[1:]),
    ("run", "-r", "gsm:modell=日本"),
    ("--help",),
)
PLUGIN = '''"""Questions that not every terminal can spell."""

from evalkit import Instance, Reference, RunSpec, Scenario, ScenarioSpec, generation, metric_specs
from evalkit import run_spec_function, scenario


@scenario("trivia_questions")
class Trivia(Scenario):
    """Fragen – 日本語 und “Anführung” ≤ 3 … 🎉."""

    def instances(self, data):
        for split in ("train", "train", "test"):
            right = Reference("東京", ("correct",))
            yield Instance(input="首都は…？ ≥ é 🎉", references=(right,), split=split)


@scenario("broken_questions")
class Broken(Scenario):
    """Has none."""

    def instances(self, data):
        raise ValueError("日本 – no questions")


@run_spec_function("broken")
def broken() -> RunSpec:
    """Ends in an error."""
    return trivia().model_copy(
        update={"name": "broken", "scenario_spec": ScenarioSpec(name="broken_questions")}
    )


@run_spec_function("trivia")
def trivia(place: str = "日本") -> RunSpec:
    """Fragen – 日本語 und “Anführung” ≤ 3 … 🎉."""
    return RunSpec(
        name=f"trivia:place={place}",
        scenario_spec=ScenarioSpec(name="trivia_questions"),
        adapter_spec=generation("", input_noun="問", output_noun="答"),
        metric_specs=metric_specs("exact_match"),
        groups=("日本語の問題",),
    )
'''


@pytest.fixture(autouse=True)
def plugin() -> None:
    Path("trivia.py").write_text(PLUGIN, encoding="utf-8")


class Terminal(io.TextIOWrapper):
    """A stream of some encoding, as Python opens it."""

    def __init__(self, encoding: str) -> None:
        self._bytes = io.BytesIO()
        super().__init__(self._bytes, encoding=encoding, errors="strict")

    def text(self) -> str:
        self.flush()
        self._bytes.seek(0)
        return self._bytes.read().decode(self.encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_command_in_every_encoding(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    for command in COMMANDS:
        streams = Terminal(encoding), Terminal(encoding)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["evalkit", *command])
            patch.setattr(sys, "stdout", streams[0])
            patch.setattr(sys, "stderr", streams[1])
            with pytest.raises(SystemExit) as left:
                main()
        wrong = command[-1].startswith("gsm:")
        assert left.value.code == (2 if wrong else 0), (command, streams[1].text())
        if "--json" in command:
            for line in [streams[0].text()] if "plan" not in command else streams[0].text().splitlines():
                json.loads(line)


def test_json_is_the_same_whatever_the_encoding(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("show", "trivia", "--json", "--plugin", "trivia.py")
    expected = json.loads(call(*command).out)
    out = Terminal("latin-1")
    monkeypatch.setattr(sys, "argv", ["evalkit", *command])
    monkeypatch.setattr(sys, "stdout", out)
    with pytest.raises(SystemExit):
        main()
    assert json.loads(out.text()) == expected
    assert "日本" in json.dumps(expected, ensure_ascii=False)


def test_what_cannot_be_spelled_looks_alike_or_says_what_it_is() -> None:
    assert [plain_spelling(c) for c in "…≤–éＡ─"] == ["...", "<=", "-", "e", "A", "-"]
    assert plain_spelling("日") == "\\u65e5"
    assert plain_spelling("\udc80") == "\\udc80"


# --- as a process: what only a real stream does -------------------------------------------------------------

EVALKIT = (sys.executable, "-c", "from evalkit.cli import main; main()")


def run_evalkit(
    *arguments: str, shell: str = '"$@"', **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """The command in a shell, which may redirect its streams: `"$@" | head -1`."""
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {shell}", "bash", *EVALKIT, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("encoding", ["ascii", "cp932", "cp1252"])
def test_a_finished_run_is_shown_in_a_process_of_that_encoding(encoding: str) -> None:
    done = run_evalkit(*RUN, PYTHONIOENCODING=encoding, COLUMNS="80")
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    assert b"exact_match" in done.stdout
    done.stdout.decode(encoding)


def test_an_error_handler_that_the_user_chose_is_kept() -> None:
    done = run_evalkit("show", "trivia", "--plugin", "trivia.py", PYTHONIOENCODING="ascii:replace")
    assert done.returncode == 0
    assert b"???" in done.stdout


@pytest.mark.parametrize(
    ("shell", "code"),
    [
        ('"$@" | true', 0),
        ('"$@" | true', 3),
        ('"$@" 2>&1 >/dev/null | true', 3),
        ('"$@" >&- 2>&-', 0),
        ('"$@" >/dev/full', 0),
        ('"$@" 2>/dev/full', 3),
    ],
)
def test_a_run_ends_as_it_ended_wherever_its_words_go(shell: str, code: int) -> None:
    more = () if code == 0 else ("-r", "broken:model=evalkit/majority")
    done = run_evalkit(*RUN, *more, shell=shell)
    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    assert b"Broken" not in done.stderr
    [manifest] = Path("out/runs/default").glob("trivia*/manifest.json")
    assert json.loads(manifest.read_bytes())["status"] == "complete"
    assert ("No space left" in done.stderr.decode()) == (shell == '"$@" >/dev/full')


@pytest.mark.parametrize("command", [("list",), ("list", "--json"), ("run", "--help")])
def test_a_reader_that_has_enough_is_no_error(command: tuple[str, ...]) -> None:
    done = run_evalkit(*command, shell='"$@" | head -1')
    assert (done.returncode, done.stderr) == (0, b"")


def test_numbers_that_are_lost_are_an_error() -> None:
    assert run_evalkit(*RUN).returncode == 0
    done = run_evalkit("summarize", "-o", "out", "--json", shell='"$@" >/dev/full')
    assert done.returncode == 3
    assert done.stderr == b"error: can't write to standard output: No space left on device\n"
