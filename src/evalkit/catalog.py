"""The catalogue: every plugin with its parameters, as plain data.

`catalog.json` lists the built-in ones so that listing them imports nothing; `python -m evalkit.catalog`
writes it anew, and a test compares it with what the code says.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from evalkit.parameters import Parameter, parameters_of, summary_of, type_name
from evalkit.plugins import CATALOG_PATH, builtin_catalog, load_builtins
from evalkit.registry import REGISTRIES, Registry

BUILTIN_PACKAGES = {
    "evalkit.run_specs",
    "evalkit.scenarios",
    "evalkit.adapters",
    "evalkit.perturbations",
    "evalkit.metrics",
    "evalkit.judges",
    "evalkit.clients",
    "evalkit.routers",
    "evalkit.models.tokenizers",
    "evalkit.specs",
    "evalkit.trackers",
    "evalkit.leaderboards",
}
# Engines, and trackers with a process, are packages; only these modules of theirs register something.
BUILTIN_ENGINES = (
    "evalkit.clients.transformers.client",
    "evalkit.clients.vllm.client",
    "evalkit.clients.vllm.server",
    "evalkit.trackers.wandb.tracker",
)
# Parameters that evalkit itself fills in; a user never gives them.
_GIVEN = {
    "adapter": ("spec", "window"),
    "metric": ("gold", "prediction", "adapter_spec"),
    "expander": ("run_spec", "models"),
    "router": ("members",),
}


def list_plugins(kind: str) -> list[dict[str, Any]]:
    """All plugins of a kind as {name, module, doc, params: [{name, type, default, required, doc}]}, sorted.

    Imports nothing for built-in plugins; others have been imported when they were loaded.
    """
    registry = REGISTRIES[kind]
    entries = {entry["name"]: entry for entry in builtin_catalog().get(kind, [])}
    for name in registry.targets:
        if name not in entries:
            entries[name] = describe(kind, name)
    return [entries[name] for name in sorted(entries)]


def describe(kind: str, name: str) -> dict[str, Any]:
    """One plugin as plain data, read from its signature and docstring."""
    target = REGISTRIES[kind].get(name)
    params = parameters_of(target, skip=_GIVEN.get(kind, ()))
    return {
        "name": name,
        "module": target.__module__,
        "doc": summary_of(target),
        "params": [_describe_parameter(p) for p in params],
    }


def build_catalog() -> dict[str, list[dict[str, Any]]]:
    """The catalogue of the built-in plugins, made by importing all their modules."""
    for package_name in sorted(BUILTIN_PACKAGES):
        package = importlib.import_module(package_name)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package_name}.{module.name}")
    for name in BUILTIN_ENGINES:
        importlib.import_module(name)
    return {
        kind: [describe(kind, name) for name in registry.names() if _is_builtin(registry, name)]
        for kind, registry in REGISTRIES.items()
    }


def _is_builtin(registry: Registry, name: str) -> bool:
    target = registry.targets.get(name)
    return target is not None and target.__module__.startswith("evalkit.")


def _describe_parameter(parameter: Parameter) -> dict[str, Any]:
    default = None if parameter.required else parameter.default
    if isinstance(default, tuple):
        default = list(default)
    return {
        "name": parameter.name,
        "type": type_name(parameter.type),
        "default": default,
        "required": parameter.required,
        "doc": parameter.doc,
    }


def write_catalog() -> None:
    """Write `catalog.json` anew."""
    import orjson

    if not CATALOG_PATH.exists():
        CATALOG_PATH.write_text("{}")
    load_builtins()
    for registry in REGISTRIES.values():
        registry.builtin = {}
    text = orjson.dumps(build_catalog(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    CATALOG_PATH.write_bytes(text)


if __name__ == "__main__":
    write_catalog()
