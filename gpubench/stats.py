"""Quantiles, intervals and summaries of samples. Pure functions; no state, no I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

from gpubench.record import Measurement, Record, Samples, Summary

LEVEL = 0.95
"""Coverage asked of the interval of the median."""


def quantile(ordered: Sequence[float], q: float) -> float:
    """The q-quantile of an ascending sequence, linear between order statistics.

    Type 7 of Hyndman and Fan (1996), the default of numpy.

    Raises:
        ValueError: for an empty sequence.
    """
    if not ordered:
        raise ValueError("quantile of no samples")
    position = q * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    # Interpolating as low + step keeps equal neighbours exactly equal.
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


@lru_cache(maxsize=4096)
def median_ranks(n: int, level: float = LEVEL) -> tuple[int, int, float]:
    """Order statistics that bracket the median of n samples, and their real coverage.

    The number of samples below the median is Binomial(n, 1/2), whatever the
    distribution, so (x[k], x[n-1-k]) covers it with 1 - 2 P(Bin <= k); the widest k
    that still has ``level`` is taken. Conover, Practical Nonparametric Statistics,
    3rd ed., section 3.2. With fewer than six samples no pair reaches 95 %; then
    (0, n-1) is returned with the coverage it has.

    Returns:
        (low, high, coverage): zero-based ranks and coverage.
    """
    if n < 1:
        raise ValueError("interval of no samples")
    tail, best, best_tail = 0.0, 0, math.exp(-n * math.log(2))
    for k in range(n // 2):
        log_p = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2)
        tail += math.exp(log_p)
        if 2 * tail > 1 - level:
            break
        best, best_tail = k, tail
    coverage = 1 - 2 * best_tail if n > 1 else 0.0
    return best, n - 1 - best, coverage


def median_interval(ordered: Sequence[float], level: float = LEVEL) -> tuple[float, float, float]:
    """Nonparametric interval of the median of an ascending sequence: (low, high, coverage)."""
    low, high, coverage = median_ranks(len(ordered), level)
    return ordered[low], ordered[high], coverage


def relative_interval(ordered: Sequence[float]) -> float:
    """Half width of the median's interval / median; infinite below two samples."""
    if len(ordered) < 2:
        return math.inf
    low, high, _ = median_interval(ordered)
    middle = quantile(ordered, 0.5)
    return (high - low) / 2 / middle if middle > 0 else math.inf


def relative_iqr(ordered: Sequence[float]) -> float:
    """Interquartile range / median: the noise of single samples."""
    middle = quantile(ordered, 0.5)
    return (quantile(ordered, 0.75) - quantile(ordered, 0.25)) / middle if middle > 0 else 0.0


def drift(times: Sequence[float]) -> float:
    """How far the level moved while sampling: |median of last third / of first third - 1|.

    Early against late stretches of one sequence, as in the diagnostic of Geweke (1992).
    Zero unless the 95 % intervals of the two medians are disjoint, and below 18 samples.
    An interval of the median assumes that all samples have one level; where this is not
    zero it states the spread of a mixture, and is too narrow.
    """
    third = len(times) // 3
    if third < 6:
        return 0.0
    first, second = sorted(times[:third]), sorted(times[-third:])
    low_a, high_a, _ = median_interval(first)
    low_b, high_b, _ = median_interval(second)
    before = quantile(first, 0.5)
    if (low_a <= high_b and low_b <= high_a) or before <= 0:
        return 0.0
    return abs(quantile(second, 0.5) / before - 1)


def counted(samples: Samples) -> tuple[float, ...]:
    """The samples that count: the unspoiled ones, unless fewer than half are.

    Dropping nearly everything would turn a throttled case into one without a number
    or, worse, into one that looks fine; then all of them count and the flag tells.
    """
    good = tuple(t for i, t in enumerate(samples.times_s) if i not in samples.spoiled)
    return good if 2 * len(good) >= len(samples.times_s) and good else samples.times_s


def summarize(samples: Samples) -> Summary:
    """All statistics of one measurement, from its samples alone.

    Raises:
        ValueError: for no samples at all.
    """
    times = counted(samples)
    ordered = sorted(times)
    low, high, coverage = median_interval(ordered)
    host = sorted(samples.host_enqueue_s)
    return Summary(
        median_s=quantile(ordered, 0.5),
        ci_low_s=low,
        ci_high_s=high,
        ci_level=coverage,
        rel_noise=relative_iqr(ordered),
        iqr_s=quantile(ordered, 0.75) - quantile(ordered, 0.25),
        min_s=ordered[0],
        mean_s=math.fsum(ordered) / len(ordered),
        n=len(ordered),
        n_spoiled=len(samples.spoiled),
        host_enqueue_s=quantile(host, 0.5) if host else None,
    )


def ratio_interval(numerator: Summary, denominator: Summary) -> tuple[float, float, float]:
    """Ratio of two medians with a conservative interval: (ratio, low, high).

    The ends pair the opposite ends of the two intervals, so the coverage is at least
    that of both holding together (0.9 for two 95 % intervals, by Bonferroni).
    """
    return (
        numerator.median_s / denominator.median_s,
        numerator.ci_low_s / denominator.ci_high_s,
        numerator.ci_high_s / denominator.ci_low_s,
    )


def geometric_mean(values: Sequence[float]) -> float:
    """Geometric mean of positive values.

    Raises:
        ValueError: for no values, or one that is not positive.
    """
    if not values:
        raise ValueError("geometric mean of no values")
    return math.exp(math.fsum(math.log(v) for v in values) / len(values))


def joules_per(record: Record) -> Mapping[str, float]:
    """Unit of work -> joules; empty where the energy of a call is not known.

    FLOPs are those counted for the step, else those of the case.
    """
    joules, outcome, work = record.energy.joules, record.outcome, record.case.work
    if joules is None or not isinstance(outcome, Measurement):
        return {}
    found = {}
    for unit in ("sample", "token"):
        amount = outcome.facts.get(f"{unit}s_per_step")
        if isinstance(amount, int | float) and amount > 0:
            found[unit] = joules / amount
    flops = outcome.facts.get("flops_per_step") or (work.flops if work else None)
    if isinstance(flops, int | float) and flops > 0:
        found["TFLOP"] = joules / (flops / 1e12)
    return found
