"""HELM's class names for what evalkit calls by short names, and the other way round."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evalkit.specs.run_spec import MetricSpec

_SCENARIOS = "helm.benchmark.scenarios."
_METRICS = "helm.benchmark.metrics."
_AUGMENTATIONS = "helm.benchmark.augmentations."
UNKNOWN_PREFIX = "evalkit."
"""Class names of what HELM has no class for start so."""

SCENARIO_CLASSES: Mapping[str, str] = {
    "babi_qa": "babi_qa_scenario.BabiQAScenario",
    "bbq": "bbq_scenario.BBQScenario",
    "blimp": "blimp_scenario.BLiMPScenario",
    "boolq": "boolq_scenario.BoolQScenario",
    "civil_comments": "civil_comments_scenario.CivilCommentsScenario",
    "code": "code_scenario.CodeScenario",
    "commonsenseqa": "commonsense_scenario.CommonSenseQAScenario",
    "disinformation": "disinformation_scenario.DisinformationScenario",
    "dyck_language": "dyck_language_scenario.DyckLanguageScenario",
    "gpqa": "gpqa_scenario.GPQAScenario",
    "gsm": "gsm_scenario.GSM8KScenario",
    "hellaswag": "commonsense_scenario.HellaSwagScenario",
    "ifeval": "ifeval_scenario.IFEvalScenario",
    "imdb": "imdb_scenario.IMDBScenario",
    "legalbench": "legalbench_scenario.LegalBenchScenario",
    "math": "math_scenario.MATHScenario",
    "med_qa": "med_qa_scenario.MedQAScenario",
    "mmlu": "mmlu_scenario.MMLUScenario",
    "mmlu_pro": "mmlu_pro_scenario.MMLUProScenario",
    "msmarco": "msmarco_scenario.MSMARCOScenario",
    "narrative_qa": "narrativeqa_scenario.NarrativeQAScenario",
    "natural_qa": "natural_qa_scenario.NaturalQAScenario",
    "openbookqa": "commonsense_scenario.OpenBookQA",
    "piqa": "commonsense_scenario.PiqaScenario",
    "simple1": "simple_scenarios.Simple1Scenario",
    "simple_classification": "simple_scenarios.SimpleClassificationScenario",
    "simple_mcqa": "simple_scenarios.SimpleMCQAScenario",
    "simple_short_answer_qa": "simple_scenarios.SimpleShortAnswerQAScenario",
    "siqa": "commonsense_scenario.SiqaScenario",
    "synthetic_reasoning": "synthetic_reasoning_scenario.SyntheticReasoningScenario",
    "synthetic_reasoning_natural": "synthetic_reasoning_natural_scenario.SRNScenario",
    "truthful_qa": "truthful_qa_scenario.TruthfulQAScenario",
    "wmt_14": "wmt_14_scenario.WMT14Scenario",
}
"""Scenario to the class below `helm.benchmark.scenarios`."""

_GENERATION_METRIC_NAMES = """
    exact_match quasi_exact_match prefix_exact_match quasi_prefix_exact_match exact_match_indicator
    quasi_leave_articles_exact_match final_number_exact_match exact_set_match iou_set_match f1_set_match
    math_equiv math_equiv_chain_of_thought absolute_value_difference f1_score rouge_1 rouge_2 rouge_l bleu_1
    bleu_4 chinese_bleu_1 chinese_rouge_1 chinese_rouge_2 cleva_math_result_match cider code_eval_acc pass
    wer_score mer_score wip_score cer_score
    chinese_wer_score chinese_mer_score chinese_wip_score chinese_cer_score
    """
GENERATION_METRICS = frozenset(_GENERATION_METRIC_NAMES.split())
"""The metrics that HELM's `BasicGenerationMetric` takes by name."""

METRIC_CLASSES: Mapping[str, str] = {
    "basic_reference": "basic_metrics.BasicReferenceMetric",
    "bbq": "bbq_metrics.BBQMetric",
    "chain_of_thought_correctness": "gpqa_chain_of_thought_metric.GPQAChainOfThoughtMetric",
    "classification_macro_f1": "classification_metrics.ClassificationMetric",
    "classification_micro_f1": "classification_metrics.ClassificationMetric",
    "ifeval": "ifeval_metrics.IFEvalMetric",
    "ranking": "ranking_metrics.RankingMetric",
}
"""Other metrics to the class below `helm.benchmark.metrics`."""

_PART_OF_GENERATION = ("basic_generation", "calibration")

_PERTURBATION_CLASSES: Mapping[str, str] = {
    "contraction": "contraction_expansion_perturbation.ContractionPerturbation",
    "contrast_sets": "contrast_sets_perturbation.ContrastSetsPerturbation",
    "dialect": "dialect_perturbation.DialectPerturbation",
    "expansion": "contraction_expansion_perturbation.ExpansionPerturbation",
    "extra_space": "extra_space_perturbation.ExtraSpacePerturbation",
    "filler_words": "filler_words_perturbation.FillerWordsPerturbation",
    "gender": "gender_perturbation.GenderPerturbation",
    "lowercase": "lowercase_perturbation.LowerCasePerturbation",
    "mild_mix": "mild_mix_perturbation.MildMixPerturbation",
    "misspellings": "misspelling_perturbation.MisspellingPerturbation",
    "person_name": "person_name_perturbation.PersonNamePerturbation",
    "space": "space_perturbation.SpacePerturbation",
    "style": "suffix_perturbation.SuffixPerturbation",
    "synonym": "synonym_perturbation.SynonymPerturbation",
    "translate": "translate_perturbation.TranslatePerturbation",
    "typos": "typos_perturbation.TyposPerturbation",
}
"""Perturbation to the class below `helm.benchmark.augmentations`."""

_GENERATION = f"{_METRICS}basic_metrics.BasicGenerationMetric"
_ALWAYS = f"{_METRICS}basic_metrics.InstancesPerSplitMetric"


def scenario_class(name: str) -> str:
    """HELM's class for a scenario; `evalkit.<name>` where it has none."""
    return _class_name(name, _SCENARIOS, SCENARIO_CLASSES)


def scenario_name(class_name: str) -> str:
    """The scenario for HELM's class name; the class name itself where there is none."""
    return _short_names(class_name, _SCENARIOS, SCENARIO_CLASSES)[0]


def perturbation_class(name: str) -> str:
    """HELM's class for a perturbation; `evalkit.<name>` where it has none."""
    return _class_name(name, _AUGMENTATIONS, _PERTURBATION_CLASSES)


def perturbation_name(class_name: str) -> str:
    """The perturbation for HELM's class name; the class name itself where there is none."""
    return _short_names(class_name, _AUGMENTATIONS, _PERTURBATION_CLASSES)[0]


def metrics_to_helm(specs: Sequence[MetricSpec]) -> list[dict[str, Any]]:
    """HELM's metric specs: the reference metrics as one `BasicGenerationMetric`, then one for each other."""
    names = [spec.name for spec in specs if spec.name in GENERATION_METRICS]
    plain: list[dict[str, Any]] = []
    if names:
        plain.append({"class_name": _GENERATION, "args": {"names": names}})
    for spec in specs:
        if spec.name not in GENERATION_METRICS and spec.name not in _PART_OF_GENERATION:
            one = {"class_name": _class_name(spec.name, _METRICS, METRIC_CLASSES), "args": spec.args}
            if one not in plain:
                plain.append(one)
    plain.append({"class_name": _ALWAYS, "args": {}})
    return plain


def metrics_from_helm(specs: Iterable[Mapping[str, Any]]) -> list[MetricSpec]:
    """The metrics that HELM's specs mean, each once; without a short name, under HELM's class name."""
    found: dict[str, MetricSpec] = {}
    for spec in specs:
        class_name, args = spec["class_name"], dict(spec.get("args") or {})
        if class_name == _ALWAYS:
            continue
        if class_name.endswith((".BasicGenerationMetric", ".BasicMetric")):
            names, args = tuple(args.get("names", ())), {}
        else:
            names = _short_names(class_name, _METRICS, METRIC_CLASSES)
        for name in names:
            found.setdefault(name, MetricSpec(name=name, args=args))
    return list(found.values())


def _class_name(name: str, package: str, classes: Mapping[str, str]) -> str:
    if name in classes:
        return package + classes[name]
    return name if "." in name else f"{UNKNOWN_PREFIX}{name}"


def _short_names(class_name: str, package: str, classes: Mapping[str, str]) -> tuple[str, ...]:
    """All names of a class; the class name, as it came in, where there is none."""
    wanted = class_name.removeprefix(package)
    names = tuple(name for name, known in classes.items() if known == wanted)
    return names or (class_name.removeprefix(UNKNOWN_PREFIX),)
