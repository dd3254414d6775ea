from __future__ import annotations

from evalkit.run_specs.simple import simple1, simple_classification, simple_mcqa, simple_short_answer_qa


def test_each_is_named_like_its_scenario() -> None:
    for function in (simple_mcqa, simple_short_answer_qa, simple_classification, simple1):
        run_spec = function()
        assert run_spec.name == run_spec.scenario_spec.name == function.__name__


def test_the_parity_tasks_differ_in_how_they_ask() -> None:
    assert simple_mcqa().adapter_spec.method == "multiple_choice_joint"
    assert simple_mcqa().adapter_spec.max_tokens == 5
    assert simple_short_answer_qa().adapter_spec.method == "generation"
    assert "f1_score" in [m.name for m in simple_short_answer_qa().metric_specs]
    adapter = simple_classification().adapter_spec
    assert (adapter.input_prefix, adapter.output_prefix) == ("Number: ", "Parity: ")


def test_classes_are_counted_over_the_whole_run() -> None:
    names = [m.name for m in simple_classification().metric_specs]
    assert names[-2:] == ["classification_macro_f1", "classification_micro_f1"]


def test_simple1_samples_and_repeats_and_scores_nothing() -> None:
    run_spec = simple1()
    adapter = run_spec.adapter_spec
    assert (adapter.max_eval_instances, adapter.num_outputs, adapter.num_train_trials) == (10, 3, 3)
    assert (adapter.temperature, adapter.stop_sequences) == (1, (".",))
    assert not run_spec.metric_specs
    assert not run_spec.groups
