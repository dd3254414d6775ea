"""The numbers that a log of Inspect gives for its whole run, besides what its samples give."""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from evalkit.interchange.foreign_files import finite
from evalkit.interchange.imported_run import ImportedRun, UnitKey, whole_run_stat
from evalkit.response import Failure
from evalkit.scoring.stat import Stat

# These two are means of the samples' scores; of others only Inspect knows how they come about.
_MEANS = ("accuracy", "mean")
_STDERRS = ("stderr", "bootstrap_stderr")
_SIMPLE_REDUCERS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "mean": statistics.fmean,
    "median": statistics.median,
    "mode": lambda values: Counter(values).most_common(1)[0][0],
    "max": max,
}
_AT_K = re.compile(r"(at_least|pass_at)_(\d+)")
_TOLERANCE = 1e-6


def carry_numbers(run: ImportedRun, results: Mapping[str, Any]) -> None:
    """Compare the log's own numbers with its samples, and carry over those that are not the samples' mean.

    A number is called `<score>/<metric>`, with `,<reducer>` where the epochs of a sample were not averaged.

    Args:
        run: With its scores per sample; gets the numbers, and notes on what differs.
        results: The `results` of the log.
    """
    scores = results.get("scores") or []
    if not scores and results.get("metrics"):  # the layout of early logs
        scores = [{"name": (results.get("scorer") or {}).get("name", "score"), "metrics": results["metrics"]}]
    for score in scores:
        run.whole_run += _numbers_of(run, score)


def reduce_epochs(reducer: str, values: Sequence[float]) -> float | None:
    """One score from those of a sample's epochs, as Inspect's reducer of this name does; None if unknown."""
    if reducer in _SIMPLE_REDUCERS:
        return _SIMPLE_REDUCERS[reducer](values)
    if (at_k := _AT_K.fullmatch(reducer)) is None:
        return None
    k, total, right = int(at_k[2]), len(values), sum(value >= 1 for value in values)
    if at_k[1] == "at_least":
        return float(right >= k)
    return 1.0 if total - right < k else 1 - math.comb(total - right, k) / math.comb(total, k)


def _numbers_of(run: ImportedRun, score: Mapping[str, Any]) -> Iterator[Stat]:
    name, reducer = score["name"], score.get("reducer") or "mean"
    if score.get("scorer") not in (None, name):
        # One of several values that a scorer gave, perhaps, and another scorer may have this name.
        own = f"{score['scorer']}/{name}"
        known = {known for scores in run.given.values() for known in scores}
        name = own if own in known or name not in known else name
    # What has failed has no score here, even if Inspect gave it one.
    failed = {
        UnitKey(state.instance_id, state.trial, state.sample)
        for state, outcome in run.records
        if isinstance(outcome, Failure)
    }
    by_sample: dict[str, list[float]] = {}
    for unit, scores in run.given.items():
        if name in scores and unit not in failed:
            by_sample.setdefault(unit.instance_id, []).append(scores[name])
    values = {metric: _value(given) for metric, given in (score.get("metrics") or {}).items()}
    stderr = next((v for m, v in values.items() if _base(m) in _STDERRS and v is not None), None)
    n = score.get("scored_samples") or len(by_sample) or len(run.instances)
    has_mean = any(_base(metric) in _MEANS for metric in values)
    for metric, value in values.items():
        is_mean = _base(metric) in _MEANS
        if value is None or (has_mean and _base(metric) in _STDERRS):
            continue
        label = f"{name}/{metric}" + ("" if reducer == "mean" else f",{reducer}")
        if is_mean and by_sample and _is_given_by(run, by_sample, label, reducer, value):
            continue
        yield whole_run_stat(label, value, n=n, stderr=stderr if is_mean else None)


def _is_given_by(
    run: ImportedRun, by_sample: Mapping[str, Sequence[float]], label: str, reducer: str, value: float
) -> bool:
    """Whether the mean over all epochs of all samples, which is shown here, is this very number."""
    shown = statistics.fmean([each for values in by_sample.values() for each in values])
    reduced = [reduce_epochs(reducer, values) for values in by_sample.values()]
    known = [each for each in reduced if each is not None]
    run.num_compared += bool(known)
    if known:
        run.compared.add(label.partition(",")[0].rpartition("/")[0])
    if _close(shown, value) and reducer == "mean":
        return True
    if known and not _close(statistics.fmean(known), value):
        run.num_different += 1
        has_all = len(known) == len(run.instances)
        which = "its samples" if has_all else f"{len(known)} of its {len(run.instances)} samples"
        run.notes.append(
            f"{label}: Inspect says {value:g}, {which} give {statistics.fmean(known):g}; kept as given"
        )
    elif not _close(shown, value):
        how = "the mean of its samples" if reducer == "mean" else f"over epochs reduced by {reducer}"
        run.notes.append(f"{label}: Inspect says {value:g} ({how}); the mean of all epochs is {shown:g} here")
    return False


def _value(given: Any) -> float | None:
    return finite(given.get("value") if isinstance(given, Mapping) else given)


def _base(metric: str) -> str:
    """The name without the package that it may be qualified with."""
    return metric.rpartition("/")[2]


def _close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
