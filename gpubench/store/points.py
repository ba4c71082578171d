"""One measurement as a point of a history: machine, stack, median, clocks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from gpubench.record import Environment, Fact, Measurement, Reading, Record, Run
from gpubench.stats import summarize

STACK: Final = (
    "gpu.driver", "gpu.vbios", "cuda.driver_version", "cuda.runtime_version", "torch.version",
    "torch.cuda", "torch.blas", "cudnn.version", "cublas.version", "nccl.version",
)  # fmt: skip
"""Facts that make the stack: another value may run other kernels."""


@dataclass(frozen=True, slots=True)
class Point:
    """One night of one case on one machine.

    Attributes:
        stack: short digest of the facts in ``STACK``.
        how: method, cache state and data of the measurement; others do not compare.
        flags: of the measurement.
    """

    case_key: str
    run_id: str
    started_at: str
    stack: str
    how: str
    median_s: float
    ci_low_s: float
    ci_high_s: float
    clock_hz: float | None
    temperature_c: float | None
    power_w: float | None
    flags: tuple[str, ...]


def device_id(environment: Environment) -> str:
    """Identity of a device: a GPU's UUID, or a CPU with its host and threads."""
    uuid = environment.get("gpu.uuid")
    if uuid is not None:
        return str(uuid)
    host, model, threads = (
        environment.get(k) for k in ("host.name", "cpu.model", "cpu.threads_used")
    )
    return f"{host}/cpu/{model}/{threads}"


def stack_facts(environment: Environment) -> dict[str, Fact]:
    """The facts of the stack that are known."""
    return {k: environment.get(k) for k in STACK if environment.get(k) is not None}


def stack_id(environment: Environment) -> str:
    """A digest of the stack: equal for equal stacks on any machine."""
    text = "\n".join(f"{k}={v}" for k, v in sorted(stack_facts(environment).items()))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def point_row(run: Run, record: Record, measured: Measurement) -> dict[str, Any]:
    """The row of the history for a measurement."""
    s = summarize(measured.samples)
    policy = record.case.policy
    quick = "/quick" if run.settings.get("quick") else ""
    return {
        "run_id": run.id,
        "benchmark": record.case.benchmark,
        "case_key": record.case.key,
        "device": device_id(run.environment),
        "stack": stack_id(run.environment),
        "suite": run.suite,
        "started_at": run.started_at,
        "how": f"{measured.method}/{measured.cache}/{policy.data}{quick}",
        "median_s": s.median_s,
        "ci_low_s": s.ci_low_s,
        "ci_high_s": s.ci_high_s,
        "clock_hz": middle(measured.readings, "clock_hz"),
        "temperature_c": middle(measured.readings, "temperature_c"),
        "power_w": middle(measured.readings, "power_w"),
        "flags": ",".join(measured.flags)[:400],
    }


def middle(readings: Sequence[Reading], name: str) -> float | None:
    """Median of a sensor over the readings of a measurement; None where it was not read."""
    values = [r.values[name] for r in readings if name in r.values]
    return median(values) if values else None
