"""The chance baselines know the options of a question, never which answers are right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import evalkit
from evalkit import DataStore, Instance, Reference, RunSpec, ScenarioSpec
from evalkit.adapters.adapter import Adapter
from evalkit.registry import ADAPTERS, isolated_registries, scenario
from evalkit.run_specs.layouts import generation
from evalkit.runs.load import load_instances
from evalkit.runs.plan import open_plan_context, plan_run
from evalkit.specs.run_spec import AdapterSpec, metric_specs

NUM_TRAIN, NUM_TEST = 6, 60


class Trivia(evalkit.Scenario):
    """Questions whose answers have aliases; 7 of 60 accept the most frequent answer of the train split."""

    def instances(self, data: DataStore) -> Iterator[Instance]:
        for number in range(NUM_TRAIN):
            answer = "Paris" if number < 3 else f"train {number}"
            yield Instance(f"train {number}?", (Reference(answer, ("correct",)),), split="train")
        for number in range(NUM_TEST):
            answers = [f"answer {number}", *(f"alias {number} {alias}" for alias in range(number % 4))]
            answers += ["Paris"] if number < 7 else []
            yield Instance(
                f"question {number}?", tuple(Reference(a, ("correct",)) for a in answers), split="test"
            )


@pytest.fixture(autouse=True)
def trivia() -> Iterator[None]:
    with isolated_registries():
        scenario("aliases")(Trivia)
        yield


def score(model: str, folder: Path, **adapter: object) -> float:
    spec = RunSpec(
        name="aliases",
        scenario_spec=ScenarioSpec(name="aliases"),
        adapter_spec=generation("", "Question", "Answer", max_tokens=5),
        metric_specs=metric_specs("exact_match"),
    ).with_adapter(model=model, model_deployment=model, num_outputs=1, **adapter)
    evalkit.run_spec_function("aliases")(lambda: spec)
    (result,) = evalkit.run(f"aliases:model={model}", output_path=folder)
    assert result.status == "complete", result.message
    assert result.path is not None
    return evalkit.load_run(result.path).stat("exact_match").mean or 0.0


@pytest.mark.parametrize("adapter", [{}, {"multi_label": True}, {"chat_style": "turns"}])
def test_the_floor_is_what_the_train_split_gives(tmp_path: Path, adapter: dict[str, object]) -> None:
    assert score("evalkit/majority", tmp_path, **adapter) == pytest.approx(7 / NUM_TEST)
    # 4 distinct outputs in the train split, one of them right for 7 questions: 1.75 right answers expected.
    assert score("evalkit/random", tmp_path, **adapter) <= 7 / NUM_TEST


def choices(references: list[tuple[str, bool]], method: str, **spec: object) -> tuple[str, ...]:
    adapter: Adapter = ADAPTERS.get(method)(AdapterSpec.model_validate({"method": method, **spec}))
    tagged = tuple(Reference(text, ("correct",) if right else ()) for text, right in references)
    return adapter.choices(Instance("q", tagged, "test", id="id0"))


ALIASES = [("one", True), ("1", True)]
OPTIONS = [("one", True), ("two", False), ("uno", True)]


@pytest.mark.parametrize("multi_label", [False, True])
def test_references_are_options_only_if_one_is_wrong(multi_label: bool) -> None:
    for method in ("generation", "chat", "multiple_choice_separate_original"):
        assert choices(ALIASES, method, multi_label=multi_label) == ()
        assert choices(OPTIONS, method, multi_label=multi_label) == ("one", "two", "uno")
        assert choices([("one", False), ("two", False)], method) == ("one", "two")
        assert choices([("one", True)], method) == choices([("one", False)], method) == ()
        assert choices([], method) == ()


def test_letters_and_yes_or_no_are_no_answers() -> None:
    assert choices(ALIASES, "multiple_choice_joint") == ("A", "B")
    assert choices(ALIASES, "ranking_binary") == ("Yes", "No")


def test_a_run_hands_the_baselines_no_right_answer() -> None:
    context = open_plan_context(evalkit.RunOptions())
    spec = RunSpec(
        name="aliases",
        scenario_spec=ScenarioSpec(name="aliases"),
        adapter_spec=generation("", "Question", "Answer", max_tokens=5),
    ).with_adapter(model="evalkit/random", model_deployment="evalkit/random")
    states = list(load_instances(plan_run("aliases", spec, context), context).requests())
    assert len(states) == NUM_TEST
    assert all(state.request.hints is not None and not state.request.hints.choices for state in states)
