"""Which units the numbers of a run are over: by split, and by what was perturbed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from evalkit.instance import Instance
from evalkit.scoring.stat import ALL_SPLITS, StatPerturbation

_T = TypeVar("_T")
_Versions = dict[str | None, int]  # the position of one version of each instance, by id


@dataclass(frozen=True, slots=True)
class Slice:
    """Units of a score table, with the cluster and train trial of each.

    Attributes:
        slots: Where the units stand in the table.
        perturbation: None for originals.
        rivals: For each slot, the slots of other versions of the same unit: the worst value of all counts,
            and there is none where one has none. None: each slot's own value counts.
    """

    split: str
    sub_split: str | None
    slots: Sequence[int]
    clusters: Sequence[int]
    trials: Sequence[int]
    perturbation: StatPerturbation | None = None
    rivals: Sequence[Sequence[int]] | None = None

    @property
    def is_comparison(self) -> bool:
        """Whether it only serves to compare perturbed copies with their originals."""
        return self.perturbation is not None and self.perturbation.computed_on != "perturbed"


@dataclass(frozen=True, slots=True)
class _View:
    """Positions of instances that a number is over; `rivals` holds those that each is compared with."""

    perturbation: StatPerturbation | None
    positions: Sequence[int]
    rivals: Sequence[Sequence[int]] | None = None


def slices_of(instances: Sequence[Instance], num_train_trials: int, num_samples: int) -> list[Slice]:
    """The slices of a run, whose unit of trial t, instance i and sample s has the slot (t·I + i)·S + s.

    First the originals; then, only where there are perturbed copies, for each perturbation: the copies
    (`perturbed`), their originals (`original`) and the worse of both (`worst`); last the worst over all
    perturbations for `robustness` and all for `fairness`, originals without a copy included (HELM's
    definitions). Each is given over everything, then by split and sub-split where there is more than one.
    """
    clusters = _clusters(instances)
    places = list(dict.fromkeys((i.split, i.sub_split) for i in instances))
    slices = []
    for view in _views(instances):
        for split, sub_split, members in _parts(view, instances, places):
            positions = [view.positions[m] for m in members]
            at = _Slots(len(instances), num_train_trials, num_samples)
            rivals = None if view.rivals is None else at.of_each([view.rivals[m] for m in members])
            slots, trials = at.of(positions), at.trials(len(positions))
            repeated = [clusters[p] for p in positions for _ in range(num_samples)] * num_train_trials
            slices.append(Slice(split, sub_split, slots, repeated, trials, view.perturbation, rivals))
    return slices


@dataclass(frozen=True, slots=True)
class _Slots:
    """The slots of instances at some positions, in slot order."""

    num_instances: int
    num_train_trials: int
    num_samples: int

    def of(self, positions: Sequence[int]) -> Sequence[int]:
        if len(positions) == self.num_instances:
            return range(self.num_instances * self.num_train_trials * self.num_samples)
        return [self._slot(t, p, s) for t, p, s in self._units(positions)]

    def of_each(self, groups: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
        return [tuple(self._slot(t, p, s) for p in group) for t, group, s in self._units(groups)]

    def trials(self, num_positions: int) -> list[int]:
        return [
            trial for trial in range(self.num_train_trials) for _ in range(num_positions * self.num_samples)
        ]

    def _slot(self, trial: int, position: int, sample: int) -> int:
        return (trial * self.num_instances + position) * self.num_samples + sample

    def _units(self, things: Sequence[_T]) -> Iterator[tuple[int, _T, int]]:
        for trial in range(self.num_train_trials):
            for thing in things:
                for sample in range(self.num_samples):
                    yield trial, thing, sample


def _views(instances: Sequence[Instance]) -> Iterator[_View]:
    originals: _Versions = {}
    copies: dict[str, _Versions] = {}
    families: dict[str, list[_Versions]] = {"robustness": [], "fairness": []}
    for position, instance in enumerate(instances):
        description = instance.perturbation
        if description is None:
            originals[instance.id] = position
            continue
        if description.label not in copies:
            versions = copies[description.label] = {}
            families["robustness"] += [versions] if description.robustness else []
            families["fairness"] += [versions] if description.fairness else []
        copies[description.label][instance.id] = position
    if originals:
        yield _View(None, list(originals.values()))
    for label, versions in copies.items():
        yield _View(StatPerturbation(label, "perturbed"), list(versions.values()))
        if before := [originals[i] for i in versions if i in originals]:
            yield _View(StatPerturbation(label, "original"), before)
        yield _worst(label, versions, originals, [versions])
    for family, members in families.items():
        if members:
            everything = dict.fromkeys(i for versions in (originals, *members) for i in versions)
            yield _worst(family, everything, originals, members)


def _worst(name: str, ids: Iterable[str | None], originals: _Versions, copies: Sequence[_Versions]) -> _View:
    groups = [[versions[i] for versions in (originals, *copies) if i in versions] for i in ids]
    perturbation = StatPerturbation(name, "worst")
    return _View(perturbation, [group[0] for group in groups], [group[1:] for group in groups])


def _parts(
    view: _View, instances: Sequence[Instance], places: Sequence[tuple[str, str | None]]
) -> Iterator[tuple[str, str | None, Sequence[int]]]:
    """Split, sub-split and members of a view: over everything, then by what there is more than one of."""
    yield ALL_SPLITS, None, range(len(view.positions))
    if len(places) == 1:
        return
    by_split: dict[str, list[int]] = {}
    by_place: dict[tuple[str, str | None], list[int]] = {}
    for member, position in enumerate(view.positions):
        instance = instances[position]
        by_split.setdefault(instance.split, []).append(member)
        by_place.setdefault((instance.split, instance.sub_split), []).append(member)
    for split in dict.fromkeys(split for split, _ in places):
        if split in by_split and len({split for split, _ in places}) > 1:
            yield split, None, by_split[split]
        for place in places:
            if place[0] == split and place[1] is not None and place in by_place:
                yield *place, by_place[place]


def _clusters(instances: Iterable[Instance]) -> list[int]:
    """The cluster of each instance: its group's, or one of its own."""
    groups: dict[str, int] = {}
    return [
        position if instance.group is None else groups.setdefault(instance.group, position)
        for position, instance in enumerate(instances)
    ]
