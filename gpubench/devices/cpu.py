"""The CPU as a device: ``perf_counter_ns``, loops long enough for it, a pinned thread count."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch

from gpubench.devices.host import (
    cpu_flags,
    cpu_model,
    last_level_cache_bytes,
    memory_limit_bytes,
)
from gpubench.devices.switches import reset_algorithms
from gpubench.ports import Call, Timed
from gpubench.record import Fact
from gpubench.spec import DeviceInfo

TIMER_SHARE: Final = 1e-4
"""Largest share of a sample that reading the clock may take; torch.utils.benchmark's bound."""
BATCH_S: Final = 0.02
"""Time after which a batch hands its samples over, so that stop rules can look."""
MEMORY_SHARE: Final = 0.8
"""Share of the available memory that a case may fill."""


def unsupported_precisions(flags: frozenset[str]) -> dict[str, str]:
    """Precision -> why this CPU does not have it.

    oneDNN runs BF16 and FP16 products on any CPU by converting to FP32; that would time
    the conversion, so they count as present only with instructions of their own.
    """
    missing = {
        "tf32": "tf32 is a Tensor Core format: needs a GPU of the Ampere architecture or newer",
        "fp8": "fp8 needs a GPU of the Ada or Hopper architecture or newer",
    }
    if not flags & {"avx512_bf16", "amx_bf16", "bf16"}:
        missing["bf16"] = "this CPU has no BF16 instructions (AVX512_BF16, AMX or Arm BF16)"
    if not flags & {"avx512_fp16", "amx_fp16", "fphp"}:
        missing["fp16"] = "this CPU has no FP16 instructions (AVX512_FP16, AMX or Arm FP16)"
    return missing


class CpuDevice:
    """Describes the CPU, times calls on it and prepares precisions."""

    def __init__(self, note: str = "") -> None:
        flags = cpu_flags()
        threads = int(os.environ.get("OMP_NUM_THREADS", "0") or 0) or len(os.sched_getaffinity(0))
        torch.set_num_threads(threads)
        limit = memory_limit_bytes()
        self.info = DeviceInfo(
            type="cpu",
            name=cpu_model(),
            architecture=platform.machine(),
            memory_bytes=int(limit * MEMORY_SHARE) if limit else None,
            cache_bytes=last_level_cache_bytes(),
            sm_count=threads,
            unsupported=unsupported_precisions(flags),
            note=note,
        )
        self._flush: torch.Tensor | None = None

    def prepare(self, precision: str) -> None:
        """FP32 stays FP32: oneDNN may otherwise be allowed to compute it in BF16."""
        del precision
        torch.set_float32_matmul_precision("highest")
        reset_algorithms()

    def switches(self) -> Mapping[str, Fact]:
        """Whether oneDNN may compute FP32 in less, read back."""
        return {
            "switch.float32_matmul_precision": torch.get_float32_matmul_precision(),
            "switch.ONEDNN_DEFAULT_FPMATH_MODE": os.environ.get(
                "ONEDNN_DEFAULT_FPMATH_MODE", "not set"
            ),
        }

    def synchronize(self) -> None:
        """Nothing to wait for: calls return when they are done."""

    def wall_s(self) -> float:
        """Monotonic host time in seconds."""
        return time.perf_counter()

    def release(self) -> None:
        """Drop the flush buffer."""
        self._flush = None

    def estimate(self, call: Call) -> tuple[float, int]:
        """Fastest of a few warm calls: (seconds, calls made)."""
        call()
        best, made = float("inf"), 1
        begun = time.perf_counter()
        while made < 4 or (time.perf_counter() - begun < 0.005 and made < 1000):
            start = time.perf_counter_ns()
            call()
            best = min(best, (time.perf_counter_ns() - start) * 1e-9)
            made += 1
        return best, made

    def input_sets(self, footprint_bytes: float, cache: str, estimate_s: float) -> int:
        """Input sets that the cache policy needs."""
        del estimate_s
        size = self.info.cache_bytes
        if cache != "rotating" or not size or footprint_bytes <= 0:
            return 1
        return max(2, min(64, int(2 * size // footprint_bytes) + 1))

    def timer(self, calls: Sequence[Call], cache: str, estimate_s: float) -> LoopTimer:
        """A timer of loops; ``auto`` is ``hot``, as torch.utils.benchmark and pyperf measure."""
        flush = self._flusher() if cache == "cold" else None
        state = {"auto": "hot"}.get(cache, cache)
        return LoopTimer(calls, state, estimate_s, flush)

    def _flusher(self) -> Callable[[], object]:
        if self._flush is None:
            size = 2 * (self.info.cache_bytes or 64 * 2**20)
            self._flush = torch.zeros(size // 4, dtype=torch.float32)
        buffer = self._flush
        return lambda: buffer.add_(1.0)


class LoopTimer:
    """Times loops of calls; a sample is long enough that reading the clock does not matter."""

    method = "loop"

    def __init__(
        self,
        calls: Sequence[Call],
        cache: str,
        estimate_s: float,
        flush: Callable[[], object] | None,
    ) -> None:
        self._calls, self._flush, self.cache = tuple(calls), flush, cache
        self._next = 0
        clock_s = clock_overhead_s()
        enough_s = clock_s / TIMER_SHARE
        # A flush comes before every call, so a cold sample is one call.
        self.calls_per_sample = 1 if flush else max(1, round(enough_s / max(estimate_s, 1e-9)))
        self.floor_s = loop_floor_s(self.calls_per_sample)

    def batch(self, most: int) -> Sequence[Timed]:
        """Samples for about ``BATCH_S``, at least one and at most ``most``."""
        samples: list[Timed] = []
        begun = time.perf_counter()
        while not samples or (len(samples) < most and time.perf_counter() - begun < BATCH_S):
            samples.append(Timed(self._sample()))
        return samples

    def _sample(self) -> float:
        n, clock = self.calls_per_sample, time.perf_counter_ns
        if self._flush is not None:
            self._flush()
        if len(self._calls) > 1:
            todo = [self._calls[(self._next + i) % len(self._calls)] for i in range(n)]
            self._next = (self._next + n) % len(self._calls)
            start = clock()
            for call in todo:
                call()
            return (clock() - start) * 1e-9 / n
        call = self._calls[0]
        if n == 1:
            start = clock()
            call()
            return (clock() - start) * 1e-9
        turns = range(n)
        start = clock()
        for _ in turns:
            call()
        return (clock() - start) * 1e-9 / n


def clock_overhead_s() -> float:
    """Smallest time between two readings of the clock."""
    clock = time.perf_counter_ns
    best = min(-(clock() - clock()) for _ in range(200))
    return max(best, 1) * 1e-9


def loop_floor_s(calls: int) -> float:
    """Time per call that a loop of empty calls takes: what the method itself adds."""

    def nothing() -> None:
        pass

    clock, turns = time.perf_counter_ns, range(max(calls, 100))
    best = float("inf")
    for _ in range(5):
        start = clock()
        for _ in turns:
            nothing()
        best = min(best, (clock() - start) * 1e-9 / len(turns))
    return best
