"""Which of many equal devices is odd? Pure statistics of a matrix: devices by cases.

Everything is judged in logarithms of time, so that a distance is a ratio. Two questions are
asked of each device, one-sided, and the smaller p-value counts twice (Bonferroni):

- *over all cases*: is its mean robust z-score off those of the others? Good devices differ a
  little in everything at once (silicon, cooling), so that their z-scores are correlated: the
  scatter of the means is taken from the devices themselves (an empirical null: Efron, J. Am.
  Stat. Assoc. 99, 2004), not from the number of cases;
- *in some case*: is one of its cases off by more than the device is in everything, among as
  many as there are cases (Bonferroni)? What a device is off in everything is taken out first,
  so that what good devices differ by does not hide a fault of one unit.

How heavy the tails of good devices are is taken from the devices too (``tail_df``): where one
in twenty is further off than a normal distribution allows, more is asked of the few.

Benjamini-Hochberg over the devices holds the share of false ones among those named.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special

from gpubench.analysis.significance import discoveries

Floats = npt.NDArray[np.float64]

LEAST: Final = 4
"""Devices of one model below which none can be called odd."""

CLIP: Final = 2.5
_CLIPPED: Final = 0.9775
"""Mean of min(x^2, 2.5^2) of a standard normal."""

EFFICIENCY: Final = 0.6
"""Degrees of freedom of a clipped scale, as a share of those of a standard deviation."""

HEAVIEST: Final = 8.0
LIGHTEST: Final = 50.0
"""Degrees of freedom between which tails are believed."""

_GRID: Final = np.geomspace(HEAVIEST, LIGHTEST, 40)
_RATIOS: Final = special.stdtrit(_GRID, 0.975) / special.stdtrit(_GRID, 0.75)

FARTHEST: Final = 12.0
"""Where a z-score is clipped before the mean over cases: one case is not all of them."""


@dataclass(frozen=True, slots=True)
class OutlierRule:
    """What makes a device odd.

    Attributes:
        fdr: expected share of good devices among those that are named.
        floor: smallest relative difference that matters, in a case or over all.
        noise: relative scatter of a case that is believed at least: what two runs differ by.
    """

    fdr: float = 0.05
    floor: float = 0.02
    noise: float = 0.002


@dataclass(frozen=True, slots=True)
class Scores:
    """What there is to say of each device; rows are devices, columns cases.

    Attributes:
        z: robust z-scores of the cases, positive is slower; NaN where not measured.
        ratios: time / median of the devices.
        overall_z: of the mean over cases, in units of its scatter over devices.
        overall: median ratio over the cases of a device.
        p_slow, p_fast: of either direction, both questions together.
        slow, fast: odd ones, after the correction for the number of devices.
        judged: whether there were enough devices.
    """

    z: Floats
    ratios: Floats
    overall_z: Floats
    overall: Floats
    p_slow: Floats
    p_fast: Floats
    slow: npt.NDArray[np.bool_]
    fast: npt.NDArray[np.bool_]
    judged: bool


def score(times_s: Floats, rule: OutlierRule | None = None) -> Scores:
    """Judge devices of one model by their times.

    Args:
        times_s: devices by cases; NaN where a case was not measured.
        rule: what makes a device odd.
    """
    rule = rule or OutlierRule()
    logs = np.log(np.asarray(times_s, dtype=np.float64))
    n, judged = len(logs), len(logs) >= LEAST
    counted = np.sum(np.isfinite(logs), axis=0)
    logs[:, counted < LEAST] = np.nan
    if not judged or not np.any(np.isfinite(logs)):
        return _unjudged(logs)
    off = logs - _median(logs, 0)
    z = off / np.maximum(_scale(off), math.log1p(rule.noise))
    cases = np.maximum(np.sum(np.isfinite(z), axis=1), 1)
    means = np.nansum(np.clip(z, -FARTHEST, FARTHEST), axis=1) / cases
    means[~np.any(np.isfinite(z), axis=1)] = np.nan
    means = means - np.nanmedian(means)
    # With equal devices, independent cases leave a scatter of 1/sqrt(cases): never less.
    least = 1 / math.sqrt(float(np.median(cases)))
    overall_z = means / np.maximum(_scale(means[:, None]), least)
    overall = _median(off, 1)
    least = math.log1p(rule.floor)
    df_all = min(max(EFFICIENCY * (n - 1), 1.0), tail_df(overall_z))
    own = off - overall[:, None]
    own = own - _median(own, 0)
    own_z = own / np.maximum(_scale(own), math.log1p(rule.noise))
    df_case = np.minimum(np.maximum(EFFICIENCY * (counted - 1), 1.0), tail_df(own_z))
    p = [
        _p(sign * own_z, sign * own >= least, df_case, cases, sign * overall_z,
           sign * overall >= least, df_all)
        for sign in (1.0, -1.0)
    ]  # fmt: skip
    slow, fast = (np.array(discoveries(list(x), rule.fdr), dtype=np.bool_) for x in p)
    return Scores(z, np.exp(off), overall_z, np.exp(overall), p[0], p[1], slow, fast, True)


def _p(
    z: Floats,
    far: npt.NDArray[np.bool_],
    df_case: Floats,
    cases: Floats,
    overall_z: Floats,
    overall_far: npt.NDArray[np.bool_],
    df_all: float,
) -> Floats:
    """One direction: what is not far enough to matter has no say, whatever its z-score."""
    with np.errstate(invalid="ignore"):
        single = np.where(far & np.isfinite(z), special.stdtr(df_case, -z), 1.0)
        whole = np.where(overall_far & np.isfinite(overall_z), special.stdtr(df_all, -overall_z), 1)
    least = np.minimum(np.min(single, axis=1) * cases, whole)
    out: Floats = np.minimum(2 * least, 1.0)
    return out


def tail_df(z: Floats) -> float:
    """Degrees of freedom of the t distribution whose tails these values have.

    By the ratio of their 95 % to their 50 % distance from zero: 2.9 for a normal distribution,
    more for heavier tails. Some per cent of faults move it little.
    """
    far = np.abs(z[np.isfinite(z)])
    middle, tail = np.quantile(far, [0.5, 0.95]) if len(far) else (0.0, 0.0)
    if middle <= 0:
        return HEAVIEST
    # The ratios fall with the degrees of freedom; np.interp wants them rising.
    return float(np.interp(tail / middle, _RATIOS[::-1], _GRID[::-1]))


def _scale(off: Floats) -> Floats:
    """Standard deviation over devices, far ones clipped at 2.5 times what the MAD says."""
    first = 1.4826 * _median(np.abs(off), 0)
    clipped = np.minimum(np.abs(off), CLIP * first) ** 2
    count = np.maximum(np.sum(np.isfinite(off), axis=0), 1)
    out: Floats = np.sqrt(np.nansum(clipped, axis=0) / count / _CLIPPED)
    return out


def _median(values: Floats, axis: int) -> Floats:
    """Median that leaves NaN out, NaN where nothing is left, and says nothing about it."""
    empty = ~np.any(np.isfinite(values), axis=axis)
    out: Floats = np.asarray(np.nanmedian(np.where(
        np.expand_dims(empty, axis), 0.0, values), axis=axis), dtype=np.float64)  # fmt: skip
    out[empty] = np.nan
    return out


def _unjudged(logs: Floats) -> Scores:
    n = len(logs)
    nothing, none = np.full(logs.shape, np.nan), np.zeros(n, dtype=np.bool_)
    empty = np.full(n, np.nan)
    return Scores(nothing, nothing, empty, empty, np.ones(n), np.ones(n), none, none, False)
