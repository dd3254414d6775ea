"""What a source has and the imported run has not, and where their numbers differ."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from statistics import fmean
from typing import Any

from evalkit.interchange.imported_run import ImportedRun, UnitKey, unit_of
from evalkit.response import Response
from evalkit.results.run_directory import RunDirectory, read_lines, write_lines
from evalkit.results.units import has_failed
from evalkit.scoring.stat import ALL_SPLITS, Stat

# Scores that agree to this are the same; the other harness may have summed in another order.
_TOLERANCE = 1e-9
# Means of them may have been rounded on the way.
_MEAN_TOLERANCE = 1e-6
_SHOWN_UNITS = 5
_SHOWN_NAMES = 8


def note_missing_units(directory: RunDirectory, run: ImportedRun) -> int:
    """Report the units of which only scores came along; returns how many."""
    there = {unit_of(state) for state, _ in run.records}
    missing = {unit: scores for unit, scores in run.given.items() if scores and unit not in there}
    if missing:
        run.left_out(
            f"{run.source.harness} has scores of {len(missing)} units whose requests are not in its files "
            f"({_some(missing)}): evalkit's numbers leave them out; see imported/missing.jsonl"
        )
        rows = ({**asdict(unit), "scores": scores} for unit, scores in missing.items())
        write_lines(directory.imported_path / "missing.jsonl", rows)
    return len(missing)


def note_lacking_scores(run: ImportedRun, carried: Sequence[str]) -> None:
    """Report the carried scores that some answered units have and others have not.

    A mean over the ones that have it is another number than the source means, or may be.
    """
    outcomes: dict[UnitKey, bool] = {}
    for state, outcome in run.records:
        unit = unit_of(state)
        outcomes[unit] = outcomes.get(unit, True) and isinstance(outcome, Response)
    answered = [unit for unit, is_answered in outcomes.items() if is_answered]
    alike: dict[tuple[UnitKey, ...], list[str]] = {}
    for name in carried:
        lacking = tuple(
            unit for unit in answered if name not in run.given.get(unit, {}) and unit not in run.unscored
        )
        if lacking:
            alike.setdefault(lacking, []).append(name)
    for lacking, names in alike.items():
        shown = ", ".join(names[:_SHOWN_NAMES]) + (", …" if len(names) > _SHOWN_NAMES else "")
        run.left_out(
            f"{shown}: {run.source.harness} gives no such number for {len(lacking)} of {len(answered)} "
            f"answered units ({_some(lacking)}); the mean here is over the others"
        )


def uncompared(directory: RunDirectory, run: ImportedRun) -> tuple[str, ...]:
    """The scores made here that no number of the source was compared with."""
    from evalkit.results.scores import read_stats

    if not run.instances:
        return ()
    ours = [s.name for s in read_stats(directory) if s.kind == "score" and s.mean is not None and s.n]
    theirs = {s.name for s in run.whole_run} | {f"{s.name},as-given" for s in run.whole_run}
    return tuple(sorted(set(ours) - run.compared - theirs))


def carry_numbers(directory: RunDirectory, run: ImportedRun) -> list[Stat]:
    """Compare the numbers over the whole run with those made here; keep the others, and those that differ."""
    from evalkit.results.scores import read_stats

    if not run.instances:
        _compare_with_given(run)

    made = read_stats(directory)
    by_place = {stat.place: stat for stat in made if stat.mean is not None}
    kept: list[Stat] = []
    for number in run.whole_run:
        ours = by_place.get(number.place)
        if ours is None:
            kept.append(number)
            continue
        run.num_compared += 1
        run.compared.add(number.name)
        here, given = ours.mean or 0.0, number.mean or 0.0
        if not math.isclose(here, given, rel_tol=_MEAN_TOLERANCE, abs_tol=_MEAN_TOLERANCE):
            run.num_different += 1
            kept.append(replace(number, name=f"{number.name},as-given"))
            if number.is_headline and number.sub_split is None:
                run.notes.append(
                    f"{number.name} ({number.part}): {run.source.harness} says {given:g}, here it is "
                    f"{here:g}; kept as {number.name},as-given"
                )
    if kept:
        write_lines(directory.imported_path / "stats.jsonl", (stat.to_json() for stat in kept))
        directory.write_stats(stat.to_json() for stat in (*made, *kept))
    return kept


def _compare_with_given(run: ImportedRun) -> None:
    """Compare the numbers of a run without samples with the scores per unit that it has, if any.

    As in HELM, the mean is that of the train trials' means.
    """
    for number in run.whole_run:
        if number.split != ALL_SPLITS or number.sub_split or number.perturbation:
            continue
        trials: dict[int, list[float]] = {}
        for unit, scores in run.given.items():
            if number.name in scores and unit.perturbation is None:
                trials.setdefault(unit.trial, []).append(scores[number.name])
        if not trials:
            continue
        run.num_compared += 1
        run.compared.add(number.name)
        mean, given = fmean(map(fmean, trials.values())), number.mean or 0.0
        if not math.isclose(mean, given, rel_tol=_MEAN_TOLERANCE, abs_tol=_MEAN_TOLERANCE):
            run.num_different += 1
            run.notes.append(
                f"{number.name}: {run.source.harness} says {given:g}, the mean of its "
                f"{sum(map(len, trials.values()))} scores is {mean:g}; its number is kept"
            )


@dataclass(slots=True)
class Differences:
    """Scores that were given and are computed here too.

    Attributes:
        num_compared: How many there are.
        rows: Those that come out differently.
    """

    num_compared: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)


def find_differences(
    directory: RunDirectory, given: Mapping[UnitKey, Mapping[str, float]], carried: Collection[str]
) -> Differences:
    """Compare each score of a unit with the given one; those that are carried over are the given ones."""
    found = Differences()
    if not directory.scores_path.exists():
        return found
    for row in read_lines(directory.scores_path):
        unit = UnitKey(row["instance_id"], row.get("trial", 0), row.get("sample", 0), row.get("perturbation"))
        for name, theirs in given.get(unit, {}).items():
            ours = row.get("scores", {}).get(name)
            found.num_compared += ours is not None and name not in carried
            if ours is None or not math.isclose(ours, theirs, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE):
                place = {key: row[key] for key in ("instance_id", "trial", "sample") if key in row}
                status = "failed" if has_failed(row, name) else row["status"]
                found.rows.append({**place, "metric": name, "given": theirs, "here": ours, "status": status})
    return found


def _some(units: Collection[UnitKey]) -> str:
    """The first few instances of these units."""
    first = dict.fromkeys(unit.instance_id for unit in islice(units, _SHOWN_UNITS))
    return ", ".join(first) + (", …" if len(units) > _SHOWN_UNITS else "")
