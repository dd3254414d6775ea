"""The concurrency limit of one deployment: found by trying, and told apart from rejections by chance.

A server may reject requests because too many are in flight, or because too many came in a second, or for
reasons that have nothing to do with us. Only sending less tells these apart: in the first two cases the
share of rejections falls, in the third it does not. So the limit is held for a *round*: a number of requests
are sent under it, and when all of them have come back, what was rejected of them decides (not before, since
rejections may come back sooner than answers):

- Hardly any: the limit grows, fast at first, and beyond what was too much before only after waiting.
- Some: the limit goes back one step.
- Many: a *trial*. The limit becomes what the server seems to handle, `limit * (1 - share of rejections)`. If
  the share falls, that was right. If it does not, the rejections don't depend on the load: the limit is
  restored, and that share is the *baseline*, which counts as no rejections from then on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

# Below this the limit has a fraction, which the limiter makes by leaving slots empty for a while.
_FINE_BELOW = 8.0
# A round is as many requests as may be in flight, and twice as many where those are few.
_LEAST_ROUND = 16
_LARGE_ROUND = 128
_SATURATED = 0.8
# Shares of rejections beyond the baseline: up to which a round is clean, from which the limit steps back.
_CLEAN = 0.02
_TOLERATED = 0.03
_MOST_BASELINE = 0.5
# A trial starts a little below what the server seems to handle, and ends when the odds are 50 to 1.
_TRIAL_MARGIN = 0.95
_LEAST_LEFT = 1 / 16
_DECISIVE = math.log(50)
_FALLEN_TO = 0.25
_SMOOTHING = 0.1
# In rounds.
_MOST_PATIENCE = 16
_STEADY_ROUNDS = 4


@dataclass(slots=True)
class _Trial:
    """A limit that is tried in place of `before`, where the share `stayed` of the requests were rejected.

    If that depends on the load, the share `fallen` is expected now. `odds` is the logarithm of how much
    likelier what is seen is if the share stayed.
    """

    before: float
    estimate: float
    stayed: float
    fallen: float
    odds: float = 0.0


class AdaptiveLimit:
    """How many requests may be in flight, learned from which are rejected.

    Call `sent` for each request when it is sent, which gives the number of its round, and `back` when it
    returns.

    Attributes:
        value: The limit as a real number.
        whole: How many may be in flight at most.
        baseline: The share of rejections that does not depend on how much is sent.
    """

    def __init__(self, initial: int, maximum: int) -> None:
        self._value_is(float(min(initial, maximum)))
        self.baseline = 0.0
        self._maximum = float(maximum)
        self._doubles = True
        self._previous = self.value
        self._streak = 0
        self._ceiling = math.inf
        self._patience = self._wait = 0
        self._checks_every, self._until_check = 4, 0
        self._trial: _Trial | None = None
        self._round = self._size = self._num_sent = self._num_back = self._num_rejected = self._peak = 0
        self._begin_round()

    def __int__(self) -> int:
        return self.whole

    @property
    def idle_share(self) -> float:
        """For what share of its request's time a place stays empty afterwards, so that a fraction is kept."""
        return int(self) / self.value - 1.0 if self.value < _FINE_BELOW else 0.0

    def sent(self, in_use: int) -> int:
        """A request is sent, and `in_use` are in flight, itself included; gives its round, 0 for none."""
        if self._num_sent == self._size:
            return 0
        self._num_sent += 1
        self._peak = max(self._peak, in_use)
        return self._round

    def back(self, round_number: int, *, rejected: bool | None) -> None:
        """A request of a round is back: rejected, answered, or None for what says nothing of the load."""
        if round_number != self._round:
            return
        if rejected is None:
            self._num_sent -= 1
        else:
            self._num_back += 1
            self._num_rejected += rejected
        if self._num_back == self._num_sent == self._size:
            self._end_round()

    def _begin_round(self) -> None:
        self._round += 1
        self._size = max(_LEAST_ROUND, self.whole, min(2 * self.whole, _LARGE_ROUND))
        self._num_sent = self._num_back = self._num_rejected = self._peak = 0

    def _set(self, value: float) -> None:
        """Another limit, and its own round: what was sent before says nothing of it."""
        if value >= _FINE_BELOW:
            value = math.floor(value + 1e-9)
        self._value_is(min(self._maximum, max(1.0, value)))
        self._begin_round()

    def _value_is(self, value: float) -> None:
        self.value = value
        self.whole = math.ceil(value) if value < _FINE_BELOW else int(value)

    @property
    def _share(self) -> float:
        return self._num_rejected / self._size

    def _deviation(self, share: float) -> float:
        """The standard deviation of the share of rejections that a round sees by chance."""
        return math.sqrt(share * (1 - share) / self._size)

    def _is_excess(self) -> bool:
        """Whether this number of rejections is unlikely to be chance."""
        usual = self.baseline + _TOLERATED
        return self._num_rejected > 1 and self._share > usual + 3 * self._deviation(usual)

    def _begin_trial(self) -> None:
        share, baseline, before = self._share, self.baseline, self.value
        beyond = (share - baseline) / (1 - baseline)
        estimate = before * max(_LEAST_LEFT, 1 - beyond)
        self._doubles, self._streak = False, 0
        self._set(estimate * _TRIAL_MARGIN)
        expected = max(_FALLEN_TO * beyond, 1 - (1 - beyond) * before / self.value)
        fallen = baseline + (1 - baseline) * expected
        self._trial = _Trial(before, estimate, min(share, 0.99), min(fallen, 0.9 * share))

    def _end_round(self) -> None:
        if self._trial is not None:
            self._weigh(self._trial)
            return
        self._check_baseline()
        if self._is_excess():
            self._begin_trial()
            return
        beyond, noise = self._share - self.baseline, self._deviation(self.baseline)
        if beyond <= _CLEAN + noise:
            self.baseline = max(0.0, self.baseline + _SMOOTHING * beyond)
            self._grow()
        elif self.value > self._previous or beyond > _TOLERATED + 2 * noise:
            self._step_back()
        else:
            self._begin_round()

    def _check_baseline(self) -> None:
        """Forget the baseline now and then, so that another trial tells whether it still holds."""
        self._until_check -= 1
        if self.baseline > _TOLERATED and self._until_check <= 0:
            self.baseline = 0.0

    def _weigh(self, trial: _Trial) -> None:
        num_others = self._num_sent - self._num_rejected
        trial.odds += self._num_rejected * math.log(trial.stayed / trial.fallen)
        trial.odds += num_others * math.log((1 - trial.stayed) / (1 - trial.fallen))
        if trial.odds <= -_DECISIVE:
            self._trial = None
            self._too_much(trial.estimate)
            self._checks_every = 4
            self._previous = self.value
            self._begin_round()
        elif trial.odds < _DECISIVE:
            self._begin_round()
        elif trial.stayed > _MOST_BASELINE:
            self._begin_trial()
        else:
            self._trial = None
            self.baseline = (trial.stayed + self._share) / 2
            self._checks_every = min(_MOST_PATIENCE, 2 * self._checks_every)
            self._until_check = self._checks_every
            self._previous = trial.before
            self._set(trial.before)

    def _grow(self) -> None:
        if self.value >= self._ceiling:
            self._ceiling = math.inf  # the server handles more than it did
        following = 2 * self.value if self._doubles else self.value + self._step()
        if self._peak < _SATURATED * int(self) or self.value == self._maximum:
            self._begin_round()
        elif following >= self._ceiling and self._wait > 0:
            self._wait -= 1
            self._streak = 0
            self._begin_round()
        else:
            self._previous = self.value
            self._streak += 1
            if self._streak > _STEADY_ROUNDS:
                self._patience = max(0, self._patience - 1)
            self._set(following)

    def _step_back(self) -> None:
        self._too_much(self.value)
        self._doubles, self._streak = False, 0
        lower = self._previous if self._previous < self.value else self.value - self._step()
        self._previous = lower
        self._set(lower)

    def _too_much(self, ceiling: float) -> None:
        """Remember what was too much, and wait longer each time before it is tried again."""
        self._ceiling = ceiling
        self._patience = self._wait = min(_MOST_PATIENCE, max(2, 2 * self._patience))

    def _step(self) -> float:
        """A little more; after some rounds that went well, more and more."""
        least = max(1.0, 0.025 * self.value) if self.value >= _FINE_BELOW else 0.05 * self.value
        return float(least * 2 ** min(max(0, self._streak - _STEADY_ROUNDS), 3))
