"""The separate pass of ``gpubench profile``: energy and kernels of a case already measured."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from gpubench.engine.energy import (
    EnergyMeter,
    Measured,
    measure_energy,
)
from gpubench.errors import CaseFailed
from gpubench.ports import Call, Device
from gpubench.record import Energy, Fact, Measurement, Record
from gpubench.stats import summarize
from gpubench.telemetry.ranges import captured
from gpubench.telemetry.trace import Trace, trace, with_power
from gpubench.telemetry.watch import Poller

POLL_S: Final = 0.02
"""Looks beside the work serve the integral of power; edges are looked for outside it."""


class HostClock:
    """Monotonic time of this host, and Unix time for traces."""

    def now_s(self) -> float:
        """Monotonic time in seconds."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


@dataclass(slots=True)
class _Recorder:
    """A meter that keeps what it told, for the trace."""

    meter: EnergyMeter
    seen: list[tuple[float, float]] = field(default_factory=list)

    def energy_j(self) -> float | None:
        return self.meter.energy_j()

    def power_w(self) -> float | None:
        power = self.meter.power_w()
        if power is not None:
            self.seen.append((time.time(), power))
        return power


@dataclass(frozen=True, slots=True)
class Profiler:
    """Profiles calls on one device.

    Attributes:
        meter: the board's energy; None with ``no_meter`` saying why.
        folder: where traces go; None for no traces.
        no_capture: why NVTX ranges of others cannot be captured.
        tracer: as ``telemetry.trace.trace``.
    """

    device: Device
    meter: EnergyMeter | None = None
    no_meter: str = "no sensor"
    folder: Path | None = None
    work_s: float = 3.0
    no_capture: str = ""
    tracer: Callable[..., Trace] = trace

    def profile(self, record: Record, build: Callable[[], Call]) -> Record:
        """The record with energy, kernels and where its trace lies.

        Raises:
            whatever building or running the call raises.
        """
        outcome = record.outcome
        assert isinstance(outcome, Measurement)
        call = build()
        call_s = summarize(outcome.samples).median_s
        measured, power = self._energy(call, call_s)
        seen = self.tracer(call, self.device.info.type == "cuda")

        def once() -> None:
            call()
            self.device.synchronize()

        ranges = captured(once)
        facts: dict[str, Fact] = {**outcome.facts, **_facts(measured, seen)}
        if self.no_capture:
            facts["profile.no_ranges"] = self.no_capture
        if self.folder is not None:
            facts["profile.trace"] = self._write(record, seen, power)
        ranges = (*outcome.ranges, *ranges)
        outcome = replace(outcome, kernels=seen.kernels, facts=facts, ranges=ranges)
        return replace(record, outcome=outcome, energy=measured.energy)

    def _energy(self, call: Call, call_s: float) -> tuple[Measured, list[tuple[float, float]]]:
        if self.meter is None:
            return Measured(Energy(reason=self.no_meter)), []
        meter = _Recorder(self.meter)
        found = measure_energy(
            call, self.device.synchronize, meter, HostClock(), call_s=call_s,
            work_s=self.work_s, poll=lambda look: Poller(look, POLL_S),
        )  # fmt: skip
        return found, meter.seen

    def _write(self, record: Record, seen: Trace, power: list[tuple[float, float]]) -> str:
        assert self.folder is not None
        name = re.sub(r"[^\w.-]+", "-", f"{record.case.benchmark}-{record.case.key}")
        path = self.folder / f"{name}.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(with_power(seen.document, power)))
        except OSError as error:
            raise CaseFailed("error", f"cannot write the trace {path}: {error.strerror}") from error
        return str(path)


def _facts(measured: Measured, seen: Trace) -> dict[str, Any]:
    busy = sum(k.time_s for k in seen.kernels)
    return {
        "profile.span_s": seen.span_s,
        "profile.kernel_s": busy,
        "profile.launches": sum(k.count for k in seen.kernels),
        "energy.idle_w": measured.idle_w,
        "energy.sensor_period_s": measured.update_s,
        "energy.integral_against_counter": measured.disagreement,
        "energy.calls": measured.calls or None,
    }
