"""The roofline, as the reference that the model must beat: max(FLOPs / peak, bytes / bandwidth).

Williams, Waterman and Patterson, CACM 52(4), 2009. No constants, no launch cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gpubench.catalogue import GpuSpec
from gpubench.model import collective as collective_model
from gpubench.model.rnn import GATES
from gpubench.model.terms import Array
from gpubench.spec import ELEMENT_BYTES


def roofline_s(workload: str, precision: str, gpu: GpuSpec, params: Mapping[str, Any]) -> Array:
    """Roofline time in seconds, shape of the parameters' arrays."""
    e = ELEMENT_BYTES[precision]
    p = {k: v if np.asarray(v).dtype.kind in "OUT" else np.asarray(v, dtype=np.float64)
         for k, v in params.items()}  # fmt: skip
    flops, moved, bandwidth = _WORK[workload](p, e, gpu)
    peak = gpu.peak_flops(precision) or gpu.fp32_flops
    return np.asarray(np.maximum(flops / peak, moved / bandwidth), dtype=np.float64)


def _gemm(p: Mapping[str, Any], e: int, gpu: GpuSpec) -> tuple[Any, Any, float]:
    m, n, k, batch = p["m"], p["n"], p["k"], p.get("batch", 1.0)
    return (2 * batch * m * n * k, e * batch * (m * k + k * n + m * n), gpu.memory_bw_bytes_per_s)


def _elementwise(p: Mapping[str, Any], e: int, gpu: GpuSpec) -> tuple[Any, Any, float]:
    n = p["rows"] * p["cols"]
    return n, e * n * (p["inputs"] + 1), gpu.memory_bw_bytes_per_s


def _row_wise(p: Mapping[str, Any], e: int, gpu: GpuSpec) -> tuple[Any, Any, float]:
    n = p["rows"] * p["cols"]
    return 8 * n, 2 * e * n, gpu.memory_bw_bytes_per_s


def _memcpy(p: Mapping[str, Any], _e: int, gpu: GpuSpec) -> tuple[Any, Any, float]:
    on_device = np.asarray(p["direction"]) == "d2d"
    bus = 0.985e9 * 16 * 2.0 ** ((gpu.pcie_gen or 3) - 3)
    seconds = np.where(on_device, 2 * p["bytes"] / gpu.memory_bw_bytes_per_s, p["bytes"] / bus)
    return 0.0, seconds, 1.0


def _conv2d(p: Mapping[str, Any], e: int, gpu: GpuSpec) -> tuple[Any, Any, float]:
    out = np.floor((p["size"] + 2 * p["padding"] - p["kernel_size"]) / p["stride"]) + 1
    filters = p["kernel_size"] ** 2 * p["c_in"] * p["c_out"]
    images = p["batch"] * (p["size"] ** 2 * p["c_in"] + out**2 * p["c_out"])
    return 2 * p["batch"] * out**2 * filters, e * (images + filters), gpu.memory_bw_bytes_per_s


def _rnn(p: Mapping[str, Any], e: int, gpu: GpuSpec) -> tuple[Any, Any, float]:
    gates = np.array([GATES[c] for c in p["cell"]])
    products = 1.0 if "skip_input" in p else 2.0
    flops = products * 2 * gates * p["hidden"] ** 2 * p["batch"] * p["seq_len"]
    weights = products * gates * p["hidden"] ** 2
    moved = e * (weights + 2 * p["batch"] * p["seq_len"] * p["hidden"])
    return flops, moved, gpu.memory_bw_bytes_per_s


def _collective(p: Mapping[str, Any], _e: int, gpu: GpuSpec) -> tuple[Any, Any, float]:
    ring = (p["world_size"] - 1) / p["world_size"]
    index = np.array([collective_model.OPS.index(o) for o in p["op"]])
    factor = np.select([index == 0, index <= 3], [2 * ring, ring], 1.0)
    bus = (gpu.nvlink_bytes_per_s or 2 * 0.985e9 * 16 * 2.0 ** ((gpu.pcie_gen or 3) - 3)) / 2
    return 0.0, p["bytes"] * factor, bus


_WORK = {
    "gemm": _gemm, "linear": _gemm, "elementwise": _elementwise, "softmax": _row_wise,
    "layernorm": _row_wise, "memcpy": _memcpy, "conv2d": _conv2d, "rnn": _rnn,
    "collective": _collective,
}  # fmt: skip
