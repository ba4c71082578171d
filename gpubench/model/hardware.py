"""A GPU as the model sees it: catalogue facts turned into rates, one column a case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpubench.catalogue import GpuSpec
from gpubench.errors import InputError
from gpubench.model.terms import Array
from gpubench.spec import ELEMENT_BYTES

_THREADS_PER_SM: Final = {(7, 5): 1024.0, (8, 6): 1536.0, (8, 7): 1536.0, (8, 9): 1536.0,
                          (12, 0): 1536.0}  # fmt: skip
"""Resident threads a multiprocessor holds (CUDA C Programming Guide); 2048 elsewhere."""

_SCHEDULERS: Final = {(6, 0): 2}
"""Warp schedulers of a multiprocessor: two on GP100, four on every other from Maxwell on."""

_SPLIT_L2: Final = frozenset({(8, 0), (9, 0), (10, 0), (10, 3)})
"""GPUs whose L2 has two partitions, each caching for the multiprocessors next to it (NVIDIA
A100 whitepaper): what all of them read is held twice."""

_FFMA_ISSUE_SHARE: Final = 0.85
"""Share of issue slots left to FP32 FMA where a scheduler must issue one every cycle.

From compute capability 8.6 on (and on Hopper) a multiprocessor has 128 FP32 lanes behind four
schedulers that issue one warp instruction a clock, so loads, address arithmetic and loop
control take FMA slots. An 8 x 8 register tile needs 4 shared-memory loads and about 1.5 other
instructions per 64 FMAs (64 / 69.5 = 0.92), and three operands from two register banks cost
about as much again. Before 8.6 the FP32 pipe takes two clocks a warp instruction, so the
other instructions hide. Derived, not fitted: no GPU of the fitting data is of this kind."""

_NODES: Final = (
    # (first compute capability, energy per FLOP relative to 16 nm, node clock in Hz)
    (0.0, 1.30, 1.25e9),  # 28 nm, Maxwell
    (6.0, 1.00, 1.60e9),  # 16 nm, Pascal
    (7.0, 1.00, 1.60e9),  # 12 nm, a refined 16 nm,, Volta and Turing
    (8.0, 0.72, 1.41e9),  # 7 nm, GA100
    (8.6, 0.60, 1.75e9),  # 8 nm, GA10x
    (8.9, 0.40, 2.20e9),  # 4 nm class, Ada, Hopper, Blackwell
)
"""Process nodes. Relative energies follow the foundries' own node-to-node statements (about
-40 % from 16 to 10 nm class, -40 % to 7 nm, -30 % to 5 nm), weakened since wires and SRAM
scale less than logic. The 7 nm figure was set with the A100 rows in view."""

_TENSOR_ENERGY: Final = ((0.0, 1.0), (8.0, 0.5), (8.6, 0.55), (8.9, 0.40), (9.0, 0.35),
                         (9.5, 0.25))  # fmt: skip
"""Energy per FP16 Tensor Core FLOP relative to Volta. A busy multiprocessor draws much the same
power whichever unit works, so energy falls as FLOP per multiprocessor and clock grow; for the
same reason TF32, at half of FP16's rate, costs twice the energy per FLOP."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """Rates and sizes, each of shape (cases,).

    Attributes:
        sm: multiprocessors.
        mac_hz: multiply-adds per second of one multiprocessor on CUDA cores, this precision.
        thread_hz: instructions of single threads that one multiprocessor issues per second.
        issue: share of the FP32 lanes that FMA can have; see ``_FFMA_ISSUE_SHARE``.
        tensor_flops: dense Tensor Core peak of this precision in FLOP/s; NaN without.
        clock_hz: the clock that the FP32 peak is stated at.
        bandwidth: nominal device-memory bandwidth in bytes/s.
        l2: last-level cache in bytes.
        l2_near: the part of it that one multiprocessor caches its own reads in.
        tdp_w: power limit; NaN where unknown.
        cc: compute capability as major + minor / 10.
        gddr_ecc: GDDR memory whose ECC bits travel on the data bus (boards for servers).
        hbm: stacked memory.
        threads: resident threads per multiprocessor.
        element_bytes: bytes of one stored element.
        energy: energy per CUDA-core FLOP relative to 16 nm.
        tensor_energy: energy per Tensor Core FLOP relative to Volta.
        clock_ratio: boost clock / what the process node runs at near its full voltage.
        nvlink: NVLink bandwidth in bytes/s, one direction; NaN without.
        pcie: PCIe bandwidth in bytes/s, one direction, 16 lanes.
    """

    sm: Array
    mac_hz: Array
    thread_hz: Array
    issue: Array
    tensor_flops: Array
    clock_hz: Array
    bandwidth: Array
    l2: Array
    l2_near: Array
    tdp_w: Array
    cc: Array
    gddr_ecc: Array
    hbm: Array
    threads: Array
    element_bytes: Array
    energy: Array
    tensor_energy: Array
    clock_ratio: Array
    nvlink: Array
    pcie: Array

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Hardware:
        """The columns of some cases."""
        return Hardware(*(getattr(self, f.name)[rows] for f in fields(self)))


def columns(pairs: Sequence[tuple[GpuSpec, str]]) -> Hardware:
    """Columns for (GPU, precision) pairs.

    Raises:
        InputError: a GPU has no unit for that precision; names the architectures that have.
    """
    table = np.array([_row(gpu, precision) for gpu, precision in pairs], dtype=np.float64)
    return Hardware(*np.ascontiguousarray(table.T))


def _row(gpu: GpuSpec, precision: str) -> list[float]:
    if not gpu.supports(precision):
        raise InputError(gpu.why_not(precision))
    lane_hz = gpu.fp32_flops / (2.0 * gpu.sm_count)
    lanes = gpu.fp32_cores_per_sm
    major, minor = gpu.compute_capability
    cc = major + minor / 10
    _, energy, node_hz = next(n for n in reversed(_NODES) if cc >= n[0] - 1e-9)
    tensor = gpu.peak_flops(precision, tensor=True)
    gddr = gpu.memory_type.startswith("GDDR")
    consumer = "GeForce" in gpu.nvml_name or "TITAN" in gpu.nvml_name.upper()
    return [
        float(gpu.sm_count),
        _core_flops(gpu, precision) / (2.0 * gpu.sm_count),
        lane_hz / lanes * 32 * _SCHEDULERS.get(gpu.compute_capability, 4),
        _FFMA_ISSUE_SHARE if lanes >= 128 and cc > 8 and precision == "fp32" else 1.0,
        tensor if tensor is not None else np.nan,
        lane_hz / lanes,
        gpu.memory_bw_bytes_per_s,
        float(gpu.l2_bytes),
        gpu.l2_bytes / (2.0 if gpu.compute_capability in _SPLIT_L2 else 1.0),
        gpu.tdp_w if gpu.tdp_w is not None else np.nan,
        cc,
        float(gddr and not consumer),
        float(not gddr),
        _THREADS_PER_SM.get(gpu.compute_capability, 2048.0),
        float(ELEMENT_BYTES[precision]),
        energy,
        _tensor_energy(gpu, cc, tensor),
        lane_hz / lanes / node_hz,
        gpu.nvlink_bytes_per_s / 2 if gpu.nvlink_bytes_per_s else np.nan,
        0.985e9 * 16 * 2.0 ** ((gpu.pcie_gen or 3) - 3),
    ]


def _tensor_energy(gpu: GpuSpec, cc: float, tensor: float | None) -> float:
    """Energy per Tensor Core FLOP of a precision with this peak, relative to Volta's FP16."""
    of_half = next(e for first, e in reversed(_TENSOR_ENERGY) if cc >= first - 1e-9)
    half = gpu.peak_flops("fp16", tensor=True)
    return of_half * half / tensor if half and tensor else of_half


def _core_flops(gpu: GpuSpec, precision: str) -> float:
    """FLOP/s on CUDA cores; 16-bit storage is computed in FP32 where that is faster."""
    if precision == "fp64":
        return gpu.fp64_flops or gpu.fp32_flops / 64
    if precision == "fp16":
        return max(gpu.fp16_flops or 0.0, gpu.fp32_flops)
    return gpu.fp32_flops
