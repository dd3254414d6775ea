"""What makes no sound conversation is refused before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

import evalkit
from evalkit.adapters.adapter import Adapter, RequestSlot
from evalkit.adapters.dialogue import DialogueAdapter
from evalkit.data import DataStore
from evalkit.errors import DataError
from evalkit.instance import Instance
from evalkit.registry import ADAPTERS, isolated_registries
from evalkit.request import RequestState, next_turn
from evalkit.response import Response
from evalkit.runs.load import LoadedRun, load_instances
from evalkit.runs.options import RunOptions
from evalkit.runs.plan import make_plan, open_plan_context
from evalkit.specs.run_spec import AdapterSpec


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


def loaded(method: str) -> tuple[LoadedRun, RequestState]:
    spec = AdapterSpec(method=method, max_train_instances=0, num_outputs=1)
    instances = [Instance("Hi", (), "test", "id0", extra={"follow_ups": ["And?"]})]
    adapter: Adapter = ADAPTERS.get(method)(spec)
    made = LoadedRun(adapter, instances, [])
    return made, next(made.requests())


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"key": "t0/id0/u3"}, "not the next turn"),
        ({"turn": 3}, "not the next turn"),
        ({"instance_id": "id1"}, "not the next turn"),
        ({"unit_size": 5}, "not the next turn"),
        ({"sample": 1}, "not the next turn"),
        ({"twice": True}, "at most one may follow"),
        ({"late": True}, "`follow_ups` names 0 further turns"),
        ({"prompt_truncated": True}, None),
        ({}, None),
    ],
)
def test_what_follows_must_be_the_next_turn(changes: dict[str, Any], problem: str | None) -> None:
    """An adapter's mistake is found before anything is sent, or paid for."""
    twice, late = changes.pop("twice", False), changes.pop("late", False)
    with isolated_registries():

        @evalkit.adapter("odd")
        class Odd(DialogueAdapter):
            def follow_ups(self, instance: Instance) -> Sequence[str]:
                return () if late else ("And?",)

            def after(
                self, instance: Instance, state: RequestState, response: Response
            ) -> Sequence[RequestState]:
                made = replace(next_turn(state, state.request), **changes)
                return (made, made) if twice else (made,)

        source, state = loaded("odd")
        if problem is None:
            assert len(source.after(state, Response(()))) == 1
        else:
            with pytest.raises(DataError, match=problem):
                source.after(state, Response(()))


def test_a_conversation_has_one_first_request() -> None:
    with isolated_registries():

        @evalkit.adapter("forked")
        class Forked(DialogueAdapter):
            def slots(self, instance: Instance) -> Sequence[RequestSlot]:
                return [RequestSlot(0), RequestSlot(1)]

        with pytest.raises(DataError, match="one first request"):
            loaded("forked")
