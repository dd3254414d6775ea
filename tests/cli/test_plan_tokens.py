"""`plan` counts with the tokenizer of the deployment where it is at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.adapters.adapter import Adapter
from evalkit.cli import plan as plan_command
from evalkit.cli.plan import describe_run
from evalkit.instance import Instance, Reference
from evalkit.models.deployment import ClientSpec, ModelDeployment
from evalkit.models.tokenizers import estimate_tokens, tokenizer
from evalkit.plugins import builtin_catalog, load_builtins
from evalkit.registry import ADAPTERS
from evalkit.response import Completion, Response
from evalkit.runs.load import LoadedRun, load_instances
from evalkit.runs.options import RunOptions
from evalkit.runs.plan import make_plan, open_plan_context
from evalkit.specs.run_spec import AdapterSpec
from tests.models.made_tokenizers import byte_level, save

DEPLOYMENTS = """
model_deployments:
  - name: mine/model
    client_spec: {{class_name: echo}}
    tokenizer_name: {tokenizer}
    max_sequence_length: {length}
    prices: {{input_usd_per_million_tokens: 2, output_usd_per_million_tokens: 0}}
"""


def prompt_tokens(tmp_path: Path, name: str, length: int = 2048) -> tuple[int, list[str], float]:
    """What `plan` says of a run, with its prompts."""
    path = tmp_path / "model_deployments.yaml"
    path.write_text(DEPLOYMENTS.format(tokenizer=name, length=length))
    options = RunOptions(run_entries=("simple_mcqa:model=mine/model",), model_deployments=(path,))
    context = open_plan_context(options)
    (run,) = make_plan(context).runs
    row = describe_run(run, context)
    prompts = [state.request.prompt for state in load_instances(run, context).requests()]
    return row["prompt_tokens"], prompts, row["max_cost_usd"]


@pytest.mark.parametrize("length", [60, 2048])
def test_tokens_and_cost_are_those_of_the_models_tokenizer(tmp_path: Path, length: int) -> None:
    folder = save(byte_level(), tmp_path / "model")
    planned, prompts, usd = prompt_tokens(tmp_path, str(folder), length)
    counts = tokenizer(str(folder)).count_many(prompts)
    assert planned == sum(counts) != sum(map(estimate_tokens, prompts))
    assert usd == pytest.approx(2 * planned / 1e6)
    assert max(counts) <= length


def test_of_many_prompts_a_sample_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_command, "NUM_COUNTED", 10)
    folder = save(byte_level(), tmp_path / "model")
    planned, prompts, _ = prompt_tokens(tmp_path, str(folder))
    assert len(prompts) > 20
    assert planned == pytest.approx(sum(tokenizer(str(folder)).count_many(prompts)), rel=0.1)


def test_bytes_are_no_measure_of_cost(tmp_path: Path) -> None:
    planned, prompts, _ = prompt_tokens(tmp_path, "bytes")
    assert planned == sum(map(estimate_tokens, prompts))


def test_the_table_says_which_cost_is_estimated_and_which_is_a_bound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    path = tmp_path / "model_deployments.yaml"
    path.write_text(DEPLOYMENTS.format(tokenizer="bytes", length=2048))
    options = RunOptions(run_entries=("simple_mcqa:model=mine/model",), model_deployments=(path,))
    context = open_plan_context(options)
    plan = make_plan(context)
    row = describe_run(plan.runs[0], context)
    plan_command.show_plan(plan, context, as_json=False)
    printed = capsys.readouterr()
    about, most = f"≈ ${row['max_cost_usd']:.4f}", f"≤ ${row['max_cost_usd_by_bytes']:.4f}"
    assert row["max_cost_usd"] < row["max_cost_usd_by_bytes"]
    assert printed.out.splitlines()[0].split()[-3:] == ["cost", "at", "most"]
    assert printed.out.splitlines()[2].endswith(f"{about}  {most}")
    assert f"in all {about} with" in printed.err
    assert f"{most} with one token per byte" in printed.err


load_builtins()
METHODS = [entry["name"] for entry in builtin_catalog()["adapter"]]


@pytest.mark.parametrize("method", METHODS)
def test_no_source_sends_more_than_its_bound(method: str) -> None:
    """For every adapter: all its requests, each answer as long as it may be, at a token for every byte."""
    spec = AdapterSpec(
        method=method,
        max_train_instances=0,
        num_outputs=1,
        max_tokens=7,
        prompt_template="{instruction}\n{input}\n" if method == "template" else "",
    )
    adapter: Adapter = ADAPTERS.get(method)(spec)
    extra = {
        "instruction": "Say yes or no.",
        "follow_ups": ["And the next?", "Ünd then – 二?"],
        "messages": [{"role": "user", "content": "Is it?"}, {"role": "assistant", "content": "Not"}],
    }
    references = (Reference("yes", ("correct",)), Reference("no"))
    instances = [
        Instance(f"Is it {number}?", references, "test", f"id{number}", extra=extra) for number in range(5)
    ]
    loaded = LoadedRun(adapter, instances, [], adapter.num_requests(instances))
    deployment = ModelDeployment(name="mine/model", client_spec=ClientSpec(class_name="openai"))
    planned = plan_command.estimate_tokens_of(loaded, deployment)

    prompt = completion = num_requests = 0
    states = list(loaded.requests())
    while states:
        state = states.pop()
        request = state.request
        contents = [m.content for m in request.messages] if request.messages else [request.prompt]
        prompt += sum(len(content.encode()) for content in contents)
        completion += request.max_tokens
        num_requests += 1
        answer = Completion("x" * request.max_tokens, "length")
        states.extend(loaded.after(state, Response((answer,))))
    assert num_requests == loaded.num_requests
    assert prompt <= planned.prompt_most
    assert completion == planned.completion
    assert planned.prompt <= planned.prompt_most
