"""What users of a model wait for, from the facts that the application workloads left."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from gpubench.analysis.results import Interval, Result

_P99: Final = re.compile(r"stream\.p99_s_at_(.+)")


@dataclass(frozen=True, slots=True)
class Load:
    """Latency at one rate of requests.

    Attributes:
        share: the rate over the server's capacity.
        rate_per_s: requests a second.
    """

    share: float
    rate_per_s: float
    p50_s: float
    p99_s: float


def number(result: Result, name: str) -> float | None:
    """A fact that is a number."""
    value = result.measurement.facts.get(name) if result.measurement else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def loads(result: Result) -> list[Load]:
    """Every rate that was tried, the lowest first; empty for anything but a stream."""
    capacity = number(result, "stream.capacity_per_s")
    if result.measurement is None or not capacity:
        return []
    found = []
    for name in result.measurement.facts:
        matched = _P99.fullmatch(name)
        share = _float(matched.group(1)) if matched else None
        p50, p99 = number(result, name.replace("p99", "p50")), number(result, name)
        if share is not None and p50 is not None and p99 is not None:
            found.append(Load(share, share * capacity, p50, p99))
    return sorted(found, key=lambda found: found.share)


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def candidates_per_s(result: Result) -> Interval | None:
    """Candidates scored a second; None for anything but ranking."""
    count, s = number(result, "ranking.candidates"), result.summary
    if not count or s is None or min(s.median_s, s.ci_low_s) <= 0:
        return None
    return Interval(count / s.median_s, count / s.ci_high_s, count / s.ci_low_s)


def exactly(result: Result, name: str) -> Interval | None:
    """A fact as a value without an interval; None where it is not there or not positive."""
    value = number(result, name)
    return Interval(value, value, value) if value is not None and value > 0 else None
