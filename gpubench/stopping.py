"""When enough is measured. Pure: fed with samples and time spent, it never reads a clock."""

from __future__ import annotations

from bisect import insort
from typing import Final, Protocol

from gpubench.spec import Policy
from gpubench.stats import drift, relative_interval, relative_iqr

DRIFT_FACTOR: Final = 2.0
"""A level that moved by more than this many target intervals is drifting."""


class StopRule(Protocol):
    """Decides after each sample whether a case has been measured enough."""

    def add(self, time_s: float, spent_s: float) -> None:
        """Take one sample; ``spent_s`` is the measuring time so far."""

    def reason(self) -> str | None:
        """Why to stop now, or None to go on."""


class PolicyStop:
    """The default rule: target interval, stable noise, then the budgets.

    - ``target_ci``: at least ``min_samples`` and ``min_time_s``, the median's 95 % interval
      is narrower than ``target_rel_ci``, and the level is not drifting: an interval over
      two levels would be narrow and wrong.
    - ``stable_noise``: the interval shrinks as 1/sqrt(n); once the noise estimate no
      longer moves and the target lies beyond ``max_time_s`` at that pace, more samples
      would only cost time. (nvbench's stdrel criterion stops on stable noise too.)
    - ``max_time`` and ``max_samples``: the budgets; ``max_time`` yields to a minimum of
      three samples, or no spread could be stated at all.
    """

    NOISE_TOLERANCE = 0.1

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._ordered: list[float] = []
        self._taken: list[float] = []
        self._spent_s = 0.0
        self._noise_at: dict[int, float] = {}
        self._next_check = max(2, policy.min_samples)

    def add(self, time_s: float, spent_s: float) -> None:
        """Take one sample; ``spent_s`` is the measuring time so far."""
        insort(self._ordered, time_s)
        self._taken.append(time_s)
        self._spent_s = spent_s

    def reason(self) -> str | None:
        """Why to stop now, or None to go on."""
        n, policy = len(self._ordered), self._policy
        if n >= policy.max_samples:
            return "max_samples"
        if self._spent_s >= policy.max_time_s and n >= min(3, policy.min_samples):
            return "max_time"
        # Statistics at geometrically spaced n: sorting costs nothing, and looking less
        # often keeps the chance of stopping on a lucky streak small.
        if n < self._next_check or self._spent_s < policy.min_time_s:
            return None
        self._next_check = n + max(1, n // 10)
        interval = relative_interval(self._ordered)
        if interval <= policy.target_rel_ci:
            drifting = drift(self._taken) > DRIFT_FACTOR * policy.target_rel_ci
            return None if drifting else "target_ci"
        return "stable_noise" if self._hopeless(n, interval) else None

    def _hopeless(self, n: int, interval: float) -> bool:
        noise = relative_iqr(self._ordered)
        self._noise_at[n] = noise
        half = [m for m in self._noise_at if m <= n / 2]
        if not half or n < 2 * self._policy.min_samples:
            return False
        earlier = self._noise_at[max(half)]
        stable = abs(noise - earlier) <= self.NOISE_TOLERANCE * max(noise, earlier)
        needed_s = self._spent_s * (interval / self._policy.target_rel_ci) ** 2
        return stable and needed_s > self._policy.max_time_s
