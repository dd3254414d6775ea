"""What can be written by GraphQL: runs, their files, artifacts and aliases."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from tests.wandb_server.graphql import NotImplementedHere, Plain, Refused
from tests.wandb_server.schema import ENTITY, Artifact, Project, Run
from tests.wandb_server.state import ArtifactState, FileState, RunState, State, decoded_id, encoded_id, now

_OF_RUN = {
    "groupName": "group",
    "description": "description",
    "displayName": "display_name",
    "notes": "notes",
    "config": "config",
    "commit": "commit",
    "jobType": "job_type",
    "state": "state",
    "tags": "tags",
    "summaryMetrics": "summary",
}
_NOT_KEPT = ("host", "debug", "jobProgram", "jobRepo", "program")


class Mutation:
    """The root of mutations; a method takes the fields of `input`."""

    typename = "Mutation"

    def __init__(self, state: State, url: str) -> None:
        self._state, self._url = state, url

    def upsertBucket(
        self,
        id: str | None = None,
        name: str | None = None,
        modelName: str | None = None,
        entityName: str | None = None,
        sweep: str | None = None,
        **values: Any,
    ) -> Plain:
        """Make a run, or change what is sent of one: null keeps what is there."""
        if id is not None:
            _, name, modelName, entityName = decoded_id(id).split(":")
        if sweep or not name or (entityName or ENTITY) != ENTITY:
            raise Refused(f"no run {name!r} of {entityName!r}")
        key = f"{entityName or ENTITY}/{modelName or 'uncategorized'}/{name}"
        run = self._state.runs.get(key)
        is_new = run is None
        if run is None:
            entity, project, _ = key.split("/")
            run = RunState(entity, project, name, len(self._state.runs), display_name=name)
            self._state.runs[key] = run
        for field, value in values.items():
            if field in _OF_RUN and value is not None:
                setattr(run, _OF_RUN[field], value)
            elif field not in _OF_RUN and field not in _NOT_KEPT:
                raise NotImplementedHere(f"upsertBucket with {field}")
        run.heartbeat_at = now()
        self._state.save()
        return Plain("UpsertBucketPayload", bucket=Run(self._state, self._url, run), inserted=is_new)

    def createRunFiles(self, entityName: str, projectName: str, runName: str, files: list[str]) -> Plain:
        run = self._run(entityName, projectName, runName)
        uploads = [
            Plain("File", name=name, uploadUrl=f"{self._url}/storage/{quote(f'runs/{run.key}/{name}')}")
            for name in files
        ]
        return Plain("CreateRunFilesPayload", runID=run.id, uploadHeaders=[], files=uploads)

    def _run(self, entity: str | None, project: str | None, name: str | None) -> RunState:
        run = self._state.runs.get(f"{entity or ENTITY}/{project}/{name}")
        if run is None:
            raise Refused(f"there is no run {entity}/{project}/{name}")
        return run

    def createArtifact(
        self,
        entityName: str,
        projectName: str,
        runName: str,
        artifactTypeName: str,
        artifactCollectionName: str,
        digest: str,
        digestAlgorithm: str,
        aliases: list[dict[str, Any]] | None = None,
        tags: list[dict[str, Any]] | None = None,
        metadata: str | None = None,
        description: str | None = None,
        clientID: str = "",
        sequenceClientID: str = "",
        enableDigestDeduplication: bool = True,
        historyStep: int | None = None,
    ) -> Plain:
        """Begin a version; the same content as a version that is there gives that one."""
        if digestAlgorithm != "MANIFEST_MD5":
            raise NotImplementedHere(f"artifacts with {digestAlgorithm}")
        run = self._run(entityName, projectName, runName)
        wanted = [each["alias"] for each in aliases or ()]
        versions = self._state.versions(entityName, projectName, artifactCollectionName)
        if versions and versions[0].type != artifactTypeName:
            raise Refused(f"{artifactCollectionName} is of type {versions[0].type}, not {artifactTypeName}")
        same = [version for version in versions if version.digest == digest]
        if same and enableDigestDeduplication:
            artifact = same[-1]
            self._state.set_aliases(artifact, wanted)
        else:
            artifact = ArtifactState(
                number=len(self._state.artifacts) + 1,
                entity=entityName,
                project=projectName,
                collection=artifactCollectionName,
                type=artifactTypeName,
                digest=digest,
                run=run.key,
                client_id=clientID,
                wanted_aliases=wanted,
                metadata=metadata,
                description=description,
                history_step=historyStep,
            )
            self._state.artifacts[artifact.number] = artifact
        if artifact.state == "COMMITTED" and run.key not in artifact.logged_by:
            artifact.logged_by.append(run.key)
        self._state.save()
        return self._payload("CreateArtifactPayload", artifact)

    def _payload(self, typename: str, artifact: ArtifactState) -> Plain:
        return Plain(typename, artifact=Artifact(self._state, self._url, artifact))

    def _artifact(self, identifier: str) -> ArtifactState:
        found = self._state.artifacts.get(int(decoded_id(identifier)))
        if found is None:
            raise Refused(f"there is no artifact {identifier}")
        return found

    def createArtifactManifest(
        self,
        artifactID: str,
        name: str,
        digest: str,
        entityName: str,
        projectName: str,
        runName: str,
        type: str,
        baseArtifactID: str | None = None,
    ) -> Plain:
        if type != "FULL":  # a whole one may name a base all the same
            raise NotImplementedHere(f"a manifest of type {type}")
        artifact = self._artifact(artifactID)
        artifact.manifest_digest = digest
        self._state.save()
        identifier = encoded_id("ArtifactManifest", str(artifact.number))
        file = Plain(
            "File",
            id=encoded_id("File", artifact.manifest_blob),
            uploadUrl=f"{self._url}/storage/{artifact.manifest_blob}",
            uploadHeaders=[],
        )
        return Plain("Payload", artifactManifest=Plain("ArtifactManifest", id=identifier, file=file))

    def createArtifactFiles(self, artifactFiles: list[dict[str, Any]], storageLayout: str) -> Plain:
        """Where each file goes; no address for what an earlier version of the collection has."""
        if storageLayout != "V2":
            raise NotImplementedHere(f"storage layout {storageLayout}")
        edges = []
        for spec in artifactFiles:
            artifact = self._artifact(spec["artifactID"])
            file, is_there = self._upload(artifact, spec["name"], spec["md5"])
            birth = Artifact(self._state, self._url, self._state.artifacts[file.artifact])
            node = Plain(
                "File",
                storagePath=file.blob,
                uploadUrl=None if is_there else f"{self._url}/storage/{quote(file.blob)}",
                uploadHeaders=[],
                uploadMultipartUrls=None,
                artifact=birth,
            )
            edges.append(Plain("FileEdge", node=node))
        self._state.save()
        return Plain("CreateArtifactFilesPayload", files=Plain("FileConnection", edges=edges))

    def _upload(self, artifact: ArtifactState, name: str, md5: str) -> tuple[FileState, bool]:
        versions = self._state.versions(artifact.entity, artifact.project, artifact.collection)
        for version in reversed(versions):
            before = version.files.get(name)
            if before is not None and before.md5 == md5:
                artifact.uploads[name] = before
                return before, True
        file = FileState(md5, 0, artifact.number, f"artifacts/{artifact.number}/{name}")
        artifact.uploads[name] = file
        return file, False

    def commitArtifact(self, artifactID: str) -> Plain:
        """Make a version visible; refused where a file of its manifest has not arrived whole."""
        artifact = self._artifact(artifactID)
        if artifact.state != "COMMITTED":
            content = self._state.read_blob(artifact.manifest_blob)
            if content is None:
                raise Refused("the manifest was not uploaded")
            for path, entry in json.loads(content)["contents"].items():
                artifact.files[path] = self._arrived(artifact, path, entry)
            versions = self._state.versions(artifact.entity, artifact.project, artifact.collection)
            artifact.version, artifact.state = len(versions), "COMMITTED"
            artifact.updated_at = now()
            artifact.logged_by.append(artifact.run)
            self._state.set_aliases(artifact, artifact.wanted_aliases)
            self._state.save()
        return self._payload("CommitArtifactPayload", artifact)

    def _arrived(self, artifact: ArtifactState, path: str, entry: dict[str, Any]) -> FileState:
        file = artifact.uploads.get(path)
        if "ref" in entry:
            return FileState(entry["digest"], entry.get("size", 0), artifact.number, "")
        if file is None or self._state.read_blob(file.blob) is None or file.md5 != entry["digest"]:
            raise Refused(f"{path} was not uploaded")
        return FileState(file.md5, entry["size"], file.artifact, file.blob)

    def useArtifact(
        self,
        entityName: str,
        projectName: str,
        runName: str,
        artifactID: str,
        artifactEntityName: str | None = None,
        artifactProjectName: str | None = None,
        usedAs: str | None = None,
    ) -> Plain:
        artifact = self._artifact(artifactID)
        run = self._run(entityName, projectName, runName)
        if artifact.number not in run.used:
            run.used.append(artifact.number)
        self._state.save()
        return self._payload("UseArtifactPayload", artifact)

    def addAliases(self, artifactID: str, aliases: list[dict[str, Any]]) -> Plain:
        artifact = self._artifact(artifactID)
        self._state.set_aliases(artifact, [each["alias"] for each in aliases])
        self._state.save()
        return Plain("AddAliasesPayload", success=True)

    def deleteAliases(self, artifactID: str, aliases: list[dict[str, Any]]) -> Plain:
        artifact = self._artifact(artifactID)
        gone = [each["alias"] for each in aliases]
        artifact.aliases = [alias for alias in artifact.aliases if alias not in gone]
        self._state.save()
        return Plain("DeleteAliasesPayload", success=True)

    def updateArtifact(
        self,
        artifactID: str,
        description: str | None = None,
        metadata: str | None = None,
        ttlDurationSeconds: int | None = None,
        tagsToAdd: list[dict[str, Any]] | None = None,
        tagsToDelete: list[dict[str, Any]] | None = None,
    ) -> Plain:
        artifact = self._artifact(artifactID)
        artifact.description = description if description is not None else artifact.description
        artifact.metadata = metadata if metadata is not None else artifact.metadata
        artifact.tags = [tag for tag in artifact.tags if tag not in _names(tagsToDelete)]
        artifact.tags += [tag for tag in _names(tagsToAdd) if tag not in artifact.tags]
        artifact.updated_at = now()
        self._state.save()
        return self._payload("UpdateArtifactPayload", artifact)

    def upsertModel(self, name: str, entityName: str | None = None, **values: Any) -> Plain:
        """A project needs no making: it is there with its first run."""
        project = Project(self._state, self._url, entityName or ENTITY, name)
        return Plain("UpsertModelPayload", project=project, model=project, inserted=True)


def _names(tags: list[dict[str, Any]] | None) -> list[str]:
    return [tag["tagName"] for tag in tags or ()]
