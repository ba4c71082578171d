from __future__ import annotations

import pytest

from gpubench.telemetry.host import HostProbe, busy_cpu_s

LINE = "cpu  {user} 10 {system} 90000 500 0 20 30 7 0\ncpu0 1 2 3\n"


def stat(user: int, system: int = 100) -> str:
    return LINE.format(user=user, system=system)


def test_idle_and_waiting_are_not_busy_steal_is() -> None:
    import os

    tick = os.sysconf("SC_CLK_TCK")
    assert busy_cpu_s(stat(1000)) == pytest.approx((1000 + 10 + 100 + 20 + 30) / tick)


@pytest.mark.parametrize("text", ["", "intr 5", "cpu 1 2", "cpu a b c d e f"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        busy_cpu_s(text)


def probe(steps: list[tuple[float, int, float]]) -> HostProbe:
    """(clock, user ticks, own CPU seconds) at each look."""
    looks = iter(steps)
    now: list[tuple[float, int, float]] = []

    def clock() -> float:
        now.append(next(looks))
        return now[-1][0]

    return HostProbe(lambda: stat(now[-1][1]), lambda: now[-1][2], clock)


def test_what_is_not_ours_is_foreign() -> None:
    p = probe([(0.0, 0, 0.0), (0.5, 100, 0.6)])
    reading = p.read()
    assert reading is not None
    # One second of CPU in half a second, 0.6 s of it ours.
    assert reading.values["foreign_cpus"] == pytest.approx(0.8)


def test_readings_too_close_or_too_far_apart_say_nothing() -> None:
    p = probe([(0.0, 0, 0.0), (0.05, 5, 0.0), (0.2, 20, 0.0), (30.0, 9000, 0.0)])
    assert p.read() is None
    reading = p.read()
    assert reading is not None
    assert reading.values["foreign_cpus"] == pytest.approx(1.0)
    assert p.read() is None


def test_a_kernel_without_the_file_is_no_error() -> None:
    def fail() -> str:
        raise OSError

    assert HostProbe(stat=fail).read() is None


def test_a_busy_neighbour_is_seen() -> None:
    import subprocess
    import sys
    import time

    p = HostProbe()
    time.sleep(0.15)
    p.read()
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as neighbour:
        time.sleep(0.5)
        reading = p.read()
        neighbour.kill()
    assert reading is not None
    assert reading.values["foreign_cpus"] > 0.4
