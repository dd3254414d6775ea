"""`evalkit list`: what there is, by kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from evalkit.cli.output import echo

KINDS = (
    "run_spec",
    "scenario",
    "perturbation",
    "adapter",
    "metric",
    "judge",
    "client",
    "expander",
    "tokenizer",
    "tracker",
    "router",
    "leaderboard",
    "model",
)
# Of longer lists of parameters the end is left out; `evalkit show` has it.
_MOST_CHARACTERS = 64


def list_command(
    kind: Annotated[str | None, typer.Argument(help=f"One of {', '.join(KINDS)}; all if left out.")] = None,
    plugins: Annotated[
        list[str] | None, typer.Option("--plugin", "--plugins", help="Plugins to load first.")
    ] = None,
    model_deployments: Annotated[
        list[Path] | None, typer.Option("--model-deployments", help="YAML files with deployments.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="A JSON array (with a kind), else one object of arrays.")
    ] = False,
) -> None:
    """List run specs, scenarios, metrics, clients, models …, with their parameters."""
    from evalkit.cli.output import print_columns, print_json
    from evalkit.errors import UnknownNameError
    from evalkit.plugins import broken_plugins, load_plugins

    wanted = kind and kind.replace("-", "_").removesuffix("s")
    if wanted is not None and wanted not in KINDS:
        raise UnknownNameError("kind", kind or "", KINDS)
    load_plugins(plugins or ())
    # The many models are only listed when they are asked for, or for a program.
    shown = [wanted] if wanted else [k for k in KINDS if as_json or k != "model"]
    found = {k: entries_of(k, model_deployments or ()) for k in shown}
    if as_json:
        print_json(found[wanted] if wanted else found, indent=True)
    else:
        for each, entries in found.items():
            if not entries and wanted:
                echo(f"no {each}: evalkit has none built in, and no loaded plugin registers one")
            elif entries:
                echo(each, style="bold")
                print_columns([(f"  {e['name']}", signature(e), e["doc"]) for e in entries])
        if wanted is None:
            echo("models: see `evalkit list models`")
    for source, why in broken_plugins().items():
        echo(f"! plugin {source} did not load: {why}", err=True)


def entries_of(kind: str, model_files: Any = ()) -> list[dict[str, Any]]:
    """All of a kind as plain data: name, doc, params."""
    if kind != "model":
        from evalkit.catalog import list_plugins

        entries = list_plugins(kind)
        return sorted([*entries, *_shipped_tokenizers()], key=_name_of) if kind == "tokenizer" else entries
    from evalkit.models.catalog import ModelCatalog
    from evalkit.runs.options import RunOptions

    options = RunOptions(model_deployments=tuple(model_files))
    models = ModelCatalog.load(options.deployment_files())
    return [describe_model(models, name) for name in models.names()]


def _shipped_tokenizers() -> list[dict[str, Any]]:
    """Tokenizers of the models that come with evalkit: each by the name of its model."""
    from evalkit.models.weights import SHIPPED

    doc = "The tokenizer of the model of this name, which comes with evalkit."
    module = "evalkit.models.tokenizers.folder"
    return [{"name": name, "module": module, "doc": doc, "params": []} for name in SHIPPED]


def _name_of(entry: Mapping[str, Any]) -> str:
    return str(entry["name"])


def describe_model(models: Any, name: str) -> dict[str, Any]:
    """A model as plain data; `params` is empty, since models take none in a run entry."""
    metadata = models.metadata(name)
    return {
        "name": name,
        "doc": metadata.description or metadata.display_name or "",
        "params": [],
        "tags": list(metadata.tags),
        "deployments": [deployment.name for deployment in models.deployments_of(name)],
        "size_category": metadata.size_category,
        "num_parameters": metadata.num_parameters,
        "release_date": None if metadata.release_date is None else metadata.release_date.isoformat(),
    }


def signature(entry: dict[str, Any]) -> str:
    """The parameters of an entry as a person reads them: `subject, method=…`; of many the first ones."""
    shown = [p["name"] if p["required"] else f"{p['name']}={p['default']}" for p in entry["params"]]
    text = ", ".join(shown)
    while len(text) > _MOST_CHARACTERS and len(shown) > 1:
        shown.pop()
        text = ", ".join([*shown, "…"])
    return text
