from __future__ import annotations

from typing import Any

import pytest

import evalkit.metrics.output_processing
import evalkit.metrics.text  # noqa: F401 - registers the metrics
from evalkit.errors import UsageError
from evalkit.instance import Instance, Reference
from evalkit.metrics.output_processing import output_processor
from evalkit.request import Request, RequestState
from evalkit.response import Completion, Response, Usage
from evalkit.scoring.metric import build_metric
from evalkit.scoring.unit import Answer, Unit
from evalkit.specs.run_spec import AdapterSpec, MetricSpec

INSTANCE = Instance("q", (Reference("B", ("correct",)),), "test", "id0")


def unit(text: str) -> Unit:
    response = Response((Completion(text, "stop"),), Usage(1, 1), 0.1)
    return Unit(INSTANCE, 0, 0, (Answer(RequestState("t0/id0", "id0", 0, Request("q")), response),))


def spec(processor: str, *names: str) -> MetricSpec:
    inner: list[dict[str, Any]] = [{"name": name, "args": {}} for name in names]
    return MetricSpec(name="output_processing", args={"processor": processor, "metric_specs": inner})


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("plain", "plain"),
        ("<think>why</think>\n\nB", "B"),
        ("<think>why</think>B", "B"),
        ("<think>why</think>\nB", "\nB"),
        ("<think>a</think>x<think>b</think>B", "B"),
        ("so <think>a", ""),
        ("</think> <think>a", "</think> <think>a"),
    ],
)
def test_thinking_is_removed_as_by_helm(text: str, left: str) -> None:
    helms = "helm.benchmark.metrics.output_processors.remove_deepseek_r1_thinking"
    assert output_processor(helms)(text) == left


def test_metrics_see_what_is_left() -> None:
    metric = build_metric(
        spec("remove_thinking", "exact_match", "prefix_exact_match"), AdapterSpec(num_outputs=1)
    )
    assert metric.names == ("exact_match", "prefix_exact_match")
    assert metric.score(unit("<think>A</think>\n\nB")) == {"exact_match": 1.0, "prefix_exact_match": 1.0}
    assert metric.score(unit("<think>B"))["exact_match"] == 0.0


def test_any_function_from_text_to_text_will_do() -> None:
    metric = build_metric(spec("textwrap.dedent", "exact_match"), AdapterSpec(num_outputs=1))
    assert metric.score(unit("B")) == {"exact_match": 1.0}


@pytest.mark.parametrize("name", ["nowhere.function", "textwrap.nothing", "unknown", "sys.maxsize"])
def test_what_is_no_function_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="process_output"):
        output_processor(name)
