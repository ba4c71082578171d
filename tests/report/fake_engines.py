"""A made-up run of conv_algorithms on a GPU, its plans named by the recording of cuDNN."""

from __future__ import annotations

import random
from collections.abc import Iterator

from gpubench.plan import case_key
from gpubench.record import (
    Accuracy,
    DeviceRef,
    Environment,
    Measurement,
    Record,
    Run,
    Samples,
    Skip,
)
from gpubench.spec import Case
from gpubench.workloads.conv2d import Conv2d
from gpubench.workloads.cudnn_frontend import Frontend
from gpubench.workloads.cudnn_plans import Layer, build, search
from tests.workloads.cudnn_recording import RECORDED, replayed

DEVICE = DeviceRef("cuda", "NVIDIA H200", "h200-sxm-141gb")


def engine_run(seed: int = 3) -> tuple[Run, list[Record]]:
    run = Run(
        id="20260101-000000-aaaaaa", suite="conv_algorithms", status="finished",
        started_at="2026-01-01T00:00:00+00:00", finished_at="2026-01-01T00:10:00+00:00",
        environment=Environment({"gpu.name": "NVIDIA H200", "gpu.driver": "570.1",
                                 "torch.version": "2.11.0", "torch.cuda": "12.8",
                                 "gpu.power_limit_w": 700.0}),
    )  # fmt: skip
    # One device has one answer for a layer.
    titles = [t for t in RECORDED if t != "h200 fp32 fprop nchw"]
    records = [r for i, title in enumerate(titles) for r in _layer(title, random.Random(seed + i))]
    return run, records


def _layer(title: str, rng: random.Random) -> Iterator[Record]:
    _, work = RECORDED[title]
    frontend, layer = Frontend(replayed(title), handle=True), Layer.of(work)
    base = rng.uniform(1e-4, 3e-4)
    for algorithm in ("auto", "benchmark"):
        yield _measured(work, algorithm, base * rng.uniform(1.0, 1.3), {})
    for found in search(layer, frontend):
        if found.reason:
            yield Record(_case(work, found.name), DEVICE, Skip(found.reason))
            continue
        facts = build(layer, found.name, frontend).facts()
        yield _measured(work, found.name, base * rng.uniform(1.0, 5.0), dict(facts))


def _case(work: Conv2d, algorithm: str) -> Case:
    one = Conv2d.from_params({**work.params(), "algorithm": algorithm}, work.precision)
    engine = algorithm.startswith("eng")
    return Case(
        key=case_key("conv2d", work.precision, one.identity()), workload="conv2d",
        benchmark="every-engine" if engine else "torch-choice", precision=work.precision,
        params=one.params(), label=one.label(), work=one.work(),
    )  # fmt: skip


def _measured(work: Conv2d, algorithm: str, time_s: float, facts: dict[str, object]) -> Record:
    times = tuple(time_s * (1 + 0.002 * i) for i in range(-6, 7))
    outcome = Measurement(
        samples=Samples(times, launches=(len(times),)), method="events", cache="cold",
        stopped_by="target_ci", accuracy=Accuracy(1e-6, 1e-4, "FP64"), facts=facts,  # type: ignore[arg-type]
    )  # fmt: skip
    return Record(_case(work, algorithm), DEVICE, outcome)
