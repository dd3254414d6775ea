"""A request as journal, cache and people see it: no field is forgotten, and a chat has a text."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

import evalkit
from evalkit.adapters.chat import MESSAGES
from evalkit.cli.plan import describe_requests, describe_run
from evalkit.execution.answer_source import content_key
from evalkit.execution.journal import Journal
from evalkit.execution.journal_index import read_journal
from evalkit.interchange.helm_export import export_run
from evalkit.registry import isolated_registries
from evalkit.request import Hints, Message, Request, RequestState
from evalkit.response import Completion, Response
from evalkit.run_specs.layouts import generation
from evalkit.runs.options import RunOptions
from evalkit.runs.plan import PlanContext, make_plan, open_plan_context

PLAIN = Request("p")
# Another value than the default, for every field: a field that is new must be named here.
CHANGED: dict[str, Any] = {
    "prompt": "q",
    "messages": (Message("system", "s"), Message("user", "u")),
    "temperature": 0.5,
    "num_completions": 2,
    "top_k_per_token": 3,
    "max_tokens": 4,
    "stop_sequences": ("\n", "x"),
    "echo_prompt": True,
    "scored_from": 5,
    "embedding": True,
    "top_p": 0.25,
    "presence_penalty": 0.5,
    "frequency_penalty": -0.5,
    "random": "7",
    "expects_thinking": True,
    "top_k": 40,
    "repetition_penalty": 1.25,
    "response_schema": "{}",
}
LONG = "word " * 400


def test_every_field_is_named_here() -> None:
    assert {field.name for field in fields(Request)} == {*CHANGED, "hints"}


@pytest.mark.parametrize("name", CHANGED)
def test_no_field_is_forgotten_by_journal_cache_or_plan(name: str, tmp_path: Path) -> None:
    changed = replace(PLAIN, **{name: CHANGED[name]})
    assert json.dumps(changed.to_json()) != json.dumps(PLAIN.to_json())
    assert Request.from_json(json.loads(json.dumps(changed.to_json()))) == changed
    assert content_key("model", changed, 0) != content_key("model", PLAIN, 0)
    assert changed.described() != PLAIN.described()
    assert set(changed.described()) == set(CHANGED)
    answer = Response((Completion("a", "stop"),))
    with Journal.open(tmp_path / "journal.jsonl") as journal:
        journal.append(RequestState("t0/id0", "id0", 0, changed), answer)
    (record,) = read_journal(tmp_path / "journal.jsonl")
    assert getattr(record, "state").request == changed  # noqa: B009 - a damaged line would have none


def test_hints_are_written_nowhere() -> None:
    hinted = replace(PLAIN, hints=Hints(("A",)))
    assert hinted.to_json() == PLAIN.to_json() == {"prompt": "p"}
    assert hinted.described() == PLAIN.described()


def test_the_json_of_a_request_is_as_it_was() -> None:
    everything = Request(**CHANGED)
    assert json.dumps(everything.to_json()) == (
        '{"prompt": "q", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}], '
        '"temperature": 0.5, "num_completions": 2, "top_k_per_token": 3, "max_tokens": 4, '
        '"stop_sequences": ["\\n", "x"], "echo_prompt": true, "scored_from": 5, "embedding": true, '
        '"top_p": 0.25, "presence_penalty": 0.5, "frequency_penalty": -0.5, "random": "7", '
        '"expects_thinking": true, "top_k": 40, "repetition_penalty": 1.25, '
        '"response_schema": "{}"}'
    )


def test_a_chat_has_a_text_with_its_roles() -> None:
    assert PLAIN.text == "p"
    assert Request("", CHANGED["messages"]).text == "system: s\n\nuser: u"
    assert Request("whatever", CHANGED["messages"]).text == "system: s\n\nuser: u"


@pytest.fixture
def context(tmp_path: Path) -> Any:
    """A benchmark of conversations, and a priced model."""
    deployments = tmp_path / "models.yaml"
    deployments.write_text(
        "model_deployments:\n- name: mine/model\n  client_spec: {class_name: echo}\n"
        "  prices: {input_usd_per_million_tokens: 1000, output_usd_per_million_tokens: 0}\n"
    )
    with isolated_registries():

        @evalkit.scenario("talks")
        class Talks(evalkit.Scenario):
            def instances(self, data: evalkit.DataStore) -> list[evalkit.Instance]:
                turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": LONG}]
                right = (evalkit.Reference("word", ("correct",)),)
                return [evalkit.Instance("", right, "test", extra={MESSAGES: turns})]

        @evalkit.run_spec_function("talks")
        def talks() -> evalkit.RunSpec:
            return evalkit.RunSpec(
                name="talks",
                scenario_spec=evalkit.ScenarioSpec(name="talks"),
                adapter_spec=generation("", "Q", "A", max_tokens=5).model_copy(
                    update={"method": "chat", "max_train_instances": 0}
                ),
                metric_specs=evalkit.metric_specs("exact_match"),
            )

        options = RunOptions(
            run_entries=("talks:model=mine/model",),
            model_deployments=(deployments,),
            output_path=tmp_path / "out",
        )
        yield open_plan_context(options)


def test_a_plan_counts_and_shows_a_chat(context: PlanContext) -> None:
    (run,) = make_plan(context).runs
    row = describe_run(run, context)
    assert 400 <= row["prompt_tokens"] <= 1000
    assert row["max_cost_usd"] >= 0.4
    (request,) = describe_requests(run, context)
    assert request["prompt"] == f"system: Be brief.\n\nuser: {LONG}"
    assert request["messages"][0] == {"role": "system", "content": "Be brief."}


def test_records_and_exports_keep_the_text_of_a_chat(context: PlanContext, tmp_path: Path) -> None:
    options = context.options.model_dump(exclude_unset=True, exclude={"run_entries"})
    (result,) = evalkit.run("talks:model=mine/model", **options)
    assert result.path is not None
    (record,) = evalkit.load_run(result.path).records()
    assert record.prompts == (f"system: Be brief.\n\nuser: {LONG}",)
    export_run(evalkit.load_run(result.path).directory, tmp_path / "helm")
    (states,) = (tmp_path / "helm").rglob("scenario_state.json")
    request = json.loads(states.read_text())["request_states"][0]["request"]
    assert request["prompt"] == record.prompts[0]
    assert [message["role"] for message in request["messages"]] == ["system", "user"]
