"""The run expander `data_augmentation`, against what HELM was seen to do."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from evalkit.errors import EntryError
from evalkit.specs.augmentation import data_augmentation
from evalkit.specs.conf import ConfEntry
from evalkit.specs.digest import identity, run_digest
from evalkit.specs.entry import parse_run_entry
from evalkit.specs.expand import ExpandOptions, expand_entries
from evalkit.specs.run_spec import AdapterSpec, DataAugmenterSpec, RunSpec, ScenarioSpec

if TYPE_CHECKING:
    from tests.specs.conftest import FakeModels

Golden = Callable[[str], Any]

NAMES = {
    "ExtraSpacePerturbation": "extra_space",
    "SpacePerturbation": "space",
    "ContractionPerturbation": "contraction",
    "ExpansionPerturbation": "expansion",
    "ContrastSetsPerturbation": "contrast_sets",
    "FillerWordsPerturbation": "filler_words",
    "LowerCasePerturbation": "lowercase",
    "MisspellingPerturbation": "misspellings",
    "TyposPerturbation": "typos",
    "SynonymPerturbation": "synonym",
    "DialectPerturbation": "dialect",
    "GenderPerturbation": "gender",
    "PersonNamePerturbation": "person_name",
    "MildMixPerturbation": "mild_mix",
    "TranslatePerturbation": "translate",
    "SuffixPerturbation": "style",
    "CLEVAMildMixPerturbation": "cleva_mild_mix",
    "ChineseGenderPerturbation": "chinese_gender",
    "ChinesePersonNamePerturbation": "chinese_person_name",
    "SimplifiedToTraditionalPerturbation": "simplified_to_traditional",
    "MandarinToCantonesePerturbation": "mandarin_to_cantonese",
}
BARE = RunSpec(name="x", scenario_spec=ScenarioSpec(name="x"), adapter_spec=AdapterSpec(method="generation"))


def as_helm(spec: DataAugmenterSpec) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The spec as HELM's observed pairs tell it: flags, and perturbations with their arguments."""
    plain = spec.model_dump(mode="json")
    perturbations = plain.pop("perturbation_specs")
    return plain, [{"name": p["name"], "args": p["args"]} for p in perturbations]


def observed(perturbations: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": NAMES[p["class"]], "args": p["args"]} for p in perturbations]


def expanded(value: str) -> dict[str, DataAugmenterSpec]:
    made = data_augmentation(BARE, value)
    return {run.name.removeprefix("x,data_augmentation="): run.data_augmenter_spec for run in made}


def test_every_observed_augmentation_is_helms(golden: Golden) -> None:
    compared = 0
    for row in golden("run_expanders.json"):
        value = parse_run_entry(row["description"]).values.get("data_augmentation")
        if value is None:
            continue
        made = list(expanded(str(value)).items())
        assert len(made) == len(row["run_specs"])
        for (suffix, spec), seen in zip(made, row["run_specs"], strict=True):
            assert seen["name"].endswith(f",data_augmentation={suffix}")
            assert as_helm(spec) == (seen["data_augmenter"], observed(seen["perturbations"]))
            compared += 1
    assert compared == 26


def test_run_specs_without_it_have_helms_defaults(golden: Golden) -> None:
    for row in golden("run_expanders.json"):
        for seen in row.get("run_specs", ()):
            if not seen["perturbations"]:
                assert as_helm(BARE.data_augmenter_spec) == (seen["data_augmenter"], [])


def test_run_specs_of_the_conf_files_have_helms_perturbations(golden: Golden) -> None:
    compared = 0
    for row in golden("run_specs.json"):
        value = parse_run_entry(row["entry"]).values.get("data_augmentation")
        specs = expanded(str(value)).values() if value is not None else [BARE.data_augmenter_spec]
        seen = [
            {"class": p["class_name"].rpartition(".")[2], "args": p["args"]} for p in row["perturbations"]
        ]
        assert [as_helm(spec)[1] for spec in specs] == [observed(seen)]
        compared += bool(seen)
    assert compared >= 40


@pytest.mark.parametrize(
    ("value", "suffixes"),
    [
        ("lower", ["lower"]),
        ("misspelling_medium", ["misspelling0.20"]),
        ("misspelling_hard", ["misspelling0.5"]),
        ("typo_easy", ["typo0.1"]),
        ("dialect_easy", ["dialect_easy_prob=0.1_source=SAE_target=AAVE"]),
        ("dialect_medium", ["dialect_prob=0.3_source=SAE_target=AAVE"]),
        ("dialect_deterministic", ["dialect_prob=1.0_source=SAE_target=AAVE"]),
        (
            "person_name_first_hard_dont_preserve_gender",
            ["person_name_first_prob=0.5_source=white_target=black_preserve_gender=False"],
        ),
        ("person_name_last_deterministic", ["person_name_last_prob=1.0_source=white_target=hispanic"]),
        ("gender_terms_deterministic", ["gender_terms_prob=1.0_source=male_target=female"]),
        ("gender_pronouns_easy", ["gender_pronouns_prob=0.1_source=male_target=female"]),
        ("fairness", ["fairness"]),
        ("robustness_all", ["robustness_all"]),
        ("cleva_fairness", ["fairness"]),
        ("swahili", ["swahili"]),
    ],
)
def test_suffixes_are_helms(value: str, suffixes: list[str]) -> None:
    assert list(expanded(value)) == suffixes


def test_robustness_all_is_helms() -> None:
    (spec,) = expanded("robustness_all").values()
    assert as_helm(spec)[1] == [
        {"name": "contraction", "args": {}},
        {"name": "expansion", "args": {}},
        {"name": "filler_words", "args": {"insert_prob": 0.1, "speaker_ph": False}},
        {"name": "lowercase", "args": {}},
        {"name": "misspellings", "args": {"prob": 0.1}},
        {"name": "space", "args": {"max_spaces": 3}},
        {"name": "synonym", "args": {"prob": 0.1}},
        {"name": "typos", "args": {"prob": 0.01}},
    ]


def test_run_names_of_the_conf_files_have_helms_suffixes(golden: Golden) -> None:
    compared = 0
    for row in csv.DictReader(io.StringIO(golden("run_names.tsv")), delimiter="\t", quoting=csv.QUOTE_NONE):
        value = parse_run_entry(row["description"]).values.get("data_augmentation")
        if value is None or "data_augmentation=" not in row["run_names"]:
            continue
        for name in row["run_names"].split(" | "):
            assert any(f",data_augmentation={suffix}" in name for suffix in expanded(str(value)))
            compared += 1
    assert compared >= 180


def test_the_suffix_stands_where_helm_puts_it(models: FakeModels) -> None:
    def names(entry: str) -> list[str]:
        expansion = expand_entries([ConfEntry(entry)], models, ExpandOptions())
        return [run.run_spec.name for run in expansion.run_specs]

    assert names("gsm:data_augmentation=canonical,model=openai/gpt2") == [
        "gsm,data_augmentation=canonical:model=openai_gpt2"
    ]
    assert names("gsm:model=openai/gpt2,data_augmentation=misspelling_sweep") == [
        f"gsm:model=openai_gpt2,data_augmentation=misspelling{prob}" for prob in ("0", "0.05", "0.2", "0.5")
    ]


def test_an_unknown_augmentation_is_marked(models: FakeModels) -> None:
    entry = ConfEntry("gsm:model=openai/gpt2,data_augmentation=canonic")
    with pytest.raises(
        EntryError, match="unknown data augmentation 'canonic'; did you mean 'canonical'"
    ) as caught:
        expand_entries([entry], models, ExpandOptions())
    assert caught.value.entry[slice(*caught.value.span)].endswith("canonic")


def test_perturbations_are_part_of_a_runs_identity_and_their_absence_is_not() -> None:
    def whole(run_spec: RunSpec) -> dict[str, Any]:
        return identity(run_spec, deployment_identity={}, data_digest=None, versions={})

    assert "data_augmenter_spec" not in whole(BARE)
    (lower,), (typos,) = data_augmentation(BARE, "lower"), data_augmentation(BARE, "typo_easy")
    digests = [run_digest(whole(run_spec)) for run_spec in (BARE, lower, typos)]
    assert len({digest.requests for digest in digests}) == 3
    assert len({digest.scores for digest in digests}) == 1


def test_a_run_spec_with_perturbations_survives_its_file() -> None:
    for value in ("canonical", "art", "cleva"):
        (run_spec,) = data_augmentation(BARE, value)
        assert RunSpec.model_validate_json(run_spec.model_dump_json()) == run_spec
