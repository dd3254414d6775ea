"""The files that a Python interpreter needs: the program, its standard library and its shared libraries."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from evalkit.errors import UsageError

_PATH = re.compile(r"(/\S.*?)(?: \(0x[0-9a-f]+\))?$")
# Extension modules for screens and networks; their libraries are many.
_LEFT_OUT = ("_tkinter", "readline", "_curses", "_curses_panel", "nis", "_dbm", "_gdbm")
_LOADER_CACHE = Path("/etc/ld.so.cache")


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An interpreter without packages.

    Attributes:
        program: The interpreter's program.
        libraries: Folders of the standard library.
        files: Shared libraries, by the paths under which the loader looks for them, and the loader's cache.
        packages: Folders below `libraries` with what users installed; no program gets to see them.
    """

    program: Path
    libraries: tuple[Path, ...]
    files: tuple[Path, ...]
    packages: tuple[Path, ...]


@lru_cache(maxsize=1)
def this_interpreter() -> Interpreter:
    """The interpreter that runs evalkit, outside any virtual environment.

    Raises:
        UsageError: Its files can't be found.
    """
    program = Path(getattr(sys, "_base_executable", None) or sys.executable).resolve()
    paths = (sysconfig.get_path(kind, vars=_base()) for kind in ("stdlib", "platstdlib"))
    libraries = tuple(dict.fromkeys(Path(path) for path in paths))
    if not program.is_file() or not (libraries[0] / "os.py").is_file():
        raise UsageError(f"the files of the Python interpreter {program} can't be found")
    packages = [folder / name for folder in libraries for name in ("site-packages", "dist-packages")]
    return Interpreter(
        program=program,
        libraries=libraries,
        files=_shared_libraries(program, libraries[-1] / "lib-dynload"),
        packages=tuple(folder for folder in packages if folder.is_dir()),
    )


def _base() -> dict[str, str]:
    prefixes = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}
    return prefixes | {f"installed_{name}": prefix for name, prefix in prefixes.items()}


def _shared_libraries(program: Path, extensions: Path) -> tuple[Path, ...]:
    """What the loader (glibc's) lists for the interpreter and the standard library's extension modules."""
    found = extensions.glob("*.so") if extensions.is_dir() else ()
    modules = [f"./{path.name}" for path in found if path.name.partition(".")[0] not in _LEFT_OUT]
    listed = subprocess.run(
        [program],
        env={"LD_TRACE_LOADED_OBJECTS": "1", "LD_PRELOAD": " ".join(modules)},
        cwd=extensions if modules else "/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    paths = [
        Path(match[1]) for line in os.fsdecode(listed.stdout).splitlines() if (match := _PATH.search(line))
    ]
    if listed.returncode != 0 or not paths:
        raise UsageError(f"the system's loader does not list the shared libraries of {program}")
    return tuple(path for path in dict.fromkeys((*paths, _LOADER_CACHE)) if path.is_file())
