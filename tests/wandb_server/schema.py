"""What can be read: viewer, projects, runs, artifacts and their files."""

from __future__ import annotations

import fnmatch
import json
import mimetypes
from typing import Any

from tests.wandb_server.connections import connection, ordered, wanted
from tests.wandb_server.graphql import Plain
from tests.wandb_server.state import ArtifactState, FileState, RunState, State, decoded_id, encoded_id, parsed

ENTITY = "team"
"""The only entity, and the viewer's default one."""


class Query:
    """The root of queries."""

    typename = "Query"

    def __init__(self, state: State, url: str) -> None:
        self._state, self._url = state, url
        self.viewer = viewer()
        self.serverInfo = Plain("ServerInfo", features=[])

    def entity(self, name: str) -> Plain | None:
        if name != ENTITY:
            return None
        return Plain(
            "Entity", id=encoded_id("Entity", name), name=name, organization=None, xxhashDigestsEnabled=False
        )

    def project(self, name: str | None = None, entityName: str | None = None) -> Project | None:
        entity = entityName or ENTITY
        return Project(self._state, self._url, entity, name) if name and entity == ENTITY else None

    model = project

    def artifact(self, id: str) -> Artifact | None:
        found = self._state.artifacts.get(int(decoded_id(id)))
        return Artifact(self._state, self._url, found) if found else None

    def clientIDMapping(self, clientID: str) -> Plain | None:
        for artifact in self._state.artifacts.values():
            if artifact.client_id == clientID:
                return Plain("ClientIDMapping", serverID=artifact.id)
        return None


def viewer() -> Plain:
    """Whoever has the key."""
    teams = connection("Entity", [Plain("Entity", name=ENTITY)], None, None)
    keys = connection("ApiKey", [], None, None)
    return Plain(
        "User",
        id=encoded_id("User", "1"),
        name="Tester",
        username="tester",
        entity=ENTITY,
        email="tester@example.com",
        admin=False,
        flags="{}",
        deletedAt=None,
        teams=teams,
        apiKeys=keys,
    )


class Project:
    """A project; the service makes one when a run is logged to it."""

    typename = "Project"

    def __init__(self, state: State, url: str, entity: str, name: str) -> None:
        self._state, self._url, self._entity = state, url, entity
        self.name = name
        self.id = encoded_id("Project", f"v1:{name}:{entity}")
        self.internalId = encoded_id("ProjectInternalId", "1")
        self.entityName = entity
        self.entity = Plain("Entity", id=encoded_id("Entity", entity), name=entity)
        self.readOnly = False

    def run(self, name: str) -> Run | None:
        found = self._state.runs.get(f"{self._entity}/{self.name}/{name}")
        return Run(self._state, self._url, found) if found else None

    def bucket(self, name: str, missingOk: bool = False) -> Run | None:
        return self.run(name)

    def runCount(self, filters: str | None = None) -> int:
        return len(self._wanted(filters))

    def runs(
        self,
        filters: str | None = None,
        after: str | None = None,
        first: int | None = None,
        order: str | None = None,
    ) -> Plain:
        runs = [Run(self._state, self._url, run) for run in ordered(self._wanted(filters), order)]
        return connection("Run", runs, first, after)

    def _wanted(self, filters: str | None) -> list[RunState]:
        conditions = json.loads(filters or "{}")
        here = self._entity, self.name
        runs = [run for run in self._state.runs.values() if (run.entity, run.project) == here]
        return [run for run in runs if wanted(run, conditions)]

    def artifact(self, name: str) -> Artifact | None:
        found = self._state.named(self._entity, self.name, name)
        return Artifact(self._state, self._url, found) if found else None

    def artifactCollectionMembership(self, name: str) -> Membership | None:
        found = self._state.named(self._entity, self.name, name)
        return Membership(self._state, self._url, found) if found else None

    def artifactCollection(self, name: str) -> Collection | None:
        versions = self._state.versions(self._entity, self.name, name)
        return Collection(self._state, self._url, versions[0]) if versions else None

    def artifactType(self, name: str) -> ArtifactType | None:
        here = self._entity, self.name, name
        known = any((a.entity, a.project, a.type) == here for a in self._state.artifacts.values())
        return ArtifactType(self, name) if known else None


class ArtifactType:
    """A type of artifacts."""

    typename = "ArtifactType"

    def __init__(self, project: Project, name: str) -> None:
        self._project = project
        self.id, self.name = encoded_id("ArtifactType", name), name
        self.description, self.createdAt = None, None

    def artifactCollection(self, name: str) -> Collection | None:
        found = self._project.artifactCollection(name)
        return found if found and found.type == self.name else None


class Run:
    """A run."""

    typename = "Run"
    sweepName = None
    readOnly = False
    systemMetrics = "{}"
    projectId = "1"

    def __init__(self, state: State, url: str, run: RunState) -> None:
        self._state, self._url, self._run = state, url, run
        self.id, self.name, self.displayName = run.id, run.name, run.display_name
        self.tags, self.state, self.config = run.tags, run.state, run.config
        self.group, self.jobType, self.commit = run.group, run.job_type, run.commit
        self.createdAt, self.heartbeatAt = run.created_at, run.heartbeat_at
        self.description, self.notes, self.summaryMetrics = run.description, run.notes, run.summary
        self.user = Plain("User", name="Tester", username="tester")
        self.project = Project(state, url, run.entity, run.project)
        self.fileCount = len(run.files)

    @property
    def historyLineCount(self) -> int:
        return len(self._lines("history"))

    @property
    def eventsLineCount(self) -> int:
        return len(self._lines("events"))

    @property
    def logLineCount(self) -> int:
        return len(self._lines("output"))

    @property
    def historyTail(self) -> str:
        return json.dumps(self._lines("history")[-1:])

    @property
    def eventsTail(self) -> str:
        return json.dumps(self._lines("events")[-1:])

    def wandbConfig(self, keys: list[str]) -> str:
        own = parsed(self._run.config).get("_wandb", {}).get("value", {})
        return json.dumps({key: own[key] for key in keys if key in own})

    @property
    def historyKeys(self) -> dict[str, Any]:
        keys: dict[str, Any] = {}
        last = -1
        for line in self._lines("history"):
            row = json.loads(line)
            last = max(last, row.get("_step", -1))
            for key, value in row.items():
                entry = keys.setdefault(key, {"typeCounts": [], "monotonic": False, "previousValue": None})
                entry["previousValue"] = value
                _count(entry["typeCounts"], value)
        return {"sets": [], "keys": keys, "lastStep": last}

    def history(self, samples: int | None = None, minStep: int = 0, maxStep: int | None = None) -> list[str]:
        """Lines of the steps from `minStep` up to, but without, `maxStep`."""
        return [
            line
            for line in self._lines("history")
            if (step := json.loads(line).get("_step", 0)) >= minStep and (maxStep is None or step < maxStep)
        ][:samples]

    def events(self, samples: int | None = None) -> list[str]:
        return self._lines("events")[:samples]

    def sampledHistory(self, specs: list[str]) -> list[list[dict[str, Any]]]:
        """For each spec the rows that have all its keys; `maxStep` is the last step."""
        return [self._sampled(json.loads(spec)) for spec in specs]

    def _sampled(self, spec: dict[str, Any]) -> list[dict[str, Any]]:
        rows = [json.loads(line) for line in self._lines("history")]
        first, last = spec.get("minStep", 0), spec.get("maxStep")
        return [
            {key: row[key] for key in spec["keys"]}
            for row in rows
            if all(key in row for key in spec["keys"])
            and row.get("_step", 0) >= first
            and (last is None or row.get("_step", 0) <= last)
        ][: spec.get("samples")]

    def parquetHistory(self, liveKeys: list[str]) -> Plain:
        return Plain("ParquetHistory", parquetUrls=[], liveData=[])

    def files(
        self,
        names: list[str] | None = None,
        after: str | None = None,
        first: int | None = None,
        pattern: str | None = None,
    ) -> Plain:
        like = pattern and pattern.replace("%", "*").replace("_", "?")
        nodes = [
            self._file(name)
            for name in sorted(self._run.files)
            if (not names or name in names) and (not like or fnmatch.fnmatchcase(name, like))
        ]
        return connection("File", nodes, first, after)

    def _file(self, name: str) -> File:
        blob = f"runs/{self._run.key}/{name}"
        content = self._state.read_blob(blob) or b""
        return File(
            f"{self._url}/storage/{blob}", name, len(content), self._run.files[name], self._run.heartbeat_at
        )

    def outputArtifacts(self, after: str | None = None, first: int | None = None) -> Plain:
        logged = [a for a in self._state.artifacts.values() if self._run.key in a.logged_by]
        return self._artifacts(logged, first, after)

    def inputArtifacts(self, after: str | None = None, first: int | None = None) -> Plain:
        return self._artifacts([self._state.artifacts[number] for number in self._run.used], first, after)

    def _artifacts(self, found: list[ArtifactState], first: int | None, after: str | None) -> Plain:
        nodes = [Artifact(self._state, self._url, artifact) for artifact in found]
        return connection("Artifact", nodes, first, after)

    def _lines(self, stream: str) -> list[str]:
        return self._state.lines(self._run, stream)


def _count(counts: list[dict[str, Any]], value: Any) -> None:
    kind = "number" if isinstance(value, int | float) else "string" if isinstance(value, str) else "map"
    for entry in counts:
        if entry["type"] == kind:
            entry["count"] += 1
            return
    counts.append({"type": kind, "count": 1})


class File:
    """A file of a run or an artifact."""

    typename = "File"

    def __init__(self, url: str, name: str, size: int, md5: str, at: str) -> None:
        self.id, self.name, self.displayName = encoded_id("File", url), name, name
        self.directUrl, self.storagePath = url, url
        self.sizeBytes, self.md5, self.digest, self.updatedAt = size, md5, md5, at
        self.mimetype = mimetypes.guess_type(name)[0] or "application/octet-stream"

    def url(self, upload: bool = False) -> str:
        return self.directUrl


class Collection:
    """A sequence of versions."""

    typename = "ArtifactSequence"
    interfaces = ("ArtifactCollection",)

    def __init__(self, state: State, url: str, any_version: ArtifactState) -> None:
        self._state, self._url = state, url
        self._where = any_version.entity, any_version.project, any_version.collection
        self.name, self.type = any_version.collection, any_version.type
        self.id = encoded_id("ArtifactCollection", "/".join(self._where))
        self.description, self.createdAt, self.updatedAt = (
            None,
            any_version.created_at,
            any_version.updated_at,
        )
        self.project = Project(state, url, any_version.entity, any_version.project)
        self.defaultArtifactType = Plain("ArtifactType", name=any_version.type)
        self.tags = connection("Tag", [], None, None)

    @property
    def latestArtifact(self) -> Artifact | None:
        versions = self._state.versions(*self._where)
        return Artifact(self._state, self._url, versions[-1]) if versions else None

    def artifactMembership(self, aliasName: str) -> Membership | None:
        found = self._state.named(self._where[0], self._where[1], f"{self.name}:{aliasName}")
        return Membership(self._state, self._url, found) if found else None

    def artifacts(
        self,
        after: str | None = None,
        first: int | None = None,
        order: str | None = None,
        filters: str | None = None,
    ) -> Plain:
        nodes = [Artifact(self._state, self._url, version) for version in self._state.versions(*self._where)]
        return connection("VersionedArtifact", nodes, first, after)


class Membership:
    """A version in its collection."""

    typename = "ArtifactCollectionMembership"

    def __init__(self, state: State, url: str, artifact: ArtifactState) -> None:
        self._url, self._artifact = url, artifact
        self.id = encoded_id("ArtifactCollectionMembership", str(artifact.number))
        self.versionIndex, self.createdAt = artifact.version, artifact.created_at
        self.artifactCollection = Collection(state, url, artifact)
        self.artifact = Artifact(state, url, artifact)
        self.aliases = self.artifact.aliases

    def files(
        self, after: str | None = None, first: int | None = None, names: list[str] | None = None
    ) -> Plain:
        found = sorted(self._artifact.files.items())
        nodes = [self._file(path, file) for path, file in found if not names or path in names]
        return connection("File", nodes, first, after)

    def _file(self, path: str, file: FileState) -> File:
        return File(f"{self._url}/storage/{file.blob}", path, file.size, file.md5, self._artifact.updated_at)


class Artifact:
    """A version of an artifact."""

    typename = "Artifact"
    ttlDurationSeconds = -2
    ttlIsInherited = True
    digestAlgorithm = "MANIFEST_MD5"

    def __init__(self, state: State, url: str, artifact: ArtifactState) -> None:
        self._state, self._url, self._artifact = state, url, artifact
        self.id, self.state, self.digest = artifact.id, artifact.state, artifact.digest
        self.versionIndex, self.commitHash = artifact.version, artifact.digest[:20]
        self.artifactType = Plain("ArtifactType", name=artifact.type)
        self.description, self.metadata = artifact.description, artifact.metadata
        self.historyStep, self.fileCount = artifact.history_step, len(artifact.files)
        self.size = sum(file.size for file in artifact.files.values())
        self.createdAt, self.updatedAt = artifact.created_at, artifact.updated_at
        self.tags = [Plain("Tag", id=encoded_id("Tag", tag), name=tag) for tag in artifact.tags]

    @property
    def artifactSequence(self) -> Collection:
        return Collection(self._state, self._url, self._artifact)

    @property
    def aliases(self) -> list[Plain]:
        collection = self.artifactSequence
        return [
            Plain("ArtifactAlias", id=encoded_id("Alias", alias), alias=alias, artifactCollection=collection)
            for alias in self._artifact.aliases
        ]

    @property
    def currentManifest(self) -> Plain:
        url = f"{self._url}/storage/{self._artifact.manifest_blob}"
        return Plain("ArtifactManifest", file=Plain("File", directUrl=url))

    @property
    def createdBy(self) -> Run:
        return Run(self._state, self._url, self._state.runs[self._artifact.run])

    @property
    def usedBy(self) -> Plain:
        number = self._artifact.number
        runs = [Run(self._state, self._url, run) for run in self._state.runs.values() if number in run.used]
        return connection("Run", runs, None, None)
