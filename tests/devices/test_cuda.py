from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from gpubench.devices import cuda
from gpubench.errors import InputError, Unsupported


def device() -> cuda.CudaDevice:
    made = object.__new__(cuda.CudaDevice)
    made.info = cuda.describe(0, properties("NVIDIA A100-SXM4-40GB", 8, 0, 40, 108), 39 * 2**30)
    return made


def properties(name: str, major: int, minor: int, gib: int, sms: int) -> SimpleNamespace:
    return SimpleNamespace(
        name=name, major=major, minor=minor, total_memory=gib * 2**30, multi_processor_count=sms,
        L2_cache_size=40 * 2**20, uuid="8a5f",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("cc", "missing"),
    [
        ((6, 1), {"tf32", "bf16", "fp8"}),
        ((7, 0), {"tf32", "bf16", "fp8"}),
        ((8, 0), {"fp8"}),
        ((8, 9), set()),
        ((9, 0), set()),
        ((12, 0), set()),
    ],
)
def test_precisions_by_architecture(cc: tuple[int, int], missing: set[str]) -> None:
    found = cuda.unsupported_precisions(cc)
    assert set(found) == missing
    if "tf32" in missing:
        assert "Ampere" in found["tf32"]


def test_description_matches_the_catalogue() -> None:
    info = device().info
    assert info.gpu_key == "a100-sxm4-40gb"
    assert info.architecture == "Ampere"
    assert info.torch_name == "cuda:0"
    assert info.uuid == "GPU-8a5f"
    assert info.memory_bytes == int(39 * 2**30 * cuda.MEMORY_SHARE)


@pytest.mark.parametrize(
    ("cc", "archs", "ok"),
    [
        ((8, 0), ["sm_70", "sm_80", "sm_90"], True),
        ((8, 6), ["sm_80"], True),
        ((7, 0), ["sm_75", "sm_80", "sm_90", "sm_100"], False),
        ((6, 1), ["sm_75", "sm_80"], False),
        ((8, 0), ["sm_86"], False),
        ((12, 0), ["sm_80", "sm_90", "compute_90"], True),
        ((9, 0), ["sm_90a"], True),
        ((10, 0), ["sm_80", "sm_90"], False),
        ((8, 0), [], True),
    ],
)
def test_wheel_and_device(cc: tuple[int, int], archs: list[str], ok: bool) -> None:
    found = cuda.wheel_mismatch(cc, archs)
    assert (found is None) is ok
    if found and cc < (7, 5):
        assert "cu126" in found


def test_tf32_is_on_for_tf32_cases_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"):
        monkeypatch.delenv(name, raising=False)
    made = device()
    try:
        made.prepare("tf32")
        assert torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cudnn.allow_tf32
        for precision in ("fp32", "fp16", "bf16", "fp64"):
            made.prepare(precision)
            assert not torch.backends.cuda.matmul.allow_tf32
            assert not torch.backends.cudnn.allow_tf32
            assert torch.get_float32_matmul_precision() == "highest"
    finally:
        made.prepare("fp32")


@pytest.mark.parametrize(
    ("name", "value", "precision"),
    [
        ("NVIDIA_TF32_OVERRIDE", "0", "tf32"),
        ("NVIDIA_TF32_OVERRIDE", "1", "fp32"),
        ("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "1", "fp32"),
    ],
)
def test_an_override_that_decides_otherwise_is_a_skip_with_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, precision: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Unsupported, match=name):
        device().prepare(precision)
    device().prepare("bf16")


def test_input_sets_rotate_over_twice_the_cache() -> None:
    made = device()
    mib = 2**20
    assert made.input_sets(10 * mib, "auto", 5e-6) == 9
    assert made.input_sets(10 * mib, "auto", 1e-3) == 1
    assert made.input_sets(10 * mib, "rotating", 1e-3) == 9
    assert made.input_sets(10 * mib, "hot", 5e-6) == 1
    assert made.input_sets(10, "auto", 5e-6) == 64
    assert made.input_sets(200 * mib, "auto", 5e-6) == 1


def test_no_device_is_one_message() -> None:
    if torch.cuda.is_available():
        pytest.skip("a CUDA device is there")
    with pytest.raises(InputError, match="CUDA build of torch"):
        cuda.CudaDevice(0)
