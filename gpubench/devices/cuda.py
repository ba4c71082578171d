"""A CUDA device: what it is, which precisions it has, how calls are timed on it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch

from gpubench.catalogue import match
from gpubench.devices.cuda_clock import (
    SHORT_S,
    CudaApi,
    EventTimer,
    SlopeTimer,
    TorchCuda,
    choose_timer,
)
from gpubench.devices.switches import precision_switches, reset_algorithms
from gpubench.errors import InputError, Unsupported
from gpubench.ports import Call
from gpubench.record import Fact
from gpubench.spec import DeviceInfo

ARCHITECTURES: Final = {
    (6, 0): "Pascal", (6, 1): "Pascal", (6, 2): "Pascal", (7, 0): "Volta", (7, 2): "Volta",
    (7, 5): "Turing", (8, 0): "Ampere", (8, 6): "Ampere", (8, 7): "Ampere", (8, 9): "Ada",
    (9, 0): "Hopper", (10, 0): "Blackwell", (10, 3): "Blackwell", (12, 0): "Blackwell",
}  # fmt: skip
MEMORY_SHARE: Final = 0.9


def unsupported_precisions(cc: tuple[int, int]) -> dict[str, str]:
    """Precision -> why a compute capability does not have it.

    CUDA C++ Programming Guide, table of arithmetic throughput and of Tensor Core types
    by compute capability: FP16 arithmetic from 5.3, TF32 and BF16 from 8.0, FP8 from 8.9.
    """
    name = ARCHITECTURES.get(cc, f"compute capability {cc[0]}.{cc[1]}")
    missing = {}
    if cc < (8, 0):
        missing["tf32"] = f"{name} has no TF32: it came with Ampere (compute capability 8.0)"
        missing["bf16"] = f"{name} has no BF16: it came with Ampere (compute capability 8.0)"
    if cc < (8, 9):
        missing["fp8"] = f"{name} has no FP8: it came with Ada and Hopper (8.9, 9.0)"
    return missing


class CudaDevice:
    """Describes one GPU, times calls on it and sets the precision switches.

    Raises:
        InputError: no such CUDA device; the message says what torch sees.
    """

    def __init__(self, index: int = 0, note: str = "") -> None:
        if not torch.cuda.is_available():
            raise InputError("no CUDA device is usable", expected=why_no_cuda())
        if index >= torch.cuda.device_count():
            raise InputError(
                f"no device cuda:{index}", expected=f"an index below {torch.cuda.device_count()}"
            )
        torch.cuda.set_device(index)
        capability = torch.cuda.get_device_capability(index)
        if mismatch := wheel_mismatch(capability, torch.cuda.get_arch_list()):
            raise InputError(mismatch)
        self._properties = torch.cuda.get_device_properties(index)
        self.info = describe(index, self._properties, torch.cuda.mem_get_info(index)[0], note)
        self._api: CudaApi | None = None

    @property
    def api(self) -> CudaApi:
        """The timeline; made on first use, since it allocates the flush buffer."""
        if self._api is None:
            khz = getattr(self._properties, "clock_rate", None) or 1_500_000
            cache = self.info.cache_bytes or 64 * 2**20
            self._api = TorchCuda(self.info.index or 0, cache, khz * 1e3)
        return self._api

    def prepare(self, precision: str) -> None:
        """Set the switches of matrix products and convolutions, and read them back.

        torch's own defaults are true FP32 for products but TF32 for convolutions; here
        both follow the precision asked for. FP16 and BF16 always accumulate in FP32.

        Raises:
            Unsupported: an environment variable forces another precision.
        """
        tf32 = precision == "tf32"
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32
        reset_algorithms()
        matmul = torch.backends.cuda.matmul
        matmul.allow_fp16_reduced_precision_reduction = False
        matmul.allow_bf16_reduced_precision_reduction = False
        if tf32 and os.environ.get("NVIDIA_TF32_OVERRIDE") == "0":
            raise Unsupported("NVIDIA_TF32_OVERRIDE=0 turns TF32 off: unset it")
        if not tf32 and precision == "fp32" and forced_tf32():
            raise Unsupported(f"{forced_tf32()} turns FP32 products into TF32: unset it")
        if matmul.allow_tf32 is not tf32:
            raise Unsupported(f"torch kept allow_tf32={matmul.allow_tf32} though set to {tf32}")

    def switches(self) -> Mapping[str, Fact]:
        """What decides between FP32 and TF32, read back."""
        return precision_switches()

    def synchronize(self) -> None:
        """Wait until submitted work is done; raises the device's error if it failed."""
        torch.cuda.synchronize()

    def wall_s(self) -> float:
        """Monotonic host time in seconds."""
        return time.perf_counter()

    def release(self) -> None:
        """Give cached memory back to the driver."""
        torch.cuda.empty_cache()

    def estimate(self, call: Call) -> tuple[float, int]:
        """Time of a warm call by one event pair over a few: (seconds, calls made)."""
        call()
        self.synchronize()
        api, made = self.api, 1
        count, spent = 1, 0.0
        while True:
            start, end = api.event(), api.event()
            api.record(start)
            for _ in range(count):
                call()
            api.record(end)
            api.synchronize()
            made += count
            spent = api.elapsed_s(start, end)
            if spent >= 2e-3 or count >= 64:
                return spent / count, made
            count *= 4

    def input_sets(self, footprint_bytes: float, cache: str, estimate_s: float) -> int:
        """Input sets that together exceed twice the L2, where the calls rotate."""
        rotates = cache == "rotating" or (cache == "auto" and estimate_s < SHORT_S)
        size, memory = self.info.cache_bytes, self.info.memory_bytes
        if not rotates or not size or footprint_bytes <= 0:
            return 1
        most = int(0.5 * memory // footprint_bytes) if memory else 64
        return max(1, min(64, most, int(2 * size // footprint_bytes) + 1))

    def timer(
        self, calls: Sequence[Call], cache: str, estimate_s: float
    ) -> EventTimer | SlopeTimer:
        """Event pairs or graph slope, by the length of a call."""
        return choose_timer(self.api, calls, cache, estimate_s)


def describe(index: int, properties: Any, free_bytes: int, note: str = "") -> DeviceInfo:
    """A ``DeviceInfo`` from torch's device properties."""
    cc = (int(properties.major), int(properties.minor))
    spec = match(
        properties.name,
        memory_bytes=int(properties.total_memory),
        sm_count=int(properties.multi_processor_count),
    )
    uuid = getattr(properties, "uuid", None)
    return DeviceInfo(
        type="cuda",
        name=str(properties.name),
        index=index,
        uuid=f"GPU-{uuid}" if uuid is not None else None,
        gpu_key=spec.key if spec else None,
        architecture=ARCHITECTURES.get(cc),
        compute_capability=cc,
        memory_bytes=int(free_bytes * MEMORY_SHARE),
        cache_bytes=int(getattr(properties, "L2_cache_size", 0)) or None,
        sm_count=int(properties.multi_processor_count),
        unsupported=unsupported_precisions(cc),
        note=note,
    )


def forced_tf32() -> str | None:
    """The environment setting that turns TF32 on for FP32 work, or None."""
    for name in ("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"):
        if os.environ.get(name) == "1":
            return f"{name}=1"
    return None


def wheel_mismatch(cc: tuple[int, int], arch_list: Sequence[str]) -> str | None:
    """Why this build of torch has no code for a device, with the mend; None if it has.

    Machine code runs on devices of the same major and an equal or higher minor
    version; PTX (``compute_``) is compiled for any later one (CUDA Programming Guide,
    section on application compatibility).
    """
    have = []
    for arch in arch_list:
        kind, _, digits = arch.partition("_")
        digits = digits.rstrip("af")
        if digits.isdigit():
            have.append((kind, (int(digits[:-1]), int(digits[-1]))))
    runs = any(k == "sm" and v[0] == cc[0] and v[1] <= cc[1] for k, v in have)
    if not have or runs or any(k == "compute" and v <= cc for k, v in have):
        return None
    name = ARCHITECTURES.get(cc, "this GPU")
    mend = "install a cu126 build of torch" if cc < (7, 5) else "install a newer build of torch"
    return (
        f"this build of torch has no code for {name} (compute capability {cc[0]}.{cc[1]};"
        f" it has {', '.join(arch_list)}): {mend}"
    )


def why_no_cuda() -> str:
    """Why torch sees no CUDA device, as far as it can be told."""
    if torch.version.cuda is None:
        return "a CUDA build of torch (this one is for CPU only)"
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES to name a device (it hides them all)"
    return "an NVIDIA GPU with its driver; `gpubench doctor` says what is missing"
