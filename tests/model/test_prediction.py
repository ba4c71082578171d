from __future__ import annotations

import doctest
import json
from pathlib import Path

import numpy as np
import pytest

import gpubench.model.article
from gpubench.catalogue import find
from gpubench.errors import InputError, UnknownName
from gpubench.model import predict, predict_columns
from gpubench.model.explain import explain
from gpubench.model.prediction import predict_cases


def test_the_article_s_worked_example() -> None:
    result = doctest.testmod(gpubench.model.article)
    assert result.failed == 0
    assert result.attempted >= 6


@pytest.mark.parametrize(
    ("workload", "precision", "params", "message"),
    [
        ("gemm", "fp32", {"m": 1, "n": 1}, "k: missing"),
        ("gemm", "fp32", {"m": 0.5, "n": 1, "k": 1}, "m: 0.5 is not possible"),
        ("gemm", "fp32", {"m": -4, "n": 1, "k": 1}, "at least"),
        ("gemm", "fp32", {"m": "many", "n": 1, "k": 1}, "'many' is not a number"),
        ("gemm", "fp32", {"size": 64, "transpose": "xn"}, "transpose"),
        ("softmax", "fp32", {"rows": 5}, "cols: missing"),
        ("elementwise", "fp32", {"function": "gleu", "rows": 5, "cols": 5}, "gelu"),
        ("conv2d", "fp32", {"batch": 1, "c_in": 1, "c_out": 1, "size": 2, "kernel_size": 5},
         "larger than"),
        ("conv2d", "fp32", {"batch": 1, "c_in": 1, "c_out": 1, "size": 9,
                            "direction": "forward"}, "direction"),
        ("collective", "fp32", {"op": "allreduce", "bytes": 4, "world_size": 1}, "at least 2"),
        ("gemm", "fp8", {"size": 64}, "Ada, Hopper"),
        ("gemm", "fp23", {"size": 64}, "unknown precision"),
    ],
)  # fmt: skip
def test_bad_cases_say_what_is_wrong(
    workload: str, precision: str, params: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        predict(find("v100"), workload, precision, params)


def test_unknown_workload_suggests() -> None:
    with pytest.raises(UnknownName, match="did you mean 'softmax'"):
        predict(find("v100"), "sotfmax", "fp32", {"rows": 1, "cols": 1})


def test_columns_agree_with_single_predictions_in_any_order() -> None:
    gpus = [find(n) for n in ("a100", "t4", "h100", "p100", "a100", "l4")]
    workloads = ["gemm", "softmax", "conv2d", "linear", "attention", "gemm"]
    precisions = ["bf16", "fp32", "fp32", "fp32", "fp16", "fp32"]
    params = {
        "m": ["512", "", "", 100, "", 64], "n": ["512", "", "", 200, "", 64],
        "k": ["512", "", "", 300, "", 64], "rows": ["", 1000, "", "", "", ""],
        "cols": ["", 2000, "", "", "", ""], "batch": ["", "", 8, "", 4, 16],
        "c_in": ["", "", 64, "", "", ""], "c_out": ["", "", 64, "", "", ""],
        "size": ["", "", 56, "", "", ""], "padding": ["", "", 1, "", "", ""],
        "heads": ["", "", "", "", 12, ""], "seq_len": ["", "", "", "", 512, ""],
        "backend": ["", "", "", "", "math", ""],
    }  # fmt: skip
    got = predict_columns(gpus, workloads, precisions, params)
    assert not got.errors
    for i, gpu in enumerate(gpus):
        own = {k: v[i] for k, v in params.items() if v[i] != ""}
        one = predict(gpu, workloads[i], precisions[i], own)
        assert got.predicted_s[i] == pytest.approx(one.predicted_s)
        assert got.low_s[i] == pytest.approx(one.low_s)
        assert got.bound[i] == one.bound
        assert bool(got.on_tensor_cores[i]) == one.on_tensor_cores


def test_bad_rows_keep_their_place() -> None:
    gpus = [find("v100"), find("v100"), find("v100"), find("a100")]
    got = predict_columns(gpus, ["gemm", "gemm", "gemm", "gemm"],
                          ["fp32", "bf16", "fp32", "bf16"],
                          {"size": ["64", "64", "no", "64"]})  # fmt: skip
    assert sorted(got.errors) == [1, 2]
    assert "Ampere" in got.errors[1]
    assert np.isnan(got.predicted_s[[1, 2]]).all()
    assert got.bound[1] == ""
    assert (got.predicted_s[[0, 3]] > 0).all()


@pytest.mark.parametrize(
    ("workload", "params"),
    [("elementwise", {"function": "add", "rows": 4096, "cols": 4096}),
     ("memcpy", {"bytes": 1 << 26})],
)  # fmt: skip
def test_explained_terms_can_be_redone_by_hand(workload: str, params: dict[str, object]) -> None:
    gpu = find("a100")
    p = predict(gpu, workload, "fp32", params)
    value = {line.name: line.value for line in explain(gpu, workload, "fp32", params, p)}
    memory = value.get("dram_bytes", value.get("bytes"))
    assert float(memory) / float(value["bandwidth"]) == pytest.approx(p.memory_s)  # type: ignore[arg-type]
    assert value["predicted"] == p.predicted_s


@pytest.mark.parametrize("workload", ["softmax", "layernorm"])
def test_explained_row_wise_kernels_redone_by_hand(workload: str) -> None:
    from gpubench.model.constants import constants

    p = predict(find("v100"), workload, "fp32", {"rows": 5000, "cols": 6000})
    v = {n: float(d.value[0]) for n, d in p.terms.items()}
    q = constants()[workload]["overlap_p"]
    once = v["one_pass"] / v["bandwidth"]
    total = v["launch_s"] + v["again"] * once + ((2 * once) ** q + p.compute_s**q) ** (1 / q)
    assert v["one_pass"] == 5000 * 6000 * 4
    assert total == pytest.approx(p.predicted_s)
    assert p.memory_s == pytest.approx((2 + v["again"]) * once)


def test_explained_gemm_redone_by_hand() -> None:
    gpu = find("v100")
    params = {"m": 1000, "n": 2000, "k": 512, "batch": 8}
    p = predict(gpu, "gemm", "fp32", params)
    v = {n: float(d.value[0]) for n, d in p.terms.items()}
    tiles = -(-2000 // v["tile_x"]) * -(-1000 // v["tile_y"])
    assert v["blocks"] == 8 * tiles * v["split"]
    assert v["waves"] == -(-v["blocks"] // gpu.sm_count)
    from gpubench.model.constants import constants

    g = constants()["gemm"]
    compute = v["waves"] * v["tile_x"] * v["tile_y"] * (512 / v["split"] + g["prologue_k"])
    assert compute / v["rate"] / v["clock_share"] == pytest.approx(p.compute_s)
    q = g["overlap_p"]
    total = v["launch_s"] + (p.compute_s**q + p.memory_s**q) ** (1 / q)
    assert total == pytest.approx(p.predicted_s)


@pytest.mark.parametrize(
    ("workload", "params", "moved"),
    [
        ("triad", {"elements": 10**8}, 3 * 4e8),
        ("reduction", {"rows": 10**4, "cols": 10**4, "axis": 0}, 4e8),
        ("embedding", {"tokens": 10**5, "dim": 1000, "vocab": 50000}, 2 * 4e8),
    ],
)
def test_streams_without_rows_of_their_own_go_by_their_bytes(
    workload: str, params: dict[str, int], moved: float
) -> None:
    gpu = find("a100-sxm4-40gb")
    found = predict(gpu, workload, "fp32", params)
    assert found.bound == "memory"
    rate = moved / found.predicted_s
    assert 0.8 * gpu.memory_bw_bytes_per_s < rate < gpu.memory_bw_bytes_per_s


def test_rectangular_images_go_by_their_sides() -> None:
    gpu = find("v100-sxm2-16gb")
    conv = {"batch": 64, "c_in": 64, "c_out": 64, "size": 64, "kernel_size": 5, "padding": 2}
    square = predict(gpu, "conv2d", "fp32", conv)
    assert predict(gpu, "conv2d", "fp32", {**conv, "width": 64, "kernel_width": 5}) == square
    half = predict(gpu, "conv2d", "fp32", {**conv, "width": 32})
    assert 0.4 < half.predicted_s / square.predicted_s < 0.7
    thin = predict(gpu, "conv2d", "fp32", {**conv, "kernel_width": 1, "padding": 0})
    assert thin.predicted_s < 0.4 * square.predicted_s
    tall, wide = ({**conv, "size": h, "width": w} for h, w in ((32, 128), (128, 32)))
    assert predict(gpu, "conv2d", "fp32", tall).predicted_s == pytest.approx(
        predict(gpu, "conv2d", "fp32", wide).predicted_s, rel=0.05
    )
    with pytest.raises(InputError, match="larger than the padded image"):
        predict(gpu, "conv2d", "fp32", {**conv, "width": 2, "padding": 0})


def test_what_the_model_does_not_know_is_refused_not_guessed() -> None:
    gpu = find("v100-sxm2-16gb")
    conv = {"batch": 8, "c_in": 64, "c_out": 64, "size": 56, "padding": 1}
    assert predict(gpu, "conv2d", "fp32", {**conv, "algorithm": "eng12_k5=1"}) == predict(
        gpu, "conv2d", "fp32", conv
    )
    for workload, params, text in (
        ("rnn", {"hidden": 64, "direction": "forward_backward"}, "forward pass of rnn only"),
        ("attention", {"seq_len": 64, "direction": "forward_backward"}, "forward pass of att"),
        ("conv2d", {**conv, "algorithm": "winogard"}, "winograd"),
    ):
        with pytest.raises(InputError, match=text):
            predict(gpu, workload, "fp32", params)


def test_cases_keep_the_case_of_a_path(tmp_path: Path) -> None:
    """Words are compared without regard to case; the path of a model's configuration is no word."""
    pytest.importorskip("transformers")
    config = {"model_type": "bert", "hidden_size": 64, "num_hidden_layers": 1,
              "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 99}  # fmt: skip
    path = tmp_path / "Config.JSON"
    path.write_text(json.dumps(config))
    found = predict_cases([
        (find("v100"), "model", "fp32", {"model": str(path), "batch": 2, "seq_len": 8}),
        (find("v100"), "gemm", "fp16", {"size": 256, "transpose": "NT"}),
        (None, "gemm", "fp16", {"size": 256}),
        (find("v100"), "unheard-of", "fp16", {}),
    ])  # fmt: skip
    assert set(found.errors) == {2, 3}
    assert found.predicted_s[0] > 0
    assert found.predicted_s[1] == predict_cases(
        [(find("v100"), "gemm", "fp16", {"size": 256, "transpose": "nt"})]
    ).predicted_s[0]  # fmt: skip
