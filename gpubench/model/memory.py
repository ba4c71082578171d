"""Operators bound by memory: elementwise, softmax, layer norm, copies.

    time = launch + combine(passes * bytes / (bandwidth * reachable share), instruction issue)

A softmax or layer norm that reads its row more than once finds it in L2 as long as the rows
in flight fit there; the passes grow from 2 to 4 (softmax: maximum, sum, result) or 3 (layer
norm: statistics, result) as they stop to.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from gpubench.model.hardware import Hardware
from gpubench.model.terms import Array, Constants, Detail, Terms, ceil_div, combine, step

_WARP_SOFTMAX_COLS: Final = 1024
"""Rows up to this long are held in registers by one warp: one read, one write."""
_SOFTMAX_VECTOR: Final = 4
_LAYERNORM_THREADS: Final = 128


def stream_bandwidth(hw: Hardware, c: Constants) -> Array:
    """Bandwidth in bytes/s that a long contiguous stream reaches."""
    k = c["elementwise"]
    share = np.select(
        [(hw.hbm > 0) & (hw.cc >= 7), (hw.hbm > 0) | (hw.gddr_ecc > 0)],
        [k["share_hbm"], k["share_gddr_ecc"]],
        k["share_gddr"],
    )
    return np.asarray(hw.bandwidth * share, dtype=np.float64)


def elementwise(hw: Hardware, inputs: Array, elements: Array, c: Constants) -> Terms:
    """Pointwise functions: every input read once, the output written once."""
    moved = hw.element_bytes * elements * (inputs + 1)
    return _stream(hw, moved, elements, np.zeros_like(moved), 1.0, c["elementwise"]["launch_s"],
                   "element_bytes * elements * (inputs + 1)", c)  # fmt: skip


def softmax(hw: Hardware, rows: Array, cols: Array, c: Constants) -> Terms:
    """Softmax over the columns of each row."""
    k = c["softmax"]
    row_bytes = hw.element_bytes * cols
    block = _power_of_two(np.minimum(cols / _SOFTMAX_VECTOR, 1024) / 2, 32)
    in_flight = np.minimum(rows, hw.sm * hw.threads / block) * row_bytes
    miss = step(in_flight / (hw.l2 * k["l2_share"]), k["miss_sharpness"])
    in_registers = cols <= _WARP_SOFTMAX_COLS
    passes = np.where(in_registers, 2.0, 2.0 + 2.0 * miss)
    chunk = _SOFTMAX_VECTOR * block
    looped = block * (
        np.floor(cols / chunk) * _SOFTMAX_VECTOR * k["issue_vector"]
        + ceil_div(cols % chunk, block) * k["issue_scalar"]
    )
    issue = np.where(in_registers, _power_of_two(cols, 32) * k["issue_warp"], looped)
    issue_s = rows * issue / (hw.sm * hw.fp32_lane_hz) * np.where(hw.cc < 7, k["issue_pascal"], 1)
    return _stream(hw, rows * row_bytes * passes, rows * cols * 8, issue_s, k["overlap_p"],
                   k["launch_s"], "passes * rows * cols * element_bytes", c,
                   {"passes": Detail(passes, "", "2 + 2 * share of rows in flight not in L2"),
                    "in_flight": Detail(in_flight, "B", "rows of resident blocks")})  # fmt: skip


def layernorm(hw: Hardware, rows: Array, cols: Array, c: Constants) -> Terms:
    """Layer norm over the columns of each row."""
    k = c["layernorm"]
    row_bytes = hw.element_bytes * cols
    in_flight = np.minimum(rows, hw.sm * hw.threads / _LAYERNORM_THREADS) * row_bytes
    miss = step(in_flight / (hw.l2 * k["l2_share"]), k["miss_sharpness"])
    passes = 2.0 + miss
    issue = ceil_div(cols, 512) * 512 * k["issue_element"] + k["issue_row"]
    issue_s = rows * issue / (hw.sm * hw.fp32_lane_hz) * np.where(hw.cc < 7, k["issue_pascal"], 1)
    return _stream(hw, rows * row_bytes * passes, rows * cols * 8, issue_s, k["overlap_p"],
                   k["launch_s"], "passes * rows * cols * element_bytes", c,
                   {"passes": Detail(passes, "", "2 + share of rows in flight not in L2"),
                    "in_flight": Detail(in_flight, "B", "rows of resident blocks")})  # fmt: skip


def memcpy(hw: Hardware, size: Array, over_bus: Array, to_host: Array, c: Constants) -> Terms:
    """Copies: within the device (read and write), or over PCIe in one direction."""
    k = c["memcpy"]
    bus = hw.pcie * np.where(to_host > 0, k["share_d2h"], k["share_h2d"])
    device = stream_bandwidth(hw, c) * k["share_d2d"]
    memory = np.where(over_bus > 0, size / bus, 2 * size / device)
    launch = np.full_like(memory, k["launch_s"])
    nothing = np.zeros_like(memory)
    dram = np.where(over_bus > 0, size, 2 * size)
    return Terms(
        launch + memory, nothing, memory, launch, nothing, dram, np.ones_like(memory),
        {"bytes": Detail(dram, "B", "device-memory traffic"),
         "bandwidth": Detail(np.where(over_bus > 0, bus, device), "B/s",
                             "of the bus (one direction) or of device memory, reachable share"),
         "memory_s": Detail(memory, "s", "bytes / bandwidth"),
         "launch_s": Detail(launch, "s", "launch and driver")},
    )  # fmt: skip


def _stream(
    hw: Hardware, moved: Array, operations: Array, issue_s: Array, p: float, launch_s: float,
    formula: str, c: Constants, extra: dict[str, Detail] | None = None,
) -> Terms:  # fmt: skip
    bandwidth = stream_bandwidth(hw, c)
    memory = moved / bandwidth
    launch = np.full_like(memory, launch_s)
    time_s = launch + combine(p, memory, issue_s)
    core_j = operations * c["power"]["j_per_flop"] * hw.energy
    details = {
        **(extra or {}),
        "dram_bytes": Detail(moved, "B", formula),
        "bandwidth": Detail(bandwidth, "B/s", "nominal x share that a stream reaches"),
        "memory_s": Detail(memory, "s", "dram_bytes / bandwidth"),
        "compute_s": Detail(issue_s, "s", "instruction issue of the kernel's loops"),
        "launch_s": Detail(launch, "s", "launch and driver"),
        "time_s": Detail(time_s, "s", f"launch_s + (memory_s^p + compute_s^p)^(1/p), p = {p:.3g}"),
    }
    return Terms(time_s, issue_s, memory, launch, core_j, moved, np.ones_like(memory), details)


def _power_of_two(x: Array, least: int) -> Array:
    """The next power of two, at least ``least``."""
    return np.maximum(2.0 ** np.ceil(np.log2(np.maximum(x, 1.0))), float(least))
