"""What answering took: time in the queue and at work, padding, batches, memory; per unit and for a whole run.

Only requests that were computed for this run and whose client says how count: answers from the cache took
nothing. Times are taken as the journal keeps them, so that scoring a run anew gives the same numbers.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from evalkit.response import Efficiency, Response
from evalkit.scoring.run_level import RunLevelValue
from evalkit.scoring.stat import Label, Stat
from evalkit.scoring.unit import Answer

UNIT_STATS = (
    "queue_s",
    "service_s",
    "first_token_s",
    "output_tokens_per_s",
    "padded_tokens",
    "reused_tokens",
    "batch_size",
    "peak_memory_bytes",
)
"""Efficiency stats of single units, in the order in which they are listed."""

RUN_STATS = (
    "run_requests",
    "run_busy_s",
    "run_requests_per_s",
    "run_output_tokens_per_s",
    "run_concurrency",
    "run_queue_s",
    "run_queue_s_p50",
    "run_queue_s_p95",
    "run_service_s",
    "run_service_s_p50",
    "run_service_s_p95",
    "run_first_token_s",
    "run_first_token_s_p50",
    "run_first_token_s_p95",
    "run_prompt_tokens",
    "run_completion_tokens",
    "run_padded_tokens",
    "run_padding_share",
    "run_reused_tokens",
    "run_reused_share",
    "run_batch_size",
    "run_peak_memory_bytes",
)
"""Efficiency numbers of a whole run, which are not means of units, in the order in which they are listed."""

# The journal keeps microseconds.
_DIGITS = 6


def _seconds() -> array[float]:
    return array("d")


@dataclass(slots=True)
class Workload:
    """The requests of a run as far as efficiency goes: four times for each, sums for all.

    Nothing computed from it depends on the order in which they came.

    Attributes:
        num_units: Units with at least one request that counts.
    """

    num_units: int = 0
    _started_at: array[float] = field(default_factory=_seconds)
    _queue_s: array[float] = field(default_factory=_seconds)
    _service_s: array[float] = field(default_factory=_seconds)
    _first_token_s: array[float] = field(default_factory=_seconds)
    _prompt_tokens: int = 0
    _completion_tokens: int = 0
    _is_reported: bool = True
    _padded_tokens: int = 0
    _needed_tokens: int = 0
    _reused_tokens: int | None = None
    _reusable_tokens: int = 0
    _batch_sizes: Counter[int] = field(default_factory=Counter)
    _peak_memory_bytes: int = 0

    def add(self, answers: Sequence[Answer]) -> Mapping[str, float]:
        """Take in the requests of one unit, once.

        Returns:
            The unit's stats by name (see `UNIT_STATS`), without those that nothing is known of:
            means over its requests, but sums for `padded_tokens` and `reused_tokens`, the largest
            `peak_memory_bytes`, and all completion tokens per second of service for `output_tokens_per_s`.
        """
        of_engine: list[Efficiency] = []
        queue_s = service_s = 0.0
        completion_tokens = num_requests = 0
        is_reported = True
        for answer in answers:
            response = answer.response
            if (efficiency := response.efficiency) is None or response.cached:
                continue
            took_s, waited_s = round(response.latency_s, _DIGITS), round(efficiency.queue_s, _DIGITS)
            self._started_at.append(round(efficiency.started_at, _DIGITS))
            self._queue_s.append(waited_s)
            self._service_s.append(took_s)
            self._prompt_tokens += response.usage.prompt_tokens
            self._completion_tokens += response.usage.completion_tokens
            is_reported = is_reported and response.usage.is_reported
            if _is_of_engine(efficiency):
                self._count(efficiency, response)
                of_engine.append(efficiency)
            queue_s, service_s = queue_s + waited_s, service_s + took_s
            completion_tokens += response.usage.completion_tokens
            num_requests += 1
        if not num_requests:
            return {}
        self.num_units += 1
        self._is_reported = self._is_reported and is_reported
        found = {"queue_s": queue_s / num_requests, "service_s": service_s / num_requests}
        if is_reported and completion_tokens and service_s:
            found["output_tokens_per_s"] = completion_tokens / service_s
        return found | _of_engine(of_engine) if of_engine else found

    def stats(self, n_failed: int, n_total: int, num_train_trials: int) -> Iterator[Stat]:
        """The numbers of the run as stats over everything; none if no request counts.

        Args:
            n_failed: Units that failed.
            n_total: Units planned.
            num_train_trials: Train trials planned; a run with several has no numbers for each of them.
        """
        numbers = self.numbers()
        for name in RUN_STATS:
            if (number := numbers.get(name)) is not None:
                # Bytes squared are more than JSON takes as a whole number.
                value = float(number)
                by_trial = (value,) if num_train_trials == 1 else (None,) * num_train_trials
                measured = RunLevelValue(value, None, by_trial)
                label = Label(name, "efficiency", may_be_share=False)
                yield Stat.of_run_level(label, measured, self.num_units, n_failed, n_total)

    def numbers(self) -> dict[str, float | None]:
        """The numbers in `RUN_STATS` by name, None for what is not known; empty if no request counts."""
        if not self._service_s:
            return {}
        num_requests = len(self._service_s)
        busy_s = busy_seconds(self._started_at, self._service_s)
        found: dict[str, float | None] = {
            "run_requests": num_requests,
            "run_busy_s": busy_s,
            "run_requests_per_s": _ratio(num_requests, busy_s),
            "run_output_tokens_per_s": None,
            "run_concurrency": _ratio(math.fsum(self._service_s), busy_s),
        }
        if self._is_reported:
            found["run_output_tokens_per_s"] = _ratio(self._completion_tokens, busy_s) or None
            found["run_prompt_tokens"] = self._prompt_tokens
            found["run_completion_tokens"] = self._completion_tokens
        for name, values in (
            ("run_queue_s", self._queue_s),
            ("run_service_s", self._service_s),
            ("run_first_token_s", self._first_token_s),
        ):
            ordered = sorted(values)
            found[name] = _mean(ordered)
            found[f"{name}_p50"], found[f"{name}_p95"] = percentile(ordered, 50), percentile(ordered, 95)
        if self._padded_tokens:
            found["run_padded_tokens"] = self._padded_tokens
            found["run_padding_share"] = max(0.0, 1 - self._needed_tokens / self._padded_tokens)
        if self._reused_tokens is not None:
            found["run_reused_tokens"] = self._reused_tokens
            found["run_reused_share"] = _ratio(self._reused_tokens, self._reusable_tokens)
        if self._batch_sizes:
            # Each of the b requests of a batch reports the batch, so that each counts as 1/b of it.
            num_batches = math.fsum(count / size for size, count in self._batch_sizes.items())
            found["run_batch_size"] = self._batch_sizes.total() / num_batches
        if self._peak_memory_bytes:
            found["run_peak_memory_bytes"] = self._peak_memory_bytes
        return found

    def _count(self, efficiency: Efficiency, response: Response) -> None:
        usage = response.usage
        if efficiency.first_token_s:
            self._first_token_s.append(round(efficiency.first_token_s, _DIGITS))
        if efficiency.padded_tokens is not None:
            self._padded_tokens += efficiency.padded_tokens
            # The last token of a text is never read by the model, generated or scored.
            read = usage.total_tokens - len(response.completions)
            self._needed_tokens += read - (efficiency.reused_tokens or 0)
        if efficiency.reused_tokens is not None:
            self._reused_tokens = (self._reused_tokens or 0) + efficiency.reused_tokens
            self._reusable_tokens += usage.prompt_tokens
        if efficiency.batch_size:
            self._batch_sizes[efficiency.batch_size] += 1
        if efficiency.peak_memory_bytes:
            self._peak_memory_bytes = max(self._peak_memory_bytes, efficiency.peak_memory_bytes)


def busy_seconds(started_at: Sequence[float], took_s: Sequence[float]) -> float:
    """Seconds in which at least one of some intervals was going on.

    What lies between two starts of a run is in none of them, so it does not count.

    Args:
        started_at: When each began, in Unix seconds, in any order.
        took_s: How long each took.
    """
    blocks: list[float] = []
    begin = end = -math.inf
    for index in sorted(range(len(started_at)), key=started_at.__getitem__):
        if started_at[index] > end:
            blocks.append(end - begin if end > begin else 0.0)
            begin = end = started_at[index]
        end = max(end, started_at[index] + took_s[index])
    blocks.append(end - begin if end > begin else 0.0)
    # Unix time has no finer steps than this in a float.
    return round(math.fsum(blocks), _DIGITS)


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """The smallest value that `percent` percent of the values do not exceed; None without values.

    Args:
        ordered: The values, smallest first.
        percent: Above 0, at most 100.
    """
    return ordered[math.ceil(len(ordered) * percent / 100) - 1] if ordered else None


def _is_of_engine(numbers: Efficiency) -> bool:
    """Whether it says more than when; APIs do not, and their answers may come thick and fast."""
    only_when = numbers.first_token_s is numbers.padded_tokens is numbers.reused_tokens is None
    return not (only_when and numbers.batch_size is numbers.peak_memory_bytes is None)


def _of_engine(known: Sequence[Efficiency]) -> dict[str, float]:
    """What is known of the requests of a unit besides when."""
    found: dict[str, float] = {}
    if first_token_s := [round(e.first_token_s, _DIGITS) for e in known if e.first_token_s]:
        found["first_token_s"] = math.fsum(first_token_s) / len(first_token_s)
    if padded_tokens := [e.padded_tokens for e in known if e.padded_tokens is not None]:
        found["padded_tokens"] = sum(padded_tokens)
    if reused_tokens := [e.reused_tokens for e in known if e.reused_tokens is not None]:
        found["reused_tokens"] = sum(reused_tokens)
    if batch_sizes := [e.batch_size for e in known if e.batch_size]:
        found["batch_size"] = sum(batch_sizes) / len(batch_sizes)
    if peaks := [e.peak_memory_bytes for e in known if e.peak_memory_bytes]:
        found["peak_memory_bytes"] = max(peaks)
    return found


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
