"""What the server knows, kept on disk: one JSON file for runs and artifacts, and a file for every blob."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

STREAMS = {"wandb-history.jsonl": "history", "wandb-events.jsonl": "events", "output.log": "output"}
"""Files of the file stream whose lines are kept, and what they are called here."""


def now() -> str:
    """The time, as the service writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def encoded_id(kind: str, text: str) -> str:
    """An id as the service makes them."""
    return base64.b64encode(f"{kind}:{text}".encode()).decode()


def decoded_id(identifier: str) -> str:
    """The text of an id."""
    return base64.b64decode(identifier).decode().partition(":")[2]


@dataclass
class RunState:
    """A run; `config` and `summary` are JSON texts, as the SDK sends them."""

    entity: str
    project: str
    name: str
    number: int
    display_name: str
    config: str = "{}"
    summary: str = "{}"
    tags: list[str] = field(default_factory=list)
    notes: str | None = None
    description: str | None = None
    commit: str | None = None
    group: str | None = None
    job_type: str | None = None
    state: str = "running"
    exit_code: int | None = None
    created_at: str = field(default_factory=now)
    heartbeat_at: str = field(default_factory=now)
    files: dict[str, str] = field(default_factory=dict)
    used: list[int] = field(default_factory=list)

    @property
    def key(self) -> str:
        """What no other run has."""
        return f"{self.entity}/{self.project}/{self.name}"

    @property
    def id(self) -> str:
        """The id that the server gives it."""
        return encoded_id("Run", f"v1:{self.name}:{self.project}:{self.entity}")


@dataclass
class FileState:
    """A file of an artifact: where its content is, and what it must be."""

    md5: str
    size: int
    artifact: int
    blob: str


@dataclass
class ArtifactState:
    """A version of an artifact; it has an index when it is committed."""

    number: int
    entity: str
    project: str
    collection: str
    type: str
    digest: str
    run: str
    client_id: str = ""
    wanted_aliases: list[str] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    metadata: str | None = None
    description: str | None = None
    history_step: int | None = None
    state: str = "PENDING"
    version: int | None = None
    manifest_digest: str = ""
    created_at: str = field(default_factory=now)
    updated_at: str = field(default_factory=now)
    logged_by: list[str] = field(default_factory=list)
    uploads: dict[str, FileState] = field(default_factory=dict)
    files: dict[str, FileState] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The id that the server gives it."""
        return encoded_id("Artifact", str(self.number))

    @property
    def manifest_blob(self) -> str:
        """Where its manifest is."""
        return f"manifests/{self.number}.json"


class State:
    """Everything the server knows; a server that is started on the same folder goes on with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs: dict[str, RunState] = {}
        self.artifacts: dict[int, ArtifactState] = {}
        self._lines: dict[tuple[str, str], list[str]] = {}
        self._path = folder / "state.json"
        folder.mkdir(parents=True, exist_ok=True)
        if self._path.exists():
            plain = json.loads(self._path.read_text(encoding="utf-8"))
            self.runs = {
                run["entity"] + f"/{run['project']}/{run['name']}": RunState(**run) for run in plain["runs"]
            }
            for each in plain["artifacts"]:
                for files in ("uploads", "files"):
                    each[files] = {name: FileState(**file) for name, file in each[files].items()}
                self.artifacts[each["number"]] = ArtifactState(**each)

    def save(self) -> None:
        """Write runs and artifacts to disk."""
        plain = {
            "runs": [asdict(run) for run in self.runs.values()],
            "artifacts": [asdict(artifact) for artifact in self.artifacts.values()],
        }
        _replace(self._path, json.dumps(plain, ensure_ascii=False).encode())

    def lines(self, run: RunState, stream: str) -> list[str]:
        """The lines of a run's stream; not to be changed."""
        key = run.key, stream
        if key not in self._lines:
            path = self._lines_path(run, stream)
            text = path.read_text(encoding="utf-8") if path.exists() else "[]"
            self._lines[key] = json.loads(text)
        return self._lines[key]

    def write_lines(self, run: RunState, stream: str, offset: int, lines: list[str]) -> None:
        """Put lines where the client says they belong; lines that are there already are replaced."""
        kept = self.lines(run, stream)
        kept[offset : offset + len(lines)] = lines
        _replace(self._lines_path(run, stream), json.dumps(kept, ensure_ascii=False).encode())

    def _lines_path(self, run: RunState, stream: str) -> Path:
        return self.folder / "streams" / hashlib.sha256(run.key.encode()).hexdigest()[:16] / f"{stream}.json"

    def write_blob(self, blob: str, content: bytes) -> None:
        """Keep an upload."""
        _replace(self.folder / "blobs" / blob, content)

    def read_blob(self, blob: str) -> bytes | None:
        """An upload; None where it never came."""
        path = self.folder / "blobs" / blob
        return path.read_bytes() if path.is_file() else None

    def versions(self, entity: str, project: str, collection: str) -> list[ArtifactState]:
        """The committed versions of a collection, oldest first."""
        where = entity, project, collection
        found = [a for a in self.artifacts.values() if (a.entity, a.project, a.collection) == where]
        return sorted((a for a in found if a.version is not None), key=lambda a: a.version or 0)

    def named(self, entity: str, project: str, name: str) -> ArtifactState | None:
        """The artifact of `collection:version-or-alias`."""
        collection, _, alias = name.partition(":")
        for artifact in self.versions(entity, project, collection):
            if alias == f"v{artifact.version}" or (alias or "latest") in artifact.aliases:
                return artifact
        return None

    def set_aliases(self, artifact: ArtifactState, aliases: list[str]) -> None:
        """Move aliases to a version: one version of a collection has each."""
        for other in self.versions(artifact.entity, artifact.project, artifact.collection):
            other.aliases = [alias for alias in other.aliases if alias not in aliases]
        artifact.aliases = [*artifact.aliases, *(a for a in aliases if a not in artifact.aliases)]


def md5_of(content: bytes) -> str:
    """A digest as the SDK writes it."""
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


def parsed(text: str | None) -> Any:
    """A JSON text of a run, as data."""
    return json.loads(text or "{}")


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(content)
    os.replace(new, path)
