"""Instances of conversations whose keys could not be told apart are refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import evalkit
from evalkit.data import DataStore
from evalkit.errors import DataError
from evalkit.instance import Instance
from evalkit.registry import isolated_registries
from evalkit.runs.load import load_instances
from evalkit.runs.options import RunOptions
from evalkit.runs.plan import make_plan, open_plan_context


@pytest.mark.parametrize(("ids", "is_refused"), [("a a/u2", True), ("a a/u3", False), ("b a/u2", False)])
def test_an_id_like_that_of_a_turn(ids: str, is_refused: bool) -> None:
    with isolated_registries():

        @evalkit.scenario("named")
        class Named(evalkit.Scenario):
            """Instances of these ids."""

            def instances(self, data: DataStore) -> Iterator[Instance]:
                for name in ids.split():
                    yield Instance("Hi", (), "test", name, extra={"follow_ups": ["And?"]})

        @evalkit.run_spec_function("named")
        def named() -> evalkit.RunSpec:
            """Talk."""
            scenario_spec = evalkit.ScenarioSpec(name="named")
            return evalkit.RunSpec(
                name="named", scenario_spec=scenario_spec, adapter_spec=evalkit.dialogue("Talk.")
            )

        context = open_plan_context(RunOptions(run_entries=("named:model=evalkit/echo",)))
        (run,) = make_plan(context).runs
        if is_refused:
            with pytest.raises(DataError, match="give one of them another id"):
                load_instances(run, context)
        else:
            assert load_instances(run, context).num_requests == 4
