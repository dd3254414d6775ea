"""Which failed requests are sent again, and when."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from evalkit.errors import OverloadError, TransientError

if TYPE_CHECKING:
    from evalkit.models.deployment import Limits

_OUTAGE_S = 90.0
_LONGEST_RETRY_AFTER_S = 600.0
# By which share of Retry-After requests come later than that, at most: not all at once.
_SPREAD = 0.1
# With many requests in flight, this many fail in a row on a server that answers the others.
_BY_CHANCE_IN_A_ROW = 5


class RetryPolicy:
    """Exponential back-off with full jitter.

    An overload or a lost connection says little about the request that met it. So `max_attempts` alone does
    not end those: they are tried on for `max_attempts * max_backoff_s` (connections for at most 90 s, which
    is longer than the circuit breaker waits) before they count as failed.
    """

    def __init__(self, limits: Limits, rng: random.Random | None = None) -> None:
        self._limits = limits
        self._rng = rng or random.Random()
        self._patience_s = limits.max_attempts * limits.max_backoff_s

    def delay_s(
        self, error: TransientError, attempts: int, elapsed_s: float, failures_in_a_row: int | None = None
    ) -> float | None:
        """Seconds to wait before the next attempt, or None to give the request up.

        Args:
            error: What the last attempt met. A Retry-After it carries is a lower bound of the delay.
            attempts: Attempts made so far, the last one included.
            elapsed_s: Time since the first attempt was sent.
            failures_in_a_row: Attempts of all requests since one was answered; None: this one's. While others
                are answered the server works, and longer and longer pauses do not help.
        """
        if isinstance(error, OverloadError) and error.retry_after_s is not None:
            if error.retry_after_s > _LONGEST_RETRY_AFTER_S:
                return None
            spread_s = min(self._limits.backoff_s, _SPREAD * error.retry_after_s)
            delay_s = error.retry_after_s + self._rng.uniform(0, spread_s)
        else:
            doublings = attempts - 1
            if failures_in_a_row is not None:
                doublings = min(doublings, failures_in_a_row // _BY_CHANCE_IN_A_ROW)
            ceiling_s = min(self._limits.max_backoff_s, self._limits.backoff_s * 2.0 ** min(doublings, 30))
            delay_s = self._rng.uniform(0, ceiling_s)
        if attempts >= self._limits.max_attempts and elapsed_s >= self._patience_for(error):
            return None
        return delay_s

    def _patience_for(self, error: TransientError) -> float:
        if isinstance(error, OverloadError):
            return self._patience_s
        return min(self._patience_s, _OUTAGE_S) if error.reason == "connection" else 0.0
