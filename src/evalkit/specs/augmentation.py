"""The run expander `data_augmentation`: evaluate perturbed copies of the instances too.

Names, perturbations and the suffixes that they leave in run names are HELM's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from evalkit.errors import UnknownNameError
from evalkit.registry import run_expander
from evalkit.specs.expanders import suffixed
from evalkit.specs.run_spec import DataAugmenterSpec, PerturbationSpec, RunSpec

Perturbations = tuple[PerturbationSpec, ...]
_LEVELS = {"easy": 0.1, "medium": 0.3, "hard": 0.5, "deterministic": 1.0}
_LANGUAGES = {"chinese": "zh-CN", "hindi": "hi", "spanish": "es", "swahili": "sw"}
_STYLES = ("oil painting", "watercolor", "pencil sketch", "animation", "vector graphics", "pixel art")


@run_expander("data_augmentation")
def data_augmentation(run_spec: RunSpec, value: str) -> Iterable[RunSpec]:
    """Evaluate perturbed copies besides the originals: `canonical`, `robustness`, `typo_easy` and others.

    Copies whose input a perturbation leaves as it was are left out. The few-shot examples stay as they are.
    """
    if value not in _AUGMENTATIONS:
        raise UnknownNameError("data augmentation", value, _AUGMENTATIONS)
    return [
        suffixed(
            run_spec.model_copy(update={"data_augmenter_spec": _augmenter_spec(perturbations)}),
            "data_augmentation",
            suffix,
            separator=",",
        )
        for suffix, perturbations in _AUGMENTATIONS[value].items()
    ]


def _augmenter_spec(perturbations: Perturbations) -> DataAugmenterSpec:
    return DataAugmenterSpec(
        perturbation_specs=perturbations,
        should_include_original_train=True,
        should_skip_unchanged_train=True,
        should_augment_eval_instances=True,
        should_include_original_eval=True,
        should_skip_unchanged_eval=True,
    )


def _spec(name: str, **args: Any) -> PerturbationSpec:
    return PerturbationSpec(name=name, args=args)


def _filler(prob: float) -> PerturbationSpec:
    return _spec("filler_words", insert_prob=prob, speaker_ph=False)


def _dialect(prob: float) -> PerturbationSpec:
    return _spec("dialect", prob=prob, source_class="SAE", target_class="AAVE", mapping_file_path=None)


def _gender(mode: str, prob: float) -> PerturbationSpec:
    return _spec(
        "gender",
        mode=mode,
        prob=prob,
        source_class="male",
        target_class="female",
        mapping_file_path=None,
        mapping_file_genders=None,
        bidirectional=False,
    )


def _first_name(prob: float, preserve_gender: bool = True) -> PerturbationSpec:
    return _spec(
        "person_name",
        prob=prob,
        source_class={"race": "white_american"},
        target_class={"race": "black_american"},
        name_file_path=None,
        person_name_type="first_name",
        preserve_gender=preserve_gender,
    )


def _last_name(prob: float) -> PerturbationSpec:
    return _spec(
        "person_name",
        prob=prob,
        source_class={"race": "white"},
        target_class={"race": "hispanic"},
        name_file_path=None,
        person_name_type="last_name",
        preserve_gender=False,
    )


def _by_level(name: str, suffix: str, levels: Mapping[str, Perturbations]) -> dict[str, Any]:
    """Augmentations `name_easy`, `name_medium`, … whose suffix holds the level's probability."""
    return {
        f"{name}_{level}": {suffix.format(_LEVELS[level]): perturbations}
        for level, perturbations in levels.items()
    }


_CONTRACT = (_spec("contraction"), _spec("expansion"))
_ROBUSTNESS = (_spec("mild_mix"),)
_FAIRNESS = (_dialect(1.0), _gender("pronouns", 1.0), _first_name(1.0))
_CLEVA_ROBUSTNESS = (_spec("cleva_mild_mix"),)
_CLEVA_FAIRNESS = (
    _spec("chinese_gender", mode="pronouns", prob=1.0, source_class="male", target_class="female"),
    _spec(
        "chinese_person_name",
        prob=1.0,
        source_class={"gender": "male"},
        target_class={"gender": "female"},
        preserve_gender=True,
    ),
    _spec("simplified_to_traditional"),
    _spec("mandarin_to_cantonese"),
)

_ROBUSTNESS_ALL = (
    *_CONTRACT,
    _filler(0.1),
    _spec("lowercase"),
    _spec("misspellings", prob=0.1),
    _spec("space", max_spaces=3),
    _spec("synonym", prob=0.1),
    _spec("typos", prob=0.01),
)


def _misspelling(prob: float) -> Perturbations:
    return (_spec("misspellings", prob=prob),)


def _typo(prob: float) -> Perturbations:
    return (_spec("typos", prob=prob),)


_FIRST_NAMES = "person_name_first_prob={}_source=white_target=black_preserve_gender={}"
_LAST_NAMES = "person_name_last_prob={}_source=white_target=hispanic"

# What an entry may write, to the runs that it means: suffix in the run name to perturbations.
_AUGMENTATIONS: dict[str, dict[str, Perturbations]] = {
    "extra_space": {"extra_space2": (_spec("extra_space", num_spaces=2),)},
    "contrast_sets": {"contrast_sets": (_spec("contrast_sets"),)},
    "space": {"space3": (_spec("space", max_spaces=3),)},
    "lower": {"lower": (_spec("lowercase"),)},
    "contract": {"contract": _CONTRACT},
    "filler": {"filler0.3": (_filler(0.3),)},
    "misspelling_mild": {"misspelling0.05": _misspelling(0.05)},
    "misspelling_medium": {"misspelling0.20": _misspelling(0.2)},
    "misspelling_hard": {"misspelling0.5": _misspelling(0.5)},
    "misspelling_sweep": {f"misspelling{prob}": _misspelling(prob) for prob in (0, 0.05, 0.2, 0.5)},
    **_by_level("typo", "typo{}", {level: _typo(_LEVELS[level]) for level in ("easy", "medium", "hard")}),
    "synonym": {"synonym0.5": (_spec("synonym", prob=0.5),)},
    **_by_level(
        "dialect",
        "dialect_prob={}_source=SAE_target=AAVE",
        {level: (_dialect(prob),) for level, prob in _LEVELS.items()},
    ),
    # HELM's suffix for this one alone holds the level.
    "dialect_easy": {"dialect_easy_prob=0.1_source=SAE_target=AAVE": (_dialect(0.1),)},
    "person_name_first_hard_preserve_gender": {_FIRST_NAMES.format(0.5, True): (_first_name(0.5),)},
    "person_name_first_hard_dont_preserve_gender": {
        _FIRST_NAMES.format(0.5, False): (_first_name(0.5, preserve_gender=False),)
    },
    "person_name_first_deterministic": {_FIRST_NAMES.format(1.0, True): (_first_name(1.0),)},
    "person_name_last_deterministic": {_LAST_NAMES.format(1.0): (_last_name(1.0),)},
    "person_name_last_hard": {_LAST_NAMES.format(0.5): (_last_name(0.5),)},
    **_by_level(
        "gender_terms",
        "gender_terms_prob={}_source=male_target=female",
        {level: (_gender("terms", prob),) for level, prob in _LEVELS.items()},
    ),
    **_by_level(
        "gender_pronouns",
        "gender_pronouns_prob={}_source=male_target=female",
        {level: (_gender("pronouns", prob),) for level, prob in _LEVELS.items()},
    ),
    "robustness": {"robustness": _ROBUSTNESS},
    "fairness": {"fairness": _FAIRNESS},
    "canonical": {"canonical": _ROBUSTNESS + _FAIRNESS},
    "robustness_all": {"robustness_all": _ROBUSTNESS_ALL},
    "cleva_robustness": {"robustness": _CLEVA_ROBUSTNESS},
    "cleva_fairness": {"fairness": _CLEVA_FAIRNESS},
    "cleva": {"cleva": _CLEVA_ROBUSTNESS + _CLEVA_FAIRNESS},
    **{name: {name: (_spec("translate", language_code=code),)} for name, code in _LANGUAGES.items()},
    "art": {"art": tuple(_spec("style", suffix=style) for style in _STYLES)},
}
