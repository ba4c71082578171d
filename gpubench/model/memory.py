"""Operators bound by memory: elementwise, softmax, layer norm, copies.

    time = launch + combine(2 passes / (bandwidth * reachable share), instruction issue)
                  + reads that miss L2 / (bandwidth * reachable share)

A softmax or layer norm that reads its row more than once finds it in L2 as long as the rows
in flight fit there; as they stop to, up to two more passes (softmax) or one (layer norm) go
to memory.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from gpubench.model.hardware import Hardware
from gpubench.model.terms import Array, Constants, Detail, Terms, ceil_div, combine, step

_WARP_SOFTMAX_COLS: Final = 1024
"""Rows up to this long are held in registers by one warp: one read, one write."""
_SOFTMAX_VECTOR: Final = 4
_SOFTMAX_RESIDENT: Final = 1280.0
_LAYERNORM_RESIDENT: Final = 1024.0
"""Threads that the registers of a multiprocessor hold of these kernels."""
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
    bandwidth = stream_bandwidth(hw, c)
    memory = moved / bandwidth
    launch = np.full_like(memory, c["elementwise"]["launch_s"])
    return Terms(
        launch + memory, np.zeros_like(memory), memory, launch,
        elements * c["power"]["j_per_flop"] * hw.energy, moved, np.ones_like(memory),
        {
            "dram_bytes": Detail(moved, "B", "element_bytes * elements * (inputs + 1)"),
            "bandwidth": Detail(bandwidth, "B/s", "nominal x share that a stream reaches"),
            "memory_s": Detail(memory, "s", "dram_bytes / bandwidth"),
            "launch_s": Detail(launch, "s", "launch and driver"),
            "time_s": Detail(launch + memory, "s", "launch_s + memory_s"),
        },
    )  # fmt: skip


def softmax(hw: Hardware, rows: Array, cols: Array, c: Constants) -> Terms:
    """Softmax over the columns of each row: maximum, sum and result read the row."""
    k = c["softmax"]
    row_bytes = hw.element_bytes * cols
    block = _power_of_two(np.minimum(cols / _SOFTMAX_VECTOR, 1024) / 2, 32)
    resident = hw.sm * np.minimum(hw.threads, _SOFTMAX_RESIDENT) / block
    in_flight = np.minimum(rows, resident) * row_bytes
    in_registers = cols <= _WARP_SOFTMAX_COLS
    miss = step(in_flight / (hw.l2_near * k["l2_share"]), k["miss_sharpness"])
    again = np.where(in_registers, 0.0, 2.0 * miss)
    chunk = _SOFTMAX_VECTOR * block
    looped = block * (
        np.floor(cols / chunk) * _SOFTMAX_VECTOR * k["issue_vector"]
        + ceil_div(cols % chunk, block) * k["issue_scalar"]
        + k["issue_block"]
    )
    issue = np.where(in_registers, _power_of_two(cols, 32) * k["issue_warp"], looped)
    return _rows(hw, rows, cols, again, in_flight, rows * issue, "softmax", c)


def layernorm(hw: Hardware, rows: Array, cols: Array, c: Constants) -> Terms:
    """Layer norm over the columns of each row: statistics and result read the row."""
    k = c["layernorm"]
    resident = hw.sm * np.minimum(hw.threads, _LAYERNORM_RESIDENT) / _LAYERNORM_THREADS
    in_flight = np.minimum(rows, resident) * hw.element_bytes * cols
    again = step(in_flight / (hw.l2_near * k["l2_share"]), k["miss_sharpness"])
    chunk = 4.0 * _LAYERNORM_THREADS
    # A row ends in reductions that wait for each other, whatever the schedulers could issue.
    waiting = k["row_clocks"] * hw.thread_hz / hw.clock_hz
    issue = ceil_div(cols, chunk) * chunk * k["issue_element"] + waiting
    return _rows(hw, rows, cols, again, in_flight, rows * issue, "layernorm", c)


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


def _rows(
    hw: Hardware, rows: Array, cols: Array, again: Array, in_flight: Array, issued: Array,
    group: str, c: Constants,
) -> Terms:  # fmt: skip
    """A row-wise kernel: two passes beside its instructions, then the reads that miss L2."""
    k = c[group]
    p = k["overlap_p"]
    one_pass = rows * cols * hw.element_bytes
    bandwidth = stream_bandwidth(hw, c)
    issue_s = issued / (hw.sm * hw.thread_hz)
    late = again * one_pass / bandwidth
    launch = np.full_like(late, k["launch_s"])
    time_s = launch + late + combine(p, 2 * one_pass / bandwidth, issue_s)
    moved = (2 + again) * one_pass
    return Terms(
        time_s, issue_s, moved / bandwidth, launch,
        rows * cols * 8 * c["power"]["j_per_flop"] * hw.energy, moved, np.ones_like(late),
        {
            "in_flight": Detail(in_flight, "B", "rows held by resident blocks"),
            "again": Detail(again, "", "passes that miss L2, from in_flight over L2"),
            "one_pass": Detail(one_pass, "B", "rows * cols * element_bytes"),
            "bandwidth": Detail(bandwidth, "B/s", "nominal x share that a stream reaches"),
            "memory_s": Detail(moved / bandwidth, "s", "(2 + again) * one_pass / bandwidth"),
            "compute_s": Detail(issue_s, "s", "thread instructions / (SMs * schedulers * 32 Hz)"),
            "launch_s": Detail(launch, "s", "launch and driver"),
            "time_s": Detail(time_s, "s", "launch_s + again * one_pass / bandwidth + ((2 one_pass"
                             f" / bandwidth)^p + compute_s^p)^(1/p), p = {p:.3g}"),
        },
    )  # fmt: skip


def _power_of_two(x: Array, least: int) -> Array:
    """The next power of two, at least ``least``."""
    return np.maximum(2.0 ** np.ceil(np.log2(np.maximum(x, 1.0))), float(least))
