"""The separate pass of ``gpubench profile``: energy and kernels of a case already measured."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from gpubench.engine.energy import EnergyMeter, Measured, measure_energy
from gpubench.engine.range_energy import WORK_SHARE, measure_ranges
from gpubench.errors import CaseFailed
from gpubench.ports import Call, Device, Repeatable
from gpubench.record import Energy, Fact, Measurement, Range, Record
from gpubench.stats import summarize
from gpubench.telemetry.trace import Trace, trace, with_power
from gpubench.telemetry.watch import Poller

POLL_S: Final = 0.02
"""Looks beside the work serve the integral of power; edges are looked for outside it."""


EDGE_POLL_S: Final = 0.002
"""For ranges every move of the counter is to be seen nearly when it happens."""
MOST_STRETCH: Final = 0.2
"""A traced call may take this much longer or shorter and still show where ranges lie."""


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
        seen, beside = self._traced(call)
        phases, off = self._phases(outcome.ranges, call, seen, measured)
        ranges = self._ranges(call, call_s, seen, measured)
        facts: dict[str, Fact] = {**outcome.facts, **_facts(measured, seen)}
        facts["energy.phases_against_step"] = off
        if self.no_capture:
            facts["profile.no_ranges"] = self.no_capture
        if self.folder is not None:
            facts["profile.trace"] = self._write(record, seen, [*power, *beside])
        outcome = replace(outcome, kernels=seen.kernels, facts=facts, ranges=(*phases, *ranges))
        return replace(record, outcome=outcome, energy=measured.energy)

    def _traced(self, call: Call) -> tuple[Trace, list[tuple[float, float]]]:
        """The traced pass, and the power while it ran."""
        on_cuda = self.device.info.type == "cuda"
        if self.meter is None:
            return self.tracer(call, on_cuda), []
        meter = _Recorder(self.meter)
        meter.power_w()
        watch = Poller(meter.power_w, POLL_S)
        try:
            seen = self.tracer(call, on_cuda)
        finally:
            watch.stop()
        meter.power_w()
        return seen, meter.seen

    def _energy(self, call: Call, call_s: float) -> tuple[Measured, list[tuple[float, float]]]:
        if self.meter is None:
            return Measured(Energy(reason=self.no_meter)), []
        meter = _Recorder(self.meter)
        found = measure_energy(
            call, self.device.synchronize, meter, HostClock(), call_s=call_s,
            work_s=self.work_s, poll=lambda look: Poller(look, POLL_S),
        )  # fmt: skip
        return found, meter.seen

    def _phases(
        self, phases: Sequence[Range], call: Call, seen: Trace, whole: Measured
    ) -> tuple[tuple[Range, ...], float | None]:
        """Phases with device time and energy, each repeated alone; their sum / the call - 1."""
        asked: object = call
        alone = asked.repeatable() if isinstance(asked, Repeatable) else {}
        found = []
        for phase in phases:
            again, took_s = alone.get(phase.name), phase.end_s - phase.start_s
            if again is None:
                energy = Energy(reason="it cannot be repeated alone")
            elif whole.energy.joules is None:
                energy = Energy(reason=whole.energy.reason)
            else:
                energy = self._energy(again, max(took_s, 1e-6))[0].energy
            found.append(
                replace(phase, device_time_s=seen.phases.get(phase.name), energy_j=energy.joules,
                        reason=None if energy.joules is not None else energy.reason)
            )  # fmt: skip
        summed = [r.energy_j for r in found if r.name in seen.phases]
        known = [j for j in summed if j is not None]
        if not known or len(known) < len(summed) or not whole.energy.joules:
            return tuple(found), None
        return tuple(found), sum(known) / whole.energy.joules - 1

    def _ranges(self, call: Call, call_s: float, seen: Trace, whole: Measured) -> tuple[Range, ...]:
        """Captured ranges with their energy, or why they have none."""
        why = self._no_range_energy(call_s, seen, whole)
        if why or not seen.ranges:
            return tuple(replace(r, reason=why if r.device_time_s is not None else r.reason)
                         for r in seen.ranges)  # fmt: skip
        assert self.meter is not None
        assert whole.idle_w is not None
        assert whole.update_s is not None
        energies = measure_ranges(
            call, self.device.synchronize, self.meter, HostClock(), seen.extents,
            idle_w=whole.idle_w, update_s=whole.update_s, work_s=WORK_SHARE * self.work_s,
            poll=lambda look: Poller(look, EDGE_POLL_S),
        )  # fmt: skip
        return tuple(replace(r, energy_j=e.joules, reason=e.reason)
                     for r, e in zip(seen.ranges, energies, strict=True))  # fmt: skip

    def _no_range_energy(self, call_s: float, seen: Trace, whole: Measured) -> str | None:
        if whole.energy.joules is None or whole.idle_w is None or whole.update_s is None:
            return whole.energy.reason
        if abs(seen.span_s / call_s - 1) > MOST_STRETCH:
            return (
                "tracing changes the length of the call too much"
                f" ({seen.span_s / call_s - 1:+.0%}) to say where its ranges lie"
            )
        return None

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
