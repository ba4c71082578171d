"""Who else uses the CPUs while something is measured (``/proc/stat``)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from gpubench.record import Fact, Reading

EVERY_S: Final = 0.1
"""Least time between readings: the kernel counts in hundredths of a second."""
IDLE_COLUMNS: Final = (3, 4)
"""Of the cpu line, after its name: idle and iowait (proc(5)); steal counts as busy."""
GUEST_COLUMNS: Final = slice(0, 8)
"""Up to steal; guest time after it is contained in user time already."""


def busy_cpu_s(stat: str) -> float:
    """CPU time that everybody together has used since boot, from the text of /proc/stat.

    Time that the hypervisor gave to others (steal) counts: it is not ours either.

    Raises:
        ValueError: not the text of /proc/stat.
    """
    name, *counts = stat.split("\n", 1)[0].split()
    if name != "cpu" or len(counts) < 5:
        raise ValueError("not /proc/stat")
    ticks = [int(c) for c in counts[GUEST_COLUMNS]]
    busy = sum(t for i, t in enumerate(ticks) if i not in IDLE_COLUMNS)
    return busy / os.sysconf("SC_CLK_TCK")


def _read_stat() -> str:
    return Path("/proc/stat").read_text()


class HostProbe:
    """CPUs that other processes use, averaged since the reading before."""

    def __init__(
        self,
        stat: Callable[[], str] = _read_stat,
        own_s: Callable[[], float] = time.process_time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stat, self._own_s, self._clock = stat, own_s, clock
        self._last = self._now()

    def facts(self) -> Mapping[str, Fact]:
        """Nothing beyond what the environment holds."""
        return {}

    def read(self) -> Reading | None:
        """``foreign_cpus`` since the last reading; None if that is too short ago."""
        now = self._now()
        if now is None or self._last is None:
            self._last = now
            return None
        elapsed = now[0] - self._last[0]
        if elapsed < EVERY_S:
            return None
        foreign_s = (now[1] - self._last[1]) - (now[2] - self._last[2])
        stale = elapsed > 10 * EVERY_S
        self._last = now
        # What happened between two cases says nothing of either.
        return None if stale else Reading(0.0, {"foreign_cpus": max(0.0, foreign_s / elapsed)})

    def _now(self) -> tuple[float, float, float] | None:
        try:
            return self._clock(), busy_cpu_s(self._stat()), self._own_s()
        except (OSError, ValueError):
            return None
