"""Which catalogue row a device is, from what its driver reports; and rows for unknown ones."""

from __future__ import annotations

from dataclasses import fields
from typing import Final

from gpubench.catalogue.specs import GpuSpec, gpus

_GIB: Final = 2**30
_MIB: Final = 2**20

_LANES_PER_SM: Final = {
    (6, 0): 64, (6, 1): 128, (7, 0): 64, (7, 5): 64, (8, 0): 64, (8, 6): 128, (8, 7): 128,
    (8, 9): 128, (9, 0): 128, (10, 0): 128, (10, 3): 128, (12, 0): 128,
}  # fmt: skip
"""FP32 lanes per multiprocessor (CUDA C Programming Guide, throughput of arithmetic)."""

_TENSOR_FP16_PER_SM_CLOCK: Final = {
    (7, 0): 1024, (7, 5): 1024, (8, 0): 2048, (8, 6): 1024, (8, 7): 2048, (8, 9): 1024,
    (9, 0): 4096, (10, 0): 8192, (10, 3): 8192, (12, 0): 1024,
}  # fmt: skip
"""Dense FP16 Tensor Core FLOP per multiprocessor and clock (NVIDIA architecture whitepapers)."""

_ARCHITECTURES: Final = {5: "Maxwell", 6: "Pascal", 7: "Volta", 8: "Ampere", 9: "Hopper"}


def match(
    name: str,
    *,
    memory_bytes: int | None = None,
    sm_count: int | None = None,
    boost_hz: float | None = None,
) -> GpuSpec | None:
    """The catalogue row of a device as NVML or torch reports it.

    The name must agree (``NVIDIA`` and ``Tesla`` prefixes aside); variants that share a name
    are told apart by memory, multiprocessors and clock.

    Args:
        name: e.g. ``NVIDIA A100-SXM4-40GB``.
        memory_bytes: total device memory; drivers report a little less than nominal.
        sm_count: multiprocessors; a MIG slice or a cut-down part does not match.
        boost_hz: maximum SM clock.

    Returns:
        The row, or None where no row agrees.
    """
    wanted = _bare(name)
    named = [g for g in gpus() if wanted in _names(g)]
    if sm_count is not None:
        named = [g for g in named if g.sm_count == sm_count]
    if memory_bytes is not None:
        named = [g for g in named if 0.80 <= memory_bytes / g.memory_bytes <= 1.10]
    if not named:
        return None

    def distance(g: GpuSpec) -> tuple[float, float]:
        memory = abs(memory_bytes / g.memory_bytes - 0.97) if memory_bytes else 0.0
        clock = abs(boost_hz / g.boost_hz - 1) if boost_hz else 0.0
        return (round(memory, 2), clock)

    return min(named, key=distance)


def derive(
    name: str,
    *,
    compute_capability: tuple[int, int],
    sm_count: int,
    boost_hz: float,
    memory_bytes: int,
    l2_bytes: int,
    memory_clock_hz: float | None = None,
    memory_bus_bits: int | None = None,
    memory_bw_bytes_per_s: float | None = None,
    tdp_w: float | None = None,
) -> GpuSpec:
    """A row for a GPU that the catalogue lacks, from its device properties.

    FP32 peak is multiprocessors x lanes x 2 x clock; the Tensor Core peak uses the rate of the
    architecture (GeForce parts may run at half of it). Bandwidth is 2 x clock x bus width
    where not given. Everything else stays None; ``source`` starts with ``derived``.

    Raises:
        ValueError: neither bandwidth nor memory clock and bus width are given.
    """
    if memory_bw_bytes_per_s is None:
        if memory_clock_hz is None or memory_bus_bits is None:
            raise ValueError("derive needs the bandwidth, or memory clock and bus width")
        memory_bw_bytes_per_s = 2 * memory_clock_hz * memory_bus_bits / 8
    lanes = _LANES_PER_SM.get(compute_capability, 128)
    rate = _TENSOR_FP16_PER_SM_CLOCK.get(compute_capability)
    tensor = rate * sm_count * boost_hz if rate else None
    known: dict[str, object] = {f.name: None for f in fields(GpuSpec)}
    known |= {
        "key": _bare(name).replace(" ", "-"),
        "family": _bare(name).replace(" ", "-"),
        "nvml_name": name,
        "aliases": (),
        "architecture": _architecture(compute_capability),
        "chip": "",
        "compute_capability": compute_capability,
        "form_factor": "",
        "sm_count": sm_count,
        "fp32_cores_per_sm": lanes,
        "tensor_cores_per_sm": 0 if rate is None else (8 if compute_capability < (8, 0) else 4),
        "boost_hz": boost_hz,
        "memory_bytes": memory_bytes,
        "memory_type": "HBM" if memory_bw_bytes_per_s > 1.2e12 and memory_bytes > 36e9 else "GDDR",
        "memory_bw_bytes_per_s": memory_bw_bytes_per_s,
        "l2_bytes": l2_bytes,
        "tdp_w": tdp_w,
        "fp32_flops": 2.0 * sm_count * lanes * boost_hz,
        "fp16_tensor_flops": tensor,
        "bf16_tensor_flops": tensor if compute_capability >= (8, 0) else None,
        "tf32_tensor_flops": tensor / 2 if tensor and compute_capability >= (8, 0) else None,
        "fp8_tensor_flops": 2 * tensor if tensor and compute_capability >= (8, 9) else None,
        "source": "derived from device properties; not a datasheet",
        "notes": "peaks follow from multiprocessors, lanes and clock",
    }
    return GpuSpec(**known)  # type: ignore[arg-type]


def _architecture(cc: tuple[int, int]) -> str:
    if cc == (7, 5):
        return "Turing"
    if cc == (8, 9):
        return "Ada"
    return _ARCHITECTURES.get(cc[0], "Blackwell" if cc[0] >= 10 else "unknown")


def _bare(name: str) -> str:
    folded = " ".join(name.strip().lower().replace("_", "-").split())
    for prefix in ("nvidia ", "tesla ", "geforce "):
        folded = folded.removeprefix(prefix)
    return folded


def _names(g: GpuSpec) -> set[str]:
    return {_bare(n) for n in (g.nvml_name, g.key, *g.aliases)}
