"""Scaled dot-product attention, forward: unfused kernels, or one fused kernel.

unfused  scores = Q K^T (batched product), scale and mask, softmax, P V (batched product)
fused    one pass over K and V per block of queries (Dao et al., FlashAttention, 2022): the two
         products at a share of the matrix peak, and Q, K, V, O through memory once

Nothing in the fitting data measures attention itself. The unfused form sums operators that
are fitted; the fused form uses the share of peak below and has a wide band.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from gpubench.model.gemm import Shape, gemm
from gpubench.model.hardware import Hardware
from gpubench.model.memory import elementwise, softmax, stream_bandwidth
from gpubench.model.power import clock_share, core_joules
from gpubench.model.tensorcore import tensor_gemm
from gpubench.model.terms import Array, Constants, Detail, Terms, ceil_div, combine

_QUERY_BLOCK: Final = 128.0


def unfused(
    hw: Hardware, on_tensor: bool, groups: Array, seq: Array, head_dim: Array, causal: Array,
    c: Constants,
) -> Terms:  # fmt: skip
    """Attention as separate kernels; a causal mask saves nothing.

    Args:
        groups: batch * heads.
    """
    one, zero = np.ones_like(seq), np.zeros_like(seq)
    product = tensor_gemm if on_tensor else gemm
    scores = product(hw, Shape(groups, seq, seq, head_dim, one, one, zero), c)
    context = product(hw, Shape(groups, seq, head_dim, seq, one, zero, zero), c)
    scale = elementwise(hw, one + np.where(causal > 0, 1.0, 0.0), groups * seq * seq, c)
    weights = softmax(hw, groups * seq, seq, c)
    parts = (scores, scale, weights, context)

    def total(name: str) -> Array:
        return np.asarray(sum(getattr(p, name) for p in parts), dtype=np.float64)

    time_s = total("time_s")
    names = ("scores", "scale_mask", "softmax", "context")
    details = {
        f"{n}_s": Detail(p.time_s, "s", f"the {n} kernel alone; see its own explanation")
        for n, p in zip(names, parts, strict=True)
    }
    details["time_s"] = Detail(time_s, "s", " + ".join(f"{n}_s" for n in names))
    return Terms(
        time_s, total("compute_s"), total("memory_s"), total("launch_s"), total("core_j"),
        total("dram_bytes"), np.minimum(scores.clock_share, context.clock_share), details,
    )  # fmt: skip


def fused(
    hw: Hardware, on_tensor: bool, groups: Array, seq: Array, head_dim: Array, causal: Array,
    c: Constants,
) -> Terms:  # fmt: skip
    """One fused kernel; a causal mask halves the work."""
    k = c["attention"]
    flops = 4 * groups * seq**2 * head_dim * np.where(causal > 0, 0.5 + 0.5 / seq, 1.0)
    blocks = groups * ceil_div(seq, _QUERY_BLOCK)
    fill = blocks / (ceil_div(blocks, hw.sm) * hw.sm)
    peak = hw.tensor_flops if on_tensor else 2 * hw.mac_hz * hw.sm * hw.issue
    share = k["tensor_share"] if on_tensor else k["core_share"]
    free_compute = flops / (peak * share * fill * np.minimum(1.0, head_dim / 64))
    moved = hw.element_bytes * 4 * groups * seq * head_dim
    memory = moved / stream_bandwidth(hw, c)
    free = combine(k["overlap_p"], free_compute, memory)
    core = core_joules(hw, flops, on_tensor, c)
    x = clock_share(hw, core, moved, free, c)
    compute = free_compute / x
    launch = np.full_like(memory, k["launch_s"])
    time_s = launch + combine(k["overlap_p"], compute, memory)
    return Terms(
        time_s, compute, memory, launch, core, moved, x,
        {
            "flops": Detail(flops, "FLOP", "4 batch heads seq_len^2 head_dim (half if causal)"),
            "fill": Detail(fill, "", "blocks of 128 queries / whole waves of them"),
            "clock_share": Detail(x, "", "clock that the power limit allows / boost clock"),
            "compute_s": Detail(compute, "s", f"flops / (peak * {share:.2f} * fill) / clock_share"),
            "dram_bytes": Detail(moved, "B", "Q, K, V and output once"),
            "memory_s": Detail(memory, "s", "dram_bytes / reachable bandwidth"),
            "launch_s": Detail(launch, "s", "launch and driver"),
            "time_s": Detail(time_s, "s", "launch_s + combined compute and memory"),
        },
    )  # fmt: skip
