"""The ceilings a case is compared with, and where they come from."""

from __future__ import annotations

from gpubench.catalogue import find
from gpubench.errors import UnknownName
from gpubench.record import Peaks
from gpubench.spec import DeviceInfo

UNIT = {"fp64": "FP64", "fp32": "FP32 CUDA cores", "tf32": "TF32 Tensor Cores, dense",
        "fp16": "FP16 Tensor Cores, dense", "bf16": "BF16 Tensor Cores, dense",
        "fp8": "FP8 Tensor Cores, dense"}  # fmt: skip


def peaks_of(device: DeviceInfo, precision: str) -> Peaks:
    """Datasheet peaks of a device for a precision; absent ones come with the reason."""
    if device.type == "cpu":
        return Peaks(source="no datasheet peak is known for this CPU")
    if device.gpu_key is None:
        return Peaks(source=f"{device.name!r} is not in the catalogue")
    try:
        spec = find(device.gpu_key)
    except UnknownName:
        return Peaks(source=f"{device.gpu_key!r} is not in the catalogue")
    rate = spec.peak_flops(precision)
    what = UNIT.get(precision, precision)
    if rate is None:
        what = f"{what}: not in the datasheet"
    return Peaks(rate, spec.memory_bw_bytes_per_s, f"datasheet of {spec.key}: {what}")
