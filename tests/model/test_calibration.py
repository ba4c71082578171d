from __future__ import annotations

from dataclasses import replace

import pytest

from gpubench.catalogue import find
from gpubench.errors import InputError
from gpubench.model import predict
from gpubench.model.calibration import Calibration, calibrate, calibrated_s, model_errors
from gpubench.record import DeviceRef, Record
from gpubench.spec import Case
from gpubench.workloads.memcpy import Memcpy
from tests.builders import gemm_case, measurement, record

GPU = DeviceRef("cuda", "A100", "a100-sxm4-40gb")
CPU = DeviceRef("cpu", "CPU")


def copy_case(size: int) -> Case:
    work = Memcpy(size)
    return replace(
        gemm_case(), key=f"copy{size}", workload="memcpy", params=work.params(), work=work.work(),
        benchmark="anchor-copy",
    )  # fmt: skip


def took(case: Case, time_s: float, device: DeviceRef, benchmark: str) -> Record:
    made = record(replace(case, benchmark=benchmark), measurement(*[time_s] * 10))
    return replace(made, device=device)


def cpu_anchors() -> list[Record]:
    return [
        took(gemm_case("fp32", 1024), 2 * 1024**3 / 100e9, CPU, "anchor-gemm"),
        took(copy_case(2**28), 2 * 2**28 / 20e9, CPU, "anchor-copy"),
        took(gemm_case("fp32", 16), 1e-6, CPU, "anchor-launch"),
    ]


def test_anchors_become_rates() -> None:
    c = calibrate(cpu_anchors(), "me", "run-1", "2026-01-01")
    assert c.rates == {"fp32": pytest.approx(100e9)}
    assert c.bandwidth_bytes_per_s == pytest.approx(20e9)
    assert c.launch_s == pytest.approx(1e-6)
    assert c.gpu_key is None


def test_a_cpu_is_a_roofline_of_its_anchors() -> None:
    c = calibrate(cpu_anchors(), "me", "run-1", "2026-01-01")
    large, small = gemm_case("fp32", 2048), gemm_case("fp32", 4)
    assert calibrated_s(c, large) == pytest.approx(2 * 2048**3 / 100e9, rel=0.02)
    assert calibrated_s(c, small) == pytest.approx(1e-6, rel=0.05)
    assert calibrated_s(c, gemm_case("bf16", 64)) is None


def test_a_gpu_twice_as_slow_as_predicted_is_scaled() -> None:
    spec = find("a100")
    anchors = []
    for case, benchmark in (
        (gemm_case("bf16", 8192), "anchor-gemm"),
        (copy_case(2**30), "anchor-copy"),
    ):
        expected = predict(spec, case.workload, case.precision, case.params).predicted_s
        anchors.append(took(case, 2 * expected, GPU, benchmark))
    c = calibrate(anchors, "gpu", "run-1", "2026-01-01")
    assert c.scales["compute:bf16"] == pytest.approx(2.0)
    check = gemm_case("bf16", 6000)
    plain = predict(spec, "gemm", "bf16", check.params).predicted_s
    assert calibrated_s(c, check) == pytest.approx(2 * plain, rel=0.02)
    slow = took(check, 2 * plain, GPU, "check-gemm")
    errors = model_errors(c, [*anchors, slow])
    assert errors.cases == 1
    assert errors.datasheet == pytest.approx(0.5)
    assert errors.calibrated is not None
    assert errors.calibrated < 0.02


def test_no_anchor_is_an_error() -> None:
    with pytest.raises(InputError, match="no anchor"):
        calibrate([], "me", "run", "now")


def test_a_calibration_without_anchors_has_no_answer() -> None:
    empty = Calibration("d", "A100", "now", "run", "a100-sxm4-40gb")
    assert calibrated_s(empty, gemm_case("bf16", 512)) is None
