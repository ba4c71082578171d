"""The sampler: a process of its own, its ring, and what a case keeps of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from gpubench.record import Reading
from gpubench.telemetry import sampler
from gpubench.telemetry.sampler import FIELDS, REASONS, Ring, Sampler, thinned
from tests.telemetry.test_nvml import ask, stub

__all__ = ["stub"]


@pytest.fixture
def ring():
    with tempfile.TemporaryFile() as file:
        file.truncate(sampler._SIZE)
        found = Ring(file.fileno())
        yield found
        found.close()


def test_what_is_written_is_read_and_absence_stays_absence(ring: Ring) -> None:
    first = Reading(0.0, {name: i + 0.5 for i, name in enumerate(FIELDS)}, REASONS)
    ring.add(1.0, first)
    ring.add(2.0, Reading(0.0, {"power_w": 250.0}))
    found = ring.between(0.0, 10.0)
    assert [r.time_s for r in found] == [1.0, 2.0]
    assert (found[0].values, found[0].reasons) == (first.values, REASONS)
    assert (found[1].values, found[1].reasons) == ({"power_w": 250.0}, ())
    assert ring.between(1.5, 10.0) == found[1:]
    assert ring.between(0.0, 1.5) == found[:1]
    assert ring.between(3.0, 4.0) == []


def test_the_ring_keeps_the_newest(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "_ROWS", 8)
    for i in range(20):
        ring.add(float(i), Reading(0.0, {"power_w": float(i)}))
    assert [r.time_s for r in ring.between(0.0, 100.0)] == [float(i) for i in range(13, 20)]


def test_readings_are_bounded_and_no_event_reason_is_lost() -> None:
    readings = [
        Reading(float(i), {"power_w": float(i)}, ("hw_thermal",) if i == 501 else ())
        for i in range(1000)
    ]
    kept = thinned(readings, 100)
    assert len(kept) == 100
    assert [r.time_s for r in kept[:2]] == [9.0, 19.0]
    assert sum("hw_thermal" in r.reasons for r in kept) == 1
    assert thinned(readings[:50], 100) == tuple(readings[:50])
    assert len(thinned(readings[:101], 100)) <= 100


def wait_for_readings(probe: Sampler, count: int = 3) -> list[Reading]:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        found = list(probe.between(0.0, float("inf")))
        if len(found) >= count:
            return found
        time.sleep(0.05)
    raise AssertionError("the sampler read nothing in 30 s")


def test_the_host_is_watched_on_the_clock_of_the_samples() -> None:
    begun = time.monotonic()
    probe = Sampler()
    try:
        found = wait_for_readings(probe)
        assert begun < found[0].time_s < found[-1].time_s < time.monotonic()
        assert all("foreign_cpus" in r.values for r in found)
    finally:
        probe.close()
    assert probe._process.returncode is not None
    probe.close()


def test_it_goes_with_its_parent() -> None:
    code = (
        "from gpubench.telemetry.sampler import Sampler\nimport time\n"
        "print(Sampler().pid, flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        owner.send_signal(signal.SIGKILL)
    until = time.monotonic() + 20
    while alive(pid):
        assert time.monotonic() < until, "the sampler outlived its parent"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


def test_a_sampler_that_was_killed_reads_nothing_more() -> None:
    probe = Sampler()
    try:
        wait_for_readings(probe, 1)
        os.kill(probe.pid, signal.SIGKILL)
        probe._process.wait()
        assert probe.between(time.monotonic(), float("inf")) == []
    finally:
        probe.close()


GPU = """
import time
from gpubench.engine.worker import open_probe
from gpubench.spec import DeviceInfo
probe, facts = open_probe(DeviceInfo("cuda", "stub", uuid="GPU-stub-0000"))
found = []
if probe is not None:
    until = time.monotonic() + 30
    while len(found) < 4 and time.monotonic() < until:
        time.sleep(0.05)
        found = probe.between(0.0, float("inf"))
    probe.close()
answer = [len(found), [dict(r.values) | {"reasons": r.reasons} for r in found[:1]],
          {k: v for k, v in facts.items() if k.startswith("sensor.") or k == "gpu.nvml"}]
"""


def test_a_gpu_is_watched_through_the_real_binding(stub: Path) -> None:
    count, first, facts = ask(stub, GPU, STUB_GPU="t4", STUB_PIDS="2")
    assert count >= 4
    assert first[0]["reasons"] == ["sw_power_cap", "sw_thermal"]
    assert first[0]["clock_hz"] == 585e6
    assert first[0]["foreign_processes"] == 1.0
    assert set(facts) == {"gpu.nvml", "sensor.tensor_activity"}
    assert "came with Hopper" in facts["sensor.tensor_activity"]


def test_a_gpu_without_a_driver_has_the_reason_and_no_sampler(stub: Path) -> None:
    count, _, facts = ask(stub, GPU, STUB_NO_DRIVER="1")
    assert count == 0
    assert "cannot be used" in facts["gpu.nvml"]


def test_a_card_lost_in_mid_run_stops_the_readings_not_the_run(stub: Path) -> None:
    """Each look makes about nine calls; the first few looks answer, then none."""
    code = GPU.replace("len(found) < 4 and", "").replace("+ 30", "+ 3")
    count, first, _ = ask(stub, code, STUB_LOST_AT="60")
    assert 1 <= count < 20
    assert first[0]["power_w"] == 55.0
