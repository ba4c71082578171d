"""Is the newest night of a series slower than its level? Pure statistics.

Two rules look at the newest nights, and both ask the same question of different windows: is the
mean of the last m nights further from the level than nights scatter?

- *fast*, m = 1: tonight alone, and only where the samples of tonight agree;
- *slow*, m = 2 and more, and back to every change point: small changes need several nights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from gpubench.analysis.level import MANY, PRIOR, Night, Prior, Rule, Series, Window

EFFECTIVE_WINDOWS: Final = 4.0
"""Independent tests that the overlapping windows amount to, for the p-value of a series."""

LEARNT_FROM: Final = 15
"""Nights from which a series says something about the noise of the others."""

NEAR: Final = 3
"""Nights by which the best window may miss the change point that it tells of."""

HELD: Final = 10
"""Nights that an alarm may stay on weaker evidence (``Rule.hold``) than it was told with."""


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
    return _held(Series(logs, bounds, rule, accepted, prior), sign)


def scatter(nights: Sequence[Night]) -> tuple[float, float] | None:
    """(variance, degrees of freedom) of a series' own noise; None for one that is too short.

    For ``significance.prior_of``, which learns from the cases of a check what noise is usual.
    """
    if len(nights) < LEARNT_FROM or not _usable(nights):
        return None
    logs = np.log(np.array([n.value for n in nights]))
    series = Series(logs, np.stack([logs, logs], axis=1), Rule(), None, (0.0, 0.0))
    noise, df = series.noise(len(logs))
    return noise**2, df


def _usable(nights: Sequence[Night]) -> bool:
    return all(n.value > 0 and math.isfinite(n.value) for n in nights)


def _held(series: Series, sign: float, back: int = 0) -> Shift:
    """The verdict on the newest night; a regression told before stays while it may be true.

    Without this, an excursion near the threshold is told, dropped and told again. It stays
    with the evidence that it was told with, so that the correction for other cases does not
    drop it either.
    """
    now, last = _judged(series, sign), len(series.logs)
    kept = now.verdict == "noise" and _may_be_slower(series) and back < HELD
    if not kept or last - 2 <= series.start:
        return now
    before = _held(series.night_before(), sign, back + 1)
    # One night alone is no level: what it told goes with it.
    if before.verdict != "regression" or (before.since or 0) > last - 3:
        return now
    held = series.test(last - (before.since or 0))
    ratio = math.exp(sign * held.shift) if held is not None and held.shift > 0 else before.ratio
    return replace(now, verdict="regression", since=before.since, p=before.p, ratio=ratio)


def _judged(series: Series, sign: float) -> Shift:
    """The verdict on the newest nights."""
    last = len(series.logs)
    if last - 1 <= series.start and series.accepted:
        return _shift(series, "noise", None, 1.0, sign)  # tonight is what was accepted
    tests = series.windows()
    if not tests:
        return _shift(series, "insufficient", None, 1.0, sign)
    if series.rebased is not None:
        best = min(tests, key=lambda t: t.p_slower)
        if not (best.holds and best.p_slower <= series.rule.chance and best.shift > 0):
            since, gained = series.rebased
            return _shift(series, "improvement", since, gained.p_faster, sign, best=gained)
    worst = _strongest([t for t in tests if t.holds and t.shift > 0], "p_slower")
    gain = _strongest([t for t in tests if t.holds and t.shift < 0], "p_faster")
    for verdict, test, p in (
        ("regression", worst, worst.p_slower if worst else 1.0),
        ("improvement", gain, gain.p_faster if gain else 1.0),
    ):
        if test is not None and p <= series.rule.chance:
            since, placed = _placed(series, test)
            return _shift(series, verdict, since, p, sign, best=placed)
    p = min(t.p_slower for t in tests)
    known = series.accepted or tests[0].nights >= MANY
    return _shift(series, "noise" if known else "insufficient", None, p, sign, best=tests[0])


def _placed(series: Series, test: Window) -> tuple[int, Window]:
    """Since when, and the shift since then.

    Windows are of few lengths; the change point beside the window that tells the change
    best is where it began, if the nights since then tell the same.
    """
    first = len(series.logs) - test.window
    for change in sorted(series.changes, key=lambda c: abs(c - first)):
        if abs(change - first) > NEAR:
            break
        found = series.test(len(series.logs) - change)
        if found is not None and found.holds and found.shift * test.shift > 0:
            return change, found
    return first, test


def _may_be_slower(series: Series) -> bool:
    """Whether a regression that was told is still more likely than noise."""
    least = math.log1p(series.rule.floor)
    return any(t.shift >= least and t.p_slower <= series.rule.hold for t in series.windows())


def _shift(
    series: Series,
    verdict: str,
    since: int | None,
    p: float,
    sign: float,
    best: Window | None = None,
) -> Shift:
    noise = series.noise(len(series.logs))[0]
    ratio = math.exp(sign * best.shift) if best else None
    level = math.exp(sign * best.level) if best else None
    series_p = min(1.0, p * EFFECTIVE_WINDOWS)
    nights = best.nights if best else 0
    return Shift(verdict, ratio, series_p, since, noise, level, nights, series.changes)


def _strongest(tests: Sequence[Window], name: str) -> Window | None:
    return min(tests, key=lambda t: float(getattr(t, name)), default=None)
