"""The passes of a profile on a board of steady power, with a call that knows its phases."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from gpubench.engine.profiling import Profiler
from gpubench.record import Kernel, Range, Record
from gpubench.telemetry.trace import NO_ENERGY, Trace
from tests.builders import A100, measurement, record

PERIOD_S = 0.004


class Device:
    info = A100

    def synchronize(self) -> None: ...


class Meter:
    """A counter that moves every 4 ms, of a board that always draws 100 W."""

    def energy_j(self) -> float | None:
        return 100 * PERIOD_S * int(time.monotonic() / PERIOD_S)

    def power_w(self) -> float | None:
        # It wavers a little, as sensors do: one that stands still is not believed.
        return 100.0 + int(time.monotonic() / PERIOD_S) % 2


class Step:
    """Two phases of 2 ms, each repeatable alone; the data is the host's."""

    def __call__(self) -> object:
        return self.run(lambda _phase: None)

    def run(self, mark: Callable[[str], None]) -> object:
        for phase in ("forward", "backward"):
            time.sleep(0.002)
            mark(phase)
        return None

    def repeatable(self) -> Mapping[str, Callable[[], object]]:
        return dict.fromkeys(("forward", "backward"), lambda: time.sleep(0.002))


PHASES = (Range("data", 0, 0.001), Range("forward", 0.001, 0.003), Range("backward", 0.003, 0.005))


def seen(_call: object, _on_cuda: bool) -> Trace:
    return Trace(
        (Kernel("gemm", 1, 0.003),), 0.0042, {},
        (Range("u: step", 0.0, 0.004, 0, 0.003, None, NO_ENERGY),), ((0.0, 1.0),),
        {"forward": 0.0015, "backward": 0.0015},
    )  # fmt: skip


def profiled(meter: Meter | None, call_s: float = 0.0042, **more: Any) -> Record:
    before = record(outcome=measurement(*[call_s] * 12, ranges=PHASES))
    profiler = Profiler(Device(), meter, work_s=0.4, tracer=seen, **more)  # type: ignore[arg-type]
    return profiler.profile(before, Step)


def test_phases_and_ranges_get_device_time_and_energy() -> None:
    found = profiled(Meter())
    assert found.energy.joules is not None
    ranges = {r.name: r for r in found.outcome.ranges}  # type: ignore[union-attr]
    assert ranges["forward"].device_time_s == 0.0015
    # Idle power is all this board draws, so none of it is the work's own: the method takes it off
    # the pauses only, and a phase of 2 ms at 100 W has some 0.2 J.
    assert ranges["forward"].energy_j is not None
    assert ranges["forward"].energy_j > 0.1
    assert ranges["data"].energy_j is None
    assert "cannot be repeated alone" in str(ranges["data"].reason)
    assert ranges["u: step"].energy_j is not None or "standard error" in str(
        ranges["u: step"].reason
    )
    assert found.outcome.facts["energy.idle_w"] == pytest.approx(100, rel=0.1)  # type: ignore[union-attr]


def test_a_trace_that_stretches_the_call_tells_no_energy_of_ranges() -> None:
    found = profiled(Meter(), call_s=0.001)
    (captured,) = (r for r in found.outcome.ranges if r.name == "u: step")  # type: ignore[union-attr]
    assert captured.energy_j is None
    assert "tracing changes the length of the call" in str(captured.reason)


def test_without_a_meter_every_range_says_so() -> None:
    found = profiled(None, no_meter="reading RAPL needs root")
    reasons = {r.name: r.reason for r in found.outcome.ranges}  # type: ignore[union-attr]
    assert reasons["forward"] == reasons["u: step"] == "reading RAPL needs root"
    assert all(r.energy_j is None for r in found.outcome.ranges)  # type: ignore[union-attr]
    assert replace(found.energy).joules is None
