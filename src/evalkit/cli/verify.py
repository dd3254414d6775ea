"""`evalkit verify`: is everything of these runs as they left it, and what is owed?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evalkit.cli.options import SandboxOption

if TYPE_CHECKING:
    from evalkit.results.findings import Finding
    from evalkit.results.verification import RunReport

COLUMNS = ("run", "file", "byte", "what", "what to do")
# A journal may have thousands of damaged lines.
_MOST_SHOWN = 8


def verify_command(
    paths: Annotated[list[Path], typer.Argument(help="Runs, suites or output paths.")],
    repair: Annotated[
        bool, typer.Option("--repair", help="Rebuild damaged files from the journal and the run spec.")
    ] = False,
    plugins: Annotated[
        list[str] | None, typer.Option("--plugin", "--plugins", help="Plugins that repairs need.")
    ] = None,
    sandbox: SandboxOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON array, one object per run.")] = False,
) -> None:
    """Look at every file of stored runs, and at every line of their journals; asks no model.

    Ends with 0 if all is well, with 1 if something is damaged (with --repair: if something still is), and
    with 2 if there are no runs at a path.
    """
    from evalkit.cli.output import echo_note, print_json
    from evalkit.cli.progress import CheckProgress
    from evalkit.plugins import load_plugins
    from evalkit.results.copies import count_once
    from evalkit.results.repair import repair_run
    from evalkit.results.verification import find_damaged_too, verify_run
    from evalkit.sandbox.choice import choose

    choose(sandbox)
    load_plugins(plugins or ())
    directories = list(dict.fromkeys(run for path in paths for run in find_damaged_too(path)))
    look = repair_run if repair else verify_run
    reports = []
    progress = CheckProgress(len(directories))
    for number, directory in enumerate(directories):
        progress(number)
        reports.append(look(directory))
    progress.close()
    if as_json:
        print_json([report.to_json() for report in reports], indent=True)
    else:
        _print(reports)
    for note in count_once(directories).notes:
        echo_note(note)
    if not all(report.is_sound for report in reports):
        raise typer.Exit(1)


def _print(reports: Sequence[RunReport]) -> None:
    from evalkit.cli.output import echo, print_table

    rows = [row for report in reports for row in _rows(report)]
    if rows:
        print_table(COLUMNS, rows, num_labels=5, dropped=("byte", "what to do"))
    for report in reports:
        for done in report.repaired:
            echo(f"repaired {report.directory.path.name}: {done}")
    echo(_summary(reports))


def _rows(report: RunReport) -> Iterator[tuple[str, ...]]:
    """The findings of a run, damage first; its name stands on the first line only."""
    from evalkit.results.findings import REMEDIES

    name = report.directory.path.name
    if report.holder is not None:
        yield name, "", "", f"in use by {report.holder}", "verify it again when that has ended"
        name = ""
    findings = sorted(report.findings, key=lambda finding: not finding.is_damage)
    for finding in findings[:_MOST_SHOWN]:
        yield name, finding.file, _place(finding), finding.problem, REMEDIES[finding.remedy]
        name = ""
    if (num_more := len(findings) - _MOST_SHOWN) > 0:
        yield "", "", "", f"and {num_more:,} more", "--json has all"


def _place(finding: Finding) -> str:
    return "" if finding.offset is None else f"{finding.offset:,}"


def _summary(reports: Sequence[RunReport]) -> str:
    """All runs in one line: `3 runs: 1 sound, 1 in use, 1 damaged; 12 requests are owed`."""
    kinds = Counter(
        "damaged" if not report.is_sound else "in use" if report.holder is not None else "sound"
        for report in reports
    )
    counts = ", ".join(f"{kinds[kind]:,} {kind}" for kind in ("sound", "in use", "damaged") if kinds[kind])
    num_owed = sum(report.num_owed or 0 for report in reports)
    owed = f"; {num_owed:,} request{'s are' if num_owed > 1 else ' is'} owed" if num_owed else ""
    return f"{len(reports):,} run{'s' if len(reports) > 1 else ''}: {counts}{owed}"
