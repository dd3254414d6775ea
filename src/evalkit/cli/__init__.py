"""The command line: one module per command, each thin."""

from __future__ import annotations


def main() -> None:
    """The `evalkit` command; imports what it needs when it is called."""
    from evalkit.cli.app import main as run_app

    run_app()
