"""What the requests of one stage came to so far: how many, for how much, and from where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from evalkit.plural import counted
from evalkit.response import BLOCKED, Failure, Outcome, Usage

if TYPE_CHECKING:
    from evalkit.execution.journal_index import JournalIndex
    from evalkit.models.deployment import Prices
    from evalkit.request import RequestState

PriceList = Mapping[str | None, "Prices | None"]
"""What tokens cost, by the member of a routed deployment or a jury; where only one can answer, under None."""
_MAY_BE_BILLED = (
    "attempts failed after the server may have done the work: it may bill them, and the costs shown leave "
    "them out"
)


class Tally:
    """Counts outcomes, those of earlier starts too.

    Args:
        prices: Of those who answer.

    Attributes:
        failures: Requests without an answer whose last attempt failed: key to reason.
        last_failure: The latest failure, in words.
        num_answered: Requests with an answer.
        usage: Tokens of the answers that were paid for, by who gave them.
        num_without_usage: Of these answers, those whose server reported no tokens.
        num_unknown_bills: Attempts that failed and that the server may bill.
        num_found: Of the answers, those that were found in each source.
    """

    def __init__(self, prices: PriceList) -> None:
        self._prices = prices
        self.failures: dict[str, str] = {}
        self.last_failure = ""
        self.num_answered = 0
        self.usage: dict[str | None, Usage] = {}
        self.num_without_usage = 0
        self.num_unknown_bills = 0
        self.num_found: Counter[str] = Counter()
        self._num_found_before: Counter[str] = Counter()

    def begin(self, index: JournalIndex, num_unknown_bills: int) -> None:
        """Take in what earlier starts have done.

        Usage is the journal's, not the last manifest's: a start that was killed wrote none, and was billed.
        The journal has outcomes, though, not attempts.

        Args:
            index: What the stage's journal holds.
            num_unknown_bills: What the manifest says of attempts that the server may bill.
        """
        self.failures = {key: failure.reason for key, failure in index.failures.items()}
        self.num_answered = len(index.answered)
        self.usage = dict(index.usage)
        self.num_without_usage = index.num_without_usage
        self.num_found, self._num_found_before = Counter(index.num_found), Counter(index.num_found)
        self.num_unknown_bills = num_unknown_bills

    def count(self, state: RequestState, outcome: Outcome) -> float | None:
        """Count an outcome; returns what it cost in US dollars, None where prices or tokens are not known."""
        if isinstance(outcome, Failure):
            self.failures[state.key] = outcome.reason
            self.last_failure = f"({outcome.reason}) {outcome.message}"
            return None
        self.failures.pop(state.key, None)
        self.num_answered += 1
        if outcome.cached:
            if (origin := outcome.origin) is not None:
                self.num_found[origin.source] += 1
            return 0.0
        used = outcome.usage
        if not used.is_reported:
            self.num_without_usage += 1
            return None
        before = self.usage.get(state.member, Usage())
        self.usage[state.member] = Usage(
            before.prompt_tokens + used.prompt_tokens,
            before.completion_tokens + used.completion_tokens,
        )
        prices = self._prices.get(state.member)
        return None if prices is None else prices.cost_usd(used)

    def count_unknown_bill(self) -> None:
        """Count an attempt that failed and that the server may bill."""
        self.num_unknown_bills += 1

    @property
    def num_blocked(self) -> int:
        """Requests that a content filter blocked."""
        return sum(reason == BLOCKED for reason in self.failures.values())

    @property
    def found_notes(self) -> list[str]:
        """Where this start has found answers, and how many: `50 answers taken from gsm:model=a_b`."""
        found = self.num_found - self._num_found_before
        return [
            f"{counted(number, 'answer')} taken from {source}" for source, number in sorted(found.items())
        ]

    @property
    def money_notes(self) -> tuple[str, ...]:
        """What the user should know of the cost."""
        return (_MAY_BE_BILLED,) if self.num_unknown_bills else ()

    @property
    def cost_usd(self) -> float | None:
        """What all answers cost; None where prices or tokens of some are not known."""
        is_unpriced = any(self._prices.get(member) is None for member in self.usage)
        return None if self._has_unknown or is_unpriced else self.reported_usd

    @property
    def reported_usd(self) -> float | None:
        """What the answers whose tokens and prices are known cost; None where there are none."""
        has_prices = any(prices is not None for prices in self._prices.values())
        if not has_prices or (self._has_unknown and not self._is_reported):
            return None
        priced = ((self._prices.get(member), usage) for member, usage in self.usage.items())
        return round(sum(prices.cost_usd(usage) for prices, usage in priced if prices is not None), 6)

    @property
    def reported_usage(self) -> dict[str, int | None]:
        """The tokens that were reported; None where none were, though something took some."""
        if self._has_unknown and not self._is_reported:
            return {"prompt_tokens": None, "completion_tokens": None}
        return {
            "prompt_tokens": sum(usage.prompt_tokens for usage in self.usage.values()),
            "completion_tokens": sum(usage.completion_tokens for usage in self.usage.values()),
        }

    def failures_by_reason(self) -> Mapping[str, int]:
        """How many requests failed for each reason, most frequent first."""
        return dict(Counter(self.failures.values()).most_common())

    @property
    def _has_unknown(self) -> bool:
        """Whether something was or may be billed, and how much is not known."""
        return self.num_without_usage > 0 or self.num_unknown_bills > 0

    @property
    def _is_reported(self) -> bool:
        """Whether the tokens of any answer are known."""
        return any(usage.is_reported for usage in self.usage.values())
