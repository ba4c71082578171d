"""Matrix products on Tensor Cores.

    mma  = waves * 2 * tx * ty * (k / split) * multiprocessors / (peak * efficiency * saturation)
    saturation = area / (area + A), area = co-resident tile area on a multiprocessor

Small tiles leave the matrix unit waiting on shared memory and registers, so the share of peak
grows with the tile area in flight. Dimensions are padded to whole 16-byte vectors.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from gpubench.model.gemm import Offer, Shape, choose_and_limit, dram_traffic
from gpubench.model.hardware import Hardware
from gpubench.model.memory import stream_bandwidth
from gpubench.model.terms import Constants, Terms, ceil_div, combine

TILES: Final = ((256, 128), (128, 256), (128, 128), (256, 64), (64, 256), (128, 64), (64, 128),
                (64, 64), (128, 32), (32, 128), (64, 32), (32, 64))  # fmt: skip
SPLITS: Final = (1, 2, 4, 8, 16)
_MIN_K_PER_SPLIT: Final = 128


def tensor_gemm(hw: Hardware, s: Shape, c: Constants) -> Terms:
    """Time of products on Tensor Cores (FP16, BF16, TF32, FP8; FP64 from GA100 on)."""
    vector = 16 / hw.element_bytes
    padded = Shape(
        s.batch, ceil_div(s.m, vector) * vector, ceil_div(s.n, vector) * vector,
        ceil_div(s.k, vector) * vector, s.a_along_k, s.b_along_k, s.bias,
    )  # fmt: skip
    return choose_and_limit(
        hw, padded, c, "gemm_tensor", True, lambda offer: _tiles(hw, padded, c, offer)
    )


def _tiles(
    hw: Hardware,
    s: Shape,
    c: Constants,
    offer: Offer,
) -> None:
    g = c["gemm_tensor"]
    peak_per_sm = hw.tensor_flops / hw.sm
    # An operand that lies along k is read in short pieces of many rows.
    e, slow = hw.element_bytes, 1 / (1 - g["strided_loss"]) - 1
    strided = e * s.batch * s.k * slow * (s.a_along_k * s.m + s.b_along_k * s.n)
    for tx, ty in TILES:
        grid_x, grid_y = ceil_div(s.n, tx), ceil_div(s.m, ty)
        for split in SPLITS:
            blocks = s.batch * grid_x * grid_y * split
            waves = ceil_div(blocks, hw.sm)
            resident = np.clip(np.minimum(blocks / hw.sm, g["resident_area"] / (tx * ty)), 1, None)
            area = resident * tx * ty
            rate = peak_per_sm * g["efficiency"] * area / (area + g["saturation_area"])
            compute = waves * 2 * tx * ty * (s.k / split) / rate
            dram = dram_traffic(hw, s, g, tx, grid_x, grid_y, split)
            filled = np.minimum(1.0, blocks / (hw.sm * g["blocks_to_fill"]))
            memory = (dram + strided) / (stream_bandwidth(hw, c) * filled)
            time_s = combine(g["overlap_p"], compute, memory)
            time_s = time_s + (g["split_s"] if split > 1 else 0.0)
            possible = (split == 1) | (s.k / split >= _MIN_K_PER_SPLIT)
            offer(
                np.where(possible, time_s, np.inf),
                {"compute_s": compute, "memory_s": memory, "dram_bytes": dram, "blocks": blocks,
                 "waves": waves, "rate": rate / 2, "tile_x": tx, "tile_y": ty, "split": split,
                 "operations": 2 * blocks * tx * ty * (s.k / split)},
            )  # fmt: skip
