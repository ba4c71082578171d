from __future__ import annotations

import math

import pytest
import torch

from gpubench.devices.cpu import CpuDevice
from gpubench.workloads.gemm import Gemm


@pytest.fixture(scope="module")
def device() -> CpuDevice:
    return CpuDevice()


def test_work_counts_multiply_adds_as_two_and_each_operand_once() -> None:
    w = Gemm(m=2, n=3, k=5, precision="fp16", batch=7).work()
    assert w.flops == 2 * 2 * 3 * 5 * 7
    assert w.bytes == 7 * 2 * (2 * 5 + 5 * 3 + 2 * 3)
    assert w.intensity == w.flops / w.bytes


@pytest.mark.parametrize("transpose", ["nn", "nt", "tn", "tt"])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("precision", ["fp64", "fp32", "bf16", "fp16"])
def test_right_results_pass_the_check(
    device: CpuDevice, transpose: str, batch: int, precision: str
) -> None:
    work = Gemm(m=33, n=17, k=65, precision=precision, batch=batch, transpose=transpose)
    accuracy = work.check(device, seed=3, data="normal")
    assert accuracy.ok, accuracy
    # A bound far above the error would let anything pass.
    assert accuracy.rel_error > accuracy.tolerance / 200


@pytest.mark.parametrize("k", [64, 4096])
def test_tf32_in_place_of_fp32_does_not_pass(device: CpuDevice, k: int) -> None:
    work = Gemm(m=32, n=32, k=k, precision="fp32")
    a, b, _ = work._operands(device, 1, "normal")
    rounded = [torch.from_numpy(_to_tf32(x.numpy())) for x in (a, b)]
    out, reference = rounded[0] @ rounded[1], a.double() @ b.double()
    error = float((out.double() - reference).norm() / reference.norm())
    assert error > 10 * work.tolerance()
    assert error < Gemm(m=32, n=32, k=k, precision="tf32").tolerance()


def _to_tf32(x):  # type: ignore[no-untyped-def]
    """Round to 10 explicit mantissa bits, to nearest."""
    import numpy as np

    bits = x.view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


def test_an_element_nobody_wrote_shows(device: CpuDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.mm

    def forgets_a_column(a: torch.Tensor, b: torch.Tensor, *, out: torch.Tensor) -> None:
        out[:, :-1] = real(a, b)[:, :-1]

    monkeypatch.setattr(torch, "mm", forgets_a_column)
    accuracy = Gemm(m=16, n=16, k=16).check(device, seed=1, data="normal")
    assert math.isnan(accuracy.rel_error)
    assert not accuracy.ok


def test_wrong_indexing_shows(device: CpuDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.mm
    monkeypatch.setattr(torch, "mm", lambda a, b, out: out.copy_(real(a, b).flip(0)))
    assert not Gemm(m=16, n=16, k=16).check(device, seed=1, data="zeros").ok


def test_build_multiplies_into_one_output(device: CpuDevice) -> None:
    call = Gemm(m=8, n=4, k=6, transpose="tn").build(device, seed=5, data="uniform")
    first, second = call(), call()
    assert isinstance(first, torch.Tensor)
    assert isinstance(second, torch.Tensor)
    assert first.data_ptr() == second.data_ptr()
    assert first.shape == (8, 4)


def test_inputs_follow_seed_and_distribution(device: CpuDevice) -> None:
    g = Gemm(m=64, n=64, k=64)
    a1, _, _ = g._operands(device, 1, "normal")
    a2, _, _ = g._operands(device, 1, "normal")
    a3, _, _ = g._operands(device, 2, "normal")
    u, _, _ = g._operands(device, 1, "uniform")
    z, _, _ = g._operands(device, 1, "zeros")
    assert torch.equal(a1, a2)
    assert not torch.equal(a1, a3)
    assert float(u.abs().max()) <= 1.0
    assert float(z.abs().max()) == 0.0


def test_labels() -> None:
    assert Gemm(m=1, n=2, k=3).label() == "1x2x3"
    assert Gemm(m=1, n=2, k=3, batch=4, transpose="nt").label() == "4x 1x2x3 nt"


def test_fp8_is_refused_with_the_reason() -> None:
    from tests.builders import A100

    assert "scale factors" in str(Gemm(m=1, n=1, k=1, precision="fp8").unsupported(A100))


@pytest.mark.parametrize("data", ["uniform", "positive", "wide", "cancelling"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("k", [1, 65, 512])
def test_right_results_pass_whatever_the_data(
    device: CpuDevice, data: str, precision: str, k: int
) -> None:
    accuracy = Gemm(m=40, n=24, k=k, precision=precision).check(device, seed=3, data=data)
    assert accuracy.ok, accuracy


def test_cancellation_raises_the_error_and_with_it_the_bound(device: CpuDevice) -> None:
    work = Gemm(m=64, n=64, k=1024)
    plain, hard = (work.check(device, seed=3, data=d) for d in ("normal", "cancelling"))
    assert hard.rel_error > 20 * plain.rel_error
    assert 30 < hard.tolerance / plain.tolerance < 200


def test_positive_and_wide_data_are_what_they_say(device: CpuDevice) -> None:
    a, _, _ = Gemm(m=200, n=8, k=200)._operands(device, 1, "positive")
    assert float(a.min()) >= 0
    a, _, _ = Gemm(m=200, n=8, k=200)._operands(device, 1, "wide")
    assert 1e4 < float(a.abs().max() / a.abs().min()) < 2**14.1
    assert 0.4 < float((a > 0).double().mean()) < 0.6
