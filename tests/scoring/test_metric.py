from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

import evalkit.metrics.text  # noqa: F401 - registers the metrics used here
from evalkit.errors import DataError, PluginError, UnknownNameError, UsageError
from evalkit.instance import CORRECT, Instance, Reference
from evalkit.registry import isolated_registries, metric
from evalkit.request import Request, RequestState
from evalkit.response import Completion, Response
from evalkit.scoring.metric import Metric, build_metric
from evalkit.scoring.unit import Answer, Unit, find_letter, likeliest_first
from evalkit.specs.run_spec import AdapterSpec, MetricSpec

GENERATION = AdapterSpec(method="generation", num_outputs=1)


@pytest.fixture(autouse=True)
def own_registry() -> Iterator[None]:
    with isolated_registries():
        yield


def instance(*right: str, wrong: tuple[str, ...] = ()) -> Instance:
    references = [Reference(t, (CORRECT,)) for t in right] + [Reference(t) for t in wrong]
    return Instance("?", tuple(references), "test", id="id0")


def unit(
    inst: Instance,
    *completions: str | Completion,
    mapping: Mapping[str, str] | None = None,
    reference_index: int | None = None,
) -> Unit:
    state = RequestState(
        "t0/id0", "id0", 0, Request("?"), output_mapping=mapping, reference_index=reference_index
    )
    made = tuple(c if isinstance(c, Completion) else Completion(c) for c in completions)
    return Unit(inst, 0, 0, (Answer(state, Response(made)),))


def score(name: str, adapter_spec: AdapterSpec, scored: Unit) -> dict[str, float]:
    return dict(build_metric(MetricSpec(name=name), adapter_spec).score(scored))


def test_the_best_right_answer_counts() -> None:
    assert score("exact_match", GENERATION, unit(instance("Rome", "Roma"), " Roma\n")) == {"exact_match": 1}
    assert score("exact_match", GENERATION, unit(instance("Rome"), "Roma")) == {"exact_match": 0}
    assert score("exact_match", GENERATION, unit(instance("Rome", wrong=("Oslo",)), "Oslo")) == {
        "exact_match": 0
    }


def test_several_outputs_count_for_name_at_k() -> None:
    five = AdapterSpec(method="generation", num_outputs=5)
    scored = unit(instance("b"), Completion("a", logprob=-1), Completion("b", logprob=-2))
    assert score("exact_match", five, scored) == {"exact_match": 0, "exact_match@5": 1}
    likely = unit(instance("b"), Completion("a", logprob=-3), Completion("b", logprob=-2))
    assert score("exact_match", five, likely) == {"exact_match": 1, "exact_match@5": 1}
    assert build_metric(MetricSpec(name="exact_match"), five).names == ("exact_match", "exact_match@5")


def test_one_output_is_still_named_at_k_for_multiple_choice() -> None:
    joint = AdapterSpec(method="multiple_choice_joint", num_outputs=5)
    scored = unit(instance("yes", wrong=("no",)), " A", mapping={"A": "yes", "B": "no"})
    assert score("exact_match", joint, scored) == {"exact_match": 1, "exact_match@5": 1}


def test_a_letter_that_is_no_option_scores_nothing() -> None:
    scored = unit(instance("yes"), "Z", mapping={"A": "yes"})
    assert scored.predictions() == [None]
    assert score("exact_match", GENERATION, scored) == {"exact_match": 0}
    assert score("quasi_prefix_exact_match", GENERATION, scored) == {"quasi_prefix_exact_match": 0}


def test_the_output_mapping_pattern_finds_the_letter() -> None:
    adapter_spec = GENERATION.model_copy(update={"output_mapping_pattern": r"answer is \(?([A-Z])"})
    mapping = {"A": "yes", "B": "no"}
    found = unit(instance("no"), "Well, the answer is (B).", mapping=mapping)
    assert score("exact_match", adapter_spec, found) == {"exact_match": 1}
    lost = unit(instance("no"), "B", mapping=mapping)
    assert score("exact_match", adapter_spec, lost) == {"exact_match": 0}


@pytest.mark.parametrize(
    ("pattern", "text", "letter"),
    [("[AB]", "so B", "B"), ("is ([AB])", "is A", "A"), ("[AB]", "none", ""), ("x(y)?", "x", "")],
)
def test_find_letter(pattern: str, text: str, letter: str) -> None:
    assert find_letter(re.compile(pattern), text) == letter


def test_a_wrong_pattern_is_refused_before_anything_is_scored() -> None:
    adapter_spec = AdapterSpec(output_mapping_pattern="(")
    with pytest.raises(UsageError, match="output_mapping_pattern '\\('"):
        build_metric(MetricSpec(name="exact_match"), adapter_spec)


@given(st.lists(st.one_of(st.none(), st.floats(-50, 0)), min_size=1, max_size=6))
def test_likeliest_first(logprobs: list[float | None]) -> None:
    completions = tuple(Completion(str(i), logprob=p) for i, p in enumerate(logprobs))
    ordered = likeliest_first(completions)
    if None in logprobs:
        assert ordered == completions
    else:
        known = [p for p in logprobs if p is not None]
        assert [c.logprob for c in ordered] == sorted(known, reverse=True)
        assert sorted(int(c.text) for c in ordered) == list(range(len(logprobs)))


def test_an_instance_without_a_right_answer_is_refused_by_name() -> None:
    built = build_metric(MetricSpec(name="exact_match"), GENERATION)
    unlabelled = instance(wrong=("x",))
    with pytest.raises(DataError, match=r"'exact_match' .* 'id0'"):
        built.check(unlabelled)
    with pytest.raises(DataError, match="'id0'"):
        built.score(unit(unlabelled, "x"))
    built.check(instance("x"))


def test_requests_per_reference_are_not_generations() -> None:
    scored = unit(instance("x"), "x", reference_index=0)
    assert score("exact_match", GENERATION, scored) == {}
    with pytest.raises(UsageError, match="one generated answer"):
        scored.answer  # noqa: B018 - the property raises
    separate = AdapterSpec(method="multiple_choice_separate_original")
    built = build_metric(MetricSpec(name="exact_match"), separate)
    assert built.names == ()
    built.check(instance())


def test_an_answer_without_completions_is_no_empty_text() -> None:
    with pytest.raises(DataError, match="t0/id0"):
        score("exact_match", GENERATION, unit(instance("x")))


def test_functions_take_checked_arguments() -> None:
    @metric("near")
    def near(gold: str, prediction: str, within: float = 1.0) -> float:
        return float(abs(float(gold) - float(prediction)) <= within)

    scored = unit(instance("10"), "12")
    assert build_metric(MetricSpec(name="near"), GENERATION).score(scored) == {"near": 0}
    wide = MetricSpec(name="near", args={"within": 2})
    assert build_metric(wide, GENERATION).score(scored) == {"near": 1}
    with pytest.raises(UsageError, match="no parameter 'withn'; did you mean 'within'"):
        build_metric(MetricSpec(name="near", args={"withn": 2}), GENERATION)
    with pytest.raises(UsageError, match="no parameter 'gold'"):
        build_metric(MetricSpec(name="near", args={"gold": "x"}), GENERATION)


def test_classes_get_the_adapter_spec_and_their_name() -> None:
    @metric("length")
    class Length(Metric):
        def __init__(self, adapter_spec: AdapterSpec, scale: int = 1) -> None:
            self.limit_tokens, self.scale = adapter_spec.max_tokens, scale

        def score(self, unit: Unit) -> Mapping[str, float]:
            return {"length": len(unit.predictions()[0] or "") * self.scale / self.limit_tokens}

    built = build_metric(MetricSpec(name="length", args={"scale": 2}), AdapterSpec(max_tokens=4))
    assert built.name == "length"
    assert built.score(unit(instance("x"), "ab")) == {"length": 1.0}
    with pytest.raises(UsageError, match="no parameter 'adapter_spec'"):
        build_metric(MetricSpec(name="length", args={"adapter_spec": None}), GENERATION)


def test_what_is_no_metric_is_refused() -> None:
    metric("odd_class")(dict)

    @metric("odd_function")
    def odd(gold: str) -> float:
        return 0.0

    for name in ("odd_class", "odd_function"):
        with pytest.raises(PluginError, match=name):
            build_metric(MetricSpec(name=name), GENERATION)
    with pytest.raises(UnknownNameError, match="did you mean 'exact_match'"):
        build_metric(MetricSpec(name="exact_mach"), GENERATION)


def test_a_metric_with_the_old_names_of_run_level_methods_is_refused() -> None:
    with isolated_registries():

        @metric("of_before")
        class Before(Metric):
            corpus_names = ("x",)

        with pytest.raises(PluginError, match="rename `corpus_names` to `run_level_names`"):
            build_metric(MetricSpec(name="of_before"), AdapterSpec(method="generation"))
