"""A process beside the worker that looks at the sensors all the while a suite runs.

Its own process, not a thread: a look enters the driver a dozen times and runs Python in between,
and a thread would take the interpreter from the work it watches. What it saw lies in memory both
share, a ring of rows; the worker reads it after a case, never during one. Times are
CLOCK_MONOTONIC, the clock of the samples and of captured NVTX ranges.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import IO, Any, Final, Protocol

from gpubench.record import Fact, Reading

PERIOD_S: Final = 0.05
"""Between two looks at a GPU; the driver renews its values every 20 to 100 ms."""
HOST_PERIOD_S: Final = 0.1
"""Between two looks at the host, whose kernel counts in hundredths of a second."""
MOST_READINGS: Final = 120
"""Readings that a case keeps; more are thinned, the event reasons of all of them kept."""
NICE: Final = 5
"""The sampler yields to the work where they want the same CPU."""
FIELDS: Final = (
    "clock_hz", "memory_clock_hz", "power_w", "power_average_w", "energy_counter_j",
    "utilisation", "temperature_c", "memory_used_bytes", "foreign_processes", "foreign_cpus",
    "cpu_clock_hz", "tensor_activity",
)  # fmt: skip
REASONS: Final = (
    "gpu_idle", "applications_clocks", "sw_power_cap", "hw_slowdown", "sync_boost", "sw_thermal",
    "hw_thermal", "hw_power_brake", "display_clocks",
)  # fmt: skip
_ROW: Final = struct.Struct(f"={2 + len(FIELDS)}d")
_HEAD: Final = struct.Struct("=q")
_ROWS: Final = 2**15
"""Rows of the ring: 27 minutes at ``PERIOD_S``; a longer case keeps its end."""
_SIZE: Final = _HEAD.size + _ROWS * _ROW.size


class Source(Protocol):
    """What is looked at."""

    def read(self) -> Reading | None:
        """One reading now; None where nothing answers."""


class Ring:
    """Rows in shared memory: one writer, any reader, the newest ``_ROWS`` of them."""

    def __init__(self, file: int) -> None:
        self._memory = mmap.mmap(file, _SIZE)

    def add(self, time_s: float, reading: Reading) -> None:
        """Write a row, then count it, so that no reader sees half of one."""
        (count,) = _HEAD.unpack_from(self._memory, 0)
        bits = sum(1 << i for i, name in enumerate(REASONS) if name in reading.reasons)
        values = (reading.values.get(name, math.nan) for name in FIELDS)
        at = _HEAD.size + count % _ROWS * _ROW.size
        _ROW.pack_into(self._memory, at, time_s, float(bits), *values)
        _HEAD.pack_into(self._memory, 0, count + 1)

    def between(self, start_s: float, end_s: float) -> list[Reading]:
        """Readings of that time, in order; their times are monotonic."""
        (count,) = _HEAD.unpack_from(self._memory, 0)
        found = []
        # From the newest back: a case is asked for right after its end.
        for turn in range(count - 1, max(-1, count - _ROWS), -1):
            row = _ROW.unpack_from(self._memory, _HEAD.size + turn % _ROWS * _ROW.size)
            if row[0] < start_s:
                break
            if row[0] <= end_s:
                found.append(_reading(row))
        return found[::-1]

    def close(self) -> None:
        """Let the memory go."""
        self._memory.close()


def _reading(row: Sequence[float]) -> Reading:
    bits = int(row[1])
    values = {n: v for n, v in zip(FIELDS, row[2:], strict=True) if not math.isnan(v)}
    reasons = tuple(name for i, name in enumerate(REASONS) if bits >> i & 1)
    return Reading(row[0], values, reasons)


def thinned(readings: Sequence[Reading], most: int = MOST_READINGS) -> tuple[Reading, ...]:
    """Every n-th reading, each with the event reasons of those left out before it."""
    step = -(-len(readings) // most)
    if step <= 1:
        return tuple(readings)
    kept = []
    for end in range(step, len(readings) + step, step):
        group = readings[end - step : end]
        reasons = tuple(dict.fromkeys(reason for r in group for reason in r.reasons))
        kept.append(replace(group[-1], reasons=reasons))
    return tuple(kept)


class Sampler:
    """A probe whose looking is done by a process of its own.

    Args:
        facts: what is known of the environment beside the readings.
        uuid: of the GPU to look at; the host and this process are looked at where it is None.
    """

    def __init__(
        self, facts: Mapping[str, Fact] | None = None, uuid: str | None = None,
        period_s: float | None = None,
    ) -> None:  # fmt: skip
        self._facts = dict(facts or {})
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        self._file.truncate(_SIZE)
        fd = self._file.fileno()
        self._ring = Ring(fd)
        period = period_s or (PERIOD_S if uuid is not None else HOST_PERIOD_S)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gpubench.telemetry.sampler", str(fd), str(os.getpid()),
             str(period), uuid or ""],
            pass_fds=(fd,), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    @property
    def pid(self) -> int:
        """Process id of the sampler."""
        return self._process.pid

    def facts(self) -> Mapping[str, Fact]:
        """What was given of the environment."""
        return self._facts

    def between(self, start_s: float, end_s: float) -> Sequence[Reading]:
        """What was read in that time; nothing where the sampler has ended."""
        return self._ring.between(start_s, end_s)

    def close(self) -> None:
        """End the process; safe to call twice."""
        if self._process.poll() is None:
            self._process.terminate()
        self._process.wait()
        self._ring.close()
        self._file.close()


# ---------------------------------------------------------------- in the process itself


def watch(ring: Ring, source: Source, period_s: float, parent: int) -> None:
    """Look every ``period_s`` until the parent is gone."""
    due = time.monotonic()
    while os.getppid() == parent:
        reading = source.read()
        if reading is not None:
            ring.add(time.monotonic(), reading)
        due = max(due + period_s, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))


def source_of(uuid: str, parent: int) -> Source:
    """The sensors of a GPU; of the host where no UUID is given."""
    if not uuid:
        from gpubench.telemetry.host import HostProbe

        return HostProbe.of_process(parent)
    from gpubench.telemetry.nvml import Nvml

    return Nvml(uuid=uuid, worker_pid=parent)


def main(arguments: Sequence[str]) -> int:
    """``python -m gpubench.telemetry.sampler FD PARENT PERIOD UUID``."""
    fd, parent, period_s, uuid = arguments
    # Ctrl-C goes to the whole group; the parent decides when this ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent()
    os.nice(NICE)
    watch(Ring(int(fd)), source_of(uuid, int(parent)), float(period_s), int(parent))
    return 0


def _die_with_parent() -> None:
    """PR_SET_PDEATHSIG: `watch` looks at the parent too, but only between two looks."""
    libc: Any = ctypes.CDLL(None)
    prctl = getattr(libc, "prctl", None)
    if prctl is not None:
        prctl(1, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
