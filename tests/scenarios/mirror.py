"""Mirrors that tests write: a data store over files given as texts."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from evalkit.data import DataStore


def json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def mirror(folder: Path, files: Mapping[str, str]) -> DataStore:
    """An offline store that holds these files, by path; a name in `.gz` is compressed."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = text.encode()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return DataStore(mirror=folder, cache=folder / "cache", offline=True, verify=False)
