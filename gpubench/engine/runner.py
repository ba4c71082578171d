"""Case -> Record on a device that is at hand: build, check, measure, trace, judge."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from gpubench.engine.peaks import peaks_of
from gpubench.engine.timing import Progress, measure
from gpubench.engine.trust import with_flags
from gpubench.errors import CaseFailed, InputError, Unsupported
from gpubench.ports import (
    Buildable,
    Call,
    Device,
    KernelTracer,
    Marked,
    Observable,
    Probe,
    Profiler,
    Ranged,
    Tell,
    Telling,
    unheard,
)
from gpubench.record import (
    Accuracy,
    DeviceRef,
    Energy,
    Failure,
    Measurement,
    Operator,
    Outcome,
    Record,
    Skip,
)
from gpubench.registry import workload
from gpubench.spec import Case
from gpubench.stats import summarize
from gpubench.stopping import PolicyStop
from gpubench.telemetry.kernels import with_more_evidence
from gpubench.telemetry.operators import traced_operators
from gpubench.telemetry.ranges import span

CHECK_SEED = 0x9E3779B9
"""Added to a case's seed, so that the check has inputs of its own."""

MOST_TRACED: Final = 7
TRACED_S: Final = 1.0
"""Steps traced into operators: as many as take about so long, at least one."""

Translate = Callable[[BaseException], CaseFailed | None]
"""Turns a foreign error into a CaseFailed, or None where it is not its business."""


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs cases on one device.

    Attributes:
        probe: read during measurements; None where nothing can be read.
        tracer: says in a separate pass whether Tensor Cores ran; None on CPU.
        translate: knows the device's errors.
        quick: whether the plan was a quick one, for the flags.
        profiler: adds energy and kernels to what was measured; None outside `profile`.
        tell: hears what goes on beside the samples.
    """

    device: Device
    probe: Probe | None = None
    tracer: KernelTracer | None = None
    translate: Translate = lambda _error: None
    quick: bool = False
    profiler: Profiler | None = None
    tell: Tell = unheard

    def run(self, case: Case, seed: int, progress: Progress | None = None) -> tuple[Record, bool]:
        """Run one case; never raises for what goes wrong in it.

        Returns:
            (record, sticky): sticky means this process can no longer be trusted.
        """
        started = datetime.now(UTC).isoformat(timespec="milliseconds")
        info = self.device.info
        with span(f"case {case.benchmark} {case.label} {case.precision}"):
            outcome, sticky = self._outcome(case, seed, progress)
        record = Record(
            case=case,
            device=DeviceRef(info.type, info.name, info.gpu_key),
            outcome=outcome,
            started_at=started,
            peaks=peaks_of(info, case.precision),
        )
        if self.profiler is not None and not sticky and isinstance(outcome, Measurement):
            return self._profiled(record, case, seed)
        return record, sticky

    def _profiled(self, record: Record, case: Case, seed: int) -> tuple[Record, bool]:
        """Energy and kernels in passes of their own; what fails there costs only them."""
        assert self.profiler is not None
        device, sticky = self.device, False
        try:
            device.prepare(case.precision)
            work = workload(case.workload).from_params(case.params, case.precision)
            data = case.policy.data
            self.tell("energy and kernels", 0, 0)
            with span("profile"):
                record = self.profiler.profile(record, lambda: work.build(device, seed, data))
        except Exception as error:
            failure, sticky = self._foreign(error)
            record = replace(record, energy=Energy(reason=f"profiling failed: {failure.reason}"))
        finally:
            self._release()
        return record, sticky

    def _outcome(self, case: Case, seed: int, progress: Progress | None) -> tuple[Outcome, bool]:
        try:
            return self._measured(case, seed, progress), False
        except Unsupported as error:
            return Skip(str(error)), False
        except CaseFailed as error:
            return Failure(error.kind, str(error)), error.sticky
        except InputError as error:  # a file that only the worker opens
            return Failure("error", str(error)), False
        except Exception as error:
            return self._foreign(error)
        finally:
            self._release()

    def _foreign(self, error: Exception) -> tuple[Failure, bool]:
        text = traceback.format_exc()
        known = self.translate(error)
        if known is not None:
            return Failure(known.kind, str(known), text), known.sticky
        first = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
        return Failure("error", f"{type(error).__name__}: {first}", text), False

    def _release(self) -> None:
        try:
            self.device.release()
        except Exception as error:  # a sticky CUDA error shows here again; it is already told
            del error

    def _measured(self, case: Case, seed: int, progress: Progress | None) -> Measurement:
        work = workload(case.workload).from_params(case.params, case.precision)
        return self.measured(case, work, seed, progress)

    def measured(
        self, case: Case, work: Buildable, seed: int, progress: Progress | None = None
    ) -> Measurement:
        """Measure a case whose work is at hand; raises whatever goes wrong in it."""
        device, policy = self.device, case.policy
        device.prepare(case.precision)
        self.tell("check against FP64", 0, 0)
        with span("check"):
            accuracy = self._checked(work, seed, policy.data)
        self.tell("preparing", 0, 0)
        with span("measure"):
            measurement, calls = self._timed(case, work, seed, progress)
        measurement = replace(measurement, accuracy=accuracy)
        measurement = self._traced(measurement, case, calls)
        facts = dict(device.switches())
        call: object = calls[0]
        if isinstance(call, Telling):
            call.tell = self.tell
        self.tell("taking it apart", 0, 0)
        if isinstance(call, Ranged):
            measurement = replace(measurement, ranges=tuple(call.ranges(device)))
        for asked in (work, call):
            if isinstance(asked, Observable):
                facts |= asked.observe(device)
        if isinstance(call, Marked):
            try:
                found = self._operators(call, summarize(measurement.samples).median_s)
                measurement = replace(measurement, operators=tuple(found))
            except RuntimeError as error:  # the profiler may be taken, or forbidden
                facts["operators.reason"] = str(error).splitlines()[0]
        cores = measurement.tensor_cores
        if cores is not None:
            cores = with_more_evidence(cores, measurement.readings, facts)
        measurement = replace(measurement, facts=facts, tensor_cores=cores)
        peaks = peaks_of(device.info, case.precision)
        return with_flags(measurement, case, device.info, peaks, self.quick)

    def _operators(self, call: Marked, call_s: float) -> Sequence[Operator]:
        repeat = min(MOST_TRACED, max(1, int(TRACED_S / max(call_s, 1e-6))))
        return traced_operators(call.run, self.device.info.type == "cuda", repeat)

    def _checked(self, work: Buildable, seed: int, data: str) -> Accuracy | None:
        return work.check(self.device, (seed + CHECK_SEED) % 2**31, data)

    def _timed(
        self, case: Case, work: Buildable, seed: int, progress: Progress | None
    ) -> tuple[Measurement, Sequence[Call]]:
        policy = case.policy
        return measure(
            self.device,
            lambda i: work.build(self.device, (seed + i) % 2**31, policy.data),
            policy=policy,
            stop=PolicyStop(policy),
            footprint_bytes=case.work.footprint_bytes if case.work else 0.0,
            probe=self.probe,
            progress=progress,
        )

    def _traced(self, m: Measurement, case: Case, calls: Sequence[Call]) -> Measurement:
        if self.tracer is None:
            return m
        median_s = summarize(m.samples).median_s
        return replace(m, tensor_cores=self.tracer.tensor_core_use(calls[0], case, median_s))
