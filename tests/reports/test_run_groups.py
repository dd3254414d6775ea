"""Which number stands for a run in a group."""

from __future__ import annotations

from pathlib import Path

from evalkit.plugins import load_plugins
from evalkit.registry import METRICS, metric_facts
from evalkit.reports.run_groups import RunGroup, lower_is_better, main_score, main_stat, run_group
from tests.reports.suites import store_run


def test_known_groups_have_helms_metric_and_split() -> None:
    assert run_group("boolq") == RunGroup("boolq", ("quasi_exact_match",), "valid")
    assert run_group("gsm").metrics[0] == "final_number_exact_match"
    assert run_group("gsm", "f1_score") == RunGroup("gsm", ("f1_score",))


def test_a_group_nobody_described_is_summed_up_by_the_first_score(tmp_path: Path) -> None:
    run = store_run(tmp_path, "my_own", "m", [1, 0], metric="my_score")
    stat = main_stat(run_group("my_own"), run.stats)
    assert stat is not None
    assert (stat.name, stat.mean) == ("my_score", 0.5)


def test_exact_match_stands_in_for_quasi_exact_match(tmp_path: Path) -> None:
    run = store_run(tmp_path, "boolq", "m", [1, 0, 0], metric="exact_match", split="valid")
    stat = main_stat(run_group("boolq"), run.stats)
    assert stat is not None
    assert stat.name == "exact_match"


def test_a_run_without_the_metric_has_no_number(tmp_path: Path) -> None:
    run = store_run(tmp_path, "gsm", "m", [1, 0], metric="something")
    assert main_stat(run_group("gsm"), run.stats) is None


def test_the_main_score_of_a_running_run_is_its_groups() -> None:
    assert main_score(["gsm"], ["exact_match", "final_number_exact_match"]) == "final_number_exact_match"
    assert main_score(["boolq", "gsm"], ["f1_score", "exact_match"]) == "exact_match"
    assert main_score(["my_own"], ["f1_score", "exact_match"]) == "f1_score"
    assert main_score(["gsm"], ["something"]) == "something"
    assert main_score(["gsm"], []) is None


def test_less_is_better_for_these() -> None:
    assert lower_is_better("bits_per_byte")
    assert lower_is_better("word_perplexity,none")
    assert lower_is_better("bias_metric:mode=representation")
    assert not lower_is_better("exact_match@5")
    assert lower_is_better("pearson_unparsable")
    assert lower_is_better("format_failure")


def test_less_is_better_of_every_metric_with_full_marks_of_zero() -> None:
    load_plugins()
    downwards = [name for name in METRICS if metric_facts(name).full_marks == 0]
    assert {"wer_score", "absolute_value_difference"} <= set(downwards)
    assert [name for name in downwards if not lower_is_better(name)] == []


def test_a_correlation_and_not_the_share_of_unparsable_answers_represents_a_run() -> None:
    names = ["pearson_unparsable", "spearman_unparsable", "format_control", "pearson", "spearman"]
    assert main_score(["jaster", "jaster_ja", "jsts"], names) == "pearson"
    assert main_score(["of_my_own"], ["spearman_unparsable", "spearman"]) == "spearman"
    # Where the correlation is not defined the run has only its share.
    assert main_score(["of_my_own"], ["spearman_unparsable"]) == "spearman_unparsable"


def test_mt_bench_is_its_mean_over_all_items() -> None:
    """Not the first of its scores, which is about first turns only."""
    names = ["rating_turn_1", "rating_turn_2", "rating_mean_of_items", "rating_mean_of_categories"]
    assert main_score(("mt_bench", "mt_bench_ja"), names) == "rating_mean_of_items"
    assert main_score(("mt_bench", "mt_bench_en"), ["win_turn_1", "win_mean_of_items"]) == "win_mean_of_items"
