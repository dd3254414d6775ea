"""Run specs beside HELM's, field by field: what differs is named, and what is not known is an error.

Deliberate differences are the rows of `docs/helm_deviations.json` that have cases; the table of the page
`docs/helm.md` is made from the same rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.specs.run_spec import RunSpec

TABLE = Path(__file__).parents[2] / "docs" / "helm_deviations.json"
ABSENT = "absent"

# What HELM's rows may hold; anything else is not understood, and fails.
ROW_FIELDS = {
    *("name", "adapter_spec", "scenario_args", "scenario_name", "scenario_class", "metrics", "groups"),
    *("perturbations", "data_augmenter", "annotators"),
}
# Fields of other comparisons (requests, instances), of where a row came from, and of how it was made.
OTHER_FIELDS = {
    *("entry", "conf", "options", "data", "window", "run_spec_name", "requests", "num_requests"),
    *("eval_instance_ids", "instance_counts", "all_instances_sha256", "all_prompts_sha256"),
}
# HELM's metric classes that take no argument here, as ours.
METRICS: dict[str, tuple[str, ...]] = {
    "BasicReferenceMetric": ("basic_reference",),
    "BBQMetric": ("bbq",),
    "GPQAChainOfThoughtMetric": ("chain_of_thought_correctness",),
    "IFEvalMetric": ("ifeval",),
    "ClassificationMetric": ("classification_macro_f1", "classification_micro_f1"),
}
# Those that are left out on purpose; each needs a row in the table.
LEFT_OUT = {"InstancesPerSplitMetric", "BiasMetric", "DisinformationHumanEvalMetrics"}
PERTURBATIONS = {
    "MildMixPerturbation": "mild_mix",
    "DialectPerturbation": "dialect",
    "GenderPerturbation": "gender",
    "PersonNamePerturbation": "person_name",
    "ContrastSetsPerturbation": "contrast_sets",
    "ExtraSpacePerturbation": "extra_space",
    "SpacePerturbation": "space",
    "ContractionPerturbation": "contraction",
    "ExpansionPerturbation": "expansion",
    "FillerWordsPerturbation": "filler_words",
    "MisspellingPerturbation": "misspellings",
    "TyposPerturbation": "typos",
    "SynonymPerturbation": "synonym",
    "SuffixPerturbation": "style",
    "CLEVAMildMixPerturbation": "cleva_mild_mix",
    "ChineseGenderPerturbation": "chinese_gender",
    "ChinesePersonNamePerturbation": "chinese_person_name",
    "SimplifiedToTraditionalPerturbation": "simplified_to_traditional",
    "MandarinToCantonesePerturbation": "mandarin_to_cantonese",
    "TranslatePerturbation": "translate",
}


class UnknownToComparisonError(AssertionError):
    """HELM's row holds something that this comparison does not understand."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of one run spec that is not HELM's."""

    observed: str
    entry: str
    field: str
    helm: Any
    evalkit: Any


@dataclass(slots=True)
class Deviations:
    """The deliberate differences, each with the number of times that it was met."""

    cases: list[tuple[Mapping[str, Any], list[int]]]

    @staticmethod
    def load() -> Deviations:
        """Those of the table."""
        rows = json.loads(TABLE.read_text(encoding="utf-8"))
        return Deviations([(case, [0]) for row in rows for case in row["cases"]])

    def unexplained(self, differences: Iterable[Difference]) -> list[Difference]:
        """The differences that no row of the table declares."""
        return [each for each in differences if not self._declared(each)]

    def unused(self) -> list[Mapping[str, Any]]:
        """Cases that no difference was met for: here is no longer what the table says."""
        return [case for case, count in self.cases if not count[0]]

    def _declared(self, difference: Difference) -> bool:
        for case, count in self.cases:
            if (
                difference.observed in case["observed"]
                and re.search(case["entry"], difference.entry)
                and difference.field == case["field"]
                and case.get("helm", difference.helm) == difference.helm
                and case.get("evalkit", difference.evalkit) == difference.evalkit
            ):
                count[0] += 1
                return True
        return False


def differences(
    observed: str, entry: str, made: RunSpec, row: Mapping[str, Any], name: str
) -> Iterator[Difference]:
    """Every field in which a run spec is not HELM's.

    Raises:
        UnknownToComparisonError: The row has a field, metric class or perturbation that is not known here.
    """
    if unknown := row.keys() - ROW_FIELDS - OTHER_FIELDS:
        raise UnknownToComparisonError(f"{entry}: unknown fields {sorted(unknown)}")

    def difference(field: str, helm: Any, evalkit: Any) -> Difference:
        return Difference(observed, entry, field, helm, evalkit)

    adapter = made.adapter_spec.model_dump(mode="json", exclude_none=True)
    pairs: list[tuple[str, Any, Any]] = [
        ("name", name, made.name),
        *_by_key("adapter_spec", row["adapter_spec"], adapter),
        *_by_key("scenario_args", row["scenario_args"], made.scenario_spec.args),
        ("groups", row["groups"], list(made.groups)),
        ("annotators", row.get("annotators") or [], []),
    ]
    if "scenario_name" in row:
        pairs.append(("scenario_name", row["scenario_name"], made.scenario_spec.name))
    if "perturbations" in row:
        ours = [{"name": p.name, "args": p.args} for p in made.data_augmenter_spec.perturbation_specs]
        pairs.append(("perturbations", [_perturbation(p) for p in row["perturbations"]], ours))
    if "data_augmenter" in row:
        flags = made.data_augmenter_spec.model_dump(exclude={"perturbation_specs"})
        pairs += _by_key("data_augmenter", row["data_augmenter"], flags)
    helms, left_out = _metrics(row["metrics"])
    pairs.append(("metrics", [m["name"] for m in helms], [spec.name for spec in made.metric_specs]))
    for helm, spec in zip(helms, made.metric_specs, strict=False):
        pairs += _by_key(f"metrics.{spec.name}", helm["args"], spec.args)
    yield from (difference(f"metrics.{metric}", metric, ABSENT) for metric in left_out)
    yield from (difference(*pair) for pair in pairs if pair[1] != pair[2])


def _by_key(field: str, helm: Mapping[str, Any], evalkit: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    keys = sorted(helm.keys() | evalkit.keys())
    return [(f"{field}.{key}", helm.get(key, ABSENT), evalkit.get(key, ABSENT)) for key in keys]


def _class_of(plain: Mapping[str, Any]) -> str:
    return str(plain.get("class") or plain["class_name"].rpartition(".")[2])


def _perturbation(plain: Mapping[str, Any]) -> dict[str, Any]:
    if (name := _class_of(plain)) not in PERTURBATIONS:
        raise UnknownToComparisonError(f"unknown perturbation {name}")
    return {"name": PERTURBATIONS[name], "args": plain["args"]}


def _metrics(given: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """HELM's metrics as ours would be, and the classes that are left out."""
    made: list[dict[str, Any]] = []
    left_out = []
    for plain in given:
        name, args = _class_of(plain), dict(plain["args"])
        if name in LEFT_OUT:
            left_out.append(name)
        elif name == "BasicGenerationMetric":
            made += [{"name": each, "args": {}} for each in args.pop("names")]
            _nothing_more(name, args)
        elif name == "DisinformationMetric":
            made.append({"name": args.pop("name"), "args": {}})
            _nothing_more(name, args)
        elif name == "OutputProcessingMetric":
            inner, more = _metrics(args.pop("metric_specs"))
            left_out += more
            made.append({"name": "output_processing", "args": {**args, "metric_specs": inner}})
        elif name in METRICS:
            _nothing_more(name, args)
            made += [{"name": each, "args": {}} for each in METRICS[name]]
        else:
            raise UnknownToComparisonError(f"unknown metric class {name} with {args}")
    return made, left_out


def _nothing_more(name: str, args: Mapping[str, Any]) -> None:
    if args:
        raise UnknownToComparisonError(f"unknown arguments of {name}: {args}")
