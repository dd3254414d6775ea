from __future__ import annotations

from evalkit.run_specs.gsm import gsm


def test_gsm_leaves_room_to_reason_and_scores_the_final_number() -> None:
    run_spec = gsm()
    assert run_spec.name == "gsm"
    assert run_spec.groups == ("gsm",)
    assert (run_spec.scenario_spec.name, run_spec.scenario_spec.args) == ("gsm", {})
    assert [m.name for m in run_spec.metric_specs] == ["exact_match_indicator", "final_number_exact_match"]
    adapter = run_spec.adapter_spec
    assert (adapter.input_prefix, adapter.output_prefix, adapter.instructions) == ("Q: ", "A: ", "")
    assert (adapter.max_tokens, adapter.stop_sequences) == (400, ("\n\n",))
