"""Which jobs are computed together, and how many at once."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass

from evalkit.clients.transformers.job import Job, JobKind, Settings

Group = tuple[JobKind, Settings | None]
"""Jobs of one group may be computed together: they want the same thing in the same way."""

_GROWTH = 1.1
# A group goes on taking in new jobs while it runs; after this many, others that wait get their turn.
_TURN_JOBS = 2048
# After this many jobs, those that came too late for their place in the order are sorted in.
_SWEEP_JOBS = 1024
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "failed to allocate", "unable to allocate")


def group_of(job: Job) -> Group:
    """The group that a job belongs to."""
    return job.kind, job.settings


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory, of the device or of this machine, did not suffice."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in said for words in _OUT_OF_MEMORY)


class BatchLimit:
    """How large a batch may be: halved when memory does not suffice, and grown again slowly.

    Args:
        max_tokens: Most positions in memory at once, padding and tokens to come included.
        max_rows: Most sequences at once.

    Attributes:
        tokens: What now holds in place of `max_tokens`.
        rows: What now holds in place of `max_rows`.
    """

    def __init__(self, max_tokens: int, max_rows: int) -> None:
        self._max_tokens, self._max_rows = max(1, max_tokens), max(1, max_rows)
        self.tokens, self.rows = self._max_tokens, self._max_rows

    def halve(self, tokens: int, rows: int) -> None:
        """A batch of `tokens` tokens in `rows` rows was too large."""
        self.tokens = max(1, min(self.tokens, tokens) // 2)
        self.rows = max(1, min(self.rows, rows) // 2)

    def grow(self) -> None:
        """A batch went well; the next may be a little larger, up to what was allowed at first."""
        self.tokens = min(self._max_tokens, int(self.tokens * _GROWTH) + 1)
        self.rows = min(self._max_rows, int(self.rows * _GROWTH) + 1)


@dataclass(slots=True)
class BatchSize:
    """What a batch holds, and what it can still take.

    Attributes:
        rows: Sequences in it.
        width_tokens: The longest of them, with what it may become; all rows are padded to it.
    """

    limit: BatchLimit
    rows: int = 0
    width_tokens: int = 0

    def fits(self, job: Job) -> bool:
        """Whether the job can be added. An empty batch takes any one job."""
        rows = self.rows + job.num_rows
        width_tokens = max(self.width_tokens, job.width_tokens)
        within = rows <= self.limit.rows and rows * width_tokens <= self.limit.tokens
        return within or self.rows == 0

    def add(self, job: Job) -> None:
        """Count the job in."""
        self.rows += job.num_rows
        self.width_tokens = max(self.width_tokens, job.width_tokens)


class _Sweep:
    """Jobs of one group, taken from the longest to the shortest, so that rows have similar lengths.

    A job that is longer than the last one taken waits for the next sweep. Else the second turns of
    conversations, longer than first turns, would widen one batch after the other, a few rows at a time.
    """

    def __init__(self) -> None:
        self._now: list[tuple[int, int, Job]] = []
        self._later: list[tuple[int, int, Job]] = []
        self._width_tokens, self._taken = math.inf, 0

    def __bool__(self) -> bool:
        return bool(self._now or self._later)

    def add(self, job: Job, order: int) -> None:
        """Let a job wait."""
        entry = (-job.width_tokens, order, job)
        if job.width_tokens <= self._width_tokens:
            heapq.heappush(self._now, entry)
        else:
            self._later.append(entry)

    def first(self) -> Job:
        """The job whose turn it is."""
        if not self._now or (self._taken >= _SWEEP_JOBS and self._later):
            self._now += self._later
            self._later = []
            heapq.heapify(self._now)
            self._width_tokens, self._taken = math.inf, 0
        return self._now[0][2]

    def remove_first(self) -> None:
        """The job whose turn it is waits no more."""
        job = heapq.heappop(self._now)[2]
        self._width_tokens = job.width_tokens
        self._taken += 1

    def jobs(self) -> list[Job]:
        """All of them, the longest first."""
        return [job for _, _, job in sorted(self._now + self._later)]


class JobQueue:
    """Jobs that wait, by group. Within a group the longest goes first (see `_Sweep`).

    Jobs that must run alone, since a batch with them failed, come before all others.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[Group, _Sweep] = OrderedDict()
        self._alone: deque[Job] = deque()
        self._order = itertools.count()
        self._taken = 0
        self._turn: Group | None = None

    def __bool__(self) -> bool:
        return bool(self._alone or self._waiting)

    def add(self, jobs: Iterable[Job]) -> None:
        """Let jobs wait."""
        for job in jobs:
            group = group_of(job)
            if (sweep := self._waiting.get(group)) is None:
                sweep = self._waiting[group] = _Sweep()
            sweep.add(job, next(self._order))

    def add_alone(self, jobs: Iterable[Job]) -> None:
        """Let jobs wait that are each to run in its own batch."""
        self._alone.extend(jobs)

    def next_alone(self) -> Job | None:
        """The next job that is to run alone; None: there is none."""
        while self._alone:
            job = self._alone.popleft()
            if not job.cancelled:
                return job
        return None

    def next_group(self) -> Group | None:
        """The group whose turn it is; None: nothing waits. The groups take turns."""
        if self._turn is not None and self._turn in self._waiting:
            self._waiting.move_to_end(self._turn)
        self._taken, self._turn = 0, next(iter(self._waiting), None)
        return self._turn

    def take_all(self, group: Group) -> list[Job]:
        """All jobs of a group."""
        sweep = self._waiting.pop(group, None)
        return [] if sweep is None else [job for job in sweep.jobs() if not job.cancelled]

    def take(self, group: Group, size: BatchSize) -> list[Job]:
        """As many jobs of a group as there is room for, counted into it; none when it is another's turn."""
        sweep = self._waiting.get(group)
        taken: list[Job] = []
        if sweep is None or (self._taken >= _TURN_JOBS and len(self._waiting) > 1):
            return taken
        while sweep:
            job = sweep.first()
            if not job.cancelled:
                if not size.fits(job):
                    break
                size.add(job)
                taken.append(job)
            sweep.remove_first()
        if not sweep:
            del self._waiting[group]
        self._taken += len(taken)
        return taken

    def drain(self) -> list[Job]:
        """Everything that waits, which then waits no more."""
        jobs = [*self._alone, *(job for sweep in self._waiting.values() for job in sweep.jobs())]
        self._alone.clear()
        self._waiting.clear()
        return jobs
