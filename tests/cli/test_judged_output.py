"""What `evalkit run` says of judges that gave no clear verdict."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalkit.plugins import load_builtins
from evalkit.registry import isolated_registries
from evalkit.request import Request
from tests.cli.conftest import Call
from tests.judges.scripted import DEPLOYMENTS, Script, ScriptedClient, number_in, register, replies


@pytest.fixture(autouse=True)
def script() -> Iterator[Script]:
    load_builtins()
    ScriptedClient.script = made = Script()
    with isolated_registries():
        register()
        yield made


def reply(who: str, request: Request) -> str:
    """No rating of numbers 2 and 5."""
    return "Hm." if number_in(request.prompt) in (2, 5) else replies(request.prompt)


def test_the_reasons_and_the_remedy_are_said(script: Script, call: Call, tmp_path: Path) -> None:
    script.reply = reply
    deployments = tmp_path / "deployments.yaml"
    deployments.write_text(DEPLOYMENTS, encoding="utf-8")
    entry = "judged:num_test=6,model=own/model,judge=own/judge"
    command = ["run", "-r", entry, "--output-path", str(tmp_path / "out"), "-q"]
    command += ["--model-deployments", str(deployments)]
    for _ in range(2):
        result = call(*command)
        assert result.code == 1
        said = " ".join(result.err.split())
        assert "2 not scored (rating: 2 unclear)" in said
        assert "no clear verdict on 2 questions, though each was repeated; --retry-unclear asks again" in said
    result = call(*command, "--json")
    (run,) = json.loads(result.out)["runs"]
    stage = run["stages"]["judge:own_rating"]
    assert (stage["status"], stage["failures"], stage["num_failed"]) == ("partial", {"unclear": 2}, 2)
    assert run["stages"]["answers"]["status"] == "complete"
    script.reply = lambda who, request: replies(request.prompt)
    result = call(*command, "--retry-unclear")
    assert result.code == 0
    assert "unclear" not in result.out + result.err
