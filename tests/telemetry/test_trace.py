"""Traced passes: Chrome traces digested, power beside kernels, real operators on CPU."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from gpubench.record import Range
from gpubench.telemetry.placing import MARK
from gpubench.telemetry.ranges import Captured
from gpubench.telemetry.trace import SPAN, digest, trace, with_power


def event(name: str, cat: str, ts: float, dur: float, **more: Any) -> dict[str, Any]:
    return {"ph": "X", "name": name, "cat": cat, "ts": ts, "dur": dur, "tid": 1, **more}


def test_kernels_are_counted_and_timed_per_call() -> None:
    grid = {"args": {"grid": [64, 2, 1], "block": [128, 1, 1]}}
    document = {
        "traceEvents": [
            event(SPAN, "user_annotation", 0, 100), event(SPAN, "user_annotation", 200, 120),
            event("gemm", "kernel", 10, 40, **grid), event("gemm", "kernel", 210, 60, **grid),
            event("add", "kernel", 55, 5), event("add", "kernel", 61, 5),
            event("add", "kernel", 275, 5), event("add", "kernel", 281, 5),
            event("Memcpy HtoD", "gpu_memcpy", 1, 2),
            event("aten::mm", "cpu_op", 1, 8),
            {"ph": "i", "name": "mark"},
        ]
    }  # fmt: skip
    seen = digest(document, 2)
    assert [(k.name, k.count) for k in seen.kernels] == [
        ("gemm", 1.0), ("add", 2.0), ("Memcpy HtoD", 0.5),
    ]  # fmt: skip
    assert seen.kernels[0].time_s == pytest.approx(50e-6)
    assert (seen.kernels[0].grid, seen.kernels[0].block) == ((64, 2, 1), (128, 1, 1))
    assert seen.span_s == pytest.approx(120e-6)


def test_on_cpu_an_operator_has_its_own_time_only() -> None:
    document = {
        "traceEvents": [
            event(SPAN, "user_annotation", 0, 100),
            event("outer", "cpu_op", 10, 50), event("inner", "cpu_op", 20, 30),
            event("inner", "cpu_op", 52, 5), event("before", "cpu_op", -40, 20),
        ]
    }  # fmt: skip
    kernels = {k.name: k for k in digest(document, 1).kernels}
    assert set(kernels) == {"outer", "inner"}
    assert kernels["outer"].time_s == pytest.approx(15e-6)
    assert (kernels["inner"].time_s, kernels["inner"].count) == (pytest.approx(35e-6), 2)


def test_a_real_call_is_traced() -> None:
    layer, x = torch.nn.Linear(256, 256), torch.randn(512, 256)
    seen = trace(lambda: layer(x), on_cuda=False, repeat=2)
    # Which of them takes longest is the machine's affair.
    assert {"aten::addmm", "aten::linear"} <= {k.name for k in seen.kernels}
    assert 0 < sum(k.time_s for k in seen.kernels) <= 1.05 * seen.span_s
    assert json.dumps(with_power(seen.document, [(1.0, 2.0)]))


def test_power_lies_on_the_axis_of_the_trace() -> None:
    base = {"traceEvents": [event("k", "kernel", 5.0, 1.0)], "baseTimeNanoseconds": 10**15}
    found = with_power(base, [(10**6 + 5e-6, 250.0)])
    counter = found["traceEvents"][-1]
    assert counter["ts"] == pytest.approx(5.0, abs=1.0)
    assert (counter["ph"], counter["args"]) == ("C", {"W": 250.0})
    assert len(base["traceEvents"]) == 1


def launched(n: int, ts: float, tid: int, start: float, dur: float, name: str) -> list[Any]:
    return [
        {**event("cudaLaunchKernel", "cuda_runtime", ts, 3), "tid": tid,
         "args": {"correlation": n}},
        {**event(name, "kernel", start, dur), "tid": 7, "args": {"correlation": n}},
    ]  # fmt: skip


def captured(
    name: str, start_us: float, end_us: float, depth: int = 0, thread: int = 1
) -> Captured:
    """On a monotonic clock that is 5 s behind the axis of the trace."""
    return Captured(Range(name, start_us * 1e-6 - 5, end_us * 1e-6 - 5, depth), 1)


def test_kernels_belong_to_the_ranges_of_their_launch() -> None:
    """The second kernel runs after its range has ended; the third comes from another thread."""
    document = {
        "traceEvents": [
            event(SPAN, "user_annotation", 1000, 1000),
            *launched(1, 1110, 1, 1120, 40, "a"), *launched(2, 1180, 1, 1300, 200, "b"),
            *launched(3, 1450, 2, 1500, 100, "backward kernel"),
            *launched(4, 1900, 1, 1910, 5, "c"),
        ]
    }  # fmt: skip
    ranges = [
        captured("u: step", 1100, 1600), captured("u: forward", 1105, 1200, 1),
        captured("u: backward", 1400, 1590, 1), captured("u: idle", 1700, 1800),
    ]  # fmt: skip
    seen = digest(document, 1, ranges, [(1000e-6 - 5 - 1e-6, 1000e-6 - 5 + 1e-6)])
    times = {r.name: r.device_time_s for r in seen.ranges}
    assert times == {
        "u: step": pytest.approx(340e-6), "u: forward": pytest.approx(240e-6),
        "u: backward": pytest.approx(100e-6), "u: idle": 0.0,
    }  # fmt: skip
    assert [r.depth for r in seen.ranges] == [0, 1, 1, 0]
    assert seen.ranges[0].start_s == pytest.approx(100e-6, abs=2e-6)
    # On the device forward lasts from the first of its kernels to the end of the last.
    assert seen.extents[1] == pytest.approx((0.12, 0.5))
    assert seen.extents[3] is None
    assert {k.name: k.range for k in seen.kernels} == {
        "a": "u: forward", "b": "u: forward", "backward kernel": "u: backward", "c": None,
    }  # fmt: skip
    slices = [e for e in seen.document["traceEvents"] if e.get("cat") == "nvtx"]
    assert (slices[0]["name"], round(slices[0]["ts"]), slices[0]["tid"]) == ("u: step", 1100, 1)


def test_ranges_that_differ_from_call_to_call_have_no_device_time() -> None:
    document = {
        "traceEvents": [
            event(SPAN, "user_annotation", 0, 100), event(SPAN, "user_annotation", 200, 100),
            *launched(1, 210, 1, 215, 5, "a"),
        ]
    }  # fmt: skip
    anchors = [(-5.0, -5.0), (200e-6 - 5, 200e-6 - 5)]
    seen = digest(document, 2, [captured("x", 205, 250)], anchors)
    (only,) = seen.ranges
    assert only.device_time_s is None
    assert "differ from call to call" in str(only.reason)


def test_phases_are_told_apart_by_their_marks() -> None:
    document = {
        "traceEvents": [
            event(SPAN, "user_annotation", 0, 100),
            *launched(1, 10, 1, 12, 30, "a"), event(MARK + "forward", "user_annotation", 40, 1),
            *launched(2, 50, 2, 60, 20, "b"), event(MARK + "backward", "user_annotation", 90, 1),
            *launched(3, 95, 1, 96, 3, "after the last mark"),
        ]
    }  # fmt: skip
    assert digest(document, 1).phases == {
        "forward": pytest.approx(30e-6), "backward": pytest.approx(20e-6),
    }  # fmt: skip


def test_operators_of_a_real_network_are_of_their_modules() -> None:
    layers = [torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.GELU()) for _ in range(3)]
    net = torch.nn.Sequential(*layers, torch.nn.Linear(64, 4))
    x = torch.randn(256, 64)

    class Step:
        torch_module = net

        def __call__(self) -> object:
            net(x).sum().backward()
            return None

    seen = trace(Step(), on_cuda=False, repeat=2)
    by_module: dict[str | None, float] = {}
    for k in seen.kernels:
        by_module[k.module] = by_module.get(k.module, 0.0) + k.time_s
    assert {"*.0", "*.1", "3", "*.0 (backward)", "*.1 (backward)", "3 (backward)"} <= set(by_module)
    products = {k.module: k.count for k in seen.kernels if k.name == "aten::addmm"}
    assert products == {"*.0": 3, "3": 1}
    backward = {k.module: k.count for k in seen.kernels if k.name == "aten::mm"}
    # The first layer needs no gradient of its input.
    assert backward == {"*.0 (backward)": 5, "3 (backward)": 2}
    assert not net[0][0]._forward_hooks
    assert not net[0][0]._forward_pre_hooks
