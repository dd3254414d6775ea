"""The example of a benchmark with a judge does what it says, with a model on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import evalkit
from evalkit.registry import isolated_registries
from evalkit.runs.events import Event, ModelLoaded

pytest.importorskip("transformers")

PLUGIN = Path(__file__).parents[2] / "examples" / "second_opinion.py"
COPY = """
model_deployments:
  - name: local/judge
    client_spec: {class_name: transformers, args: {model: evalkit/tiny}}
"""


def opinion_of(judge: str, tmp_path: Path, **options: Any) -> tuple[evalkit.RunResult, list[str]]:
    """A run with this judge, and the models that were loaded for it, in order."""
    loaded: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, ModelLoaded):
            loaded.append(event.deployment)

    deployments = tmp_path / "deployments.yaml"
    deployments.write_text(COPY)
    with isolated_registries():
        (result,) = evalkit.run(
            f"second_opinion:num_test=8,model=evalkit/tiny,judge={judge}",
            plugins=(str(PLUGIN),),
            model_deployments=(deployments,),
            output_path=tmp_path / judge,
            observer=listen,
            **options,
        )
    return result, loaded


def test_the_example_is_short() -> None:
    assert len(PLUGIN.read_text(encoding="utf-8").splitlines()) <= 60


@pytest.mark.parametrize("judge", ["evalkit/tiny", "local/judge"])
def test_a_model_judges_itself_or_its_copy(judge: str, tmp_path: Path) -> None:
    result, loaded = opinion_of(judge, tmp_path, max_loaded_models=1)
    assert result.status == "complete", result.message
    means = {stat.name: (stat.mean, stat.n) for stat in result.stats if stat.split == "all"}
    assert means["agrees"] == (1.0, 8)  # greedy, and the same weights
    assert loaded == ["evalkit/tiny", "local/judge"][: 1 + (judge == "local/judge")]
