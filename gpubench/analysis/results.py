"""What follows from a record: summary, throughput, shares, speed-up. Computed once, used by all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Final

from gpubench.analysis.naming import case_names, value_text
from gpubench.record import Failure, Measurement, Record, Run, Skip, Summary
from gpubench.stats import ratio_interval, summarize

MEASURED_CUDA: Final = "measured on CUDA"
MEASURED_CPU: Final = "measured on CPU"
PUBLISHED: Final = "published"
PREDICTED: Final = "predicted"

IS_BASELINE: Final = "this case is the baseline"
"""Why a baseline has no speed-up of its own."""

MOVES_BYTES: Final = frozenset({"memcpy", "elementwise", "softmax", "layernorm", "collective"})
"""Workloads whose rate is quoted in bytes per second, whatever FLOPs they do."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with the ends of its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Result:
    """A record with what follows from it.

    Attributes:
        name: short name of the case, unique within its benchmark and precision.
        summary: None unless the case was measured.
        share_of_peak: of the ceiling that binds at this arithmetic intensity
            (``peak_kind``: ``compute`` or ``memory``).
        speedup: against the baseline case of the same run, with a conservative interval.
        speedup_note: why there is no speed-up, or which case it is against.
    """

    run: Run
    record: Record
    name: str
    provenance: str
    summary: Summary | None = None
    flops_per_s: Interval | None = None
    bytes_per_s: Interval | None = None
    share_of_peak: float | None = None
    peak_kind: str | None = None
    speedup: Interval | None = None
    speedup_note: str = ""

    @property
    def measurement(self) -> Measurement | None:
        """The measurement, where there is one."""
        outcome = self.record.outcome
        return outcome if isinstance(outcome, Measurement) else None

    @property
    def reason(self) -> str | None:
        """Why the case was skipped or failed."""
        outcome = self.record.outcome
        return None if isinstance(outcome, Measurement) else outcome.reason

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags of the measurement, and those that follow from its checks."""
        outcome = self.record.outcome
        if not isinstance(outcome, Measurement):
            wrong = isinstance(outcome, Failure) and outcome.kind == "wrong_result"
            return ("wrong_result",) if wrong else ()
        cores = outcome.tensor_cores.verdict if outcome.tensor_cores else None
        follow = {
            "wrong_result": outcome.accuracy is not None and not outcome.accuracy.ok,
            "not_true_fp32": self.record.case.precision == "fp32" and cores == "used",
        }
        added = [flag for flag, holds in follow.items() if holds]
        return tuple(dict.fromkeys([*outcome.flags, *added]))

    @property
    def rel_error(self) -> float | None:
        """Error against the FP64 reference."""
        m = self.measurement
        return m.accuracy.rel_error if m and m.accuracy else None

    @property
    def rate(self) -> Interval | None:
        """The rate this workload is quoted in; see ``rate_metric``."""
        return self.flops_per_s if self.rate_metric == "flops_per_s" else self.bytes_per_s

    @property
    def rate_metric(self) -> str:
        """``flops_per_s`` or ``bytes_per_s``."""
        work = self.record.case.work
        moves = self.record.case.workload in MOVES_BYTES or (work is not None and not work.flops)
        return "bytes_per_s" if moves else "flops_per_s"


def results(run: Run, records: Sequence[Record]) -> list[Result]:
    """One result a record, in the same order."""
    names = case_names(records)
    summaries = {
        id(r): summarize(r.outcome.samples) for r in records if isinstance(r.outcome, Measurement)
    }
    by_key = {r.case.key: r for r in records}
    bases = {r.case.baseline for r in records}
    return [_result(run, r, names[r.case.key], by_key, bases, summaries) for r in records]


def _result(
    run: Run,
    record: Record,
    name: str,
    by_key: Mapping[str, Record],
    bases: Set[str | None],
    summaries: Mapping[int, Summary],
) -> Result:
    summary = summaries.get(id(record))
    provenance = MEASURED_CPU if record.device.type == "cpu" else MEASURED_CUDA
    if summary is None:
        return Result(run, record, name, provenance)
    work = record.case.work
    counted = _counted(record)
    flops = _rate(counted, summary) if counted else None
    moved = _rate(work.bytes, summary) if work and work.bytes else None
    share, kind = _share(record, flops, moved)
    speedup, note = _speedup(record, summary, by_key, bases, summaries)
    return Result(
        run=run,
        record=record,
        name=name,
        provenance=provenance,
        summary=summary,
        flops_per_s=flops,
        bytes_per_s=moved,
        share_of_peak=share,
        peak_kind=kind,
        speedup=speedup,
        speedup_note=note,
    )


def _counted(record: Record) -> float | None:
    """FLOPs of a call: from its definition, or as the workload counted them on the device."""
    if record.case.work:
        return record.case.work.flops
    m = record.outcome
    found = m.facts.get("flops_per_step") if isinstance(m, Measurement) else None
    return float(found) if isinstance(found, int | float) else None


def _rate(amount: float, summary: Summary) -> Interval | None:
    """``amount`` per median time; None where the clock saw no time at all."""
    if min(summary.median_s, summary.ci_low_s) <= 0:
        return None
    return Interval(
        amount / summary.median_s, amount / summary.ci_high_s, amount / summary.ci_low_s
    )


def _share(
    record: Record, flops: Interval | None, moved: Interval | None
) -> tuple[float | None, str | None]:
    """Share of the roofline's ceiling: the larger of the two shares is the one that binds."""
    peaks, found = record.peaks, []
    if flops and peaks.flops_per_s:
        found.append((flops.value / peaks.flops_per_s, "compute"))
    if moved and peaks.bytes_per_s:
        found.append((moved.value / peaks.bytes_per_s, "memory"))
    return max(found) if found else (None, None)


def _speedup(
    record: Record,
    summary: Summary,
    by_key: Mapping[str, Record],
    bases: Set[str | None],
    summaries: Mapping[int, Summary],
) -> tuple[Interval | None, str]:
    key = record.case.baseline
    if key == record.case.key or (key is None and record.case.key in bases):
        return None, IS_BASELINE
    if key is None:
        return None, "no baseline is set for this case"
    base = by_key.get(key)
    if base is None:
        return None, "the baseline case is not in this run"
    if base.device != record.device:
        return None, "the baseline ran on another device"
    if isinstance(base.outcome, Skip | Failure):
        what = "skipped" if isinstance(base.outcome, Skip) else "failed"
        return None, f"the baseline was {what}: {base.outcome.reason}"
    against = summaries[id(base)]
    if min(summary.ci_low_s, against.ci_low_s) <= 0:
        return None, "a time of zero has no ratio"
    return Interval(*ratio_interval(against, summary)), f"against {_other(record, base)}"


def _other(record: Record, base: Record) -> str:
    """What the baseline is: its precision, or what else tells it from the case."""
    if base.case.precision != record.case.precision:
        return base.case.precision
    differing = [
        f"{name}={value_text(value)}"
        for name, value in base.case.params.items()
        if record.case.params.get(name) != value
    ]
    for name in ("cache", "data"):
        value = getattr(base.case.policy, name)
        if value != getattr(record.case.policy, name):
            differing.append(f"{name}={value}")
    return ", ".join(differing) or base.case.precision
