"""A run of another harness in evalkit's terms: what a reader (`helm_import`, …) makes of its files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from evalkit.instance import Instance
from evalkit.request import RequestState
from evalkit.response import Outcome
from evalkit.scoring.interval import IntervalMethod, student_t_quantile, wilson_interval
from evalkit.scoring.stat import Stat, StatPerturbation
from evalkit.specs.run_spec import RunSpec

# How far n times the mean of zeros and ones may be from a whole number, and (relatively) its standard error
# from what it must be.
_COUNT_TOLERANCE = 1e-3
_STDERR_TOLERANCE = 1e-6
# From here on a mean is nearly normally distributed, whatever its values are.
_FEWEST_FOR_T = 30
# Scores are mostly shares or percentages.
_SCALES = (1.0, 100.0)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a run came from.

    Attributes:
        harness: `helm`, `lm-eval` or `inspect`.
        run: What the other harness calls it: a directory or file name.
        path: Where that lay when it was imported; no part of the run's identity.
        sha256: Over the content that was read.
    """

    harness: str
    run: str
    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class UnitKey:
    """What is scored together: an instance (or its perturbed copy) in one train trial and sample."""

    instance_id: str
    trial: int = 0
    sample: int = 0
    perturbation: str | None = None


def unit_of(state: RequestState) -> UnitKey:
    """The unit that a request belongs to."""
    return UnitKey(state.instance_id, state.trial, state.sample, state.perturbation)


@dataclass(slots=True)
class ImportedRun:
    """What a reader found.

    Attributes:
        run_spec: As far as it is known; its metric specs are what the other harness computed.
        given: The scores per unit as given.
        whole_run: Numbers over the whole run: those without scores per instance (perplexity, corpus BLEU),
            and those to be compared with what comes out here.
        unscored: Units of which a note says already that the source has no scores.
        compared: Scores of which the reader compared the number over the whole run with those per instance.
        num_compared: How many numbers that were.
        num_different: Those of them that came out differently.
        is_partial: A part of what the source has is not here; a note says which.
        documents: Small files to keep as they are, by name without `.json`.
        leftovers: What has no place elsewhere, one object per request or instance.
        notes: What the user should know.
    """

    source: Source
    run_spec: RunSpec
    instances: list[Instance] = field(default_factory=list)
    records: list[tuple[RequestState, Outcome]] = field(default_factory=list)
    given: dict[UnitKey, dict[str, float]] = field(default_factory=dict)
    whole_run: list[Stat] = field(default_factory=list)
    unscored: set[UnitKey] = field(default_factory=set)
    compared: set[str] = field(default_factory=set)
    num_compared: int = 0
    num_different: int = 0
    is_partial: bool = False
    documents: dict[str, Any] = field(default_factory=dict)
    leftovers: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def left_out(self, note: str) -> None:
        """Note that a part of what the source has is not here."""
        self.is_partial = True
        self.notes.append(note)


def whole_run_stat(
    name: str,
    mean: float,
    *,
    n: int,
    split: str = "all",
    sub_split: str | None = None,
    perturbation: StatPerturbation | None = None,
    stderr: float | None = None,
) -> Stat:
    """A number that another harness gave for a whole run, as a stat.

    The values behind it are not known here, so there is often no interval; see `_interval`.

    Args:
        name: The metric.
        mean: Its value.
        n: Instances that it is over; 0: not known.
        split: The split that it is over.
        sub_split: The part of that split; None: all of it.
        perturbation: What it has to do with perturbed copies; None: it is over originals.
        stderr: Its standard error, if given.
    """
    ci95, method = (None, None) if stderr is None else _interval(mean, stderr, n)
    return Stat.from_json(
        {
            "name": name,
            "kind": "score",
            "split": split,
            "sub_split": sub_split,
            "perturbation": None if perturbation is None else asdict(perturbation),
            "n": n,
            "n_failed": 0,
            "n_total": n,
            "mean": mean,
            "stderr": stderr,
            "ci95": ci95,
            "ci95_method": method,
            "sum": mean * n,
            "sum_squared": mean * mean * n,
            "num_trials": 1,
            "trial_means": [mean],
        }
    )


def _interval(mean: float, stderr: float, n: int) -> tuple[tuple[float, float] | None, IntervalMethod | None]:
    """The 95% interval of a mean with this standard error; None where there is no right one.

    Where both are those of n answers that are right or wrong, it is Wilson's, as for any share. Else it is
    Student's t, which needs many values, and is wrong where it leaves the scale of the score.
    """
    if _is_share(mean, stderr, n):
        return wilson_interval(mean, n), "wilson"
    if n < _FEWEST_FOR_T or stderr <= 0:
        return None, None
    margin = student_t_quantile(0.975, n - 1) * stderr
    low, high = mean - margin, mean + margin
    scale = next((top for top in _SCALES if mean <= top), math.inf)
    if mean >= 0 and not 0 <= low <= high <= scale:
        return None, None
    return (low, high), "t"


def _is_share(mean: float, stderr: float, n: int) -> bool:
    """Whether mean and standard error are those of n zeros and ones.

    Of values from 0 to 1 with one mean, none has a larger standard error than zeros and ones.
    """
    if n < 2 or not 0 <= mean <= 1:
        return False
    num_right, expected = mean * n, math.sqrt(mean * (1 - mean) / (n - 1))
    return math.isclose(num_right, round(num_right), abs_tol=_COUNT_TOLERANCE) and math.isclose(
        stderr, expected, rel_tol=_STDERR_TOLERANCE, abs_tol=_STDERR_TOLERANCE**2
    )


def label_part(text: str) -> str:
    """A text as part of a run name: HELM writes `/` as `_`."""
    return text.replace("/", "_")


def leftover(place: Mapping[str, Any], fields: Iterable[tuple[str, Any]]) -> dict[str, Any] | None:
    """The fields that hold something, with their place; None if none does."""
    kept = {name: value for name, value in fields if value not in (None, [], {}, "", ())}
    return {**place, **kept} if kept else None
