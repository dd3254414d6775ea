"""What HELM says of a whole run: its numbers, and what it counted that is not in the other files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from evalkit.instance import PerturbationDescription
from evalkit.interchange.foreign_files import finite
from evalkit.interchange.helm_stats import BOOKKEEPING
from evalkit.interchange.imported_run import ImportedRun, unit_of, whole_run_stat
from evalkit.scoring.stat import Stat, StatPerturbation

_Sizes = Mapping[tuple[str | None, str | None], int]
"""How many instances there are in each split and sub-split."""
_PERTURBATION_FIELDS = frozenset(("name", "robustness", "fairness", "computed_on", "seed"))
# Worst cases over all copies of a kind.
_ALL_KINDS = ("robustness", "fairness")
# No count of HELM is larger.
_MOST = 1_000_000_000
_SHOWN_UNITS = 5


def perturbation_of(plain: Mapping[str, Any] | None) -> PerturbationDescription | None:
    """What HELM says of how a copy was made; None for originals."""
    if plain is None:
        return None
    variant = {name: value for name, value in plain.items() if name not in _PERTURBATION_FIELDS}
    return PerturbationDescription(
        name=plain["name"],
        variant=",".join(f"{name}={value}" for name, value in sorted(variant.items())),
        robustness=bool(plain.get("robustness")),
        fairness=bool(plain.get("fairness")),
        seed=plain.get("seed"),
    )


def _stat_perturbation(plain: Mapping[str, Any] | None) -> StatPerturbation | None:
    described = perturbation_of(plain)
    if plain is None or described is None:
        return None
    return StatPerturbation(described.label, plain.get("computed_on", "perturbed"))


def whole_run_numbers(run: ImportedRun, stats: Iterable[Mapping[str, Any]]) -> list[Stat]:
    """HELM's numbers by split and perturbation, its bookkeeping (tokens, times) left out."""
    stats = [stat for stat in stats if stat.get("count")]
    plain = [stat for stat in stats if stat["name"].get("perturbation") is None]
    has_copies = any(instance.perturbation for instance in run.instances)
    splits = {stat["name"].get("split") for stat in plain}
    places = {(stat["name"].get("split"), stat["name"].get("sub_split")) for stat in plain}
    by_kind = _sizes_by_kind(stats)
    found = []
    for stat in stats:
        changed = _stat_perturbation(stat["name"].get("perturbation"))
        if changed is not None and not has_copies and changed.name in _ALL_KINDS:
            # HELM has worst cases also where nothing was perturbed: they are the numbers themselves.
            continue
        sizes = by_kind.get(changed) or by_kind.get(None, {})
        name, split, sub_split = (stat["name"].get(key) for key in ("name", "split", "sub_split"))
        if name in BOOKKEEPING or (mean := finite(stat.get("mean"))) is None:
            continue
        n = sizes.get((split, sub_split)) or _size_of(sizes, split) or _num_here(run, split, sub_split)
        if len(places) == 1:
            sub_split = None
        place = "all" if len(splits) == 1 and sub_split is None else split
        found.append(whole_run_stat(name, mean, n=n, split=place, sub_split=sub_split, perturbation=changed))
    return found


def _num_here(run: ImportedRun, split: str | None, sub_split: str | None) -> int:
    """How many instances came along, where HELM does not say how many it counted; 0 if none did."""
    if not run.instances:
        return len({unit.instance_id for unit in run.given})
    return sum(
        each.perturbation is None and each.split == (split or "test") and sub_split in (None, each.sub_split)
        for each in run.instances
    )


def _sizes_by_kind(stats: Iterable[Mapping[str, Any]]) -> dict[StatPerturbation | None, _Sizes]:
    """The sizes of originals (None) and of what has to do with perturbed copies."""
    by_kind: dict[StatPerturbation | None, list[Mapping[str, Any]]] = {}
    for stat in stats:
        if stat["name"]["name"] == "num_instances":
            by_kind.setdefault(_stat_perturbation(stat["name"].get("perturbation")), []).append(stat)
    return {described: _sizes(found) for described, found in by_kind.items()}


def _sizes(stats: Iterable[Mapping[str, Any]]) -> _Sizes:
    """How many instances HELM counted in each split and sub-split."""
    return {
        (stat["name"].get("split"), stat["name"].get("sub_split")): round(
            min(max(finite(stat.get("mean")) or 0, 0), _MOST)
        )
        for stat in stats
        if stat["name"]["name"] == "num_instances"
    }


def _size_of(sizes: _Sizes, split: str | None) -> int:
    return sizes.get((split, None)) or sum(n for (each, _), n in sizes.items() if each == split)


def note_missing_rows(run: ImportedRun) -> None:
    """Say of how many units HELM's scores are not there: it writes a row for each, failed ones included."""
    units = dict.fromkeys(replace(unit_of(state), sample=0) for state, _ in run.records)
    missing = [unit for unit in units if unit not in run.given]
    if missing:
        run.unscored.update(missing)
        some = ", ".join(dict.fromkeys(unit.instance_id for unit in missing[:_SHOWN_UNITS]))
        run.left_out(
            f"per_instance_stats.json has no scores for {len(missing)} of {len(units)} units "
            f"({some}{', …' if len(missing) > _SHOWN_UNITS else ''}): what is not computed anew "
            "has fewer values here, or only its number over the whole run"
        )


def note_missing_scores(run: ImportedRun, stats: Iterable[Mapping[str, Any]]) -> None:
    """Say which scores HELM had per instance and did not store so: of others it tells no worst case."""
    known = {name for scores in run.given.values() for name in scores} | BOOKKEEPING
    lost = dict.fromkeys(
        stat["name"]["name"]
        for stat in stats
        if stat.get("count")
        and finite(stat.get("mean")) is not None
        and stat["name"]["name"] not in known
        and (described := _stat_perturbation(stat["name"].get("perturbation"))) is not None
        and described.computed_on == "worst"
    )
    if lost and run.given:
        run.left_out(
            f"{', '.join(lost)}: HELM had these scores for each instance, and per_instance_stats.json has "
            "none of them"
        )


def note_missing_instances(run: ImportedRun, stats: Sequence[Mapping[str, Any]]) -> None:
    """Say how many instances, and copies of them, HELM counted that are not in the file of requests."""
    counted: dict[tuple[str, str | None], int] = {}
    for described, sizes in _sizes_by_kind(stats).items():
        if described is None or described.computed_on == "perturbed":
            copies = None if described is None else described.name
            counted |= {(split or "test", copies): _size_of(sizes, split) for split, _ in sizes}
    present = Counter((each.split, each.perturbation_label) for each in run.instances)
    # Of other copies there are numbers, and perhaps no count.
    names = {label for _, label in (*counted, *present)}
    counted |= {
        (stat["name"].get("split") or "test", described.name): 1
        for stat in stats
        if (described := _stat_perturbation(stat["name"].get("perturbation"))) is not None
        and described.computed_on == "perturbed"
        and described.name not in names
        and stat.get("count")
    }
    missing = {place: n - present[place] for place, n in counted.items() if n > present[place]}
    if missing:
        listed = ", ".join(
            f"{n} of {counted[split, label]} ({split}{f', {label}' if label else ''})"
            if label in names
            else f"all of the copies '{label}'"
            for (split, label), n in missing.items()
        )
        run.left_out(f"scenario_state.json lacks instances that HELM counted: {listed}")
