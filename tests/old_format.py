"""Turns a run directory into what evalkit up to 0.1 wrote: no checksums, no fingerprints."""

from __future__ import annotations

import json

from evalkit.results.run_directory import RunDirectory

HEADER = b'{"evalkit_journal":1}\n'


def without_sum(line: bytes) -> bytes:
    """A line of a journal as it was written then; the header as it was."""
    if line.startswith(b'{"evalkit_journal"'):
        return HEADER
    return line.rpartition(b',"crc32":"')[0] + b"}\n"


def made_old(directory: RunDirectory) -> None:
    """Rewrite journal and manifest in the format of evalkit up to 0.1."""
    lines = directory.journal_path.read_bytes().splitlines(keepends=True)
    directory.journal_path.write_bytes(b"".join(map(without_sum, lines)))
    path = directory.path / "manifest.json"
    manifest = json.loads(path.read_text())
    for name in ("crc32", "files", "notes"):
        manifest.pop(name, None)
    manifest["versions"].pop("scoring", None)
    path.write_text(json.dumps(manifest, indent=2))
