from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import UsageError
from evalkit.specs.digest import (
    RunDigest,
    canonical_json,
    differing_fields,
    digest,
    identity,
    request_part,
    run_digest,
    single_request_digest,
)
from evalkit.specs.run_spec import AdapterSpec, MetricSpec, RunSpec, ScenarioSpec, metric_specs

SPEC = RunSpec(
    name="gsm:model=a_b",
    scenario_spec=ScenarioSpec(name="gsm"),
    adapter_spec=AdapterSpec(method="generation", model="a/b", temperature=0),
    metric_specs=metric_specs("exact_match"),
    groups=("gsm",),
)
CONTEXT: dict[str, Any] = {
    "deployment_identity": {"revision": "abc", "dtype": "bfloat16"},
    "data_digest": "d" * 64,
    "versions": {"scenario": 1, "adapter": 1},
}


def changed(spec: RunSpec = SPEC, **context: Any) -> RunDigest:
    return run_digest(identity(spec, **{**CONTEXT, **context}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def test_the_digest_is_the_sha256_of_canonical_json() -> None:
    assert canonical_json({"b": 1, "a": ("é", None, True)}) == '{"a":["é",null,true],"b":1}'
    assert digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@given(JSON)
def test_canonical_json_says_the_same_and_only_once(value: Any) -> None:
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text
    assert not differing_fields({"x": value}, {"x": json.loads(text)})


def test_equal_numbers_are_equal_and_others_are_not() -> None:
    assert digest(1) == digest(1.0)
    assert digest(0.0) == digest(-0.0)
    assert len({digest(x) for x in (1, True, "1", 1.5, float("inf"), [1])}) == 6


@pytest.mark.parametrize("value", [{1: 2}, {"a": {1, 2}}, object()])
def test_what_has_no_json_form_is_refused(value: Any) -> None:
    with pytest.raises(UsageError):
        digest(value)


def test_text_from_a_file_with_lone_surrogates_has_a_digest() -> None:
    assert digest("\ud800") != digest("\ud801")


def test_labels_are_no_part_of_a_digest() -> None:
    assert changed(SPEC.named("other").model_copy(update={"groups": ("x",)})) == changed()


def test_metrics_change_only_the_scores() -> None:
    other = changed(SPEC.model_copy(update={"metric_specs": (MetricSpec(name="f1", args={"k": 1}),)}))
    assert other.requests == changed().requests
    assert other.scores != changed().scores
    assert other.full != changed().full


JUDGE = {"name": "rating", "args": {}, "deployment": {"name": "a/j"}, "version": 1, "verdict_version": 1}


def test_a_run_without_judges_has_the_digest_it_always_had() -> None:
    assert changed(judges=()) == changed()
    assert changed().judgements == ""
    assert changed().full == digest([changed().requests, changed().scores])


def test_judges_change_the_judgements_and_no_request() -> None:
    one, other = changed(judges=[JUDGE]), changed(judges=[{**JUDGE, "version": 2}])
    assert one.requests == other.requests == changed().requests
    assert len({one.judgements, other.judgements, ""}) == 3
    assert one.scores == other.scores
    assert len({one.full, other.full, changed().full}) == 3
    fewer_metrics = changed(SPEC.model_copy(update={"metric_specs": ()}), judges=[JUDGE])
    assert fewer_metrics.judgements == one.judgements


def test_how_replies_are_read_changes_the_scores_alone() -> None:
    one, other = changed(judges=[JUDGE]), changed(judges=[{**JUDGE, "verdict_version": 2}])
    assert (one.requests, one.judgements) == (other.requests, other.judgements)
    assert one.scores != other.scores
    assert one.full != other.full


@pytest.mark.parametrize(
    "how_much",
    [
        {"max_eval_instances": 50},
        {"num_train_trials": 3},
        {"num_trials": 2},
        {"eval_splits": ("test",)},
    ],
)
def test_how_much_is_asked_changes_no_single_request(how_much: dict[str, Any]) -> None:
    other = identity(SPEC.with_adapter(**how_much), **CONTEXT, judges=[JUDGE])
    whole = identity(SPEC.model_copy(update={"metric_specs": ()}), **CONTEXT)
    assert run_digest(other).requests != run_digest(whole).requests
    assert single_request_digest(other) == single_request_digest(whole)
    assert single_request_digest(request_part(other)) == single_request_digest(other)


@pytest.mark.parametrize("field", sorted(AdapterSpec.model_fields))
def test_every_other_field_of_an_adapter_spec_may_change_a_request(field: str) -> None:
    whole = identity(SPEC, **CONTEXT)
    other = {**whole, "adapter_spec": {**whole["adapter_spec"], field: "another"}}
    how_much = {"max_eval_instances", "num_train_trials", "num_trials", "eval_splits"}
    assert (single_request_digest(other) == single_request_digest(whole)) == (field in how_much)


@pytest.mark.parametrize(
    "other",
    [
        changed(SPEC.with_adapter(temperature=0.7)),
        changed(SPEC.model_copy(update={"scenario_spec": ScenarioSpec(name="gsm", args={"n": 1})})),
        changed(deployment_identity={"revision": "abd", "dtype": "bfloat16"}),
        changed(data_digest=None),
        changed(versions={"scenario": 2, "adapter": 1}),
    ],
)
def test_everything_else_changes_the_requests(other: RunDigest) -> None:
    assert other.requests != changed().requests
    assert other.scores == changed().scores
    assert other.full != changed().full


def test_a_default_written_out_changes_nothing() -> None:
    explicit = AdapterSpec.model_validate(
        {**SPEC.adapter_spec.model_dump(), "num_outputs": 5, "stop_sequences": []}
    )
    assert changed(SPEC.model_copy(update={"adapter_spec": explicit})) == changed()
    assert identity(SPEC, **CONTEXT)["adapter_spec"]["num_outputs"] == 5


def test_an_identity_survives_a_file() -> None:
    whole = identity(SPEC, **CONTEXT)
    assert json.loads(json.dumps(whole)) == whole
    again = RunSpec.model_validate_json(SPEC.model_dump_json())
    assert identity(again, **CONTEXT) == whole


def test_differences_are_told_by_path_with_both_values() -> None:
    other = SPEC.with_adapter(temperature=0.7, stop_sequences=["\n"]).model_copy(
        update={"metric_specs": metric_specs("f1")}
    )
    assert differing_fields(
        identity(SPEC, **CONTEXT), identity(other, **CONTEXT | {"data_digest": None})
    ) == [
        'adapter_spec.stop_sequences.0: absent -> "\\n"',
        "adapter_spec.temperature: 0 -> 0.7",
        f'data_digest: "{"d" * 64}" -> null'.replace("d" * 64 + '"', "d" * 59 + "…"),
        "metric_specs: exact_match -> f1",
    ]
    assert differing_fields({"a": 1}, {"a": 1.0}) == []
    assert differing_fields({"a": True}, {"a": 1}) == ["a: true -> 1"]
    assert differing_fields({"a": {"b": 1}}, {}) == ['a: {"b": 1} -> absent']


def test_metrics_are_named_in_differences_not_taken_apart() -> None:
    plain = [{"name": "exact_match", "args": {}}, {"name": "f1", "args": {}}]
    inside = {"processor": "remove_thinking", "metric_specs": plain}
    thinking = [{"name": "output_processing", "args": inside}]

    def between(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> list[str]:
        return differing_fields({"metric_specs": a}, {"metric_specs": b})

    assert between(plain, thinking) == [
        "metric_specs: exact_match, f1 -> output_processing(processor=remove_thinking, of exact_match, f1)"
    ]
    assert between(plain, plain[:1]) == ["metric_specs: without f1"]
    assert between(plain[:1], plain) == ["metric_specs: with f1"]
    assert between(plain[:1], plain[:1] * 2) == ["metric_specs: exact_match -> exact_match, exact_match"]
    assert between(plain, plain[::-1]) == ["metric_specs: exact_match, f1 -> f1, exact_match"]
    assert between(plain, plain) == []


def test_digests_are_shown_by_their_first_digits() -> None:
    assert differing_fields({"d": "a" * 64}, {"d": "b" * 64}) == ["d: aaaaaaaa -> bbbbbbbb"]


def test_the_difference_of_long_texts_is_in_sight() -> None:
    (line,) = differing_fields({"a": "x" * 200 + "1" + "y" * 200}, {"a": "x" * 200 + "2" + "y" * 200})
    assert "x1y" in line
    assert "x2y" in line
    assert len(line) < 150


def test_a_run_with_other_judges_differs_in_who_judges() -> None:
    judge = {**JUDGE, "deployments": [{"name": "a/j"}, {"name": "a/k"}]}
    plain, judged = identity(SPEC, **CONTEXT), identity(SPEC, **CONTEXT, judges=[judge])
    assert differing_fields(plain, judged) == ["judges: none -> rating (a/j, a/k)"]
    newer = identity(SPEC, **CONTEXT, judges=[{**judge, "version": 2}])
    assert differing_fields(judged, newer) == ["judges.0.version: 1 -> 2"]
