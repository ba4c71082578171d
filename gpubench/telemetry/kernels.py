"""Kernels of one call, traced in a separate pass, and what they say of Tensor Cores.

Name lists rot, so the verdict never rests on a name alone where the rate can speak: a
rate above the CUDA cores' peak proves Tensor Cores whatever the kernel is called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Final

from gpubench.catalogue import find
from gpubench.errors import UnknownName
from gpubench.ports import Call
from gpubench.record import Fact, Reading, TensorCoreUse
from gpubench.spec import Case, DeviceInfo
from gpubench.units import percent, scaled

# Families in the kernel names of cuBLAS, cuBLASLt and CUTLASS. Negatives are looked for
# first: "sgemm" kernels of new libraries can carry digits that look like an MMA shape.
LEAST_ACTIVITY: Final = 0.005
"""Share of the time in which Tensor pipes ran, from which on they were used."""
NOT_TENSOR: Final = ("ffma", "simt", "sgemm", "dgemm", "hgemm_128x", "gemv", "gemmsn", "fp32_gemm")
TENSOR: Final = (
    "884", "1688", "16816", "16832", "tensorop", "tensor16x8x", "tf32f32", "warpgroupsize",
    "nvjet", "wgmma", "hmma", "imma",
)  # fmt: skip


def classify(name: str) -> str:
    """``tensor``, ``not_tensor`` or ``unknown`` from a kernel's name.

    >>> classify("ampere_sgemm_128x64_nn"), classify("sm90_xmma_gemm_bf16bf16_tensor16x8x16")
    ('not_tensor', 'tensor')
    """
    text = name.lower()
    # cuBLAS names its TF32 and FP16 kernels on Ampere "..._s16816gemm_..." and
    # "..._s1688gemm_...", which contain no plain "sgemm".
    if any(part in text for part in NOT_TENSOR):
        return "not_tensor"
    return "tensor" if any(part in text for part in TENSOR) else "unknown"


def judge(kernels: Sequence[str], case: Case, device: DeviceInfo, time_s: float) -> TensorCoreUse:
    """Verdict from kernel names and from the rate, each with its evidence."""
    evidence: list[str] = []
    cc = device.compute_capability
    if cc is not None and cc < (7, 0):
        return TensorCoreUse("not_used", (f"{device.architecture} has no Tensor Cores",))
    found = {classify(k) for k in kernels}
    by_name = "unknown"
    if "tensor" in found:
        by_name = "used"
        evidence.append(f"kernel name: {next(k for k in kernels if classify(k) == 'tensor')}")
    elif found == {"not_tensor"}:
        by_name = "not_used"
        evidence.append(f"kernel name: {kernels[0]}")
    elif kernels:
        evidence.append(f"kernel name of no known family: {kernels[0]}")
    else:
        evidence.append("no kernel was traced")
    faster = _above_cuda_cores(case, device, time_s)
    if faster:
        evidence.append(faster)
    verdict = "used" if faster else by_name
    if faster and by_name == "not_used":
        evidence.append("name and rate disagree: the rate is believed")
    return TensorCoreUse(verdict, tuple(evidence), tuple(kernels))


def _above_cuda_cores(case: Case, device: DeviceInfo, time_s: float) -> str | None:
    """The rate as evidence, where it is above anything the CUDA cores can do."""
    if case.work is None or device.gpu_key is None or time_s <= 0:
        return None
    try:
        spec = find(device.gpu_key)
    except UnknownName:
        return None
    precision = {"tf32": "fp32", "bf16": "fp32"}.get(case.precision, case.precision)
    peak = spec.peak_flops(precision, tensor=False)
    rate = case.work.flops / time_s
    if peak is None or rate <= 1.05 * peak:
        return None
    return (
        f"rate: {scaled(rate, 'FLOP/s')} is above the CUDA cores' peak of {scaled(peak, 'FLOP/s')}"
    )


def with_more_evidence(
    use: TensorCoreUse, readings: Sequence[Reading], facts: Mapping[str, Fact]
) -> TensorCoreUse:
    """The verdict with what cuDNN notes of its engine, and what GPM read meanwhile.

    A busy Tensor pipe proves Tensor Cores, as a rate above the CUDA cores does; an idle one over
    the whole measurement rules them out.
    """
    evidence, verdict = list(use.evidence), use.verdict
    notes = facts.get("cudnn.numerical_notes")
    if notes is not None:
        has = "TENSOR_CORE" in str(notes).upper()
        evidence.append(f"cuDNN notes: {notes or 'none'}")
        if verdict == "unknown":
            verdict = "used" if has else "not_used"
    active = [r.values["tensor_activity"] for r in readings if "tensor_activity" in r.values]
    if active:
        busy = median(active)
        evidence.append(f"NVML GPM: Tensor pipes active {percent(busy)} of the time")
        said = "used" if busy >= LEAST_ACTIVITY else "not_used"
        if verdict in ("used", "not_used") and verdict != said:
            evidence.append("GPM disagrees with the rest: the counter is believed")
        verdict = said
    return replace(use, verdict=verdict, evidence=tuple(evidence))


class TorchTracer:
    """Kernel names of one call by ``torch.profiler``."""

    def __init__(self, device: DeviceInfo) -> None:
        self._device = device

    def tensor_core_use(self, call: Call, case: Case, time_s: float) -> TensorCoreUse:
        """Trace one call and judge it; a tracer that fails gives ``unknown``, not an error."""
        try:
            kernels = trace_kernels(call)
        except RuntimeError as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            use = judge((), case, self._device, time_s)
            return TensorCoreUse(use.verdict, (f"tracing failed: {reason}", *use.evidence))
        return judge(kernels, case, self._device, time_s)


def trace_kernels(call: Call) -> tuple[str, ...]:
    """Distinct names of the device kernels that one call runs, longest first."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    call()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as trace:
        call()
        torch.cuda.synchronize()
    times: dict[str, float] = {}
    for event in trace.events() or ():
        if event.device_type.name == "CUDA" and not event.name.startswith("Mem"):
            times[event.name] = times.get(event.name, 0.0) + float(event.device_time_total)
    return tuple(sorted(times, key=lambda name: -times[name]))
