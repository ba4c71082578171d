"""What else changed between two sides of a change point: one line a finding. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gpubench.record import Fact, Measurement, Record, Run
from gpubench.store.points import middle
from gpubench.units import METRICS, percent, scaled

FACTS: Final = {
    "gpu.driver": "driver", "cuda.driver_version": "CUDA of the driver",
    "cuda.runtime_version": "CUDA runtime", "torch.cuda": "CUDA of torch",
    "cudnn.version": "cuDNN", "cublas.version": "cuBLAS", "nccl.version": "NCCL",
    "torch.version": "torch", "torch.blas": "BLAS of torch", "gpu.vbios": "VBIOS",
    "gpu.power_limit_w": "power cap", "gpu.clock_locked": "clocks locked",
    "gpu.ecc": "ECC", "gpu.mig": "MIG", "gpu.persistence": "persistence mode",
    "gpu.pcie_width": "PCIe lanes", "gpu.pcie_generation": "PCIe generation",
    "cpu.governor": "CPU governor", "cpu.cores": "CPUs", "cpu.threads_used": "threads",
    "host.kernel": "Linux kernel", "python.version": "Python", "gpubench.version": "gpubench",
    "git.commit": "code commit", "git.dirty": "uncommitted changes",
}  # fmt: skip
"""Fact -> its name in a finding, the likeliest causes first."""

_SENSORS: Final = (("clock_hz", 0.01), ("memory_clock_hz", 0.01), ("power_w", 0.05))
_WARMER_C: Final = 5.0


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a change point: a run and its record of the case."""

    run: Run
    record: Record | None = None


def causes(before: Side, after: Side) -> tuple[str, ...]:
    """What differs between two sides, the likeliest cause first; empty where nothing does."""
    found = [*_kernels(before, after), *_facts(before.run, after.run), *_sensors(before, after)]
    return tuple(dict.fromkeys(found))


def _facts(before: Run, after: Run) -> Iterator[str]:
    switches = {k for r in (before, after) for k in r.environment.facts if k.startswith("switch.")}
    names = {**FACTS, **{k: k.removeprefix("switch.") for k in sorted(switches)}}
    for key, name in names.items():
        was, now = before.environment.get(key), after.environment.get(key)
        if was != now:
            yield f"{name}: {_shown(key, was)} → {_shown(key, now)}"


def _shown(key: str, value: Fact) -> str:
    if value is None:
        return "not known" if key in FACTS else "not set"
    if key == "git.commit":
        return str(value)[:10]
    return f"{value} W" if key == "gpu.power_limit_w" else str(value)


def _measured(side: Side) -> Measurement | None:
    outcome = side.record.outcome if side.record else None
    return outcome if isinstance(outcome, Measurement) else None


def _kernels(before: Side, after: Side) -> Iterator[str]:
    was, now = (_kernel_names(_measured(s)) for s in (before, after))
    if was and now and was != now:
        gone, new = sorted(was - now), sorted(now - was)
        yield f"dispatcher switched kernel: {_few(gone)} → {_few(new)}"
    for name in ("engine", "backend", "algorithm"):
        a, b = (_fact(_measured(s), name) for s in (before, after))
        if a != b and a is not None and b is not None:
            yield f"{name}: {a} → {b}"


def _kernel_names(measured: Measurement | None) -> frozenset[str]:
    cores = measured.tensor_cores if measured else None
    return frozenset(cores.kernels) if cores else frozenset()


def _fact(measured: Measurement | None, name: str) -> Fact:
    return measured.facts.get(name) if measured else None


def _few(names: Sequence[str]) -> str:
    if not names:
        return "none"
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _sensors(before: Side, after: Side) -> Iterator[str]:
    was, now = _measured(before), _measured(after)
    if was is None or now is None:
        return
    for name, least in _SENSORS:
        a, b = middle(was.readings, name), middle(now.readings, name)
        if a and b and abs(b / a - 1) > least:
            metric = METRICS.get(name)
            title, unit = (metric.title, metric.unit) if metric else ("Memory clock", "Hz")
            change = f"{percent(abs(b / a - 1))} {'higher' if b > a else 'lower'}"
            yield f"{title}: {scaled(a, unit)} → {scaled(b, unit)} ({change})"
    a, b = (middle(m.readings, "temperature_c") for m in (was, now))
    if a is not None and b is not None and abs(b - a) >= _WARMER_C:
        yield f"temperature: {a:.0f} °C → {b:.0f} °C"
    reasons = {r for m in (now,) for reading in m.readings for r in reading.reasons}
    earlier = {r for reading in was.readings for r in reading.reasons}
    for reason in sorted(reasons - earlier - {"gpu_idle"}):
        yield f"clock event reason that was not there before: {reason}"
