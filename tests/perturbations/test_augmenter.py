from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from evalkit.data import DataStore
from evalkit.errors import DataError, UnknownNameError, UsageError
from evalkit.instance import Instance
from evalkit.perturbations.augmenter import Augmenter
from evalkit.perturbations.perturbation import Perturbation
from evalkit.registry import isolated_registries, perturbation
from evalkit.specs.run_spec import DataAugmenterSpec
from tests.perturbations.copies import instance, spec

LOWER: tuple[str, dict[str, Any]] = ("lowercase", {})
SPACE: tuple[str, dict[str, Any]] = ("extra_space", {"num_spaces": 2})


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    with isolated_registries():
        yield


def told(instances: list[Instance]) -> list[tuple[str | None, str | None, str]]:
    return [(i.id, i.perturbation_label, i.input) for i in instances]


def test_each_original_is_followed_by_its_copies_and_unchanged_ones_are_left_out(data: DataStore) -> None:
    asked = spec(LOWER, SPACE, should_include_original_eval=True, should_skip_unchanged_eval=True)
    made, train = Augmenter.of(asked).augmented(
        [instance("A b", id="id3"), instance("c", id="id5"), instance("D", id="id4")], [instance("E")], data
    )
    assert told(made) == [
        ("id3", None, "A b"),
        ("id3", "lowercase", "a b"),
        ("id3", "extra_space", "A  b"),
        ("id5", None, "c"),
        ("id4", None, "D"),
        ("id4", "lowercase", "d"),
    ]
    assert told(train) == [("id0", None, "E")]


def test_originals_and_unchanged_copies_are_as_asked(data: DataStore) -> None:
    made, _ = Augmenter.of(spec(LOWER)).augmented([instance("c")], [], data)
    assert told(made) == [("id0", "lowercase", "c")]


def test_the_few_shot_pool_is_perturbed_only_where_asked(data: DataStore) -> None:
    pool = spec(
        LOWER,
        should_augment_eval_instances=False,
        should_augment_train_instances=True,
        should_include_original_train=True,
        should_skip_unchanged_train=True,
    )
    made, train = Augmenter.of(pool).augmented([instance("A")], [instance("B"), instance("c")], data)
    assert told(made) == [("id0", None, "A")]
    assert [i.input for i in train] == ["B", "b", "c"]


def test_most_runs_have_nothing_to_perturb(data: DataStore) -> None:
    originals = [instance("A")]
    augmenter = Augmenter.of(DataAugmenterSpec())
    assert augmenter.augmented(originals, originals, data) == (originals, originals)
    assert (augmenter.files(), augmenter.versions(), augmenter.asks_service) == ((), {}, False)


def test_further_copies_have_draws_and_labels_of_their_own(data: DataStore) -> None:
    asked = spec(("typos", {"prob": 0.5}), seeds_per_instance=3)
    made, _ = Augmenter.of(asked).augmented([instance("some letters to hit")], [], data)
    assert [i.perturbation_label for i in made] == ["typos", "typos(seed=1)", "typos(seed=2)"]
    assert len({i.input for i in made}) == 3
    again, _ = Augmenter.of(spec(("typos", {"prob": 0.5}))).augmented(
        [instance("some letters to hit")], [], data
    )
    assert again[0].input == made[0].input


def test_several_of_one_name_are_told_apart_by_their_arguments(data: DataStore) -> None:
    asked = spec(("style", {"suffix": "oil"}), ("style", {"suffix": "ink"}), LOWER)
    made, _ = Augmenter.of(asked).augmented([instance("A dog")], [], data)
    assert [i.perturbation_label for i in made] == ["style(suffix=oil)", "style(suffix=ink)", "lowercase"]
    with pytest.raises(UsageError, match="'style' is named twice"):
        Augmenter.of(spec(("style", {"suffix": "oil"}), ("style", {"suffix": "oil"})))


def test_files_and_versions_are_those_of_all_perturbations() -> None:
    augmenter = Augmenter.of(spec(("mild_mix", {}), ("misspellings", {"prob": 0.1}), LOWER))
    assert [file.path for file in augmenter.files()] == [
        "perturbations/misspellings/correct_to_misspelling.json"
    ]
    assert augmenter.versions() == {
        "perturbation.mild_mix": 1,
        "perturbation.misspellings": 1,
        "perturbation.lowercase": 1,
    }


def test_what_does_not_exist_or_fit_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown perturbation 'typo'; did you mean 'typos'"):
        Augmenter.of(spec(("typo", {"prob": 0.1})))
    with pytest.raises(UsageError, match="perturbation 'typos' needs prob"):
        Augmenter.of(spec(("typos", {})))
    with pytest.raises(UsageError, match="perturbation 'typos' has no parameter 'probability'"):
        Augmenter.of(spec(("typos", {"probability": 0.1})))
    with pytest.raises(UsageError, match=r"'chinese_gender' is one of HELM's .* does not have yet"):
        Augmenter.of(spec(("chinese_gender", {})))


def test_a_perturbation_that_breaks_is_named_with_its_instance(data: DataStore) -> None:
    @perturbation("breaks")
    class Breaks(Perturbation):
        """Breaks."""

        def perturb(self, text: str, rng: Random) -> str:
            raise KeyError(text)

    with pytest.raises(DataError, match="perturbation 'breaks' failed on instance id0: KeyError: 'A'"):
        Augmenter.of(spec(("breaks", {}))).augmented([instance("A")], [], data)


def test_a_plugin_can_register_a_name_that_helm_has(data: DataStore) -> None:
    @perturbation("chinese_gender")
    class Swapped(Perturbation):
        """He and she in Chinese."""

        fairness = True

        def perturb(self, text: str, rng: Random) -> str:
            return text.replace("他", "她")

    made, _ = Augmenter.of(spec(("chinese_gender", {}))).augmented([instance("他来了")], [], data)
    assert told(made) == [("id0", "chinese_gender", "她来了")]
