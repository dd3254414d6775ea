"""Where plugins come from: the built-in catalogue, installed packages, named modules and files.

Built-in names are read from the generated `catalog.json`; no plugin module is imported for that. Installed
packages announce themselves by an entry point in the group `evalkit.plugins`; a package that fails to import
is named and set aside, and the rest goes on. A plugin the user names (`--plugin`) must load.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from evalkit.errors import PluginError, os_error_in_words
from evalkit.read_audit import watched_reads
from evalkit.redaction import one_line
from evalkit.registry import PLUGIN_FILE_PREFIX, REGISTRIES

ENTRY_POINT_GROUP = "evalkit.plugins"
CATALOG_PATH = Path(__file__).with_name("catalog.json")


@cache
def builtin_catalog() -> dict[str, list[dict[str, Any]]]:
    """The built-in plugins as plain data: kind to a list of {name, module, doc, params}."""
    import orjson

    catalog: dict[str, list[dict[str, Any]]] = orjson.loads(CATALOG_PATH.read_bytes())
    return catalog


def load_builtins() -> None:
    """Make the built-in names known to the registries; imports none of them."""
    for kind, entries in builtin_catalog().items():
        REGISTRIES[kind].builtin = {entry["name"]: entry["module"] for entry in entries}


def load_plugins(named: Iterable[str] = ()) -> None:
    """Load the built-in names, the installed plugins, then those the user named.

    Raises:
        PluginError: A named plugin can't be imported, or a name is taken.
    """
    load_builtins()
    load_installed()
    for source in named:
        load_named(source)


def load_installed() -> None:
    """Import every installed plugin package; one that fails is noted and set aside."""
    for entry_point in _entry_points():
        try:
            with _noting_reads(entry_point.module):
                entry_point.load()
        except Exception as error:  # noqa: BLE001 - a broken plugin must not break the rest
            note_broken(f"{entry_point.name} ({entry_point.value})", error)


def broken_plugins() -> dict[str, str]:
    """Installed plugins that did not load, with the reason."""
    return dict(REGISTRIES["run_spec"].broken)


def note_broken(source: str, error: BaseException) -> None:
    """Remember a plugin that did not load, for messages about unknown names."""
    for registry in REGISTRIES.values():
        registry.broken[source] = f"{type(error).__name__}: {error}"


def load_named(source: str) -> None:
    """Import a plugin module by dotted name, or a plugin file by path.

    Raises:
        PluginError: It does not exist or does not import; the message has the file and the reason.
    """
    path = Path(source)
    try:
        if source.endswith(".py") or path.is_file():
            _import_file(path)
        else:
            sys.path.insert(0, str(Path.cwd()))  # a module next to the user's work, as `python -m` finds it
            try:
                with _noting_reads(source):
                    importlib.import_module(source)
            finally:
                sys.path.remove(str(Path.cwd()))
    except PluginError:
        raise
    except Exception as error:
        raise PluginError(f"plugin {source} did not load: {described(error)}") from error


def _import_file(path: Path) -> None:
    if not path.is_file():
        raise PluginError(f"plugin {path} does not exist")
    resolved = path.resolve()
    tag = hashlib.sha256(str(resolved).encode()).hexdigest()[:8]
    name = f"{PLUGIN_FILE_PREFIX}{tag}_{path.stem}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, resolved)
    if spec is None or spec.loader is None:
        raise PluginError(f"plugin {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _noting_reads(name):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


# What plugins read while they were imported, by the first part of the module's name.
_READ_AT_IMPORT: dict[str, tuple[str, ...]] = {}


def read_at_import(module: str) -> tuple[str, ...]:
    """The data files that a plugin read while it was imported."""
    return _READ_AT_IMPORT.get(module.partition(".")[0], ())


@contextmanager
def _noting_reads(module: str) -> Iterator[None]:
    with watched_reads(module) as reads:
        yield
    # A file is loaded anew after a change; of a package, an import that does nothing more says nothing.
    if reads.files or module.startswith(PLUGIN_FILE_PREFIX):
        _READ_AT_IMPORT[reads.package] = tuple(reads.files)


def described(error: BaseException) -> str:
    """An exception of a plugin's code in one line: type, message, and the line of the plugin.

    What the operating system refused is said in words.
    """
    import sysconfig
    import traceback

    library = (sysconfig.get_path("stdlib"), str(Path(__file__).parent), "<")
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(library)]
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    if isinstance(error, OSError) and error.errno is not None:
        return one_line(f"{os_error_in_words(error)}{place}")
    return one_line(f"{type(error).__name__}: {error}{place}")


def is_of_a_plugin(error: BaseException) -> bool:
    """Whether an exception passed through the code of a plugin that does not come with evalkit."""
    modules = {origin.__module__ for each in REGISTRIES.values() for origin in each.targets.values()}
    packages = {module.partition(".")[0] for module in modules} - {"evalkit"}
    frame = error.__traceback__
    while frame is not None:
        package = str(frame.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        if package in packages or package.startswith(PLUGIN_FILE_PREFIX):
            return True
        frame = frame.tb_next
    return False


def _entry_points() -> Iterable[Any]:
    """Entry points of the plugin group, in order of name.

    Reading the metadata of every installed distribution takes tens of milliseconds; looking for the group's
    name in the raw `entry_points.txt` files first makes the usual case (no plugin installed) cheap.
    """
    if not _any_plugin_installed():
        return ()
    from importlib.metadata import entry_points

    return sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry_point: entry_point.name)


def _any_plugin_installed() -> bool:
    marker = f"[{ENTRY_POINT_GROUP}]".encode()
    for folder in map(Path, sys.path):
        for pattern in ("*.dist-info/entry_points.txt", "*.egg-info/entry_points.txt"):
            for file in folder.glob(pattern) if folder.is_dir() else ():
                if marker in file.read_bytes():
                    return True
    return False
