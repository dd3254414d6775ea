from __future__ import annotations

from pathlib import Path

from evalkit.adapters.generation import GenerationAdapter
from evalkit.data import DataStore
from evalkit.instance import TEST, TRAIN
from evalkit.parameters import bind_arguments
from evalkit.request import Message
from evalkit.run_specs.functions import functions
from evalkit.scenarios.functions import IN_DISTRIBUTION, OUT_OF_DISTRIBUTION, FunctionsScenario
from evalkit.scenarios.scenario import with_ids
from evalkit.specs.run_spec import RunSpec


def scenario_of(run_spec: RunSpec) -> FunctionsScenario:
    args = bind_arguments("scenario", "functions", FunctionsScenario, run_spec.scenario_spec.args)
    return FunctionsScenario(**args)


def chat_of(run_spec: RunSpec) -> tuple[Message, ...]:
    """The first request's messages."""
    instances = list(with_ids(scenario_of(run_spec).instances(DataStore(cache=Path("unused"), offline=True))))
    train = [instance for instance in instances if instance.split == TRAIN]
    test = [instance for instance in instances if instance.split == TEST]
    request = next(GenerationAdapter(run_spec.adapter_spec).requests(test, train)).request
    assert request.messages is not None
    return request.messages


def test_the_name_says_what_is_asked() -> None:
    run_spec = functions()
    name = "functions:kind=single_function,inputs=in_distribution,num_test=1000"
    assert run_spec.name == name
    assert functions(min_imports=2, seed=100).name == name
    assert functions(min_imports=3, seed=1).name == f"{name},min_imports=3,seed=1"
    assert run_spec.groups == ("functions",)
    assert [metric.name for metric in run_spec.metric_specs] == ["exact_match"]


def test_the_code_is_the_users_message_and_nothing_else() -> None:
    system, user = chat_of(functions(num_test=3))
    assert (system.role, user.role) == ("system", "user")
    assert "python interpreter" in system.content
    assert user.content.startswith("from functions import ")
    assert user.content.endswith(")")


def test_examples_are_turns() -> None:
    messages = chat_of(functions(num_test=3).with_adapter(max_train_instances=2))
    assert [message.role for message in messages] == ["system", *["user", "assistant"] * 2, "user"]
    assert messages[2].content == messages[2].content.strip() != ""


def test_the_instructions_can_be_left_out() -> None:
    (user,) = chat_of(functions(num_test=3).with_adapter(instructions=""))
    assert user.role == "user"


def test_the_authors_test_beyond_the_training_inputs_with_one_import() -> None:
    inside, outside = scenario_of(functions()), scenario_of(functions(inputs="out_of_distribution"))
    assert inside.input_ranges == IN_DISTRIBUTION
    assert outside.input_ranges == OUT_OF_DISTRIBUTION
    assert (inside.min_imports, outside.min_imports) == (2, 1)
    assert scenario_of(functions(inputs="out_of_distribution", min_imports=3)).min_imports == 3
