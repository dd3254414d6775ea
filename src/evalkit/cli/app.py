"""The command line: commands, exit codes, and how errors are shown.

Exit codes: 0 complete · 1 some instances failed · 2 usage · 3 stopped (wrong key, dead server, budget, data)
· 130 interrupted.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Annotated, Any

import typer

from evalkit import __version__
from evalkit.cli.agreement import agreement_command
from evalkit.cli.check_engines import check_engines_command
from evalkit.cli.console import lost_output, prepared_streams
from evalkit.cli.data import data_app
from evalkit.cli.export import export_app
from evalkit.cli.import_command import import_app
from evalkit.cli.judge import judge_command
from evalkit.cli.leaderboard import leaderboard_command
from evalkit.cli.list import list_command
from evalkit.cli.new import new_app
from evalkit.cli.options import spread_values
from evalkit.cli.output import echo, remark
from evalkit.cli.plan import plan_command
from evalkit.cli.rank import rank_command
from evalkit.cli.run import run_command
from evalkit.cli.score import score_command
from evalkit.cli.show import show_command
from evalkit.cli.summarize import summarize_command
from evalkit.cli.track import track_command
from evalkit.cli.validate import validate_command
from evalkit.cli.verify import verify_command
from evalkit.errors import EvalkitError, os_error_in_words

app = typer.Typer(
    name="evalkit",
    help="Evaluate language models: send the requests of run entries, keep every answer, and score them.",
    epilog="Exit codes: 0 complete, 1 some instances failed, 2 usage, 3 stopped, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("run")(run_command)
app.command("plan")(plan_command)
app.command("list")(list_command)
app.command("show")(show_command)
app.command("validate")(validate_command)
app.command("check-engines")(check_engines_command)
app.command("judge")(judge_command)
app.command("score")(score_command)
app.command("verify")(verify_command)
app.command("track")(track_command)
app.command("summarize")(summarize_command)
app.command("leaderboard")(leaderboard_command)
app.command("agreement")(agreement_command)
app.command("rank")(rank_command)
app.add_typer(export_app, name="export")
app.add_typer(import_app, name="import")
app.add_typer(new_app, name="new")
app.add_typer(data_app, name="data")


def _print_version(wanted: bool) -> None:
    if wanted:
        echo(f"evalkit {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@cache
def command() -> Any:
    """The commands as they are called; made once, which takes longer than most of them."""
    return typer.main.get_command(app)


def main() -> None:
    """The `evalkit` command. Ends with 3 where standard output can't be written and nothing else failed."""
    with prepared_streams():
        code = _run()
        if why := lost_output():
            echo(f"error: can't write to standard output: {why}", err=True)
            code = code or 3
    raise SystemExit(code)


def _run() -> int:
    try:
        command()(args=spread_values(sys.argv[1:]))
    except EvalkitError as error:
        echo(remark("error", error), err=True)
        return error.exit_code
    except KeyboardInterrupt:
        echo("interrupted", err=True)
        return 130
    except OSError as error:
        if error.errno is None:
            raise
        echo(remark("error", os_error_in_words(error)), err=True)
        return 3
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    return 0
