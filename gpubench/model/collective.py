"""Collectives over several GPUs of one node: latency plus bus traffic.

    time = combine(latency, bytes * factor / bus bandwidth)

Factors are nccl-tests' (bytes = total buffer): AllReduce 2(n-1)/n; AllGather, ReduceScatter,
AllToAll (n-1)/n; Broadcast, Reduce 1. The bus is NVLink where the GPU has it, else PCIe.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from gpubench.model.hardware import Hardware
from gpubench.model.terms import Array, Constants, Detail, Terms, combine

OPS: Final = ("allreduce", "allgather", "reducescatter", "alltoall", "broadcast", "reduce")


def collective(hw: Hardware, op: Array, size: Array, world: Array, c: Constants) -> Terms:
    """Time of one collective.

    Args:
        op: index into ``OPS``.
        size: bytes of the whole buffer.
        world: GPUs taking part, on one node.
    """
    k = c["collective"]
    ring = (world - 1) / world
    factor = np.select([op == 0, (op >= 1) & (op <= 3)], [2 * ring, ring], 1.0)
    factor = np.where(world > 1, factor, 0.0)
    linked = ~np.isnan(hw.nvlink)
    bus = np.where(linked, hw.nvlink * k["nvlink_share"], hw.pcie * k["pcie_share"])
    traffic = size * factor / bus
    hops = np.where(op == 0, 2 * (world - 1), world - 1)
    latency = k["launch_s"] + k["hop_s"] * hops
    # Messages of middle size do not fill all channels: a pipeline that must first fill.
    fill = np.sqrt(traffic * k["fill_s"])
    time_s = combine(k["overlap_p"], latency, traffic + fill)
    nothing = np.zeros_like(size)
    return Terms(
        time_s, nothing, traffic, latency, np.full_like(size, np.nan), size, np.ones_like(size),
        {
            "factor": Detail(factor, "", "bus traffic / bytes; nccl-tests"),
            "bus": Detail(bus, "B/s", "NVLink (one direction) or PCIe x reachable share"),
            "launch_s": Detail(latency, "s", "launch + hops * latency of a hop"),
            "memory_s": Detail(traffic, "s", "bytes * factor / bus"),
            "fill_s": Detail(fill, "s", "sqrt(memory_s * fill constant): filling the pipeline"),
            "time_s": Detail(time_s, "s", "(launch_s^p + (memory_s + fill_s)^p)^(1/p)"),
        },
    )  # fmt: skip
