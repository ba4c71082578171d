"""What the host does while something is measured: who else uses its CPUs, their power and clock."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from gpubench.record import Fact, Reading
from gpubench.telemetry.rapl import Rapl

EVERY_S: Final = 0.1
"""Least time between readings: the kernel counts in hundredths of a second."""
IDLE_COLUMNS: Final = (3, 4)
"""Of the cpu line, after its name: idle and iowait (proc(5)); steal counts as busy."""
GUEST_COLUMNS: Final = slice(0, 8)
"""Up to steal; guest time after it is contained in user time already."""
CLOCKS_READ: Final = 4
"""CPUs whose clock is read: some drivers ask the CPU itself, which is work for it."""
_CPUS: Final = Path("/sys/devices/system/cpu")
_HWMON: Final = Path("/sys/class/hwmon")
_CHIPS: Final = ("coretemp", "k10temp", "zenpower", "cpu_thermal")
"""Names of hwmon chips that are the CPU's own thermometer (Intel, AMD, ARM)."""


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


def process_cpu_s(pid: int) -> float:
    """CPU time of all threads of a process, by its clock (clock_getcpuclockid(3)).

    Raises:
        OSError: no such process.
    """
    return time.clock_gettime((~pid << 3) | 2)


def _read_stat() -> str:
    return Path("/proc/stat").read_text()


class Gauges:
    """Power, clock and temperature of the CPU, as far as this machine tells them.

    Attributes:
        gaps: value -> why it is absent.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, cpus: Path = _CPUS, hwmon: Path = _HWMON,
        rapl: Callable[[], Rapl] = Rapl,
    ) -> None:  # fmt: skip
        self._clock = clock
        self.gaps: dict[str, str] = {}
        self._rapl: Rapl | None = None
        try:
            self._rapl = rapl()
        except OSError as error:
            self.gaps["power_w"] = str(error)
        mine = sorted(os.sched_getaffinity(0))[:CLOCKS_READ]
        files = [cpus / f"cpu{n}" / "cpufreq" / "scaling_cur_freq" for n in mine]
        self._clocks = [f for f in files if f.exists()]
        if not self._clocks:
            self.gaps["cpu_clock_hz"] = "the kernel tells no CPU clock here (no cpufreq)"
        self._thermometer = thermometer(hwmon)
        if self._thermometer is None:
            self.gaps["temperature_c"] = "no thermometer of the CPU in /sys/class/hwmon"
        self._before = (self._clock(), 0.0)

    def values(self) -> dict[str, float]:
        """What can be read now; power is the mean since the last call."""
        found: dict[str, float] = {}
        now = self._clock()
        if self._rapl is not None:
            joules = self._rapl.energy_j()
            then, before = self._before
            self._before = (now, joules)
            if now > then:
                found["power_w"] = (joules - before) / (now - then)
            found["energy_counter_j"] = joules
        clocks = [_number(f) for f in self._clocks]
        known = [khz for khz in clocks if khz is not None]
        if known:
            found["cpu_clock_hz"] = 1e3 * sum(known) / len(known)
        millis = _number(self._thermometer) if self._thermometer else None
        if millis is not None:
            found["temperature_c"] = millis * 1e-3
        return found


def thermometer(hwmon: Path = _HWMON) -> Path | None:
    """The file with the CPU's temperature; None in most virtual machines."""
    for chip in sorted(hwmon.glob("hwmon*")):
        name, file = chip / "name", chip / "temp1_input"
        try:
            if name.read_text().strip() in _CHIPS and file.exists():
                return file
        except OSError:
            continue
    return None


def _number(file: Path) -> float | None:
    try:
        return float(file.read_text())
    except (OSError, ValueError):
        return None


def host_gaps() -> Mapping[str, Fact]:
    """Facts on what the host's sensors do not tell: ``sensor.power_w`` -> why."""
    return {f"sensor.{name}": why for name, why in Gauges().gaps.items()}


class HostProbe:
    """CPUs that other processes use, averaged since the reading before; and the gauges."""

    def __init__(
        self,
        stat: Callable[[], str] = _read_stat,
        own_s: Callable[[], float] = time.process_time,
        clock: Callable[[], float] = time.monotonic,
        gauges: Gauges | None = None,
    ) -> None:
        self._stat, self._own_s, self._clock, self._gauges = stat, own_s, clock, gauges
        self._last = self._now()

    @classmethod
    def of_process(cls, pid: int) -> HostProbe:
        """A probe that runs beside process ``pid``: neither is foreign."""
        return cls(own_s=lambda: process_cpu_s(pid) + time.process_time(), gauges=Gauges())

    def read(self) -> Reading | None:
        """``foreign_cpus`` and the gauges since the last reading; None if that is too near."""
        now = self._now()
        if now is None or self._last is None:
            self._last = now
            return None
        elapsed = now[0] - self._last[0]
        if elapsed < 0.9 * EVERY_S:
            return None
        foreign_s = (now[1] - self._last[1]) - (now[2] - self._last[2])
        stale = elapsed > 10 * EVERY_S
        self._last = now
        values = self._gauges.values() if self._gauges else {}
        # What happened between two cases says nothing of either.
        return (
            None
            if stale
            else Reading(0.0, {"foreign_cpus": max(0.0, foreign_s / elapsed), **values})
        )

    def _now(self) -> tuple[float, float, float] | None:
        try:
            return self._clock(), busy_cpu_s(self._stat()), self._own_s()
        except (OSError, ValueError):
            return None
