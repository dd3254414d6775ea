"""What of a run's answers has no score, and why, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_MOST_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Unscored:
    """Answered units that lack a score because a metric or a judge failed.

    Attributes:
        num_units: How many units.
        by_score: How many of them lack each score; of a unit that fails as a whole none is named.
        by_reason: Of the scores that judges should have given, how many are missing for each reason.
    """

    num_units: int = 0
    by_score: Mapping[str, int] = field(default_factory=dict)
    by_reason: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def __str__(self) -> str:
        """In words: `3 not scored (bleu_4: 3)`, `1 not scored (rating: 1 unclear)`; else empty."""
        if not self.num_units:
            return ""
        names = [f"{name}: {self._counted(name)}" for name in self.by_score]
        if more := len(names[_MOST_SHOWN:]):
            names[_MOST_SHOWN:] = [f"{more} more"]
        listed = f" ({', '.join(names)})" if names else ""
        return f"{self.num_units} not scored{listed}"

    def _counted(self, name: str) -> str:
        reasons = self.by_reason.get(name, {})
        return " and ".join(f"{n} {why}" for why, n in reasons.items()) or str(self.by_score[name])
