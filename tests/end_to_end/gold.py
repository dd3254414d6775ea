"""The right answers of a plan, as the double takes them: prompt to completion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from evalkit.instance import Instance
from evalkit.request import RequestState
from evalkit.runs.load import load_instances
from evalkit.runs.options import RunOptions
from evalkit.runs.plan import make_plan, open_plan_context


def gold_answers(**options: Any) -> dict[str, str]:
    """For each prompt of the plan, its right answer: a letter where options have letters, else the text."""
    return {state.request.prompt: _right(instance, state) for instance, state in planned_requests(**options)}


def planned_requests(**options: Any) -> Iterator[tuple[Instance, RequestState]]:
    """Every request of a plan with the instance it asks about."""
    context = open_plan_context(RunOptions(**options))
    for run in make_plan(context).runs:
        loaded = load_instances(run, context)
        instances = {instance.id: instance for instance in loaded.instances}
        for state in loaded.requests():
            yield instances[state.instance_id], state


def _right(instance: Instance, state: RequestState) -> str:
    text = instance.correct_references[0].text
    if state.output_mapping is None:
        return text
    (letter,) = [letter for letter, option in state.output_mapping.items() if option == text]
    return letter
