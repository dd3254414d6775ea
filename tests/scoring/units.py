"""Units to score, made from texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evalkit.instance import CORRECT, Instance, Reference
from evalkit.request import Request, RequestState
from evalkit.response import Completion, Response
from evalkit.scoring.metric import Metric, build_metric
from evalkit.scoring.unit import Answer, Unit
from evalkit.specs.run_spec import AdapterSpec, MetricSpec

GENERATION = AdapterSpec(method="generation", num_outputs=1)


def instance(
    *right: str, wrong: Sequence[str] = (), extra: Mapping[str, Any] | None = None, name: str = "id0"
) -> Instance:
    references = [Reference(t, (CORRECT,)) for t in right] + [Reference(t) for t in wrong]
    return Instance("?", tuple(references), "test", id=name, extra=extra)


def unit(asked: Instance, *completions: str | Completion, mapping: Mapping[str, str] | None = None) -> Unit:
    made = tuple(c if isinstance(c, Completion) else Completion(c) for c in completions)
    return Unit(asked, 0, 0, (Answer(state(asked, mapping), Response(made)),))


def state(asked: Instance, mapping: Mapping[str, str] | None = None) -> RequestState:
    return RequestState(f"t0/{asked.id}", str(asked.id), 0, Request("?"), output_mapping=mapping)


def built(name: str, adapter_spec: AdapterSpec = GENERATION, **args: Any) -> Metric:
    return build_metric(MetricSpec(name=name, args=args), adapter_spec)


def over_run(metric: Metric, units: Sequence[Unit]) -> dict[str, float]:
    rows = [row for scored in units if (row := metric.run_level_row(scored)) is not None]
    return dict(metric.run_level_scores(rows))
