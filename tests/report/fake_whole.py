"""A made-up run with every section a report has: steps, shares, users, ranks, ranges, sensors."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from fake_runs import A100, GPU_ENV, gpu_run, head

from gpubench.plan import case_key
from gpubench.record import (
    Energy,
    Kernel,
    Measurement,
    Modelled,
    Operator,
    Range,
    Reading,
    Record,
    Run,
    Samples,
    TensorCoreUse,
)
from gpubench.spec import Case, Value, Work

BEGAN = datetime(2026, 2, 3, 10, 12, tzinfo=UTC)
SECTIONS = (
    "Collectives", "Scaling", "What users wait for", "Where a step goes",
    "Samples per second by batch", "What a step is made of", "Does it learn",
    "Throughput by size and precision", "Speed-up against the baseline", "Roofline",
    "Cost model against measurement", "Error against FP64", "Time and energy by range",
    "While it ran", "Sample distributions",
)  # fmt: skip
"""Titles of the sections of ``whole_run``, in the order of the page."""

OPERATORS = (
    Operator("aten::addmm", "forward", 24, 3e-3), Operator("aten::mm", "backward", 48, 5e-3),
    Operator("aten::gelu", "forward", 12, 0.4e-3), Operator("aten::layer_norm", "", 24, 0.6e-3),
    Operator("aten::_fused_adam_", "optimizer", 1, 1e-3),
)  # fmt: skip
STREAM = {
    "stream.service_s": 0.01, "stream.capacity_per_s": 100.0, "stream.breaks_at_per_s": 95.0,
    "stream.p50_s_at_0.3": 0.011, "stream.p99_s_at_0.3": 0.02,
    "stream.p50_s_at_0.95": 0.03, "stream.p99_s_at_0.95": 0.06,
    "stream.p50_s_at_1.2": 0.5, "stream.p99_s_at_1.2": 1.5,
}  # fmt: skip
LEARNED = {
    "quality.steps": 100, "quality.reached": True, "quality.time_to_target_s": 11.0,
    "quality.entity_f1": 0.89, "quality.token_accuracy": 0.978,
    "quality.loss_curve": "2.2 1.0 0.5 0.25", "quality.label.B-PER": "0.926 0.913 0.920 138",
}  # fmt: skip


def whole_run() -> tuple[Run, list[Record]]:
    """Some GEMMs of ``gpu_run`` and, for each other section, the cases that fill it."""
    _, records = gpu_run()
    kept = [r for r in records if r.case.benchmark in ("square-gemm", "misaligned")]
    rng = random.Random(5)
    kept += [_step(rng, batch) for batch in (1, 4, 16, 64)]
    kept += _users(rng)
    kept += _ranks(rng)
    started = [
        replace(r, started_at=(BEGAN + timedelta(seconds=i)).isoformat())
        for i, r in enumerate(kept)
    ]
    run = head(
        "20260203-101200-whole", GPU_ENV, label="everything", planned=len(started), suite="whole",
        settings={"device": "cuda:0", "fleet": "acceptance", "slot": "bench-02/0"},
    )  # fmt: skip
    return run, started


def made(
    rng: random.Random, workload: str, params: dict[str, Value], time_s: float, work: Work | None,
    benchmark: str = "", **outcome: Any,
) -> Record:  # fmt: skip
    """A measured case with sensors and a traced kernel."""
    precision = "bf16"
    case = Case(
        key=case_key(workload, precision, params), benchmark=benchmark or workload,
        workload=workload, precision=precision, params=params, work=work,
        label=" ".join(f"{k}={v}" for k, v in params.items()),
    )  # fmt: skip
    times = tuple(time_s * (1 + rng.gauss(0, 0.004)) for _ in range(24))
    values = {"clock_hz": 1.41e9, "power_w": 310.0, "temperature_c": 60.0}
    given: dict[str, Any] = {
        "samples": Samples(times, spoiled={3: "hardware thermal slowdown"}, launches=(12, 12)),
        "method": "events", "cache": "cold", "stopped_by": "target_ci", "measuring_s": 0.5,
        "readings": tuple(Reading(0.1 * i, values, ("sw_power_cap",)) for i in range(4)),
        "tensor_cores": TensorCoreUse("used", ("kernel name says tensorop",), ("s16816gemm",)),
        "kernels": (Kernel("s16816gemm", 12, time_s / 2, (8, 1, 1), (128, 1, 1), "layer.*.attn"),),
        "flags": ("power_capped",), **outcome,
    }  # fmt: skip
    energy = Energy(310.0 * time_s, "counter", None)
    return Record(case, A100, Measurement(**given), energy=energy)


def _step(rng: random.Random, batch: int) -> Record:
    """A training step: its phases, what it is made of, what it learned, its ranges."""
    time_s = 0.008 + 0.0018 * batch
    ends = (0.1, 0.2, 0.4, 0.9, 1.0)
    names = ("data", "host_to_device", "forward", "backward", "optimizer")
    ranges = [
        Range(name, begin * time_s, end * time_s, 0, 0.8 * (end - begin) * time_s, 2.5 * end)
        for name, begin, end in zip(names, (0.0, *ends), ends, strict=False)
    ]
    ranges.append(Range("mine: layer", 0.2 * time_s, 0.3 * time_s, 1, None, None, "too short"))
    found = made(
        rng, "model", {"model": "bert-tiny", "batch": batch, "mode": "training"}, time_s,
        Work(1e9 * batch, 1e8, 1e8, "counted by the framework"), "text",
        operators=OPERATORS, ranges=tuple(ranges),
        facts={"samples_per_step": batch, "flops_per_step": 1e9 * batch, "weights_bytes": 2048,
               "backend": "flash", **LEARNED},
    )  # fmt: skip
    classes = {"matrix products": 6e-3, "elementwise and copies": 3e-3}
    modelled = Modelled(0.9 * time_s, 0.7 * time_s, 1.2 * time_s, "memory", time_s, classes)
    return replace(found, model=modelled)


def _users(rng: random.Random) -> list[Record]:
    """Requests in a stream, dialogue by batch, candidates ranked."""
    found = [made(rng, "stream", {"model": "bert"}, 0.01, None, facts=STREAM)]
    for batch in (1, 8, 32):
        facts = {"dialogue.tokens_per_s": 90.0 * batch, "dialogue.first_token_s": 0.05 * batch}
        params: dict[str, Value] = {"batch": batch, "context": 128}
        found.append(made(rng, "dialogue", params, 0.1, None, facts=facts))
    for count in (10, 100):
        facts = {"ranking.candidates": count}
        found.append(made(rng, "ranking", {"candidates": count}, 1e-3 * count, None, facts=facts))
    return found


def _ranks(rng: random.Random) -> list[Record]:
    """Collectives by size and data-parallel steps by ranks."""
    found = []
    for size in (2**12, 2**16, 2**20, 2**24):
        params: dict[str, Value] = {"op": "all_reduce", "bytes": size, "world_size": 4}
        work = Work(0.0, 1.5 * size, float(size), "2·(n - 1)/n·bytes")
        found.append(made(rng, "collective", params, 2e-5 + size / 2e11, work))
    for world in (1, 2, 4):
        params = {"model": "bert-tiny", "batch": 8, "world_size": world}
        facts = {"parallel.communication_share": 0.05 * world, "parallel.hidden_share": 0.6}
        found.append(made(rng, "data_parallel", params, 0.02 + 0.001 * world, None, facts=facts))
    return found
