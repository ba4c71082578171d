"""Flags: what a reader must know before believing a number. Pure functions."""

from __future__ import annotations

from dataclasses import replace

from gpubench.record import Measurement, Peaks, TensorCoreUse
from gpubench.spec import Case, DeviceInfo
from gpubench.stats import drift, summarize
from gpubench.stopping import DRIFT_FACTOR

FLAGS = (
    "wrong_result", "functional_only", "throttled", "contended", "power_capped", "launch_bound",
    "below_floor",
    "few_samples", "drifting", "noisy", "budget", "above_peak", "hot_cache",
    "tensor_cores_not_used", "quick",
)  # fmt: skip
"""Every flag, the gravest first."""
NOISY_FACTOR = 2.0
"""A case is noisy when its interval is this many times wider than asked for."""
FOREIGN_CPUS = 0.15
"""CPUs in use by others above which CPU times are contended; the parent needs less."""
PEAK_TOLERANCE = 1.02
"""Measured rates above peak by more than this point to a wrong peak, clock or count."""


def flags_of(
    m: Measurement, case: Case, device: DeviceInfo, peaks: Peaks, quick: bool = False
) -> tuple[str, ...]:
    """Every flag of ``FLAGS`` that holds for a measurement, in that order."""
    s = summarize(m.samples)
    capped = [r for r in m.readings if "sw_power_cap" in r.reasons]
    rate = case.work.flops / s.median_s if case.work and s.median_s > 0 else None
    cache = device.cache_bytes
    fits = bool(case.work and cache and case.work.footprint_bytes * m.input_sets <= cache)
    tests = {
        "wrong_result": m.accuracy is not None and not m.accuracy.ok,
        "throttled": bool(m.samples.spoiled),
        "contended": contended(m),
        "power_capped": len(capped) * 2 > len(m.readings) > 0,
        "launch_bound": s.host_enqueue_s is not None and s.host_enqueue_s >= s.median_s,
        "below_floor": m.floor_s is not None and s.median_s < 2 * m.floor_s,
        "few_samples": s.n < 6,
        "drifting": drifts(m, case.policy.target_rel_ci),
        "noisy": s.rel_ci > NOISY_FACTOR * case.policy.target_rel_ci,
        "budget": m.stopped_by == "max_time" and s.rel_ci > case.policy.target_rel_ci,
        "above_peak": bool(
            rate and peaks.flops_per_s and rate > PEAK_TOLERANCE * peaks.flops_per_s
        ),
        # On CPU, hot is what every peer measures and what the summary says anyway.
        "hot_cache": device.type == "cuda" and fits and m.cache in ("hot", "rotating"),
        "tensor_cores_not_used": asked_not_used(m.tensor_cores, case),
        "functional_only": device.type == "cpu" and device.world_size > 1,
        "quick": quick,
    }
    return tuple(name for name in FLAGS if tests[name])


def contended(m: Measurement) -> bool:
    """Whether others used the device.

    CPUs: a mean of more than ``FOREIGN_CPUS`` over the readings. GPU: NVML named another process
    that computes on it, in any reading.
    """
    used = [r.values["foreign_cpus"] for r in m.readings if "foreign_cpus" in r.values]
    if any(r.values.get("foreign_processes", 0.0) > 0 for r in m.readings):
        return True
    return bool(used) and sum(used) / len(used) > FOREIGN_CPUS


def drifts(m: Measurement, target_rel_ci: float) -> bool:
    """Whether the level moved within any one launch by more than the interval asked for."""
    start = 0
    for count in m.samples.launches or (len(m.samples.times_s),):
        if drift(m.samples.times_s[start : start + count]) > DRIFT_FACTOR * target_rel_ci:
            return True
        start += count
    return False


def asked_not_used(use: TensorCoreUse | None, case: Case) -> bool:
    """Whether a Tensor Core precision ran without them."""
    return use is not None and use.verdict == "not_used" and case.precision in (
        "tf32", "fp16", "bf16", "fp8",
    )  # fmt: skip


def with_flags(
    m: Measurement, case: Case, device: DeviceInfo, peaks: Peaks, quick: bool = False
) -> Measurement:
    """The measurement with its flags set."""
    return replace(m, flags=flags_of(m, case, device, peaks, quick))
