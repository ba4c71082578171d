"""The level of a series, and how far its newest nights are from it. Pure statistics.

A series is one case on one machine: one median a night, with the interval of its samples.
Everything is judged in logarithms, so that a change is a ratio and noise is relative.

The level is what the nights before were, without those that lie off it: a significantly faster
stretch between change points becomes the new level, a slower one stays off it until it is accepted
or gone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special

from gpubench.analysis.changepoints import USUAL_NOISE, Floats, change_points, robust_noise
from gpubench.analysis.significance import rank_p

WINDOWS: Final = (1, 2, 3, 4, 6, 9, 14, 20, 30)
"""Numbers of newest nights that are compared with the level."""

WEIGHTS: Final = {1: 0.1, 2: 0.1, 3: 0.1, 4: 3.0}
LONG_WEIGHT: Final = 0.1
"""Share of the false-alarm budget that a window gets: its p-value is divided by it (weighted
Bonferroni: Genovese, Roeder and Wasserman, Biometrika 93, 2006). Most goes to four nights,
which decide about steps of three noises: one and two nights see larger ones, and longer
windows have power to spare."""

Prior = tuple[float, float]
"""Night-to-night noise believed before any night, and how many degrees that belief weighs."""

PRIOR: Final[Prior] = (USUAL_NOISE, 6.0)
"""Where nothing was learnt from other cases."""

MANY: Final = 5
"""Nights that make a level; a faster stretch of so many becomes the new one."""


@dataclass(frozen=True, slots=True)
class Night:
    """One night of a series.

    Attributes:
        value: the median, in the unit of the metric.
        low, high: interval of that median from the samples of the night.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Rule:
    """What counts as a change.

    Attributes:
        chance: probability of a false alarm, each window of a case and night.
        hold: probability below which a regression that was told stays one.
        fdr: expected share of false ones among the alarms of one check.
        floor: smallest relative change that matters: what two runs of the same thing
            differ by (A/A).
        fast: relative change from which tonight alone is enough.
        noises: smallest change in units of the series' own night-to-night noise.
        rank_chance: level of the Mann-Whitney test that guards against single nights.
        better: ``lower`` or ``higher``, from the metric.
    """

    chance: float = 1e-5
    hold: float = 1e-3
    fdr: float = 0.05
    floor: float = 0.01
    fast: float = 0.05
    noises: float = 1.5
    rank_chance: float = 0.01
    better: str = "lower"


@dataclass(frozen=True, slots=True)
class Window:
    """One window against the level: p of either direction and the shift it shows."""

    window: int
    shift: float
    p_slower: float
    p_faster: float
    level: float
    nights: int
    holds: bool


class Series:
    """The logs of a series, slower is larger, with what is worked out once."""

    def __init__(
        self, logs: Floats, bounds: Floats, rule: Rule, accepted: int | None, prior: Prior
    ) -> None:
        self.logs, self.bounds, self.rule = logs, bounds, rule
        self.given, self.prior = accepted, prior
        self.start = accepted if accepted is not None and accepted < len(logs) else 0
        self.accepted = accepted is not None
        self.changes = change_points(logs)
        edges = (0, *self.changes, len(logs))
        self.segments = list(pairwise(edges))
        self.residuals = _within(logs, self.segments)
        spread = 3 * robust_noise(logs)
        clipped = np.clip(self.residuals, -spread, spread)
        self.squares = np.concatenate([[0.0], np.cumsum(clipped**2)])
        self.on_level, self.rebased = self._levels()

    def night_before(self) -> Series:
        """The series as it was a night ago."""
        return Series(self.logs[:-1], self.bounds[:-1], self.rule, self.given, self.prior)

    def windows(self) -> list[Window]:
        """Every window of newest nights against the level."""
        return [t for m in self._lengths() if (t := self.test(m)) is not None]

    def _lengths(self) -> Iterator[int]:
        last = len(self.logs)
        backs = {last - c for c in self.changes if c > self.start}
        # A window that reaches back over a return to the level would tell of the past.
        on = self.on_level
        returned = max((c for c in self.changes if on[c] and not on[c - 1]), default=0)
        most = last - max(returned, self.start + 1)
        yield from sorted(m for m in {*WINDOWS, *backs} if m <= most)

    def _levels(self) -> tuple[npt.NDArray[np.bool_], tuple[int, Window] | None]:
        """Which nights make the level; where it last became faster and by what, if that is new."""
        here = [(max(a, self.start), b) for a, b in self.segments if b > self.start]
        on = np.zeros(len(self.logs), dtype=np.bool_)
        on[here[0][0] : here[0][1]] = True
        rebased = None
        for a, b in here[1:]:
            test = self._compare(on, a, b)
            if test is None or max(test.p_slower, test.p_faster) == 0:
                continue
            if test.holds and test.shift < 0 and test.p_faster <= self.rule.chance:
                if b - a >= MANY:
                    on[:] = False
                    on[a:b] = True
                    fresh = len(self.logs) - a <= 2 * MANY
                    rebased = (a, test) if fresh else None
            elif not (test.holds and test.p_slower <= self.rule.chance):
                on[a:b] = True
        return on, rebased

    def test(self, window: int) -> Window | None:
        """The last nights, that many, against the level."""
        first = len(self.logs) - window
        return self._compare(self.on_level & (np.arange(len(self.logs)) < first), first, None)

    def _compare(self, on: npt.NDArray[np.bool_], first: int, end: int | None) -> Window | None:
        """Student's t of a stretch against the level, with the noise of the nights before.

        The variance is moderated: that of the nights before, weighed by their degrees of
        freedom, with a prior (Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3:3), so that three
        equal nights do not make a series without noise.
        """
        level_logs, stretch = self.logs[on], self.logs[first:end]
        n, m = len(level_logs), len(stretch)
        if n == 0 or m == 0:
            return None
        noise, df = self.noise(first)
        middle = float(np.median(level_logs))
        level = float(np.mean(np.clip(level_logs, middle - 3 * noise, middle + 3 * noise)))
        shift = float(np.mean(stretch)) - level
        t = shift / (noise * math.sqrt(1 / m + 1 / n))
        p = float(special.stdtr(df, -abs(t)))
        p = min(p / WEIGHTS.get(m, LONG_WEIGHT), 0.5)
        holds = self._holds(on, first, end, shift, level, noise, df)
        if self._untried(n, df) and m == 1 and holds and abs(shift) > math.log1p(self.rule.fast):
            p = min(p, self.rule.chance)  # accepted, and no noise known yet: the samples decide
        slower, faster = (p, 1 - p) if shift > 0 else (1 - p, p)
        return Window(m, shift, slower, faster, level, n, holds)

    def _untried(self, n: int, df: float) -> bool:
        return self.accepted and n < MANY and df < self.prior[1] + MANY

    def noise(self, first: int) -> tuple[float, float]:
        """Noise of the nights before ``first``, and its degrees of freedom."""
        levels = sum(a < first for a, _ in self.segments)
        own = max(first - levels, 0)
        believed, weight = self.prior
        total = self.squares[first] + weight * believed**2
        return math.sqrt(total / max(own + weight, 1.0)), own + weight

    def _holds(
        self,
        on: npt.NDArray[np.bool_],
        first: int,
        end: int | None,
        shift: float,
        level: float,
        noise: float,
        df: float,
    ) -> bool:
        """Whether a shift is large enough, and the work of more than a single night."""
        stretch, before = self.logs[first:end], self.logs[on]
        m, direction = len(stretch), math.copysign(1.0, shift)
        least = math.log1p(self.rule.floor)
        if abs(shift) < max(least, self.rule.noises * noise):
            return False
        if abs(shift) <= _excursion(self.residuals[on] * direction, m):
            return False
        if m == 1 or len(before) < 3:
            return self._samples_agree(on, first, shift, level, least)
        # Without its wildest night it must still stand out: one night is no level.
        rest = float(np.sum(stretch) - stretch[np.argmax(stretch * direction)]) / (m - 1)
        t = (rest - level) * direction / (noise * math.sqrt(1 / (m - 1) + 1 / len(before)))
        if special.stdtr(df, -t) > self.rule.rank_chance:
            return False
        return rank_p(stretch * direction, before * direction) <= self.rule.rank_chance

    def _samples_agree(
        self, on: npt.NDArray[np.bool_], first: int, shift: float, level: float, least: float
    ) -> bool:
        """Whether the samples of the nights themselves, not only medians, are on one side."""
        if abs(shift) < math.log1p(self.rule.fast):
            return False
        low, high = self.bounds[first:, 0].min(), self.bounds[first:, 1].max()
        if shift > 0:
            return bool(low > level + least and low > np.median(self.bounds[on, 1]))
        return bool(high < level - least and high < np.median(self.bounds[on, 0]))


def _within(logs: Floats, segments: Sequence[tuple[int, int]]) -> Floats:
    """Distance of each night from the median of its own level."""
    out = np.empty_like(logs)
    for a, b in segments:
        out[a:b] = logs[a:b] - np.median(logs[a:b])
    return out


def _excursion(residuals: Floats, m: int) -> float:
    """The furthest that m nights in a row have strayed from the level before."""
    if len(residuals) < m:
        return 0.0
    sums = np.concatenate([[0.0], np.cumsum(residuals)])
    return float(np.max(sums[m:] - sums[:-m]) / m)
