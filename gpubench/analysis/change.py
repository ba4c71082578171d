"""Is a measurement slower than an accepted one? A pure rule for gates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gpubench.record import Measurement, Summary
from gpubench.stats import ratio_interval, summarize
from gpubench.units import percent, scaled, significant

THRESHOLD: Final = 0.05
"""Relative change that matters, where nobody said otherwise."""

DOUBTS: Final = ("wrong_result", "few_samples", "contended", "throttled", "drifting")
"""Flags under which a median and its interval do not carry a verdict."""


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a case since it was accepted.

    Attributes:
        verdict: ``slower``, ``faster``, ``same`` or ``unknown``.
        text: the verdict with its numbers, or why there is none.
        ratio: median now / accepted median, with a conservative interval; None if unknown.
    """

    verdict: str
    text: str
    ratio: float | None = None
    low: float | None = None
    high: float | None = None


def change_between(now: Measurement, accepted: Measurement, threshold: float = THRESHOLD) -> Change:
    """Compare two measurements of one case on one device.

    Slower means both: the 95 % intervals of the two medians are disjoint, so that the
    difference is more than chance, and it is above ``threshold``, so that it matters.
    """
    doubt = _doubt(now, accepted)
    if doubt:
        return Change("unknown", f"not judged: {doubt}")
    a, b = summarize(now.samples), summarize(accepted.samples)
    if min(a.ci_low_s, b.ci_low_s) <= 0:
        return Change("unknown", "not judged: a time of zero has no ratio")
    ratio, low, high = ratio_interval(a, b)
    verdict = "same"
    if low > 1 and ratio > 1 + threshold:
        verdict = "slower"
    elif high < 1 and ratio < 1 / (1 + threshold):
        verdict = "faster"
    text = (
        f"{verdict}: {_shown(a)} now, {_shown(b)} accepted; {significant(ratio)}x"
        f" ({significant(low)}x to {significant(high)}x), threshold {percent(threshold)}"
    )
    return Change(verdict, text, ratio, low, high)


def doubts(m: Measurement) -> tuple[str, ...]:
    """The flags of a measurement that forbid a verdict on it."""
    return tuple(f for f in DOUBTS if f in m.flags)


def _doubt(now: Measurement, accepted: Measurement) -> str | None:
    for which, m in (("this measurement", now), ("the accepted one", accepted)):
        flags = doubts(m)
        if flags:
            return f"{which} is {', '.join(flags)}"
    for what in ("method", "cache"):
        here, there = getattr(now, what), getattr(accepted, what)
        if here != there:
            return f"{what} {here} now, {there} accepted"
    return None


def _shown(s: Summary) -> str:
    low, high = scaled(s.ci_low_s, "s"), scaled(s.ci_high_s, "s")
    return f"{scaled(s.median_s, 's')} ({low} to {high})"
