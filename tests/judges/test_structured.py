"""A judge may ask for replies that satisfy a schema."""

from __future__ import annotations

from evalkit.instance import Instance, Reference
from evalkit.judges.judge import build_judge
from evalkit.request import Request, RequestState
from evalkit.response import Completion, Response
from evalkit.scoring.unit import Answer, Unit
from evalkit.specs.run_spec import AdapterSpec, JudgeSpec

SCHEMA = {"type": "object", "properties": {"rating": {"type": "number"}}, "required": ["rating"]}


def test_the_schema_goes_with_the_question_and_the_reader_reads_it() -> None:
    spec = JudgeSpec(
        name="rating", args={"response_schema": SCHEMA, "verdict": {"kind": "json", "schema": SCHEMA}}
    )
    judge = build_judge(spec, AdapterSpec())
    answer = Answer(RequestState("t0/a", "a", 0, Request("Q?")), Response((Completion("A."),)))
    unit = Unit(Instance("Q?", (Reference("A", ("correct",)),), "test", id="a"), 0, 0, (answer,))
    (question,) = judge.questions(unit)
    assert question.request.response_schema == (
        '{"properties":{"rating":{"type":"number"}},"required":["rating"],"type":"object"}'
    )
    plain = build_judge(JudgeSpec(name="rating"), AdapterSpec())
    (question,) = plain.questions(unit)
    assert question.request.response_schema is None
