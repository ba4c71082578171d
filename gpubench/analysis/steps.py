"""What follows from a measured step of a model: rates, MFU, phases, and the knee of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gpubench.analysis.results import Interval, Result

KNEE_SHARE: Final = 0.9
"""Of the highest throughput: a batch beyond the one that reaches it buys latency only."""
BESIDE: Final = frozenset({"data", "host_to_device"})
"""Phases that are measured beside a step and are no part of its time."""


@dataclass(frozen=True, slots=True)
class StepFigures:
    """Figures of one step.

    Attributes:
        tokens_per_s: None for images.
        mfu: counted FLOP/s over the peak of the precision that ran; None without a peak.
        joules_per_sample: None where the energy of a call is not known.
    """

    samples_per_s: Interval
    tokens_per_s: Interval | None
    mfu: float | None
    joules_per_sample: float | None


def step_figures(result: Result) -> StepFigures | None:
    """The figures of a measured step; None for anything else."""
    samples, s = _fact(result, "samples_per_step"), result.summary
    if s is None or not samples or min(s.median_s, s.ci_low_s) <= 0:
        return None
    per_s = Interval(1 / s.median_s, 1 / s.ci_high_s, 1 / s.ci_low_s)
    tokens, flops = _fact(result, "tokens_per_step"), _fact(result, "flops_per_step")
    peak, joules = result.record.peaks.flops_per_s, result.record.energy.joules
    return StepFigures(
        samples_per_s=_times(samples, per_s),
        tokens_per_s=_times(tokens, per_s) if tokens else None,
        mfu=flops * per_s.value / peak if flops and peak else None,
        joules_per_sample=joules / samples if joules is not None else None,
    )


def _fact(result: Result, name: str) -> float | None:
    value = result.measurement.facts.get(name) if result.measurement else None
    return float(value) if isinstance(value, int | float) else None


def _times(amount: float, per_s: Interval) -> Interval:
    return Interval(amount * per_s.value, amount * per_s.low, amount * per_s.high)


def phases(result: Result) -> Mapping[str, float]:
    """Phase -> its seconds, in order; empty where none were measured."""
    m = result.measurement
    return {r.name: r.end_s - r.start_s for r in m.ranges if r.depth == 0} if m else {}


@dataclass(frozen=True, slots=True)
class Knee:
    """Where a larger batch stops to pay.

    Attributes:
        batch: the smallest that reaches ``KNEE_SHARE`` of the highest throughput.
        rising: whether the largest batch is the best by far, so that more may pay yet.
    """

    batch: float
    samples_per_s: float
    rising: bool


def knee(points: Sequence[tuple[float, float]]) -> Knee | None:
    """The knee of (batch, samples per second); None for fewer than three batches."""
    ordered = sorted(points)
    if len(ordered) < 3:
        return None
    best = max(rate for _, rate in ordered)
    batch, rate = next((b, r) for b, r in ordered if r >= KNEE_SHARE * best)
    return Knee(batch, rate, rising=batch == ordered[-1][0])
