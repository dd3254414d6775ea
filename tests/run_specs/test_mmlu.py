from __future__ import annotations

from pathlib import Path
from typing import get_args

from evalkit.run_specs.mmlu import Subject, mmlu


def test_the_subjects_are_those_of_the_data(data_dir: Path) -> None:
    files = (data_dir / "mmlu" / "data" / "test").glob("*_test.csv")
    assert sorted(get_args(Subject)) == sorted(path.name.removesuffix("_test.csv") for path in files)
    assert len(get_args(Subject)) == 57


def test_mmlu_names_its_subject_in_words() -> None:
    run_spec = mmlu("us_foreign_policy")
    assert run_spec.name == "mmlu:subject=us_foreign_policy,method=multiple_choice_joint"
    assert run_spec.groups == ("mmlu",)
    assert run_spec.scenario_spec.args == {"subject": "us_foreign_policy"}
    assert run_spec.adapter_spec.instructions == (
        "The following are multiple choice questions (with answers) about us foreign policy.\n"
    )
    assert [m.name for m in run_spec.metric_specs] == [
        "exact_match",
        "quasi_exact_match",
        "prefix_exact_match",
        "quasi_prefix_exact_match",
        "basic_reference",
    ]


def test_the_method_is_in_name_and_adapter() -> None:
    run_spec = mmlu("anatomy", "multiple_choice_separate_calibrated")
    assert run_spec.name == "mmlu:subject=anatomy,method=multiple_choice_separate_calibrated"
    assert run_spec.adapter_spec.method == "multiple_choice_separate_calibrated"
    assert run_spec.scenario_spec == mmlu("anatomy").scenario_spec
