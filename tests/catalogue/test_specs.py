from __future__ import annotations

import re
import subprocess
import sys

import pytest

from gpubench.catalogue import GpuSpec, derive, family, find, gpus, match, with_changes
from gpubench.errors import InputError, UnknownName

PRECISIONS = ("fp64", "fp32", "tf32", "fp16", "bf16", "fp8")


def test_catalogue_has_unique_keys_and_aliases() -> None:
    keys = [g.key for g in gpus()]
    assert len(keys) == len(set(keys)) == 50
    owner: dict[str, str] = {}
    for g in gpus():
        for alias in g.aliases:
            assert owner.setdefault(alias.lower(), g.key) == g.key


@pytest.mark.parametrize("gpu", gpus(), ids=lambda g: g.key)
def test_fp32_peak_is_lanes_times_clock(gpu: GpuSpec) -> None:
    computed = 2 * gpu.sm_count * gpu.fp32_cores_per_sm * gpu.boost_hz
    tolerance = 0.09 if gpu.key == "titan-v" else 0.02  # its CUDA clock is capped; see its notes
    assert computed == pytest.approx(gpu.fp32_flops, rel=tolerance)


@pytest.mark.parametrize("gpu", gpus(), ids=lambda g: g.key)
def test_every_row_is_sourced_and_in_si_units(gpu: GpuSpec) -> None:
    assert gpu.source
    assert 1e9 < gpu.boost_hz < 4e9
    assert 1e11 < gpu.memory_bw_bytes_per_s < 1e13
    assert 2**30 < gpu.memory_bytes < 2**40
    assert 2**20 <= gpu.l2_bytes < 2**28


@pytest.mark.parametrize("gpu", gpus(), ids=lambda g: g.key)
def test_support_and_reason_agree(gpu: GpuSpec) -> None:
    for precision in PRECISIONS:
        reason = gpu.why_not(precision)
        assert gpu.supports(precision) == (reason == "")
        if reason:
            assert gpu.key in reason
            assert re.search(r"and later|other GPUs", reason)


def test_fp32_is_never_tensor_cores() -> None:
    a100 = find("a100")
    assert a100.peak_flops("fp32") == 19.5e12
    assert a100.peak_flops("fp32", tensor=True) is None
    assert a100.peak_flops("tf32") == 156e12
    assert a100.peak_flops("fp16", tensor=False) == 78e12
    assert find("p100").peak_flops("fp16") == 18.7e12
    with pytest.raises(UnknownName, match="did you mean 'fp16'"):
        a100.peak_flops("fp166")


@pytest.mark.parametrize(
    ("name", "key"),
    [("a100", "a100-sxm4-40gb"), ("A100", "a100-sxm4-40gb"), ("V100", "v100-sxm2-16gb"),
     ("Tesla T4", "t4"), ("NVIDIA H100 80GB HBM3", "h100-sxm5-80gb"), ("rtx_4090", "rtx-4090"),
     ("h100-pcie", "h100-pcie-80gb"), ("a100-sxm4-80gb", "a100-sxm4-80gb")],
)  # fmt: skip
def test_find(name: str, key: str) -> None:
    assert find(name).key == key


def test_find_suggests_the_nearest() -> None:
    with pytest.raises(UnknownName) as caught:
        find("a1000")
    assert caught.value.nearest == "a100"


def test_family_holds_the_variants() -> None:
    assert {g.key for g in family("v100")} == {"v100-sxm2-16gb", "v100-sxm2-32gb"}


@pytest.mark.parametrize(
    ("name", "facts", "key"),
    [
        ("NVIDIA A100-SXM4-40GB", {"memory_bytes": 42_505_273_344}, "a100-sxm4-40gb"),
        ("NVIDIA A100-SXM4-80GB", {"memory_bytes": 85_098_233_856}, "a100-sxm4-80gb"),
        ("Tesla V100-SXM2-16GB", {"memory_bytes": 16_935_682_048, "sm_count": 80},
         "v100-sxm2-16gb"),
        ("NVIDIA Tesla T4", {"memory_bytes": 15_843_721_216, "sm_count": 40}, "t4"),
        ("NVIDIA H100 80GB HBM3", {"sm_count": 132, "boost_hz": 1.98e9}, "h100-sxm5-80gb"),
        ("GeForce RTX 3080", {"memory_bytes": 10_737_418_240}, "rtx-3080"),
    ],
)  # fmt: skip
def test_match(name: str, facts: dict[str, int], key: str) -> None:
    found = match(name, **facts)  # type: ignore[arg-type]
    assert found is not None
    assert found.key == key


@pytest.mark.parametrize(
    ("name", "facts"),
    [("NVIDIA Imaginary 9000", {}),
     ("GeForce RTX 3080", {"memory_bytes": 24 * 2**30}),
     ("NVIDIA A100-SXM4-40GB", {"sm_count": 14})],  # a MIG slice is not the whole GPU
)  # fmt: skip
def test_no_match(name: str, facts: dict[str, int]) -> None:
    assert match(name, **facts) is None  # type: ignore[arg-type]


def test_derive_agrees_with_the_datasheet_of_a_known_gpu() -> None:
    a100 = find("a100")
    d = derive(
        a100.nvml_name, compute_capability=(8, 0), sm_count=108, boost_hz=1.41e9,
        memory_bytes=a100.memory_bytes, l2_bytes=a100.l2_bytes, memory_clock_hz=1.215e9,
        memory_bus_bits=5120,
    )  # fmt: skip
    assert d.fp32_flops == pytest.approx(a100.fp32_flops, rel=0.01)
    assert d.peak_flops("bf16") == pytest.approx(a100.peak_flops("bf16"), rel=0.01)
    assert d.memory_bw_bytes_per_s == pytest.approx(a100.memory_bw_bytes_per_s, rel=0.01)
    assert d.source.startswith("derived")
    assert d.tdp_w is None
    with pytest.raises(ValueError, match="bandwidth"):
        derive("x", compute_capability=(8, 0), sm_count=1, boost_hz=1e9, memory_bytes=1,
               l2_bytes=1)  # fmt: skip


def test_what_if_scales_the_peaks() -> None:
    a100 = find("a100")
    wider = with_changes(a100, {"sm": 216})
    assert wider.fp32_flops == pytest.approx(2 * a100.fp32_flops)
    assert wider.memory_bw_bytes_per_s == a100.memory_bw_bytes_per_s
    assert "what-if" in wider.source
    own = with_changes(a100, {"boost_hz": 2.82e9, "fp32_flops": 1e12})
    assert own.fp32_flops == 1e12
    assert own.fp16_tensor_flops == pytest.approx(624e12)


def test_what_if_refuses_nonsense() -> None:
    with pytest.raises(UnknownName, match="memory_bw"):
        with_changes(find("a100"), {"memory_bv": 1e12})
    with pytest.raises(InputError, match="above 0"):
        with_changes(find("a100"), {"memory_bw": 0})


def test_import_is_light() -> None:
    code = "import sys, gpubench.catalogue as c; c.gpus(); print('numpy' in sys.modules)"
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert got.stdout.strip() == "False"
