"""When going on with a deployment makes no sense."""

from __future__ import annotations

from evalkit.errors import BadRequestError, ClientError, OverloadError, SystemicError, TransientError

_FAILURES_AT_START = 10
_FAILURES_LATER = 20
_OUTAGE_S = 60.0
_OVERLOAD_S = 600.0
_OVERLOADS = 3
_REFUSALS_AT_START = 20
# Everything that was in flight fails at once when an engine on this machine dies.
ENGINE_DIED = "engine_died"


class Breaker:
    """Watches the attempts on one deployment and opens when it looks dead. Times are those of one clock.

    It opens when nothing was ever answered and 10 attempts in a row failed; when, after answers, 20 in a row
    failed and nothing was answered for 60 s; when overload alone lets nothing through for 10 minutes; and
    when nothing was ever answered and 20 requests were refused (a model that is not there, say).
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._ever_succeeded = False
        self._failures = 0
        self._overloads = 0
        self._refusals = 0
        self._unanswered = 0
        self._quiet_since: float | None = None

    @property
    def ever_succeeded(self) -> bool:
        """Whether an attempt was answered."""
        return self._ever_succeeded

    @property
    def failures_in_a_row(self) -> int:
        """Attempts that failed, overload included, since one was answered."""
        return self._unanswered

    def succeeded(self) -> None:
        """An attempt was answered."""
        self._ever_succeeded = True
        self._alive()

    def refused(self, error: BadRequestError) -> SystemicError | None:
        """The server refused one request: no success, but a sign of life.

        Returns:
            The error to stop with if it refuses everything, else None.
        """
        self._alive()
        self._refusals += 1
        if not self._ever_succeeded and self._refusals >= _REFUSALS_AT_START:
            return self._open(f"it refused its first {self._refusals} requests", error)
        return None

    def _alive(self) -> None:
        self._failures = self._overloads = self._unanswered = 0
        self._quiet_since = None

    def failed(self, error: TransientError, now: float) -> SystemicError | None:
        """An attempt failed.

        Returns:
            The error to stop with if the breaker opens, else None.
        """
        if error.reason == ENGINE_DIED:
            return None  # its client starts it again, a few times, and then refuses
        self._unanswered += 1
        if self._quiet_since is None:
            self._quiet_since = now
        quiet_s = now - self._quiet_since
        if isinstance(error, OverloadError):
            return self._overloaded(error, quiet_s + (error.retry_after_s or 0.0))
        self._failures += 1
        self._overloads = 0
        if not self._ever_succeeded and self._failures >= _FAILURES_AT_START:
            return self._open(f"its first {self._failures} attempts all failed", error)
        if self._failures >= _FAILURES_LATER and quiet_s >= _OUTAGE_S:
            return self._open(f"{self._failures} attempts in a row failed over {quiet_s:.0f} s", error)
        return None

    def _overloaded(self, error: OverloadError, quiet_s: float) -> SystemicError | None:
        self._overloads += 1
        self._failures = 0
        if self._overloads >= _OVERLOADS and quiet_s >= _OVERLOAD_S:
            return self._open(f"overloaded {self._overloads} times in a row over {quiet_s:.0f} s", error)
        return None

    def _open(self, what: str, error: ClientError) -> SystemicError:
        return SystemicError(f"{self._name} is stopped: {what}; last error ({error.reason}): {error}")
