"""The one measurement loop. Clock, cache policy and stop rule come from outside."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from gpubench.ports import Call, Device, Probe, Timed, Timer
from gpubench.record import Measurement, Reading, Samples
from gpubench.spec import Policy
from gpubench.stopping import StopRule
from gpubench.telemetry.sampler import thinned

SPOILING: dict[str, str] = {
    "hw_slowdown": "hardware slowdown (power brake or over-temperature)",
    "sw_thermal": "thermal slowdown by the driver",
    "hw_thermal": "thermal slowdown by the hardware",
    "hw_power_brake": "external power brake",
}
"""Clock event reasons that spoil a sample; the power cap is normal for a large GEMM."""

Progress = Callable[[int, float], None]
"""Called now and then with (samples so far, last time per call in seconds)."""


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Collect once, then keep the collector off: its pauses would be samples."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@dataclass(slots=True)
class _Tally:
    """What one measurement has gathered so far; ``batches``: (start, end, first, after last)."""

    times_s: list[float] = field(default_factory=list)
    host_s: list[float] = field(default_factory=list)
    batches: list[tuple[float, float, int, int]] = field(default_factory=list)

    def add(self, batch: Sequence[Timed], start_s: float, end_s: float) -> None:
        first = len(self.times_s)
        self.times_s += [t.time_s for t in batch]
        self.host_s += [t.host_enqueue_s for t in batch if t.host_enqueue_s is not None]
        self.batches.append((start_s, end_s, first, len(self.times_s)))

    def spoiled(self, readings: Sequence[Reading]) -> dict[int, str]:
        """Sample -> why it should not count; a reading speaks for the time since the last one."""
        found: dict[int, str] = {}
        since = float("-inf")
        for reading in readings:
            for why in (SPOILING[reason] for reason in reading.reasons if reason in SPOILING):
                for start, end, first, after in self.batches:
                    if start <= reading.time_s and end > since:
                        found.update((i, why) for i in range(first, after))
            since = reading.time_s
        return dict(sorted(found.items()))


def measure(
    device: Device,
    build: Callable[[int], Call],
    *,
    policy: Policy,
    stop: StopRule,
    footprint_bytes: float = 0.0,
    probe: Probe | None = None,
    progress: Progress | None = None,
) -> tuple[Measurement, Sequence[Call]]:
    """Measure one case.

    Args:
        build: makes the call for input set i; called once per set the cache policy needs.
        stop: fed with every sample; spoiled ones too, or a throttled GPU would never stop.
        footprint_bytes: memory of one input set, for choosing how many to rotate over;
            a call that knows better says so in an attribute of that name.
        probe: has looked at the device meanwhile; asked once, at the end.

    Returns:
        The measurement and the calls it timed, for a traced pass afterwards.
    """
    begun = device.wall_s()
    first = build(0)
    estimate_from = device.wall_s()
    estimate_s, warmed = device.estimate(first)
    estimating_s = device.wall_s() - estimate_from
    footprint_bytes = getattr(first, "footprint_bytes", footprint_bytes)
    sets = device.input_sets(footprint_bytes, policy.cache, estimate_s)
    calls = [first, *(build(i) for i in range(1, sets))]
    with no_garbage_collection():
        timer = device.timer(calls, policy.cache, estimate_s)
        warm_from = device.wall_s()
        warmed += _warm_up(device, calls, policy.warmup_s, estimate_s)
        tally, reason = _sample(device, timer, stop, progress, policy.max_samples)
    done = device.wall_s()
    readings = tuple(probe.between(warm_from, done)) if probe else ()
    measurement = Measurement(
        samples=Samples(
            times_s=tuple(tally.times_s),
            host_enqueue_s=tuple(tally.host_s),
            spoiled=tally.spoiled(readings),
            calls_per_sample=timer.calls_per_sample,
            launches=(len(tally.times_s),),
        ),
        method=timer.method,
        # One input set in turn with itself stays where it is.
        cache="hot" if timer.cache == "rotating" and len(calls) == 1 else timer.cache,
        stopped_by=reason,
        warmup_calls=warmed,
        floor_s=timer.floor_s,
        measuring_s=estimating_s + done - warm_from,
        input_sets=len(calls),
        readings=tuple(replace(r, time_s=r.time_s - begun) for r in thinned(readings)),
    )
    return measurement, calls


def _warm_up(device: Device, calls: Sequence[Call], seconds: float, estimate_s: float) -> int:
    """Untimed calls for ``seconds``, in rounds short enough that no queue runs ahead."""
    made, until = 0, device.wall_s() + seconds
    burst = max(1, min(256, int(0.01 / max(estimate_s, 1e-7))))
    while device.wall_s() < until:
        for i in range(burst):
            calls[(made + i) % len(calls)]()
        device.synchronize()
        made += burst
    return made


def _sample(
    device: Device, timer: Timer, stop: StopRule, progress: Progress | None, most: int
) -> tuple[_Tally, str]:
    tally, start = _Tally(), device.wall_s()
    while True:
        batch_from = device.wall_s()
        batch = timer.batch(most - len(tally.times_s))
        now = device.wall_s()
        tally.add(batch, batch_from, now)
        for timed in batch:
            stop.add(timed.time_s, now - start)
        if progress is not None:
            progress(len(tally.times_s), batch[-1].time_s)
        reason = stop.reason()
        if reason is not None:
            return tally, reason
