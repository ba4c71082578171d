"""Operators of a step: Chrome traces of a GPU and of a CPU, and a real step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from gpubench.telemetry.operators import PHASE, STEP, operators_of, own_times, traced_operators


def event(name: str, cat: str, ts: float, dur: float, **args: Any) -> dict[str, Any]:
    return {"ph": "X", "name": name, "cat": cat, "ts": ts, "dur": dur, "tid": 1, "args": args}


def mark(phase: str, ts: float) -> dict[str, Any]:
    return event(PHASE + phase, "user_annotation", ts, 0.5)


def gpu_step(at: float, mm_us: float) -> list[dict[str, Any]]:
    """A step whose kernels run long after they were launched."""
    i = int(at)
    return [
        event(STEP, "user_annotation", at, 400),
        event("aten::linear", "cpu_op", at + 1, 20, **{"External id": i}),
        event("aten::mm", "cpu_op", at + 2, 10, **{"External id": i + 1}),
        mark("forward", at + 30),
        event("aten::mm", "cpu_op", at + 40, 10, **{"External id": i + 2}),
        mark("backward", at + 60),
        event("aten::_fused_adamw_", "cpu_op", at + 70, 10, **{"External id": i + 3}),
        mark("optimizer", at + 90),
        event("sgemm", "kernel", at + 100, mm_us, **{"External id": i + 1}),
        event("sgemm", "kernel", at + 150, 2 * mm_us, **{"External id": i + 2}),
        event("multi_tensor", "kernel", at + 300, 7, **{"External id": i + 3}),
        event("mystery", "kernel", at + 320, 3),
    ]


def test_a_kernel_belongs_to_the_operator_and_phase_that_launched_it() -> None:
    found = operators_of(
        {"traceEvents": [*gpu_step(0, 40), *gpu_step(1000, 42), *gpu_step(2000, 90)]}
    )
    seen = {(o.name, o.phase): (o.count, round(o.time_s * 1e6, 3)) for o in found}
    assert seen == {
        ("aten::mm", "backward"): (1, 84), ("aten::mm", "forward"): (1, 42),
        ("aten::_fused_adamw_", "optimizer"): (1, 7), ("mystery", ""): (1, 3),
    }  # fmt: skip
    assert [o.time_s for o in found] == sorted((o.time_s for o in found), reverse=True)


def test_on_cpu_an_operator_does_not_count_what_it_calls() -> None:
    document = {
        "traceEvents": [
            event(STEP, "user_annotation", 0, 100),
            event("aten::linear", "cpu_op", 1, 50),
            event("aten::addmm", "cpu_op", 5, 40),
            mark("forward", 60),
            event("aten::add_", "cpu_op", 70, 10),
            mark("backward", 90),
            event("aten::outside", "cpu_op", 150, 10),
        ]
    }
    found = {(o.name, o.phase): round(o.time_s * 1e6, 3) for o in operators_of(document)}
    assert found == {
        ("aten::addmm", "forward"): 40, ("aten::linear", "forward"): 10,
        ("aten::add_", "backward"): 10,
    }  # fmt: skip


def test_own_times_keep_threads_apart() -> None:
    other = {**event("b", "cpu_op", 2, 4), "tid": 2}
    assert {str(e["name"]): t for e, t in own_times([event("a", "cpu_op", 0, 10), other])} == {
        "a": 10, "b": 4,
    }  # fmt: skip


def test_a_real_step() -> None:
    layer = torch.nn.Linear(256, 256)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)

    def run(told: Callable[[str], None]) -> object:
        out = layer(torch.ones(64, 256)).square().mean()
        told("forward")
        out.backward()
        told("backward")
        optimizer.step()
        told("optimizer")
        return out

    found = traced_operators(run, on_cuda=False, repeat=3)
    phases = {(o.name, o.phase) for o in found}
    assert ("aten::addmm", "forward") in phases
    assert ("aten::mm", "backward") in phases
    assert any(phase == "optimizer" for _, phase in phases)
    assert all(o.time_s > 0 and o.count >= 1 for o in found)


def test_a_profiler_that_cannot_be_used_says_so() -> None:
    def run(_told: Callable[[str], None]) -> object:
        raise RuntimeError("another profiler is active")

    with pytest.raises(RuntimeError, match="another profiler"):
        traced_operators(run, on_cuda=False)
