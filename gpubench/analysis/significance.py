"""Tests of significance: ranks of two stretches, many tests at once. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]


def rank_p(larger: Floats, smaller: Floats) -> float:
    """One-sided Mann-Whitney: the chance of ranks as high as those of ``larger``.

    Exact by recursion for up to eight nights without ties at the ends, by the normal
    approximation with continuity correction beyond (Mann and Whitney, Ann. Math. Stat. 18,
    1947). Where so few nights are compared that even complete separation is not
    significant, complete separation is all that can be asked: then 0.
    """
    m, n = len(larger), len(smaller)
    order = np.sort(smaller)
    below = np.searchsorted(order, larger, "left")
    ties = np.searchsorted(order, larger, "right") - below
    u = float(np.sum(below) + 0.5 * np.sum(ties))
    if u >= m * n and 1 / math.comb(n + m, m) > 0.005:
        return 0.0
    mean, deviation = m * n / 2, math.sqrt(m * n * (m + n + 1) / 12)
    if m * n <= 400 and m <= 8:
        counts = _rank_counts(m, n)
        return float(np.sum(counts[math.ceil(u) :]) / np.sum(counts))
    return float(special.ndtr(-(u - 0.5 - mean) / deviation))


_COUNTS: dict[tuple[int, int], Floats] = {}


def _rank_counts(m: int, n: int) -> Floats:
    """Arrangements by U: coefficients of the Gaussian binomial (n + m choose m)."""
    if (m, n) not in _COUNTS:
        poly = np.zeros(m * n + 1)
        poly[0] = 1.0
        for i in range(1, m + 1):
            # Multiply by (1 - q^(n + i)), divide by (1 - q^i).
            if n + i <= m * n:
                poly[n + i :] = poly[n + i :] - poly[: -(n + i)].copy()
            for j in range(i, m * n + 1):
                poly[j] += poly[j - i]
        _COUNTS[m, n] = poly
    return _COUNTS[m, n]


def discoveries(p_values: Sequence[float], fdr: float) -> list[bool]:
    """Which of many tests to believe so that at most a share ``fdr`` is false, on average.

    Benjamini and Hochberg (1995), J. R. Stat. Soc. B 57: the largest k with p(k) <= k fdr / n.
    """
    n = len(p_values)
    order = sorted(range(n), key=lambda i: p_values[i])
    passed = max((k for k, i in enumerate(order, 1) if p_values[i] <= k * fdr / n), default=0)
    return [rank < passed for rank, _ in sorted(enumerate(order), key=lambda pair: pair[1])]


PRIOR_CASES: Final = 20
"""Cases from which the usual noise of a check is learnt."""

PRIOR_WEIGHT: Final = 200.0
"""Degrees of freedom that the usual noise weighs at most."""


def prior_of(scatters: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Usual noise of many series and how much it says about one of them.

    Empirical Bayes by the moments of log variances (Smyth 2004, Stat. Appl. Genet. Mol. Biol.
    3:3, section 6.2): where the variances differ by no more than their degrees of freedom
    explain, the usual one weighs much; where each case has a noise of its own, little.

    Args:
        scatters: (variance, degrees of freedom) of each series.

    Returns:
        (noise, degrees of freedom), or None where too few series are known.
    """
    known = np.array([(v, df) for v, df in scatters if v > 0 and df > 0])
    if len(known) < PRIOR_CASES:
        return None
    variance, df = known[:, 0], known[:, 1]
    e = np.log(variance) - special.digamma(df / 2) + np.log(df / 2)
    middle = float(np.mean(e))
    excess = float(np.var(e, ddof=1) - np.mean(special.polygamma(1, df / 2)))
    weight = min(2 * _trigamma_inverse(excess), PRIOR_WEIGHT) if excess > 0 else PRIOR_WEIGHT
    usual = math.exp(middle + float(special.digamma(weight / 2)) - math.log(weight / 2))
    return math.sqrt(usual), weight


def _trigamma_inverse(value: float) -> float:
    """Where the trigamma function has a value; Newton's method as in the appendix of Smyth."""
    if value > 1e7:
        return 1 / math.sqrt(value)
    if value < 1e-6:
        return 1 / value
    y = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(special.polygamma(1, y))
        step = trigamma * (1 - trigamma / value) / float(special.polygamma(2, y))
        y += step
        if -step / y < 1e-8:
            break
    return y
