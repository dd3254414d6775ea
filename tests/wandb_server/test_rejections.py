"""What the server does not implement is an error, never an answer that looks right."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.planted import Planted
from tests.wandb_server.graphql import NotImplementedHere, Plain, execute, parse
from tests.wandb_server.server import WandbServer
from tests.wandb_server.state import FileState, State

QUERIES = {
    "field": "query Q { viewer { shoeSize } }",
    "root": "query Q { weather { today } }",
    "argument": 'query Q { project(name: "p", colour: "red") { id } }',
    "in a fragment": "query Q { viewer { ...F } } fragment F on User { shoeSize }",
    "mutation": "mutation M($input: X!) { stopRun(input: $input) { success } }",
    "input": 'mutation M { upsertBucket(input: {name: "r", modelName: "p", colour: "red"}) { inserted } }',
    "subscription": "subscription S { viewer { id } }",
    "object without fields": "query Q { viewer }",
    "fields of a text": "query Q { viewer { entity { name } } }",
    "no GraphQL": "SELECT * FROM runs",
}


def asked(server: WandbServer, key: str, query: str) -> tuple[int, Any]:
    body = json.dumps({"query": query, "variables": {"input": {"id": "x"}}}).encode()
    request = Request(f"{server.url}/graphql", body, {"Content-Type": "application/json"})
    request.add_header("Authorization", "Basic " + base64.b64encode(f"api:{key}".encode()).decode())
    try:
        with urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_what_is_not_implemented_is_rejected_and_remembered(
    tmp_path: Path, planted: Planted, query: str
) -> None:
    key = planted.use("of W&B")
    with WandbServer(tmp_path, key) as server:
        status, answer = asked(server, key, query)
        assert (status, "not implemented" in answer["errors"][0]["message"]) == (400, True)
        assert len(server.rejected) == 1
        server.rejected.clear()
        assert asked(server, key, "{ viewer { id: entity } }") == (200, {"data": {"viewer": {"id": "team"}}})
        assert asked(server, "another", "{ viewer { id } }")[0] == 401


def test_a_test_with_a_rejected_query_fails(tmp_path: Path, planted: Planted) -> None:
    key = planted.use("of W&B")
    with pytest.raises(AssertionError, match=r"User\.shoeSize"), WandbServer(tmp_path, key) as server:
        asked(server, key, QUERIES["field"])


def test_an_artifact_without_a_file_is_not_committed(tmp_path: Path, planted: Planted) -> None:
    key = planted.use("of W&B")
    create = """mutation { createArtifact(input: {entityName: "team", projectName: "p", runName: "r",
        artifactTypeName: "t", artifactCollectionName: "c", digest: "d", digestAlgorithm: MANIFEST_MD5})
        { artifact { id state } } }"""
    with WandbServer(tmp_path, key) as server:
        asked(server, key, 'mutation { upsertBucket(input: {name: "r", modelName: "p"}) { inserted } }')
        made = asked(server, key, create)[1]["data"]["createArtifact"]["artifact"]
        assert made["state"] == "PENDING"
        commit = (
            f'mutation {{ commitArtifact(input: {{artifactID: "{made["id"]}"}}) {{ artifact {{ id }} }} }}'
        )
        assert asked(server, key, commit)[1]["errors"][0]["message"] == "the manifest was not uploaded"
        (artifact,) = server.state.artifacts.values()
        artifact.uploads["f"] = FileState("m", 1, artifact.number, "artifacts/1/f")
        contents = {"contents": {"f": {"digest": "m", "size": 1}}}
        server.state.write_blob(artifact.manifest_blob, json.dumps(contents).encode())
        assert asked(server, key, commit)[1]["errors"][0]["message"] == "f was not uploaded"
        server.state.write_blob("artifacts/1/f", b"x")
        assert "errors" not in asked(server, key, commit)[1]
        assert State(tmp_path).artifacts[1].version == 0


def test_documents_are_executed_whatever_way_they_are_written() -> None:
    document = parse("""
        # a comment, "with quotes"
        query Named($on: Boolean = true, $sent: [Int!]!, $missing: String) {
          same: thing(sent: $sent, missing: $missing
            plain: {a: -1.5, b: [RED, null, "\\u65e5"], c: $missing}) {
            ... on Thing { name @include(if: $on) hidden @skip(if: $on) }
            ... on Other { name2 }
            inner { a }
            ...F
          }
        }
        fragment F on Interface { inner { b } __typename }
    """)
    seen = {}

    def thing(**arguments: Any) -> Plain:
        seen.update(arguments)
        found = Plain("Thing", name="n", inner=Plain("Inner", a=1, b=2))
        found.interfaces = ("Interface",)  # type: ignore[attr-defined]
        return found

    answer = execute(document, {"sent": [1, 2]}, Plain("Query", thing=thing))
    assert answer == {"same": {"name": "n", "inner": {"a": 1, "b": 2}, "__typename": "Thing"}}
    assert seen == {"sent": [1, 2], "plain": {"a": -1.5, "b": ["RED", None, "日"]}}
    with pytest.raises(NotImplementedHere, match="ends too early"):
        parse("query { viewer { id }")
