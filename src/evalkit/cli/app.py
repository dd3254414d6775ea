"""The command line: commands, exit codes, and how errors are shown.

Exit codes: 0 complete · 1 some instances failed · 2 usage · 3 stopped (wrong key, dead server, budget, data)
· 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from typing import Annotated, Any

import typer

from evalkit import __version__
from evalkit.cli.console import lost_output, prepared_streams
from evalkit.cli.options import spread_values
from evalkit.cli.output import echo, remark
from evalkit.errors import EvalkitError, os_error_in_words

COMMANDS = {
    "run": "run:run_command",
    "plan": "plan:plan_command",
    "list": "list:list_command",
    "show": "show:show_command",
    "validate": "validate:validate_command",
    "check-engines": "check_engines:check_engines_command",
    "judge": "judge:judge_command",
    "score": "score:score_command",
    "verify": "verify:verify_command",
    "track": "track:track_command",
    "summarize": "summarize:summarize_command",
    "leaderboard": "leaderboard:leaderboard_command",
    "agreement": "agreement:agreement_command",
    "rank": "rank:rank_command",
    "export": "export:export_app",
    "import": "import_command:import_app",
    "new": "new:new_app",
    "data": "data:data_app",
}
"""Where each command is, in the order of the help: a function, or an app with commands of its own."""


def _print_version(wanted: bool) -> None:
    if wanted:
        echo(f"evalkit {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@cache
def command() -> Any:
    """All commands as they are called; made once, which takes longer than most of them."""
    return _made(COMMANDS)


@cache
def single_command(name: str) -> Any:
    """The same with one command only, whose module alone is imported."""
    return _made((name,))


def _made(names: Iterable[str]) -> Any:
    app = typer.Typer(
        name="evalkit",
        help="Evaluate language models: send the requests of run entries, keep every answer, and score them.",
        epilog="Exit codes: 0 complete, 1 some instances failed, 2 usage, 3 stopped, 130 interrupted.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_root)
    for name in names:
        module, _, target = COMMANDS[name].partition(":")
        found = getattr(import_module(f"evalkit.cli.{module}"), target)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name)(found)
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
    arguments = sys.argv[1:]
    wanted = arguments[0] if arguments else ""
    try:
        made = single_command(wanted) if wanted in COMMANDS else command()
        made(args=spread_values(arguments))
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
    except Exception as error:
        from evalkit.plugins import described, is_of_a_plugin

        if not is_of_a_plugin(error):
            raise
        echo(remark("error", f"a plugin failed: {described(error)}"), err=True)
        return 2
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    return 0
