from __future__ import annotations

import pytest

from gpubench.catalogue import find
from gpubench.catalogue.published import comparability, published, same_work


def test_every_row_names_a_known_gpu_and_its_source() -> None:
    rows = published()
    assert len(rows) > 5000
    for p in rows:
        assert find(p.gpu_key).key == p.gpu_key
        assert p.source
        assert p.where
        assert (p.time_s is None) != (p.throughput is None)
        assert (p.time_s or p.throughput or 0) > 0


def test_filters() -> None:
    rows = published(gpu="v100-sxm2-16gb", workload="gemm", precision="fp16")
    assert rows
    assert {(p.gpu_key, p.workload, p.precision, p.tensor_cores) for p in rows} == {
        ("v100-sxm2-16gb", "gemm", "fp16", True)
    }


def test_same_work_finds_deepbench_in_row_major_terms() -> None:
    # DeepBench row: column-major m=1760, n=128, k=1760, neither transposed.
    params = {"m": 128, "n": 1760, "k": 1760}
    (found,) = same_work("gemm", "fp32", params, "v100-sxm2-16gb")
    assert found.time_s == pytest.approx(2 * 128 * 1760 * 1760 / 12e12, rel=0.5)
    assert "DeepBench" in comparability(found)
    assert same_work("gemm", "fp32", {**params, "transpose": "nt"}, "v100-sxm2-16gb") != (found,)
    assert same_work("gemm", "fp32", {**params, "m": 127}, "v100-sxm2-16gb") == ()
    assert same_work("gemm", "fp32", params, "a100-sxm4-40gb") == ()


def test_same_work_ignores_how_it_is_done_and_fills_defaults() -> None:
    p = next(p for p in published(workload="conv2d", precision="fp32") if p.params.get("direction"))
    params = {**p.params, "layout": "nhwc", "algorithm": "auto"}
    assert p in same_work("conv2d", "fp32", params, p.gpu_key)
    square = {"m": 1760, "n": 1760, "k": 1760}
    assert same_work("gemm", "fp32", {"size": 1760}, "x") == same_work("gemm", "fp32", square, "x")
    assert same_work("attention", "fp16", {"batch": 1}, "v100-sxm2-16gb") == ()
