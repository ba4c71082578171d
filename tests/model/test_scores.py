"""The model against a small committed sample of measurements, so that a change cannot rot it."""

from __future__ import annotations

from collections import defaultdict

import pytest

from gpubench.catalogue import find
from gpubench.catalogue.published import Published, published
from gpubench.model import predict
from gpubench.model.roofline import roofline_s

BARS = {
    # class: (highest mean absolute percentage error over its GPUs, least share in the band)
    "elementwise": (5, 0.6), "softmax": (10, 0.6), "layernorm": (9, 0.6), "gemm": (14, 0.55),
    "linear": (20, 0.6), "conv2d": (20, 0.6),
}  # fmt: skip


def rows(workload: str) -> list[Published]:
    return [
        p
        for p in published(workload=workload, precision="fp32")
        if p.source.startswith("NeuSight") and p.time_s is not None and p.time_s >= 2e-4
    ]


@pytest.mark.parametrize("workload", BARS)
def test_error_and_band_on_the_shipped_sample(workload: str) -> None:
    bar, least = BARS[workload]
    errors: dict[str, list[float]] = defaultdict(list)
    rooflines: dict[str, list[float]] = defaultdict(list)
    inside = []
    for p in rows(workload):
        assert p.time_s is not None
        gpu = find(p.gpu_key)
        params = dict(p.params)
        if workload == "conv2d":
            params.setdefault("direction", "fprop")
        got = predict(gpu, workload, "fp32", params)
        errors[p.gpu_key].append(abs(got.predicted_s / p.time_s - 1))
        inside.append(got.low_s <= p.time_s <= got.high_s)
        rooflines[p.gpu_key].append(
            abs(float(roofline_s(workload, "fp32", gpu, params)) / p.time_s - 1)
        )
    assert len(errors) >= 4
    means = {g: sum(e) / len(e) for g, e in errors.items()}
    assert 100 * sum(means.values()) / len(means) < bar
    assert sum(inside) / len(inside) > least
    for gpu, mean in means.items():
        assert mean < sum(rooflines[gpu]) / len(rooflines[gpu]), gpu


def test_tensor_core_products_of_deepbench() -> None:
    errors = []
    for p in published(workload="gemm", precision="fp16"):
        if p.time_s is not None and p.time_s >= 1e-4:
            got = predict(find(p.gpu_key), "gemm", "fp16", p.params)
            assert got.on_tensor_cores
            errors.append(abs(got.predicted_s / p.time_s - 1))
    assert len(errors) > 60
    assert 100 * sum(errors) / len(errors) < 10
