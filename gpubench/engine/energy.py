"""Energy of one call: repeated long enough, read on the edges of the counter.

The energy counter of a GPU (Volta and later) moves in steps of 20 to 100 ms, and its power
sensor averages over longer than most kernels run. A call is therefore repeated back to back
for ``MIN_WORK_S``, between two edges of the counter:

    joules per call = (E1 - E0 - P_idle * (tails)) / calls

E0 and E1 are the counter just after an edge before the work and just after an edge behind it;
the tails are the idle times between those edges and the work, at the idle power measured next
to it. Some sensors look at the board only a quarter of the time (Yang et al., SC 2024), so the
work is cut into bursts with pauses of random length, that no regular call can hide from them.

Where there is no counter (Pascal), power is integrated. Where both are there they are
compared; a disagreement is told, not averaged. Nothing shorter than ``MIN_PERIODS`` update
periods of its sensor has an honest energy: it is None with the reason.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Protocol

import numpy as np

from gpubench.record import Energy

MIN_WORK_S: Final = 3.0
MIN_PERIODS: Final = 10
BURSTS: Final = 12
PAUSE_S: Final = (0.005, 0.06)
IDLE_S: Final = 0.6
EDGE_TIMEOUT_S: Final = 1.0
DISAGREEMENT: Final = 0.10
"""Counter and integrated power further apart than this are told."""


class EnergyMeter(Protocol):
    """A board's energy as its driver tells it."""

    def energy_j(self) -> float | None:
        """The counter in joules since some moment; None where there is no counter."""

    def power_w(self) -> float | None:
        """Board power now; None where it is not told."""


class Clock(Protocol):
    """Time, and waiting for it."""

    def now_s(self) -> float:
        """Monotonic time in seconds."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What was run: (start, end) of each burst, and calls in all."""

    bursts: tuple[tuple[float, float], ...]
    calls: int


@dataclass(frozen=True, slots=True)
class Measured:
    """Energy of one call with what it rests on.

    Attributes:
        energy: joules and method; or None with the reason.
        idle_w: board power beside the work.
        update_s: observed period of the sensor that was used.
        disagreement: integrated power / counter - 1, where both were read.
    """

    energy: Energy
    idle_w: float | None = None
    update_s: float | None = None
    disagreement: float | None = None
    calls: int = 0
    busy_s: float = 0.0


def measure_energy(
    call: Callable[[], object],
    synchronize: Callable[[], None],
    meter: EnergyMeter,
    clock: Clock,
    *,
    call_s: float,
    work_s: float = MIN_WORK_S,
    seed: int = 0,
    poll: Callable[[Callable[[], object]], Watch] | None = None,
) -> Measured:
    """Energy of one call.

    Args:
        call: submits one unit of work.
        synchronize: waits until what was submitted is done.
        call_s: about how long one call takes.
        work_s: least time of work; at least ten update periods of the sensor.
        poll: starts watching the meter beside the work; reads in between calls otherwise.

    Returns:
        Joules with method, or None with the reason.
    """
    if meter.energy_j() is None and meter.power_w() is None:
        return Measured(Energy(reason="the driver tells neither energy nor power"))
    log = Log(meter, clock)
    idle_w = _idle_power(log, clock)
    work = _run(call, synchronize, clock, log, call_s, work_s, random.Random(seed), poll)
    _wait_for_edge(log, clock)
    return evaluate(log.readings(), work.bursts, work.calls, idle_w)


class Watch(Protocol):
    """A watcher beside the work."""

    def stop(self) -> None:
        """End watching."""


@dataclass(frozen=True, slots=True)
class MeterReading:
    """One look at the meter."""

    time_s: float
    energy_j: float | None
    power_w: float | None


class Log:
    """Looks at the meter and keeps what it saw."""

    def __init__(self, meter: EnergyMeter, clock: Clock) -> None:
        self._meter, self._clock = meter, clock
        self._kept: list[MeterReading] = []

    def look(self) -> MeterReading:
        """One look, kept."""
        reading = MeterReading(self._clock.now_s(), self._meter.energy_j(), self._meter.power_w())
        self._kept.append(reading)
        return reading

    def readings(self) -> tuple[MeterReading, ...]:
        """What was seen, in order of time."""
        return tuple(sorted(self._kept, key=lambda r: r.time_s))


def _idle_power(log: Log, clock: Clock) -> float | None:
    """Board power while nothing runs, by the counter's edges or the mean of the sensor."""
    until = clock.now_s() + IDLE_S
    seen = []
    while clock.now_s() < until:
        seen.append(log.look())
        clock.sleep(0.002)
    _wait_for_edge(log, clock)
    edges = edges_of(seen)
    if len(edges) >= 2:
        first, last = edges[0], edges[-1]
        return (_j(last) - _j(first)) / (last.time_s - first.time_s)
    powers = [r.power_w for r in seen if r.power_w is not None]
    return float(np.mean(powers)) if powers else None


def _wait_for_edge(log: Log, clock: Clock) -> None:
    """Look until the counter moves; at most ``EDGE_TIMEOUT_S``."""
    first = log.look()
    if first.energy_j is None:
        return
    until = clock.now_s() + EDGE_TIMEOUT_S
    while clock.now_s() < until:
        if log.look().energy_j != first.energy_j:
            return
        clock.sleep(0.0005)


def _run(
    call: Callable[[], object], synchronize: Callable[[], None], clock: Clock, log: Log,
    call_s: float, work_s: float, rng: random.Random,
    poll: Callable[[Callable[[], object]], Watch] | None,
) -> _Work:  # fmt: skip
    """Bursts of calls with random pauses, the meter watched all the while."""
    watch = poll(log.look) if poll else None
    bursts: list[tuple[float, float]] = []
    calls = 0
    each = max(1, round(work_s / BURSTS / max(call_s, 1e-7)))
    try:
        while sum(end - start for start, end in bursts) < work_s:
            start = clock.now_s()
            for _ in range(each):
                call()
                if watch is None:
                    log.look()
            synchronize()
            bursts.append((start, clock.now_s()))
            calls += each
            log.look()
            pause = clock.now_s() + rng.uniform(*PAUSE_S)
            while clock.now_s() < pause:
                clock.sleep(0.002)
                log.look()
    finally:
        if watch is not None:
            watch.stop()
    return _Work(tuple(bursts), calls)


# ---------------------------------------------------------------- pure evaluation


def evaluate(
    readings: Sequence[MeterReading],
    bursts: Sequence[tuple[float, float]],
    calls: int,
    idle_w: float | None,
) -> Measured:
    """Energy of a call from what was read before, during and after the bursts.

    Args:
        readings: in order of time, reaching beyond the bursts on both sides.
        bursts: (start, end) of the work, in order.
        idle_w: board power while nothing ran; None where it is not known.
    """
    busy_s = sum(end - start for start, end in bursts)
    edges = edges_of(readings)
    counter = moves(readings, "energy_j")
    update_s = _period(counter if len(counter) > 2 else moves(readings, "power_w"))
    if not bursts or calls < 1:
        return Measured(Energy(reason="nothing ran"))
    if update_s is None:
        return Measured(Energy(reason="the sensor did not move while the work ran"))
    if busy_s < MIN_PERIODS * update_s:
        reason = (
            f"{busy_s:.3g} s of work is shorter than {MIN_PERIODS} update periods of the sensor"
            f" ({update_s:.3g} s each)"
        )
        return Measured(Energy(reason=reason), idle_w, update_s, None, calls, busy_s)
    counted = _by_counter(edges, bursts, idle_w)
    integrated = _by_integral(readings, bursts, idle_w)
    disagreement = None
    if counted is not None and integrated is not None and counted > 0:
        disagreement = integrated / counted - 1
    total = counted if counted is not None else integrated
    if total is None:
        why = "idle power is not known" if idle_w is None else "the sensor did not answer all along"
        return Measured(Energy(reason=why), idle_w, update_s, None, calls, busy_s)
    method = "counter between edges, repeated" if counted is not None else "integrated power"
    told: str | None = None
    if disagreement is not None and abs(disagreement) > DISAGREEMENT:
        told = f"integrated power is {disagreement:+.0%} off what the counter says"
    energy = Energy(total / calls, method, told)
    return Measured(energy, idle_w, update_s, disagreement, calls, busy_s)


def edges_of(readings: Sequence[MeterReading]) -> list[MeterReading]:
    """Readings at which the counter had just moved."""
    return [r for r, _ in moves(readings, "energy_j")]


def moves(readings: Sequence[MeterReading], sensor: str) -> list[tuple[MeterReading, float]]:
    """(reading at which a sensor had just moved, how long ago it was last looked at)."""
    known = [r for r in readings if getattr(r, sensor) is not None]
    return [
        (b, b.time_s - a.time_s)
        for a, b in pairwise(known)
        if getattr(a, sensor) != getattr(b, sensor)
    ]


def _period(moves: Sequence[tuple[MeterReading, float]]) -> float | None:
    """Shortest usual time between moves that were seen nearly when they happened.

    Not the median: a power sensor that finds the same value again moves unseen.
    """
    gaps = [
        (b.time_s - a.time_s, max(late_a, late_b)) for (a, late_a), (b, late_b) in pairwise(moves)
    ]
    sharp = [gap for gap, late in gaps if late < 0.2 * gap]
    found = sharp or [gap for gap, _ in gaps]
    return float(np.quantile(found, 0.1)) if found else None


def _j(reading: MeterReading) -> float:
    assert reading.energy_j is not None
    return reading.energy_j


def _by_counter(
    edges: Sequence[MeterReading], bursts: Sequence[tuple[float, float]], idle_w: float | None
) -> float | None:
    """Joules of the work by the counter, idle time between the two edges taken off."""
    before = [e for e in edges if e.time_s <= bursts[0][0]]
    after = [e for e in edges if e.time_s >= bursts[-1][1]]
    if not before or not after or idle_w is None:
        return None
    first, last = before[-1], after[0]
    idle_s = (last.time_s - first.time_s) - sum(end - start for start, end in bursts)
    return _j(last) - _j(first) - idle_w * idle_s


def _by_integral(
    readings: Sequence[MeterReading], bursts: Sequence[tuple[float, float]], idle_w: float | None
) -> float | None:
    """Joules of the work by the power sensor: trapezoids over everything, idle taken off.

    The sensor lags and averages, so the pauses are not cut out of its curve: they are
    integrated with the work, and their idle energy is subtracted.
    """
    start, end = bursts[0][0], bursts[-1][1]
    known = [(r.time_s, r.power_w) for r in readings if r.power_w is not None]
    times = np.array([t for t, _ in known])
    powers = np.array([p for _, p in known])
    inside = (times >= start) & (times <= end)
    if inside.sum() < MIN_PERIODS or idle_w is None:
        return None
    t = np.concatenate([[start], times[inside], [end]])
    if np.diff(t).max() > 0.1 * (end - start):
        return None  # a gap: what happened in it is not known
    p = np.interp(t, times, powers)
    pauses = (end - start) - sum(b - a for a, b in bursts)
    return float(np.trapezoid(p, t)) - idle_w * pauses
