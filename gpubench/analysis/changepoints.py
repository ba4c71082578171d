"""Where did the level of a series change, and is its newest night slower? Pure statistics.

A series is one case on one machine: one median a night, with the interval of its samples.
Everything is judged in logarithms, so that a change is a ratio and noise is relative.

Two rules look at the newest nights, and both ask the same question of different windows:
is the mean of the last m nights further from the level than nights scatter?

- *fast*, m = 1: tonight alone, and only where the samples of tonight agree;
- *slow*, m = 2 and more, and back to every change point: small changes need several nights.

The level is what the nights before were, without those that lie off it: change points are
found by ruptures (kernel change point detection with a linear kernel, that is least squares
with a penalty; Celisse et al., JMLR 19, 2018), a significantly faster stretch becomes the
new level, a slower one stays a regression until it is accepted or gone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special

from gpubench.analysis.significance import rank_p

Floats = npt.NDArray[np.float64]

WINDOWS: Final = (1, 2, 3, 4, 6, 9, 14, 20, 30)
"""Numbers of newest nights that are compared with the level."""

WEIGHTS: Final = {1: 0.1, 2: 0.1, 3: 0.1, 4: 3.0}
LONG_WEIGHT: Final = 0.1
"""Share of the false-alarm budget that a window gets: its p-value is divided by it (weighted
Bonferroni: Genovese, Roeder and Wasserman, Biometrika 93, 2006). Most goes to four nights,
which decide about steps of three noises: one and two nights see larger ones, and longer
windows have power to spare."""

EFFECTIVE_WINDOWS: Final = 4.0
"""Independent tests that the overlapping windows amount to, for the p-value of a series."""

Prior = tuple[float, float]
"""Night-to-night noise believed before any night, and how many degrees that belief weighs."""

PRIOR: Final[Prior] = (0.01, 6.0)
"""Where nothing was learnt from other cases."""

LEARNT_FROM: Final = 15
"""Nights from which a series says something about the noise of the others."""

MANY: Final = 5
"""Nights that make a level; a faster stretch of so many becomes the new one."""


NEAR: Final = 3
"""Nights by which the best window may miss the change point that it tells of."""

HELD: Final = 10
"""Nights that an alarm may stay on weaker evidence (``Rule.hold``) than it was told with."""


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
class Shift:
    """Where the newest nights of a series stand against its level.

    Attributes:
        verdict: ``regression``, ``improvement``, ``noise`` or ``insufficient``.
        ratio: mean of the newest nights / level, in the unit of the metric; above 1 is slower
            for a time. None where there is no level.
        p: chance of such a shift without a change, over all windows; for ``discoveries``.
        since: index of the first night at the new level; None for noise.
        noise: relative night-to-night noise of the series.
        level: the reference, in the unit of the metric.
        nights: nights that make the level.
        changes: indexes at which the level of the whole series changed.
    """

    verdict: str
    ratio: float | None = None
    p: float = 1.0
    since: int | None = None
    noise: float | None = None
    level: float | None = None
    nights: int = 0
    changes: tuple[int, ...] = ()


def change_points(logs: Sequence[float] | Floats) -> tuple[int, ...]:
    """Indexes at which a new level begins; empty for a series of one level.

    The penalty is 3 ln n in units of the noise variance: above the 2 ln n of BIC for a step
    (Yao 1988), since a spurious level costs more here than a late one.
    """
    values = np.asarray(logs, dtype=np.float64)
    if len(values) < 6:
        return ()
    from ruptures import KernelCPD

    scaled = (values - np.median(values)) / robust_noise(values)
    # One wild night is no level: beyond six noises it says no more than at six.
    scaled = _clipped_alone(scaled)
    found = KernelCPD(kernel="linear", min_size=2).fit(scaled.reshape(-1, 1))
    return tuple(int(i) for i in found.predict(pen=3 * math.log(len(values)))[:-1])


def _clipped_alone(scaled: Floats) -> Floats:
    """Nights far from both neighbours, brought back to them: outliers, not levels."""
    out = scaled.copy()
    around = np.stack([scaled[:-2], scaled[2:]])
    middle = scaled[1:-1]
    low, high = around.min(0), around.max(0)
    alone = (middle > high + 5) | (middle < low - 5)
    out[1:-1][alone] = np.clip(middle, low, high)[alone]
    return out


def robust_noise(logs: Floats) -> float:
    """Standard deviation of nights from the differences of neighbours, wild ones clipped.

    Differences do not see levels; the root of two undoes the difference. Their MAD (1.4826
    makes it that of a normal distribution) says where to clip, and the mean square of what is
    clipped at three of those is the estimate: it scatters half as much as the MAD, and change
    points are told by it. 0.995 is the mean of min(x^2, 9) of a standard normal. At least
    1e-4: clocks resolve no better.
    """
    if len(logs) < 3:
        return PRIOR[0]
    steps = np.abs(np.diff(logs))
    wild = 3 * 1.4826 * float(np.median(steps))
    squares = np.minimum(steps, wild) ** 2 if wild else steps * 0
    return max(math.sqrt(float(np.mean(squares)) / 0.995 / 2), 1e-4)


def judge(
    nights: Sequence[Night],
    rule: Rule | None = None,
    accepted: int | None = None,
    prior: Prior = PRIOR,
) -> Shift:
    """Judge the newest nights of a series against its level.

    Args:
        nights: oldest first.
        rule: what counts as a change.
        accepted: index of the night whose level somebody accepted; what was before no longer
            counts for the level, only for the noise.
        prior: what is believed of the noise before any night.

    Returns:
        The shift, before the correction for the other cases of a check (``discoveries``).
    """
    rule = rule or Rule()
    if len(nights) < 2 or not _usable(nights):
        return Shift("insufficient", nights=max(len(nights) - 1, 0))
    sign = 1.0 if rule.better == "lower" else -1.0
    logs = sign * np.log(np.array([n.value for n in nights]))
    ends = np.array([(n.low, n.high) for n in nights])
    with np.errstate(divide="ignore"):
        bounds = np.sort(sign * np.log(np.maximum(ends, 0)), axis=1)
    return _held(_Series(logs, bounds, rule, accepted, prior), sign)


def scatter(nights: Sequence[Night]) -> tuple[float, float] | None:
    """(variance, degrees of freedom) of a series' own noise; None for one that is too short.

    For ``significance.prior_of``, which learns from the cases of a check what noise is usual.
    """
    if len(nights) < LEARNT_FROM or not _usable(nights):
        return None
    logs = np.log(np.array([n.value for n in nights]))
    series = _Series(logs, np.stack([logs, logs], axis=1), Rule(), None, (0.0, 0.0))
    noise, df = series.noise(len(logs))
    return noise**2, df


def _usable(nights: Sequence[Night]) -> bool:
    return all(n.value > 0 and math.isfinite(n.value) for n in nights)


def _held(series: _Series, sign: float, back: int = 0) -> Shift:
    """The verdict on the newest night; a regression told before stays while it may be true.

    Without this, an excursion near the threshold is told, dropped and told again. It stays
    with the evidence that it was told with, so that the correction for other cases does not
    drop it either.
    """
    now, last = series.judged(sign), len(series.logs)
    kept = now.verdict == "noise" and series.may_be_slower() and back < HELD
    if not kept or last - 2 <= series.start:
        return now
    before = _held(series.night_before(), sign, back + 1)
    # One night alone is no level: what it told goes with it.
    if before.verdict != "regression" or (before.since or 0) > last - 3:
        return now
    held = series.test(last - (before.since or 0))
    ratio = math.exp(sign * held.shift) if held is not None and held.shift > 0 else before.ratio
    return replace(now, verdict="regression", since=before.since, p=before.p, ratio=ratio)


@dataclass(frozen=True, slots=True)
class _Test:
    """One window against the level: p of either direction and the shift it shows."""

    window: int
    shift: float
    p_slower: float
    p_faster: float
    level: float
    nights: int
    holds: bool


class _Series:
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

    def night_before(self) -> _Series:
        """The series as it was a night ago."""
        return _Series(self.logs[:-1], self.bounds[:-1], self.rule, self.given, self.prior)

    def judged(self, sign: float) -> Shift:
        """The verdict on the newest nights."""
        last = len(self.logs)
        if last - 1 <= self.start and self.accepted:
            return self._shift("noise", None, 1.0, sign)  # tonight is what was accepted
        tests = self._tests()
        if not tests:
            return self._shift("insufficient", None, 1.0, sign)
        if self.rebased is not None:
            best = min(tests, key=lambda t: t.p_slower)
            if not (best.holds and best.p_slower <= self.rule.chance and best.shift > 0):
                since, gained = self.rebased
                return self._shift("improvement", since, gained.p_faster, sign, best=gained)
        worst = _strongest([t for t in tests if t.holds and t.shift > 0], "p_slower")
        gain = _strongest([t for t in tests if t.holds and t.shift < 0], "p_faster")
        for verdict, test, p in (
            ("regression", worst, worst.p_slower if worst else 1.0),
            ("improvement", gain, gain.p_faster if gain else 1.0),
        ):
            if test is not None and p <= self.rule.chance:
                since, placed = self._placed(test)
                return self._shift(verdict, since, p, sign, best=placed)
        p = min(t.p_slower for t in tests)
        known = self.accepted or tests[0].nights >= MANY
        return self._shift("noise" if known else "insufficient", None, p, sign, best=tests[0])

    def _placed(self, test: _Test) -> tuple[int, _Test]:
        """Since when, and the shift since then.

        Windows are of few lengths; the change point beside the window that tells the change
        best is where it began, if the nights since then tell the same.
        """
        first = len(self.logs) - test.window
        for change in sorted(self.changes, key=lambda c: abs(c - first)):
            if abs(change - first) > NEAR:
                break
            found = self.test(len(self.logs) - change)
            if found is not None and found.holds and found.shift * test.shift > 0:
                return change, found
        return first, test

    def may_be_slower(self) -> bool:
        """Whether a regression that was told is still more likely than noise."""
        least = math.log1p(self.rule.floor)
        return any(t.shift >= least and t.p_slower <= self.rule.hold for t in self._tests())

    def _tests(self) -> list[_Test]:
        return [t for m in self._windows() if (t := self.test(m)) is not None]

    def _shift(
        self, verdict: str, since: int | None, p: float, sign: float, best: _Test | None = None
    ) -> Shift:
        noise = self.noise(len(self.logs))[0]
        ratio = math.exp(sign * best.shift) if best else None
        level = math.exp(sign * best.level) if best else None
        series_p = min(1.0, p * EFFECTIVE_WINDOWS)
        nights = best.nights if best else 0
        return Shift(verdict, ratio, series_p, since, noise, level, nights, self.changes)

    def _windows(self) -> Iterator[int]:
        last = len(self.logs)
        backs = {last - c for c in self.changes if c > self.start}
        # A window that reaches back over a return to the level would tell of the past.
        on = self.on_level
        returned = max((c for c in self.changes if on[c] and not on[c - 1]), default=0)
        most = last - max(returned, self.start + 1)
        yield from sorted(m for m in {*WINDOWS, *backs} if m <= most)

    def _levels(self) -> tuple[npt.NDArray[np.bool_], tuple[int, _Test] | None]:
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

    def test(self, window: int) -> _Test | None:
        """The last nights, that many, against the level."""
        first = len(self.logs) - window
        return self._compare(self.on_level & (np.arange(len(self.logs)) < first), first, None)

    def _compare(self, on: npt.NDArray[np.bool_], first: int, end: int | None) -> _Test | None:
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
        return _Test(m, shift, slower, faster, level, n, holds)

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


def _strongest(tests: Sequence[_Test], name: str) -> _Test | None:
    return min(tests, key=lambda t: float(getattr(t, name)), default=None)


def _excursion(residuals: Floats, m: int) -> float:
    """The furthest that m nights in a row have strayed from the level before."""
    if len(residuals) < m:
        return 0.0
    sums = np.concatenate([[0.0], np.cumsum(residuals)])
    return float(np.max(sums[m:] - sums[:-m]) / m)
