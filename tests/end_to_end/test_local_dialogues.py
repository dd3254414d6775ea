"""Conversations on a model in this process: a second turn joins what is computed, and waits for nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

import evalkit
from evalkit.registry import isolated_registries
from evalkit.response import Response
from evalkit.results.run_directory import RunDirectory
from evalkit.testing.models import make_model
from tests.end_to_end.test_local_models import deploy
from tests.end_to_end.workspace import records_of

PLUGIN = Path(__file__).with_name("talks.py")


@pytest.mark.slow
@pytest.mark.parametrize("num", [6000])
def test_a_second_turn_is_computed_before_the_last_first_turn(tmp_path: Path, num: int) -> None:
    deployments = deploy(tmp_path, a={"model": str(make_model(tmp_path / "model"))})
    with isolated_registries():
        (result,) = evalkit.run(
            f"talks:num={num},max_tokens=3,model=test/a",
            plugins=(str(PLUGIN),),
            model_deployments=deployments,
            output_path=tmp_path / "out",
        )
    assert result.status == "complete", result
    began: dict[int | None, list[float]] = {1: [], 2: []}
    for record in records_of(RunDirectory(Path(str(result.path)))):
        assert isinstance(record.outcome, Response)
        assert record.outcome.efficiency is not None
        began[record.state.turn].append(record.outcome.efficiency.started_at)
    assert len(began[1]) == len(began[2]) == num
    last_first = max(began[1])
    early = sum(at < last_first for at in began[2])
    assert early > num / 2, "second turns waited until the first turns were done"
