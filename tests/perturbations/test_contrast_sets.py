from __future__ import annotations

from evalkit.data import DataStore
from evalkit.instance import CORRECT, Reference
from evalkit.scenarios.contrast import contrast_extra
from tests.perturbations.copies import copy_of, instance

CONTRASTS = contrast_extra([("Is it first?", "Yes"), ("Is it only?", "No")])


def test_one_of_the_contrasts_is_drawn(data: DataStore) -> None:
    copies = [
        copy_of(
            instance("Is it last?", "No", id=f"id{i}", extra=CONTRASTS),
            data,
            "contrast_sets",
        )
        for i in range(20)
    ]
    assert {(copy.input, copy.references) for copy in copies} == {
        ("Is it first?", (Reference("Yes", (CORRECT,)),)),
        ("Is it only?", (Reference("No", (CORRECT,)),)),
    }


def test_without_contrasts_the_instance_stays(data: DataStore) -> None:
    for extra in (None, {"choices": 2}, contrast_extra([])):
        original = instance("Is it last?", "No", extra=extra)
        copy = copy_of(original, data, "contrast_sets")
        assert (copy.input, copy.references) == (original.input, original.references)
