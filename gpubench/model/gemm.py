"""Matrix products on CUDA cores: tiles, waves, L2 re-reads, alignment, power.

A library covers the m x n result by tiles of tx columns and ty rows, one thread block each,
``batch * ceil(n/tx) * ceil(m/ty) * split`` blocks in all. A multiprocessor gets
``ceil(blocks / multiprocessors)`` of them, so

    compute = waves * tx * ty * (k / split + k0) / (multiply-adds per second and SM * efficiency)
              + address translation of long K-major rows
    memory  = (operands once + unaligned sectors + L2 misses on re-reads) / bandwidth
              + K-major columns read again, before Volta
    time    = launch + combine(compute at the clock that the power allows, memory)

and the library is taken to choose the tile and split with the least time, from the tiles its
kernels for that architecture have. The measured kernel names are never an input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpubench.model.hardware import Hardware
from gpubench.model.memory import stream_bandwidth
from gpubench.model.power import clock_share, core_joules
from gpubench.model.terms import Array, Constants, Detail, Terms, ceil_div, combine, step

BATCHED_TILES: Final = ((128, 64), (64, 64), (128, 32), (32, 128), (128, 128))
SINGLE_TILES: Final = ((128, 128), (128, 64), (128, 32), (64, 64), (32, 128), (64, 32), (32, 32))
SPLITS: Final = (1, 2, 4, 8)
_MIN_K_PER_SPLIT: Final = 128
_RESIDENT_BLOCKS: Final = 2
"""Thread blocks of a large tile that a multiprocessor holds at once."""
_PIECE: Final = 32.0
"""Bytes of one row that a block fetches at a time from a K-major operand: a sector."""
_TLB_BYTES: Final = 32e6
"""Memory that the first level of the TLB covers (Jia et al., Dissecting the NVIDIA Volta GPU
Architecture via Microbenchmarking, 2018: 32 MB on P100 and V100)."""
_EARLY_SHARERS: Final = 4.0
"""Blocks of the small tiles used before Volta that share the TLB of a multiprocessor."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Products C (m x n) = A (m x k) B (k x n), row-major; arrays of shape (cases,).

    Attributes:
        batch, m, n, k: sizes as floats.
        a_along_k: 1 where A is contiguous along k (not transposed), else 0.
        b_along_k: 1 where B is contiguous along k (transposed), else 0.
        bias: 1 where a bias vector is added (``linear``), else 0.
    """

    batch: Array
    m: Array
    n: Array
    k: Array
    a_along_k: Array
    b_along_k: Array
    bias: Array


Offer: TypeAlias = Callable[[Array, Mapping[str, Array | float]], None]
"""Takes a candidate: its time, and the columns that describe it."""


@dataclass(slots=True)
class _Best:
    """The best candidate so far, column by column."""

    time_s: Array
    columns: dict[str, Array]

    def offer(self, time_s: Array, columns: Mapping[str, Array | float]) -> None:
        better = time_s < self.time_s
        self.time_s = np.where(better, time_s, self.time_s)
        for name, value in columns.items():
            old = self.columns.get(name, np.zeros_like(time_s))
            self.columns[name] = np.where(better, value, old)


def best_candidate(shape: Array, candidates: Callable[[Offer], None]) -> dict[str, Array]:
    """Run ``candidates`` with an ``Offer``; the columns of the fastest, row by row."""
    best = _Best(np.full(shape.shape, np.inf), {})
    candidates(best.offer)
    return {"free_s": best.time_s, **best.columns}


def gemm(hw: Hardware, s: Shape, c: Constants) -> Terms:
    """Time of products on CUDA cores (FP32, FP64, FP16 without Tensor Cores)."""
    single = s.batch == 1

    def candidates(offer: Offer) -> None:
        _tiles(hw, s, c, ~single, BATCHED_TILES, (1,), offer)
        _tiles(hw, s, c, single, SINGLE_TILES, SPLITS, offer)

    return choose_and_limit(hw, s, c, "gemm", False, candidates)


def choose_and_limit(
    hw: Hardware,
    s: Shape,
    c: Constants,
    group: str,
    tensor: bool,
    candidates: Callable[[Offer], None],
) -> Terms:
    """The fastest candidate under the power limit, as ``Terms``."""
    g = c[group]
    got = best_candidate(s.m, candidates)
    core_j = core_joules(hw, got["operations"], tensor, c)
    x = clock_share(hw, core_j, got["dram_bytes"], got["free_s"], c)
    compute = got["compute_s"] / x
    split_s = np.where(got["split"] > 1, g["split_s"], 0.0)
    launch = np.where(s.bias > 0, g["launch_linear_s"], g["launch_s"]) + split_s
    time_s = launch + combine(g["overlap_p"], compute, got["memory_s"])
    return Terms(
        time_s, compute, got["memory_s"], launch, core_j, got["dram_bytes"], x,
        _details(g, got, x, compute, launch),
    )  # fmt: skip


def _tiles(
    hw: Hardware,
    s: Shape,
    c: Constants,
    where: NDArray[np.bool_],
    tiles: tuple[tuple[int, int], ...],
    splits: tuple[int, ...],
    offer: Offer,
) -> None:
    if not where.any():
        return
    g = c["gemm"]
    bandwidth = stream_bandwidth(hw, c) * g["access_share"]
    for tx, ty in tiles:
        allowed = where & (_single_allowed(hw, tx, ty) if tiles is SINGLE_TILES
                           else _batched_allowed(hw, tx, ty))  # fmt: skip
        if not allowed.any():
            continue
        grid_x, grid_y = ceil_div(s.n, tx), ceil_div(s.m, ty)
        efficiency = g["efficiency"] / (1 + g["operand_cost"] * (1 / tx + 1 / ty))
        rate = hw.mac_hz * hw.issue * efficiency
        for split in splits:
            blocks = s.batch * grid_x * grid_y * split
            waves = ceil_div(blocks, hw.sm)
            prologue = g["prologue_k"] * np.where(hw.cc >= 8, g["prologue_async"], 1.0)
            compute = waves * tx * ty * (s.k / split + prologue) / rate
            dram = dram_traffic(hw, s, g, tx, grid_x, grid_y, split)
            memory = dram / bandwidth
            if tiles is SINGLE_TILES:
                compute = compute + _translation_s(hw, s, g, tx, ty)
                memory = memory + _strips_s(hw, s, g, grid_y, bandwidth)
            time_s = combine(g["overlap_p"], compute, memory)
            time_s = time_s + (g["split_s"] if split > 1 else 0.0)
            possible = allowed & ((split == 1) | (s.k / split >= _MIN_K_PER_SPLIT))
            offer(
                np.where(possible, time_s, np.inf),
                {"compute_s": compute, "memory_s": memory, "dram_bytes": dram, "blocks": blocks,
                 "waves": waves, "rate": rate, "tile_x": tx, "tile_y": ty, "split": split,
                 "operations": 2 * blocks * tx * ty * (s.k / split)},
            )  # fmt: skip


def dram_traffic(
    hw: Hardware, s: Shape, g: Mapping[str, float], tx: int, grid_x: Array, grid_y: Array,
    split: int,
) -> Array:  # fmt: skip
    """Bytes between device memory and L2 for one tiling.

    Every operand once; sectors fetched in part where rows do not start on a 32-byte sector;
    the share of tile re-reads that miss L2 (re-read set of one wave against the cache); and
    partial results of a split.
    """
    e = hw.element_bytes
    a, b, out = s.m * s.k, s.k * s.n, s.m * s.n
    sector = 32 / e
    ragged_k, ragged_n = s.k % sector != 0, s.n % sector != 0
    partial = np.where(s.a_along_k > 0, ragged_k * a, 0) + np.where(
        s.b_along_k > 0, ragged_k * b, ragged_n * b * 8 / tx
    )
    partial = partial + np.where(s.bias > 0, 0, ragged_n * out * 8 / tx)
    full = a * grid_x + b * grid_y
    by_wave, wave_reads = _wave_reads(hw, s, grid_x, grid_y)
    # Blocks of a wave walk along k a little apart: what L2 must hold is that window.
    wave_set = wave_reads * np.minimum(1.0, g["drift_k"] / s.k)
    in_flight = np.minimum(s.batch, np.maximum(1.0, hw.sm / (grid_x * grid_y)))
    cache = hw.l2_near * g["l2_share"]
    across = np.maximum(by_wave - (a + b), 0.0) * step(e * (a + b) * in_flight / cache, 2.0)
    within = np.maximum(full - np.maximum(by_wave, a + b), 0.0) * g["reread_miss"]
    within = within * step(e * wave_set * in_flight / cache, 2.0)
    once = a + b + out + g["partial_sectors"] * partial
    traffic = e * s.batch * (once + across + within)
    if split > 1:
        traffic = traffic + 2 * 4 * s.batch * out * split
    return np.asarray(traffic, dtype=np.float64)


def _wave_reads(
    hw: Hardware, s: Shape, grid_x: Array, grid_y: Array
) -> tuple[Array, Array]:  # fmt: skip
    """(elements that all waves read if each reads its operands once, elements of one wave).

    A wave covers a near-square patch of the tile grid and needs the rows of A and columns of B
    that cross it.
    """
    tiles = grid_x * grid_y
    wave = np.minimum(hw.sm * _RESIDENT_BLOCKS, tiles)
    rows = np.clip(np.sqrt(wave), wave / grid_x, grid_y)
    patch = rows / grid_y * s.m * s.k + wave / rows / grid_x * s.n * s.k
    return tiles / wave * patch, patch


def _k_major(s: Shape) -> NDArray[np.bool_]:
    return np.asarray((s.a_along_k > 0) & (s.b_along_k > 0), dtype=np.bool_)


def _translation_s(hw: Hardware, s: Shape, g: Mapping[str, float], tx: int, ty: int) -> Array:
    """Seconds of address translation: long K-major rows lie on more pages than the TLB holds.

    A block walks along tx + ty rows of its operands, a sector of each at a time. As soon as
    they span more than the first level of the TLB covers, every sector is looked up in the
    second: ``tlb_rate`` look-ups a clock and multiprocessor.
    """
    early, e = hw.cc < 7, hw.element_bytes
    covered = _TLB_BYTES / np.where(early, _EARLY_SHARERS, 1.0)
    missed = step((tx + ty) * s.k * e / covered, 4.0)
    sectors = s.batch * s.m * s.n * s.k * (1 / tx + 1 / ty) * e / _PIECE
    rate = np.where(early, g["tlb_rate_early"], g["tlb_rate"]) * hw.sm * hw.clock_hz
    return np.asarray(np.where(_k_major(s), sectors * missed / rate, 0.0), dtype=np.float64)


def _strips_s(
    hw: Hardware, s: Shape, g: Mapping[str, float], grid_y: Array, bandwidth: Array
) -> Array:
    """Seconds of reading K-major columns again, before Volta.

    Blocks start along n first, so B streams by once for every row of tiles; what L2 does not
    keep of it comes from memory in single sectors, at ``strip_share`` of a stream's bandwidth.
    """
    size = s.n * s.k * hw.element_bytes
    again = size * (grid_y - 1) * step(size / hw.l2_near, 2.0)
    found = _k_major(s) & (hw.cc < 7)
    return np.where(found, again / (bandwidth * g["strip_share"]), 0.0)


def _batched_allowed(hw: Hardware, tx: int, ty: int) -> NDArray[np.bool_]:
    """Tiles seen in strided-batched FP32 kernels, by generation; unknown ones may use all."""
    major = np.floor(hw.cc)
    by_generation = ((tx, ty) == (128, 64), (tx, ty) != (128, 128), (tx, ty) == (128, 128))
    return np.asarray(
        np.select([major < 7, major == 7, major == 8], by_generation, True), dtype=np.bool_
    )


def _single_allowed(hw: Hardware, tx: int, ty: int) -> NDArray[np.bool_]:
    """Tiles seen in single FP32 kernels: small ones before Volta."""
    early = (tx, ty) in ((128, 32), (32, 128), (64, 64))
    return np.asarray((hw.cc >= 7) | early, dtype=np.bool_)


def _details(
    g: Mapping[str, float], got: Mapping[str, Array], x: Array, compute: Array, launch: Array
) -> dict[str, Detail]:  # fmt: skip
    p = g["overlap_p"]
    return {
        "tile_x": Detail(got["tile_x"], "", "tile columns (along n); the fastest of the list"),
        "tile_y": Detail(got["tile_y"], "", "tile rows (along m)"),
        "split": Detail(got["split"], "", "parts that k is split into"),
        "blocks": Detail(got["blocks"], "", "batch * ceil(n/tile_x) * ceil(m/tile_y) * split"),
        "waves": Detail(got["waves"], "", "ceil(blocks / multiprocessors)"),
        "rate": Detail(got["rate"], "FMA/s", "of one multiprocessor x efficiency of the tile"),
        "operations": Detail(got["operations"], "FLOP", "done, tile padding included"),
        "clock_share": Detail(x, "", "clock that the power limit allows / boost clock"),
        "compute_s": Detail(compute, "s", "waves * tile_x * tile_y * (k/split + k0) / rate / "
                            f"clock_share, k0 = {g.get('prologue_k', 0.0):.3g}; long rows along k: "
                            "+ TLB look-ups"),
        "dram_bytes": Detail(got["dram_bytes"], "B", "operands once + partial sectors + misses"),
        "memory_s": Detail(got["memory_s"], "s", "dram_bytes / (bandwidth x its reachable share)"),
        "launch_s": Detail(launch, "s", "launch and driver"),
        "time_s": Detail(launch + combine(p, compute, got["memory_s"]), "s",
                         f"launch_s + (compute_s^p + memory_s^p)^(1/p), p = {p:.3g}"),
    }  # fmt: skip
