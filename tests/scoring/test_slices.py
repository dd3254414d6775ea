"""Numbers over perturbed copies, against HELM's definitions worked out directly."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import StoreError
from evalkit.instance import CORRECT, Instance, PerturbationDescription, Reference
from evalkit.request import Request, RequestState, request_key
from evalkit.response import Completion, Failure, Response
from evalkit.scoring.metric import Metric
from evalkit.scoring.score_table import ScoreTable
from evalkit.scoring.scorer import Scorer
from evalkit.scoring.slices import slices_of
from evalkit.scoring.stat import Stat, StatPerturbation
from evalkit.scoring.unit import Unit

DIALECT = PerturbationDescription("dialect", fairness=True)
GENDER = PerturbationDescription("gender", fairness=True)
TYPOS = PerturbationDescription("typos", robustness=True)
STYLE = PerturbationDescription("style", variant="suffix=ink")
ALL = (DIALECT, GENDER, TYPOS, STYLE)
Place = tuple[str, str | None]
Scores = dict[tuple[str, str | None], float]


def version(i: int, perturbation: PerturbationDescription | None = None, split: str = "test") -> Instance:
    return Instance("?", (Reference("yes", (CORRECT,)),), split, id=f"id{i}", perturbation=perturbation)


class Given(Metric):
    """Gives the number that the answer spells, as a score and as an error."""

    name = "given"
    names = ("score", "error")
    full_marks = {"score": 1.0, "error": 0.0}  # noqa: RUF012

    def score(self, unit: Unit) -> dict[str, float]:
        value = float(unit.predictions()[0] or "")
        return {"score": value, "error": value}


def scored(instances: Sequence[Instance], answer: Callable[[Instance], float | None]) -> Scorer:
    scorer = Scorer([Given()], instances)
    for instance in instances:
        value = answer(instance)
        label = instance.perturbation_label
        key = request_key(str(instance.id), 0, perturbation=label)
        state = RequestState(key, str(instance.id), 0, Request("?"), perturbation=label)
        outcome = Failure("timeout", "slow") if value is None else Response((Completion(str(value)),))
        scorer.add(state, outcome)
    return scorer


def found(stats: Iterable[Stat], name: str = "score", split: str = "all") -> dict[str, Stat]:
    return {
        "plain" if s.perturbation is None else str(s.perturbation): s
        for s in stats
        if (s.name, s.split) == (name, split)
    }


VERSIONS = st.dictionaries(
    st.integers(0, 5),
    st.tuples(st.booleans(), st.sets(st.sampled_from(ALL))).filter(lambda v: v[0] or v[1]),
    min_size=1,
)


@given(VERSIONS, st.data())
def test_means_are_those_of_helms_definitions(
    versions: dict[int, tuple[bool, set[PerturbationDescription]]], data: st.DataObject
) -> None:
    instances = [
        version(i, p)
        for i, (has_original, copies) in versions.items()
        for p in ([None] if has_original else []) + sorted(copies, key=ALL.index)
    ]
    value = {
        (i.id, i.perturbation_label): data.draw(st.integers(0, 4), label=str(i.perturbation))
        for i in instances
    }
    stats = scored(instances, lambda i: value[i.id, i.perturbation_label]).stats()

    def mean(groups: Iterable[list[int]], choose: Callable[[list[int]], int]) -> float | None:
        chosen = [choose(group) for group in groups if group]
        return sum(chosen) / len(chosen) if chosen else None

    def of(i: int, labels: Iterable[str | None]) -> list[int]:
        return [value[f"id{i}", label] for label in labels if (f"id{i}", label) in value]

    for name, choose in (("score", min), ("error", max)):
        expected: dict[str, float | None] = {"plain": mean((of(i, [None]) for i in versions), choose)}
        for p in ALL:
            with_copy = [i for i, (_, copies) in versions.items() if p in copies]
            expected[f"{p.label}: perturbed"] = mean((of(i, [p.label]) for i in with_copy), choose)
            expected[f"{p.label}: original"] = mean((of(i, [None]) for i in with_copy), choose)
            expected[f"{p.label}: worst"] = mean((of(i, [None, p.label]) for i in with_copy), choose)
        for family in ("robustness", "fairness"):
            labels = [p.label for p in ALL if getattr(p, family)]
            ran = any(p in copies for _, copies in versions.values() for p in ALL if p.label in labels)
            groups = [of(i, [None, *labels]) for i in versions] if ran else []
            expected[f"{family}: worst"] = mean(groups, choose)
        assert {place: stat.mean for place, stat in found(stats, name).items()} == pytest.approx(
            {place: mean for place, mean in expected.items() if mean is not None}
        )


def test_without_copies_there_are_only_plain_numbers() -> None:
    stats = scored([version(0), version(1)], lambda i: 1.0).stats()
    assert {s.perturbation for s in stats} == {None}


def test_the_worst_is_the_largest_where_less_is_better() -> None:
    answers = {None: 0.25, "typos": 0.75}
    stats = scored([version(0), version(0, TYPOS)], lambda i: answers[i.perturbation_label]).stats()
    assert found(stats, "score")["typos: worst"].mean == 0.25
    assert found(stats, "error")["typos: worst"].mean == 0.75
    assert found(stats, "error")["robustness: worst"].mean == 0.75


def test_a_failed_version_is_no_score_and_leaves_no_worst_case() -> None:
    instances = [version(0), version(0, TYPOS), version(1), version(1, TYPOS)]

    def answer(instance: Instance) -> float | None:
        return None if (instance.id, instance.perturbation) == ("id1", TYPOS) else 1.0

    stats = found(scored(instances, answer).stats())
    for place, n, n_failed in (
        ("plain", 2, 0),
        ("typos: perturbed", 1, 1),
        ("typos: original", 2, 0),
        ("typos: worst", 1, 1),
        ("robustness: worst", 1, 1),
    ):
        assert (stats[place].n, stats[place].n_failed, stats[place].n_total) == (n, n_failed, 2), place


def test_usage_is_told_for_copies_but_not_compared() -> None:
    stats = scored([version(0), version(0, TYPOS)], lambda i: 1.0).stats()
    assert list(found(stats, "num_prompt_tokens")) == ["plain", "typos: perturbed"]


def test_splits_are_told_for_every_perturbation() -> None:
    instances = [version(0), version(0, TYPOS), version(1, split="valid")]
    stats = scored(instances, lambda i: 1.0).stats()
    assert list(found(stats, split="test")) == [
        "plain",
        "typos: perturbed",
        "typos: original",
        "typos: worst",
        "robustness: worst",
    ]
    assert list(found(stats, split="valid")) == ["plain", "robustness: worst"]
    assert [s.part for s in stats if s.name == "score"][:4] == [
        "all",
        "test",
        "valid",
        "all, typos: perturbed",
    ]


@given(st.integers(1, 3), st.integers(1, 3))
def test_slots_are_those_of_the_sheet(num_train_trials: int, num_samples: int) -> None:
    instances = [version(0), version(0, TYPOS), version(1), version(1, TYPOS), version(2)]
    table = ScoreTable(instances, num_train_trials, num_samples)
    for part in slices_of(instances, num_train_trials, num_samples):
        label = None if part.perturbation is None else part.perturbation.name
        on = "plain" if part.perturbation is None else part.perturbation.computed_on
        units = product(
            range(num_train_trials), range(3 if label in (None, "robustness") else 2), range(num_samples)
        )
        of = label if on == "perturbed" else None
        assert list(part.slots) == [table.slot(f"id{i}", t, s, of) for t, i, s in units]
        assert list(part.trials) == [slot // (num_samples * len(instances)) for slot in part.slots]
        assert len(part.clusters) == len(part.slots)
        if part.rivals is not None:
            for slot, rivals in zip(part.slots, part.rivals, strict=True):
                assert [table.instance_at(r).perturbation_label for r in rivals] == (
                    ["typos"] if table.instance_at(slot).id != "id2" else []
                )


def test_rows_say_which_copy_they_are_of() -> None:
    rows = [row.to_json() for row in scored([version(0), version(0, TYPOS)], lambda i: 1.0).rows()]
    assert [row.get("perturbation") for row in rows] == [None, "typos"]
    assert {row["instance_id"] for row in rows} == {"id0"}


def test_stats_of_copies_survive_json() -> None:
    for stat in scored([version(0), version(0, STYLE)], lambda i: 1.0).stats():
        assert Stat.from_json(stat.to_json()) == stat
    plain = stat.to_json() | {"perturbation": {"name": "x"}}
    with pytest.raises(StoreError, match="perturbation of this version"):
        Stat.from_json(plain)


def test_what_belongs_into_a_short_table() -> None:
    stats = scored([version(0), version(0, TYPOS)], lambda i: 1.0).stats()
    assert [s.part for s in stats if s.name == "score" and s.is_headline] == [
        "all",
        "all, typos: worst",
        "all, robustness: worst",
    ]
    assert not math.isnan(sum(s.mean or 0 for s in stats))
    assert StatPerturbation("typos", "worst") in {s.perturbation for s in stats}
