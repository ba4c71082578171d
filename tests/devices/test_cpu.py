from __future__ import annotations

import time
from pathlib import Path

import pytest

from gpubench.devices import cpu, host


@pytest.fixture(scope="module")
def device() -> cpu.CpuDevice:
    return cpu.CpuDevice()


def busy(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def test_description(device: cpu.CpuDevice) -> None:
    info = device.info
    assert info.type == info.torch_name == "cpu"
    assert (info.sm_count or 0) >= 1
    assert {"tf32", "fp8"} <= set(info.unsupported)
    assert (info.memory_bytes or 0) > 2**28


def test_precisions_need_instructions() -> None:
    assert set(cpu.unsupported_precisions(frozenset())) == {"tf32", "fp8", "bf16", "fp16"}
    new = cpu.unsupported_precisions(frozenset({"avx512_bf16", "amx_fp16"}))
    assert set(new) == {"tf32", "fp8"}


def test_long_calls_are_timed_one_by_one(device: cpu.CpuDevice) -> None:
    call = lambda: busy(0.004)  # noqa: E731
    estimate, made = device.estimate(call)
    assert estimate >= 0.004  # how much more is the machine's affair
    assert made >= 4
    timer = device.timer([call], "auto", estimate)
    assert (timer.calls_per_sample, timer.cache, timer.method) == (1, "hot", "loop")
    assert min(t.time_s for t in timer.batch(1000)) >= 0.004


def test_short_calls_are_looped_until_the_clock_does_not_matter(
    device: cpu.CpuDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 1e-9 <= cpu.clock_overhead_s() < 1e-4
    monkeypatch.setattr(cpu, "clock_overhead_s", lambda: 40e-9)
    timer = device.timer([lambda: None], "auto", 50e-9)
    # 8,000 calls of 50 ns: reading the clock for 40 ns is a ten-thousandth of that.
    assert timer.calls_per_sample == 8000
    assert 1e-9 < timer.floor_s < 1e-5


def test_calls_rotate_over_the_input_sets(device: cpu.CpuDevice) -> None:
    seen: list[int] = []
    calls = [lambda i=i: seen.append(i) for i in range(3)]
    timer = device.timer(calls, "rotating", 1e-6)
    timer.batch(1000)
    n = timer.calls_per_sample
    assert seen[: n + 3] == [i % 3 for i in range(n + 3)]


def test_cold_flushes_before_each_call(
    device: cpu.CpuDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[str] = []
    monkeypatch.setattr(device, "_flusher", lambda: lambda: log.append("flush"))
    timer = device.timer([lambda: log.append("call")], "cold", 1e-6)
    timer.batch(1000)
    assert timer.calls_per_sample == 1
    assert log[:4] == ["flush", "call", "flush", "call"]


def test_input_sets(device: cpu.CpuDevice) -> None:
    size = device.info.cache_bytes
    assert size
    assert device.input_sets(size, "auto", 1e-3) == 1
    assert device.input_sets(size, "rotating", 1e-3) == 3
    assert device.input_sets(1, "rotating", 1e-3) == 64


def test_host_facts_come_from_the_kernel() -> None:
    assert host.cpu_model()
    limit = host.memory_limit_bytes()
    assert limit
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert limit <= total
