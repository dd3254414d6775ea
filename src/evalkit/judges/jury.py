"""One verdict of several judges: by majority, mean or median."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from evalkit.errors import UnclearVerdict

if TYPE_CHECKING:
    from evalkit.judges.verdicts import Verdict

JuryRule = Literal["majority", "mean", "median"]


@dataclass(frozen=True, slots=True)
class NoVerdict:
    """Why a judge gave no verdict: its request failed, or its reply stayed unclear."""

    reason: str


@dataclass(frozen=True, slots=True)
class JuryVerdict:
    """What a jury decided.

    Attributes:
        verdict: The verdict.
        n: How many judges gave one.
        num_judges: How many were asked.
        num_agreeing: By majority: how many gave this verdict; else None.
    """

    verdict: Verdict
    n: int
    num_judges: int
    num_agreeing: int | None = None


class Jury(BaseModel):
    """How verdicts of several judges become one.

    - majority: the verdict that more than half of the judges give. Judges without a verdict count among all:
      two of three who agree decide, whatever the third does; two of four do not. Without a majority the
      verdict is unclear, as after a tie.
    - mean, median: of the judges' ratings; the median of an even number is the mean of the middle two. Judges
      differ in how severe they are, so a mean without one of them is another measure: by default each
      judge must give a verdict.

    Attributes:
        rule: Which of them.
        min_verdicts: For mean and median: how many judges must give a verdict; None: all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: JuryRule = "mean"
    min_verdicts: int | None = Field(default=None, ge=1)

    def decide(self, opinions: Mapping[str, Verdict | NoVerdict]) -> JuryVerdict:
        """The jury's verdict.

        Args:
            opinions: Each judge's name, and what it gave.

        Raises:
            UnclearVerdict: Too few judges gave a verdict, or no majority agrees; names who gave none.
            TypeError: The mean or median of preferences was asked for.
        """
        if not opinions:
            raise UnclearVerdict("the jury has no judges")
        given = {name: each for name, each in opinions.items() if not isinstance(each, NoVerdict)}
        absent = {name: each.reason for name, each in opinions.items() if isinstance(each, NoVerdict)}
        missing = "; ".join(f"{name}: {reason}" for name, reason in absent.items())
        if self.rule == "majority":
            return _majority(list(given.values()), len(opinions), missing)
        needed = len(opinions) if self.min_verdicts is None else self.min_verdicts
        if len(given) < needed:
            who = f" ({missing})" if missing else ""
            raise UnclearVerdict(
                f"{len(given)} of {len(opinions)} judges gave a verdict, {needed} are needed{who}"
            )
        ratings = [_rating(each) for each in given.values()]
        verdict = math.fsum(ratings) / len(ratings) if self.rule == "mean" else _median(ratings)
        return JuryVerdict(verdict, len(given), len(opinions))


def _majority(given: list[Verdict], num_judges: int, missing: str) -> JuryVerdict:
    counts = Counter(given).most_common()
    if counts and 2 * counts[0][1] > num_judges:
        return JuryVerdict(counts[0][0], len(given), num_judges, counts[0][1])
    votes = ", ".join(f"{verdict}: {count}" for verdict, count in counts) or "none"
    who = f" ({missing})" if missing else ""
    raise UnclearVerdict(f"no verdict has more than half of {num_judges} judges: {votes}{who}")


def _median(ratings: list[float]) -> float:
    ordered, middle = sorted(ratings), len(ratings) // 2
    return ordered[middle] if len(ratings) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _rating(verdict: Verdict) -> float:
    if isinstance(verdict, str):
        raise TypeError(f"the mean or median of preferences such as '{verdict}' is not defined; use majority")
    return verdict
