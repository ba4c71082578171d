"""Small records and runs for tests."""

from __future__ import annotations

from typing import Any

from gpubench.plan import case_key
from gpubench.record import (
    Accuracy,
    DeviceRef,
    Environment,
    Measurement,
    Outcome,
    Record,
    Run,
    Samples,
)
from gpubench.spec import Case, DeviceInfo, Policy
from gpubench.workloads.gemm import Gemm

CPU = DeviceInfo(
    type="cpu", name="Test CPU", memory_bytes=8 * 2**30, cache_bytes=2**20, sm_count=2,
    unsupported={"tf32": "tf32 is a Tensor Core format", "fp16": "no FP16 instructions"},
)  # fmt: skip
A100 = DeviceInfo(
    type="cuda", name="NVIDIA A100-SXM4-40GB", index=0, gpu_key="a100-sxm4-40gb",
    architecture="Ampere", compute_capability=(8, 0), memory_bytes=36 * 2**30,
    cache_bytes=40 * 2**20, sm_count=108,
)  # fmt: skip


def gemm_case(precision: str = "fp32", size: int = 64, **policy: Any) -> Case:
    work = Gemm.from_params({"size": size}, precision)
    return Case(
        key=case_key("gemm", precision, work.identity()),
        benchmark="square",
        workload="gemm",
        precision=precision,
        params=work.params(),
        policy=Policy(**policy),
        work=work.work(),
        label=work.label(),
    )


def measurement(*times_s: float, **more: Any) -> Measurement:
    times = times_s or (1.0e-3, 1.1e-3, 0.9e-3, 1.0e-3, 1.0e-3, 1.2e-3, 1.0e-3, 1.05e-3)
    given = {
        "method": "loop", "cache": "hot", "stopped_by": "target_ci",
        "accuracy": Accuracy(1e-7, 1e-6, "FP64"), **more,
    }  # fmt: skip
    return Measurement(samples=Samples(times_s=times, launches=(len(times),)), **given)


def record(case: Case | None = None, outcome: Outcome | None = None) -> Record:
    return Record(
        case=case or gemm_case(),
        device=DeviceRef("cpu", "Test CPU"),
        outcome=outcome or measurement(),
        started_at="2026-01-02T03:04:05.678+00:00",
    )


def run(id: str = "20260102-030405-abcdef", **more: Any) -> Run:
    given = {
        "suite": "test", "started_at": "2026-01-02T03:04:05.000+00:00",
        "environment": Environment({"host.name": "here", "gpu.name": None}), **more,
    }  # fmt: skip
    return Run(id=id, **given)
