"""`evalkit show`: all about one name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evalkit.cli.output import echo


def show_command(
    name: Annotated[
        str, typer.Argument(help="A run spec, scenario, metric, client, tracker or model, or any other.")
    ],
    kind: Annotated[str | None, typer.Option("--kind", help="Which kind, if the name has several.")] = None,
    plugins: Annotated[
        list[str] | None, typer.Option("--plugin", "--plugins", help="Plugins to load first.")
    ] = None,
    model_deployments: Annotated[
        list[Path] | None, typer.Option("--model-deployments", help="YAML files with deployments.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON array, one object per kind.")] = False,
) -> None:
    """Show what a name means: every parameter with type, default and meaning."""
    from evalkit.cli.list import KINDS, entries_of
    from evalkit.cli.output import print_json
    from evalkit.errors import UnknownNameError
    from evalkit.plugins import load_plugins

    if kind is not None and kind not in KINDS:
        raise UnknownNameError("kind", kind, KINDS)
    load_plugins(plugins or ())
    known: list[str] = []
    found = []
    for each in [kind] if kind else KINDS:
        entries = entries_of(each, model_deployments or ())
        known += [entry["name"] for entry in entries]
        found += [{"kind": each, **entry} for entry in entries if entry["name"] == name]
    if not found:
        raise UnknownNameError(kind or "name", name, known)
    if as_json:
        print_json(found, indent=True)
        return
    for entry in found:
        echo(f"{entry['kind']} {entry['name']}", style="bold")
        echo(f"  {entry['doc']}")
        if entry.get("module"):
            echo(f"  {entry['module']}", style="dim")
        for label in ("tags", "deployments"):
            if entry.get(label):
                echo(f"  {label}: {', '.join(entry[label])}")
        for p in entry["params"]:
            default = "required" if p["required"] else f"default {p['default']!r}"
            echo(f"  {p['name']}: {p['type']} ({default})" + (f"  {p['doc']}" if p["doc"] else ""))
