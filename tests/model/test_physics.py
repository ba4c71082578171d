"""What any cost model must obey, whatever its constants."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpubench.catalogue import find, gpus, with_changes
from gpubench.model import predict
from gpubench.model.constants import constants, described
from gpubench.model.roofline import roofline_s

GPUS = [g.key for g in gpus()]
SIZES = st.integers(1, 4096)
CASES: list[tuple[str, dict[str, object]]] = [
    ("gemm", {"m": 1024, "n": 1024, "k": 1024}),
    ("gemm", {"m": 256, "n": 256, "k": 64, "batch": 64, "transpose": "nt"}),
    ("linear", {"m": 4096, "n": 1024, "k": 1024}),
    ("elementwise", {"function": "gelu", "rows": 8192, "cols": 4096}),
    ("softmax", {"rows": 8192, "cols": 4096}),
    ("layernorm", {"rows": 8192, "cols": 1024}),
    ("memcpy", {"bytes": 1 << 28, "direction": "d2d"}),
    ("conv2d", {"batch": 32, "c_in": 128, "c_out": 128, "size": 28, "kernel_size": 3,
                "stride": 1, "padding": 1}),
    ("conv2d", {"batch": 32, "c_in": 256, "c_out": 512, "size": 28, "kernel_size": 1,
                "stride": 2, "padding": 0, "direction": "wgrad"}),
    ("attention", {"batch": 8, "heads": 16, "seq_len": 1024, "head_dim": 64, "causal": True}),
    ("attention", {"batch": 8, "heads": 16, "seq_len": 1024, "head_dim": 64,
                   "backend": "math"}),
    ("rnn", {"cell": "lstm", "batch": 64, "seq_len": 100, "hidden": 1024}),
    ("collective", {"op": "allreduce", "bytes": 1 << 28, "world_size": 8}),
]  # fmt: skip


@pytest.mark.parametrize("gpu", GPUS)
def test_every_gpu_precision_and_operator(gpu: str) -> None:
    spec = find(gpu)
    for precision in ("fp64", "fp32", "tf32", "fp16", "bf16", "fp8"):
        if not spec.supports(precision):
            continue
        for workload, params in CASES:
            p = predict(spec, workload, precision, params)
            assert 0 < p.low_s < p.predicted_s < p.high_s < 100
            assert p.bound in ("compute", "memory", "launch")
            assert p.predicted_s >= 0.99 * max(p.compute_s, p.memory_s) or workload == "rnn"
            assert p.energy_j is None or 0 < p.energy_j < 4e4
            assert p.on_tensor_cores == (precision != "fp32" and p.on_tensor_cores)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(GPUS), SIZES, SIZES, SIZES, st.sampled_from(["fp32", "fp16"]),
       st.sampled_from(["m", "n", "k"]))  # fmt: skip
def test_gemm_never_gets_faster_with_much_more_work(
    gpu: str, m: int, n: int, k: int, precision: str, grow: str
) -> None:
    spec = find(gpu)
    if not spec.supports(precision):
        return
    small = {"m": m, "n": n, "k": k}
    large = {**small, grow: 4 * small[grow] + 256}
    before = predict(spec, "gemm", precision, small).predicted_s
    after = predict(spec, "gemm", precision, large).predicted_s
    assert after >= 0.97 * before - 6e-6  # a grid of a few blocks draws less bandwidth


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(GPUS), st.integers(1, 1 << 16), st.integers(1, 8192),
       st.sampled_from(["elementwise", "layernorm", "softmax"]))  # fmt: skip
def test_more_rows_never_cost_less(gpu: str, rows: int, cols: int, workload: str) -> None:
    spec = find(gpu)
    extra = {"function": "add"} if workload == "elementwise" else {}
    one = predict(spec, workload, "fp32", {"rows": rows, "cols": cols, **extra}).predicted_s
    two = predict(spec, workload, "fp32", {"rows": 2 * rows, "cols": cols, **extra}).predicted_s
    assert one <= two <= 2.6 * one


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(GPUS), st.integers(64, 4096), st.integers(64, 4096))
def test_tensor_product_of_k_major_operands_is_nearly_symmetric(gpu: str, m: int, n: int) -> None:
    spec = find(gpu)
    if not spec.supports("fp16") or not spec.has_tensor_cores:
        return
    one = predict(spec, "gemm", "fp16", {"m": m, "n": n, "k": 1024, "transpose": "nt"})
    two = predict(spec, "gemm", "fp16", {"m": n, "n": m, "k": 1024, "transpose": "nt"})
    assert one.predicted_s == pytest.approx(two.predicted_s, rel=0.25)


@pytest.mark.parametrize(("workload", "params"), CASES)
def test_more_bandwidth_never_hurts(workload: str, params: dict[str, object]) -> None:
    a100 = find("a100")
    before = predict(a100, workload, "fp32", params)
    after = predict(with_changes(a100, {"memory_bw": 2 * 1555e9}), workload, "fp32", params)
    assert after.predicted_s <= before.predicted_s * (1 + 1e-9)


def test_what_if_doubling_bandwidth_halves_a_copy() -> None:
    params = {"bytes": 1 << 30, "direction": "d2d"}
    a100 = find("a100")
    before = predict(a100, "memcpy", "fp32", params)
    after = predict(with_changes(a100, {"memory_bw": 2 * 1555e9}), "memcpy", "fp32", params)
    assert after.memory_s == pytest.approx(before.memory_s / 2)


def test_tensor_cores_beat_cuda_cores_on_large_products() -> None:
    shape = {"size": 8192}
    for gpu, least in (("v100", 4), ("a100", 8), ("h100", 8)):
        fp32 = predict(find(gpu), "gemm", "fp32", shape).predicted_s
        fp16 = predict(find(gpu), "gemm", "fp16", shape).predicted_s
        assert fp32 / fp16 > least


def test_no_prediction_beats_the_datasheet() -> None:
    for gpu in gpus():
        for precision in ("fp32", "fp16", "bf16", "fp8"):
            if gpu.supports(precision):
                p = predict(gpu, "gemm", precision, {"size": 8192})
                peak = gpu.peak_flops(precision)
                if precision == "fp16" and not gpu.has_tensor_cores:
                    peak = max(peak or 0, gpu.fp32_flops)  # computed in FP32 where faster
                assert peak is not None
                assert 2 * 8192**3 / p.predicted_s < peak


def test_a_low_power_limit_slows_products_not_copies() -> None:
    a100 = find("a100")
    capped = with_changes(a100, {"tdp": 100})
    product, copy = {"size": 8192}, {"bytes": 1 << 30}
    assert predict(capped, "gemm", "fp32", product).predicted_s > 1.3 * (
        predict(a100, "gemm", "fp32", product).predicted_s
    )
    assert predict(capped, "memcpy", "fp32", copy).predicted_s == pytest.approx(
        predict(a100, "memcpy", "fp32", copy).predicted_s
    )


def test_a_small_board_loses_more_of_its_limit_to_idling() -> None:
    tiny = {"m": 1, "n": 1, "k": 1}  # next to no work: what is drawn is drawn idle
    shares = []
    for name in ("t4", "v100", "h100"):
        gpu = find(name)
        p = predict(gpu, "gemm", "fp32", tiny)
        assert p.energy_j is not None
        assert gpu.tdp_w is not None
        shares.append(p.energy_j / p.predicted_s / gpu.tdp_w)
    assert 0.5 > shares[0] > shares[1] > shares[2] > 0.03


@pytest.mark.parametrize("gpu", ["p100", "v100", "a100"])
def test_long_rows_along_k_cost_address_translation(gpu: str) -> None:
    def slower(k: int) -> float:
        times = [
            predict(find(gpu), "gemm", "fp32", {"m": 4096, "n": 4096, "k": k, "transpose": t})
            for t in ("nt", "nn")
        ]
        return times[0].compute_s / times[1].compute_s

    assert slower(1024) == pytest.approx(1, abs=0.02)
    assert slower(65536) > 1.1


def test_tf32_costs_twice_the_energy_per_flop_of_fp16() -> None:
    a100 = find("a100")
    fp16, tf32 = (predict(a100, "gemm", p, {"size": 512}) for p in ("fp16", "tf32"))
    assert fp16.energy_j is not None
    assert tf32.energy_j is not None
    assert tf32.energy_j > 1.3 * fp16.energy_j  # idle power and memory beside it


def test_causal_fused_attention_is_about_half() -> None:
    params = {"batch": 8, "heads": 16, "seq_len": 4096, "head_dim": 128, "backend": "flash"}
    full = predict(find("a100"), "attention", "bf16", params)
    causal = predict(find("a100"), "attention", "bf16", {**params, "causal": True})
    assert causal.compute_s == pytest.approx(full.compute_s / 2, rel=0.05)
    apart = predict(find("a100"), "attention", "bf16", {**params, "backend": "math"})
    assert apart.predicted_s > 2 * full.predicted_s


def test_constants_lie_within_their_bounds_and_say_what_they_mean() -> None:
    for group, names in described().items():
        fitted = [n for n, d in names.items() if d["fitted"]]
        assert len(fitted) <= 11, group
        for name, d in names.items():
            assert d["meaning"]
            if d["fitted"]:
                assert d["low"] <= d["value"] <= d["high"], (group, name)
            else:
                assert d["source"], (group, name)
    assert constants()["gemm"]["efficiency"] <= 1


def test_roofline_is_the_larger_of_compute_and_memory() -> None:
    a100 = find("a100")
    t = roofline_s("gemm", "fp32", a100, {"m": 4096, "n": 4096, "k": 4096})
    assert float(t) == pytest.approx(2 * 4096**3 / 19.5e12)
    t = roofline_s("elementwise", "fp32", a100, {"rows": 1000, "cols": 1000, "inputs": 1})
    assert float(t) == pytest.approx(8e6 / 1555e9)
