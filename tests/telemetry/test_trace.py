"""Traced passes: Chrome traces digested, power beside kernels, real operators on CPU."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

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
