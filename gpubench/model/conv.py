"""Convolutions: the fastest of three algorithms, as cuDNN chooses in its benchmark mode.

``implicit``          a matrix product of (batch * P * Q) x c_out x (c_in * R * S), gathered on
                      the fly; any shape, any direction
``winograd_nonfused`` F(4x4, 3x3): transforms through memory around 36 batched products
``winograd_fused``    F(2x2, 3x3): one kernel, tiled per image, 2.25 times fewer multiplications

R, S = filter height and width; P, Q = those of the output. Winograd needs 3x3 filters and
stride 1. On Tensor Cores only the implicit form is modelled, with layout conversions around it
where the tensors are NCHW: that class has a wide band.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from gpubench.model.gemm import Shape
from gpubench.model.hardware import Hardware
from gpubench.model.memory import stream_bandwidth
from gpubench.model.power import clock_share, core_joules
from gpubench.model.tensorcore import tensor_gemm
from gpubench.model.terms import Array, Constants, Detail, Terms, ceil_div, combine

IMPLICIT_TILES: Final = ((128, 128), (64, 128), (32, 128))
WINOGRAD_TILES: Final = ((128, 64), (64, 64), (128, 32), (32, 128))
ALGORITHMS: Final = ("implicit", "winograd_nonfused", "winograd_fused")
_WGRAD_SPLITS: Final = (1, 4, 16, 64)


@dataclass(frozen=True, slots=True)
class ConvShape:
    """Images and filters; arrays of shape (cases,).

    Attributes:
        batch, c_in, c_out, size, kernel_size, stride, padding: as in the suite file.
        direction: 0 fprop, 1 dgrad, 2 wgrad.
        algorithm: 0 the fastest, else 1 + index in ``ALGORITHMS``.
        nhwc: 1 where tensors are channels-last.
        width, kernel_width: of image and filters.
    """

    batch: Array
    c_in: Array
    c_out: Array
    size: Array
    kernel_size: Array
    stride: Array
    padding: Array
    direction: Array
    algorithm: Array
    nhwc: Array
    width: Array
    kernel_width: Array

    @property
    def out(self) -> Array:
        """Output height."""
        span = self.size + 2 * self.padding - self.kernel_size
        return np.asarray(np.floor(span / self.stride) + 1, dtype=np.float64)

    @property
    def out_width(self) -> Array:
        """Output width."""
        span = self.width + 2 * self.padding - self.kernel_width
        return np.asarray(np.floor(span / self.stride) + 1, dtype=np.float64)

    @property
    def pixels(self) -> Array:
        """Pixels of an input image."""
        return self.size * self.width

    @property
    def outputs(self) -> Array:
        """Pixels of an output image, P * Q."""
        return self.out * self.out_width

    @property
    def taps(self) -> Array:
        """Weights of a filter in a channel, R * S."""
        return self.kernel_size * self.kernel_width


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One algorithm: times at boost clock."""

    compute_s: Array
    memory_s: Array
    serial_s: Array  # transforms that run before and after
    operations: Array
    dram_bytes: Array


def conv2d(hw: Hardware, s: ConvShape, c: Constants) -> Terms:
    """Time of convolutions on CUDA cores."""
    k = c["conv2d"]
    times, parts = [], []
    winograd = (s.kernel_size == 3) & (s.kernel_width == 3) & (s.stride == 1)
    for index, candidate in enumerate((_implicit(hw, s, c), _nonfused(hw, s, c),
                                       _fused(hw, s, c))):  # fmt: skip
        possible = np.ones_like(winograd) if index == 0 else winograd
        if index == 2:
            possible = possible & (s.direction < 2)
        free = combine(k["overlap_p"], candidate.compute_s, candidate.memory_s)
        core = core_joules(hw, candidate.operations, False, c)
        x = clock_share(hw, core, candidate.dram_bytes, free + candidate.serial_s, c)
        compute = candidate.compute_s / x
        total = combine(k["overlap_p"], compute, candidate.memory_s) + candidate.serial_s
        asked = (s.algorithm == 0) | (s.algorithm == index + 1)
        times.append(np.where(possible & asked, total, np.inf))
        parts.append(np.stack([compute, candidate.memory_s + candidate.serial_s, core,
                               candidate.dram_bytes, x, total]))  # fmt: skip
    choice = np.argmin(np.stack(times), axis=0)
    # An algorithm that cannot do the case falls back to the implicit product.
    picked = np.stack(parts)[choice, :, np.arange(choice.size)].T
    compute, memory, core, dram, x, total = picked
    launch = np.where(s.direction == 0, k["launch_s"], k["launch_device_s"])
    return Terms(
        launch + total, compute, memory, launch, core, dram, x,
        {
            "algorithm": Detail(choice.astype(np.float64), "",
                                "0 implicit product, 1 Winograd F(4x4) through memory, "
                                "2 fused Winograd F(2x2); the fastest"),
            "output": Detail(s.out, "", "P: floor((size + 2 padding - kernel_size) / stride) + 1"),
            "clock_share": Detail(x, "", "clock that the power limit allows / boost clock"),
            "compute_s": Detail(compute, "s", "products of the algorithm / efficiency / clock"),
            "dram_bytes": Detail(dram, "B", "tensors once, and transformed tensors"),
            "memory_s": Detail(memory, "s", "traffic and transforms / reachable bandwidth"),
            "launch_s": Detail(launch, "s", "launch and driver"),
            "time_s": Detail(launch + total, "s", "launch_s + combined compute and memory"),
        },
    )  # fmt: skip


def tensor_conv2d(hw: Hardware, s: ConvShape, c: Constants) -> Terms:
    """Time of convolutions on Tensor Cores: implicit product plus layout conversions."""
    k = c["conv2d_tensor"]
    m, n, depth = _product(s)
    one = np.ones_like(m)
    product = tensor_gemm(hw, Shape(one, m, n, depth, one, one, 0 * one), c)
    tensors = _tensor_bytes(hw, s)
    convert = np.where(s.nhwc > 0, 0.0, 2 * tensors / stream_bandwidth(hw, c))
    memory = np.minimum(product.memory_s, tensors / stream_bandwidth(hw, c)) + convert
    compute = product.compute_s * k["gather_cost"]
    launch = np.full_like(memory, k["launch_s"])
    time_s = launch + convert + combine(2.0, compute, memory - convert)
    details = {
        **{n: d for n, d in product.details.items() if n not in ("dram_bytes", "time_s")},
        "compute_s": Detail(compute, "s", "implicit product x cost of gathering"),
        "memory_s": Detail(memory, "s", "tensors once, and layout conversion of NCHW tensors"),
        "launch_s": Detail(launch, "s", "launch and driver"),
        "time_s": Detail(time_s, "s", "launch_s + conversion + combined compute and memory"),
    }
    return replace(product, time_s=time_s, compute_s=compute, memory_s=memory, launch_s=launch,
                   dram_bytes=tensors * np.where(s.nhwc > 0, 1, 3), details=details)  # fmt: skip


def conv_flops(s: ConvShape) -> Array:
    """2 * batch * P * Q * c_out * c_in * R * S, the same in every direction."""
    return 2 * s.batch * s.outputs * s.c_out * s.c_in * s.taps


def _product(s: ConvShape) -> tuple[Array, Array, Array]:
    """(m, n, k) of the implicit product by direction."""
    taps = s.taps
    forward, data = s.direction == 0, s.direction == 1
    m = np.select([forward, data], [s.batch * s.outputs, s.batch * s.pixels], s.c_in * taps)
    n = np.select([forward, data], [s.c_out, s.c_in], s.c_out)
    # A strided dgrad gathers only the taps that hit: the same multiplications as fprop.
    depth = np.select([forward, data], [s.c_in * taps, s.c_out * taps / s.stride**2],
                      s.batch * s.outputs)  # fmt: skip
    return m, n, np.maximum(depth, 1.0)


def _tensor_bytes(hw: Hardware, s: ConvShape) -> Array:
    return hw.element_bytes * (
        s.batch * s.pixels * s.c_in + s.batch * s.outputs * s.c_out
        + s.taps * s.c_in * s.c_out
    )  # fmt: skip


def _tiled(
    hw: Hardware, batch: Array, m: Array, n: Array, depth: Array,
    tiles: tuple[tuple[int, int], ...], efficiency: float, edge: float, k: Mapping[str, float],
    splits: tuple[int, ...] = (1,),
) -> tuple[Array, Array]:  # fmt: skip
    """(seconds, operations) of the best tiling of batched products."""
    best = np.full(m.shape, np.inf)
    operations = np.zeros(m.shape)
    for tx, ty in tiles:
        rate = hw.mac_hz * hw.issue * efficiency / (1 + edge * (1 / tx + 1 / ty))
        for split in splits:
            blocks = batch * ceil_div(n, tx) * ceil_div(m, ty) * split
            part = ceil_div(depth, split)
            seconds = ceil_div(blocks, hw.sm) * tx * ty * (part + k["prologue_k"]) / rate
            better = seconds < best
            best = np.where(better, seconds, best)
            operations = np.where(better, 2 * blocks * tx * ty * part, operations)
    return best, operations


def _implicit(hw: Hardware, s: ConvShape, c: Constants) -> _Candidate:
    k = c["conv2d"]
    m, n, depth = _product(s)
    eight = 8.0
    n, depth = ceil_div(n, eight) * eight, ceil_div(depth, eight) * eight
    forward, f_ops = _tiled(hw, np.ones_like(m), m, n, depth, IMPLICIT_TILES,
                            k["implicit_efficiency"], k["implicit_edge"], k)  # fmt: skip
    weights, w_ops = _tiled(
        hw, np.ones_like(m), m, n, depth, IMPLICIT_TILES,
        k["implicit_efficiency"], k["implicit_edge"], k, _WGRAD_SPLITS,
    )  # fmt: skip
    wgrad = s.direction == 2
    moved = _tensor_bytes(hw, s)
    return _Candidate(
        np.where(wgrad, weights, forward), moved / stream_bandwidth(hw, c), np.zeros_like(m),
        np.where(wgrad, w_ops, f_ops), moved,
    )  # fmt: skip


def _nonfused(hw: Hardware, s: ConvShape, c: Constants) -> _Candidate:
    k = c["conv2d"]
    tiles = ceil_div(s.batch, 16) * 16 * ceil_div(s.out, 4) * ceil_div(s.out_width, 4)
    seconds, operations = _tiled(
        hw, np.full_like(tiles, 36.0), tiles, s.c_out, s.c_in, WINOGRAD_TILES,
        k["nonfused_efficiency"], 0.0, k,
    )  # fmt: skip
    e, channels, filters = hw.element_bytes, s.c_in + s.c_out, s.c_in * s.c_out
    transformed = e * 36 * (tiles * channels + filters)
    plain = e * (9 * filters + s.batch * s.pixels * channels)
    bandwidth = stream_bandwidth(hw, c)
    return _Candidate(
        seconds, transformed / bandwidth,
        (transformed + plain) / (bandwidth * k["transform_share"]),
        operations, 2 * transformed + plain,
    )  # fmt: skip


def _fused(hw: Hardware, s: ConvShape, c: Constants) -> _Candidate:
    k = c["conv2d"]
    outputs = np.where(s.direction == 1, s.c_in, s.c_out)
    inputs = np.where(s.direction == 1, s.c_out, s.c_in)
    blocks = s.batch * ceil_div(outputs, 32) * ceil_div(s.out, 8) * ceil_div(s.out_width, 16)
    multiplications = 32 * 8 * 16 * 9 / 2.25
    rate = hw.mac_hz * hw.issue * k["fused_efficiency"]
    seconds = ceil_div(blocks, hw.sm) * multiplications * (inputs + k["fused_prologue"]) / rate
    moved = _tensor_bytes(hw, s)
    return _Candidate(seconds, moved / stream_bandwidth(hw, c), np.zeros_like(moved),
                      2 * blocks * multiplications * inputs, moved)  # fmt: skip
