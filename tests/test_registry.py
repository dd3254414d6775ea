"""The registry: collisions, laziness, did-you-mean, isolation."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from evalkit.errors import PluginError, UnknownNameError, UsageError
from evalkit.plugins import load_builtins
from evalkit.registry import (
    EXPANDERS,
    METRICS,
    REGISTRIES,
    RUN_SPECS,
    Registry,
    isolated_registries,
    metric,
    metric_facts,
    run_expander,
    run_spec_function,
)
from evalkit.scoring.metric import build_metric
from evalkit.specs.run_spec import AdapterSpec, MetricSpec


def first(gold: str, prediction: str) -> float:
    return 0.0


def make_other_module_function() -> Callable[[str, str], float]:
    def second(gold: str, prediction: str) -> float:
        return 1.0

    second.__module__ = "another_module"
    return second


def test_collision_names_both_places() -> None:
    registry = Registry("metric")
    registry.register("m", first)
    with pytest.raises(PluginError) as raised:
        registry.register("m", make_other_module_function())
    assert "test_registry" in str(raised.value)
    assert "another_module" in str(raised.value)
    assert registry.get("m") is first


def test_the_same_module_may_register_again() -> None:
    registry = Registry("metric")
    registry.register("m", first)
    registry.register("m", first)
    assert registry.names() == ["m"]


def test_a_builtin_name_can_not_be_taken_even_before_it_is_imported() -> None:
    load_builtins()
    with (
        isolated_registries(),
        pytest.raises(PluginError, match="two plugins register the metric 'exact_match'"),
    ):
        metric("exact_match")(first)


def test_builtins_are_imported_on_first_use() -> None:
    load_builtins()
    target = METRICS.get("exact_match")
    assert target.__module__ == METRICS.builtin["exact_match"]


def test_unknown_names_are_answered_with_the_nearest() -> None:
    load_builtins()
    with pytest.raises(UnknownNameError) as raised:
        METRICS.get("exact_mach")
    assert "did you mean 'exact_match'" in str(raised.value)
    assert raised.value.exit_code == 2


def test_a_broken_plugin_is_mentioned_when_a_name_is_not_found() -> None:
    with isolated_registries():
        REGISTRIES["metric"].broken["their_plugin"] = "ModuleNotFoundError: No module named 'torch'"
        with pytest.raises(UnknownNameError, match=r"their_plugin did not load.*torch"):
            METRICS.get("their_metric")


@pytest.mark.parametrize("name", ["", "a b", "a=b", "a,b", "-a", "a:b"])
def test_names_that_a_run_entry_could_not_spell_are_refused(name: str) -> None:
    with pytest.raises(PluginError, match="can't be the name"):
        Registry("metric").register(name, first)


def test_isolation_undoes_registrations() -> None:
    with isolated_registries():
        metric("only_here")(first)
        assert "only_here" in METRICS
    assert "only_here" not in METRICS


def test_facts_of_a_metric_are_those_of_its_latest_registration() -> None:
    with isolated_registries():
        metric("mine", full_marks=0.0, needs=("jiwer",))(first)
        assert (metric_facts("mine").full_marks, metric_facts("mine").needs) == (0.0, ("jiwer",))
        metric("mine")(first)
        assert (metric_facts("mine").full_marks, metric_facts("mine").needs) == (1.0, ())
        metric("mine", full_marks=None)(first)
    with pytest.raises(UnknownNameError):
        metric_facts("mine")
    with isolated_registries():
        metric("mine")(first)
        assert metric_facts("mine").full_marks == 1.0
        # Facts of built-in metrics that are first imported here stay known outside.
        assert metric_facts("wer_score").needs == ("jiwer",)
    assert metric_facts("wer_score").full_marks == 0.0


def test_facts_do_not_leak_into_a_metric_of_the_same_name() -> None:
    spec, adapter_spec = MetricSpec(name="mine"), AdapterSpec(method="generation", num_outputs=1)
    with isolated_registries():
        metric("mine", full_marks=0.0, needs=("not_there_at_all",))(first)
        with pytest.raises(UsageError, match="not_there_at_all"):
            build_metric(spec, adapter_spec)
    with isolated_registries():
        metric("mine")(first)
        assert build_metric(spec, adapter_spec).full_marks == {"mine": 1.0}


def test_an_expander_and_a_parameter_of_one_name_are_refused_at_registration() -> None:
    load_builtins()

    def shadowed(temperature: float = 0.5) -> None: ...

    def fine(warmth: float = 0.5) -> None: ...

    def warmth(run_spec: object, value: float) -> list[object]:
        return [run_spec]

    with isolated_registries():
        with pytest.raises(PluginError, match="'temperature' is a run expander and a parameter"):
            run_spec_function("shadowed")(shadowed)
        assert "shadowed" not in RUN_SPECS
        run_spec_function("fine")(fine)
        with pytest.raises(PluginError, match="parameter of the run spec 'fine'"):
            run_expander("warmth")(warmth)
        assert "warmth" not in EXPANDERS
