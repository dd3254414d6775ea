"""Units about which a judge could not make its questions: no journal knows of them, only the scores do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from evalkit.errors import StoreError
from evalkit.response import Failure
from evalkit.results.integrity import fingerprint
from evalkit.results.run_directory import read_lines
from evalkit.results.units import failed_scores
from evalkit.scoring.judged import JUDGE_ERROR, JudgedScores, UnitId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evalkit.results.manifest import Manifest
    from evalkit.results.run_directory import RunDirectory

FailuresBefore = Mapping[UnitId, Mapping[str, Failure]]
"""By unit and score, what a judge's plugin could not do when the run was judged."""


def failures_before(directory: RunDirectory, manifest: Manifest) -> FailuresBefore | None:
    """What the scores of a run say of judges that failed; None where they are lost or changed.

    Args:
        directory: The run.
        manifest: Its manifest.
    """
    path, found = directory.scores_path, dict[UnitId, dict[str, Failure]]()
    if (left := manifest.files.get(path.name)) is None or fingerprint(path) != left:
        return None
    try:
        for row in read_lines(path):
            for name, why in failed_scores(row).items():
                if why["reason"] == JUDGE_ERROR:
                    unit = row["instance_id"], row["trial"], row["sample"], row.get("perturbation")
                    found.setdefault(unit, {})[name] = Failure(JUDGE_ERROR, why["message"])
    except (StoreError, KeyError, TypeError, AttributeError):
        return None
    return found


def with_failures_before(
    scores: JudgedScores, names: Sequence[str], before: Mapping[str, Failure]
) -> JudgedScores:
    """What a judge says of a unit, with the failures of scores about which it was not asked.

    Args:
        scores: What its replies come to.
        names: The judge's scores, as they are called in the run.
        before: What it could not do when the run was judged.
    """
    lacking = (name for name in names if name not in scores.numbers and name not in scores.failures)
    kept = {name: before[name] for name in lacking if name in before}
    return JudgedScores(scores.numbers, {**scores.failures, **kept})
