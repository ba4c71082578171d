"""Energy of ranges within a call, from the energy counter over many calls.

A range of 30 ms is shorter than the counter's period, so no two looks at the counter hold it
alone. But over many calls, with pauses of random length between them, every window between two
moves of the counter holds another mixture of ranges, and the energies of the windows are linear
in the powers of the parts that the ranges divide a call into:

    E_j - P_idle * (idle time in window j) = sum over parts k of P_k * (time of part k in window j)

Least squares gives each part's mean power; a range's energy is the sum over its parts of power
times length. The scatter of the windows gives the standard error with it: where that is more than
``MOST_ERROR`` the ranges cannot be told apart by this counter, and the energy is None saying so.
Where the calls lie is known on the host, since each is waited for; where a range lies within a
call, from the traced pass.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpubench.engine.energy import Clock, EnergyMeter, Log, MeterReading, Watch, moves

MOST_ERROR: Final = 0.03
"""Largest standard error of a range's energy, relative, that is still told."""
MOST_PARTS: Final = 8
LEAST_WINDOWS: Final = 4
"""Windows for each part, at least."""
LOOK_S: Final = 0.001
"""Uncertainty of when the counter moved that even the closest looks leave."""
WORK_SHARE: Final = 2.0
"""Time of work for ranges, over that for the call alone."""


@dataclass(frozen=True, slots=True)
class RangeEnergy:
    """Joules of a range in one call, with their standard error; or the reason for none."""

    joules: float | None = None
    error_j: float | None = None
    reason: str | None = None


def measure_ranges(
    call: Callable[[], object],
    synchronize: Callable[[], None],
    meter: EnergyMeter,
    clock: Clock,
    extents: Sequence[tuple[float, float] | None],
    *,
    idle_w: float,
    update_s: float,
    work_s: float,
    seed: int = 0,
    poll: Callable[[Callable[[], object]], Watch] | None = None,
) -> list[RangeEnergy]:
    """Energy of each range of a call.

    Args:
        extents: where each range lies on the device, in shares of the call; None if not known.
        idle_w: board power while nothing runs.
        update_s: period of the counter.
        work_s: time of work.
        poll: starts watching the meter beside the work.
    """
    if meter.energy_j() is None:
        why = "no energy counter: its power sensor averages over longer than a range"
        return [RangeEnergy(reason=why)] * len(extents)
    rng, log = random.Random(seed), Log(meter, clock)
    calls: list[tuple[float, float]] = []
    watch = poll(log.look) if poll else None
    try:
        spent = 0.0
        while spent < work_s:
            start = clock.now_s()
            call()
            synchronize()
            end = clock.now_s()
            calls.append((start, end))
            spent += end - start
            until = clock.now_s() + rng.uniform(0.0, max(update_s, end - start))
            while clock.now_s() < until:
                clock.sleep(0.002)
                log.look()
    finally:
        if watch is not None:
            watch.stop()
    return evaluate_ranges(log.readings(), calls, extents, idle_w)


def evaluate_ranges(
    readings: Sequence[MeterReading],
    calls: Sequence[tuple[float, float]],
    extents: Sequence[tuple[float, float] | None],
    idle_w: float,
) -> list[RangeEnergy]:
    """Energy of each range from the readings and the (start, end) of every call."""
    known = [e for e in extents if e is not None]
    bounds = np.unique(np.clip([0.0, 1.0, *(x for e in known for x in e)], 0.0, 1.0))
    parts = len(bounds) - 1
    if parts > MOST_PARTS:
        why = f"the ranges divide a call into {parts} parts, too many for the counter"
        return [RangeEnergy(reason=why)] * len(extents)
    seen = moves(readings, "energy_j")
    # Seen at the first look after it, the counter moved half a gap before on average.
    times = np.array([r.time_s - late / 2 for r, late in seen])
    joules = np.array([r.energy_j for r, _ in seen], dtype=np.float64)
    if len(seen) - 1 < LEAST_WINDOWS * parts:
        why = f"{max(0, len(seen) - 1)} windows of the counter are too few for {parts} parts"
        return [RangeEnergy(reason=why)] * len(extents)
    extent_s = _on_the_device(np.asarray(calls, dtype=np.float64))
    amounts = _amounts(times, extent_s, bounds)
    idle_s = np.diff(times) - amounts.sum(axis=1)
    target = np.diff(joules) - idle_w * idle_s
    # A window whose ends were seen late is known less well, and counts for less.
    late_s2 = np.array([late for _, late in seen]) ** 2
    doubt_s2 = late_s2[1:] + late_s2[:-1] + LOOK_S**2
    weighted = amounts.T / doubt_s2
    inverse = np.linalg.pinv(weighted @ amounts)
    power = inverse @ weighted @ target
    spare = len(target) - parts
    scatter = float(np.sum((target - amounts @ power) ** 2 / doubt_s2)) / max(1, spare)
    covariance = np.asarray(scatter * inverse, dtype=np.float64)
    if np.linalg.matrix_rank(amounts, tol=1e-6 * float(amounts.max(initial=0.0))) < parts:
        why = "every window of the counter holds the same mixture of ranges"
        return [RangeEnergy(reason=why)] * len(extents)
    length_s = float(np.mean(np.diff(extent_s, axis=1)))
    return [_one(e, bounds, power, covariance, length_s) for e in extents]


def _on_the_device(calls: NDArray[np.float64]) -> NDArray[np.float64]:
    """(start, end) of each call; shape (calls, 2).

    A call far longer than the others (Tukey's outer fence) ended in time on the device, but the
    host was late to see it.
    """
    length = np.diff(calls, axis=1)[:, 0]
    low, middle, high = np.percentile(length, [25, 50, 75])
    took = np.where(length > high + 3.0 * (high - low), middle, length)
    return np.column_stack([calls[:, 0], calls[:, 0] + took])


def _amounts(
    times: NDArray[np.float64], calls: NDArray[np.float64], bounds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Seconds of each part in each window; shape (windows, parts)."""
    start, length = calls[:, :1], np.diff(calls, axis=1)
    found = []
    for low, high in pairwise(bounds):
        knots = np.hstack([start + low * length, start + high * length]).ravel()
        so_far = np.repeat(np.cumsum((high - low) * length[:, 0]), 2)
        so_far[::2] -= (high - low) * length[:, 0]
        found.append(np.diff(np.interp(times, knots, so_far)))
    return np.stack(found, axis=1)


def _one(
    extent: tuple[float, float] | None, bounds: NDArray[np.float64], power: NDArray[np.float64],
    covariance: NDArray[np.float64], length_s: float,
) -> RangeEnergy:  # fmt: skip
    if extent is None:
        return RangeEnergy(reason="the device did nothing in it")
    low, high = (min(max(x, 0.0), 1.0) for x in extent)
    middle = (bounds[:-1] + bounds[1:]) / 2
    share = np.where((middle > low) & (middle < high), np.diff(bounds), 0.0) * length_s
    joules = float(share @ power)
    error = math.sqrt(max(0.0, float(share @ covariance @ share)))
    if joules <= 0 or error > MOST_ERROR * joules:
        doubt = f"{error / joules:.0%}" if joules > 0 else "more than all of it"
        return RangeEnergy(reason=f"the counter cannot tell it apart: standard error {doubt}")
    return RangeEnergy(joules, error)
