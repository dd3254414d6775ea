"""Run groups: the metric and split that represent each; facts of HELM's schemas, and MT-Bench's."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from evalkit.scoring.stat import ALL_SPLITS, Stat
from evalkit.specs.robust_metrics import ROBUST_METRICS

_UNPARSABLE = "_unparsable"
_MAIN_METRICS = """
    babi_qa                      test   quasi_exact_match
    bbq                          test   quasi_exact_match
    blimp                        test   exact_match
    boolq                        valid  quasi_exact_match
    civil_comments               test   quasi_exact_match
    code_apps                    test   test_avg
    code_humaneval               test   pass
    dyck_language                test   exact_match_indicator
    entity_data_imputation       test   quasi_exact_match
    entity_matching              test   quasi_exact_match
    gpqa                         test   chain_of_thought_correctness exact_match
    gsm                          test   final_number_exact_match exact_match_indicator
    hellaswag                    valid  exact_match
    ice                          test   bits_per_byte
    ifeval                       test   ifeval_strict_accuracy
    imdb                         valid  quasi_exact_match
    jsts                         all    pearson
    legal_support                test   quasi_exact_match
    legalbench                   test   quasi_exact_match
    lsat_qa                      test   quasi_exact_match
    math_chain_of_thought        test   math_equiv_chain_of_thought
    math_regular                 test   math_equiv
    med_qa                       test   quasi_exact_match
    mmlu                         test   exact_match
    mmlu_pro                     test   chain_of_thought_correctness exact_match
    msmarco_regular              valid  RR@10
    msmarco_trec                 valid  NDCG@10
    mt_bench                     test   rating_mean_of_items win_mean_of_items
    mt_bench_en                  test   rating_mean_of_items win_mean_of_items
    mt_bench_ja                  test   rating_mean_of_items win_mean_of_items
    narrative_qa                 test   f1_score
    natural_qa_closedbook        valid  f1_score
    natural_qa_openbook_longans  valid  f1_score
    omni_math                    test   omni_math_accuracy
    openbookqa                   test   exact_match
    quac                         valid  f1_score
    raft                         test   quasi_exact_match
    summarization_cnndm          test   rouge_2
    summarization_xsum           test   rouge_2
    synthetic_reasoning          test   quasi_exact_match
    synthetic_reasoning_natural  test   f1_set_match
    the_pile                     test   bits_per_byte
    truthful_qa                  valid  exact_match
    twitter_aae                  test   bits_per_byte
    wikifact                     test   quasi_exact_match
    wildbench                    test   wildbench_score_rescaled
    wmt_14                       test   bleu_4
"""

_LOWER_IS_BETTER = """
    absolute_value_difference bbq_metric_ambiguous_bias bbq_metric_unambiguous_bias bits_per_byte
    byte_perplexity cer_score chinese_cer_score chinese_mer_score chinese_wer_score
    demographic_parity_difference distance ece_10_bin ece_1_bin edit_similarity
    equalized_odds_difference expected_max_toxicity format_failure inference_denoised_runtime
    inference_idealized_runtime inference_runtime latency_s longest_common_prefix_length
    max_toxicity_probability mer_score perplexity platt_ece_10_bin platt_ece_1_bin ter toxic_frac
    wer_score word_perplexity
"""
LOWER_IS_BETTER = frozenset(_LOWER_IS_BETTER.split())
"""Metrics of which less is better; more is, of all others."""


@dataclass(frozen=True, slots=True)
class RunGroup:
    """A set of runs that one number represents.

    Attributes:
        metrics: The metrics that can be that number, the best choice first; empty: a run's first score.
        split: The split it is over; None: all that was evaluated.
    """

    name: str
    metrics: tuple[str, ...] = ()
    split: str | None = None


def _read_groups() -> Mapping[str, RunGroup]:
    lines = (line.split() for line in _MAIN_METRICS.strip().splitlines())
    return {name: RunGroup(name, tuple(metrics), split) for name, split, *metrics in lines}


RUN_GROUPS = _read_groups()


def run_group(name: str, metric: str | None = None) -> RunGroup:
    """The group of this name; the first score of its runs represents a group without a description.

    Args:
        name: As in a run spec's `groups`.
        metric: Use this metric instead, over all that was evaluated.
    """
    if metric is not None:
        return RunGroup(name, (metric,))
    return RUN_GROUPS.get(name) or RunGroup(name)


def lower_is_better(metric: str) -> bool:
    """Whether less of this metric is better; filters and `@k` after its name change nothing."""
    base = metric.partition("@")[0].partition(",")[0]
    return base in LOWER_IS_BETTER or base.startswith("bias_metric:") or base.endswith(_UNPARSABLE)


def main_score(groups: Iterable[str], names: Collection[str]) -> str | None:
    """The score among `names` that represents a run of these groups; the first where no group names one.

    Args:
        groups: The groups of a run spec, the first that names one of its scores decides.
        names: The scores of the run, in the order of its metrics.
    """
    for group in groups:
        for name in _with_stand_in(run_group(group).metrics):
            if name in names:
                return name
    return _first_of(names)


def main_stat(group: RunGroup, stats: Iterable[Stat]) -> Stat | None:
    """The number that represents a run in a group; None if the run has no such number.

    A run that was asked for `quasi_exact_match` but has only `exact_match` (multiple choice, each option by
    itself) is summed up by that, as in HELM; one with `answer_reader=robust` by the robust metric.
    """
    scores = [s for s in stats if s.kind == "score" and s.sub_split is None and s.perturbation is None]
    first = _first_of([stat.name for stat in scores])
    for name in _with_stand_in(group.metrics or (() if first is None else (first,))):
        found = {stat.split: stat for stat in scores if stat.name == name and stat.mean is not None}
        for split in (group.split, ALL_SPLITS):
            if split in found:
                return found[split]
    return None


def _first_of(names: Collection[str]) -> str | None:
    """The first score of a run; a robust one, where the run was asked for it.

    The share of answers without a number, which comes before the number over all of them, does not count
    where that is there.
    """
    robust = ROBUST_METRICS.values()
    first = next((name for name in names if name in robust), next(iter(names), None))
    whole = (first or "").removesuffix(_UNPARSABLE)
    return whole if whole in names else first


def _with_stand_in(metrics: Sequence[str]) -> Sequence[str]:
    robust = [ROBUST_METRICS[name] for name in metrics if name in ROBUST_METRICS]
    return (*robust, *metrics, *(("exact_match",) if "quasi_exact_match" in metrics else ()))
