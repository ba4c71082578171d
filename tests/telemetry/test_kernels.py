from __future__ import annotations

import pytest

from gpubench.spec import DeviceInfo
from gpubench.telemetry.kernels import classify, judge
from tests.builders import A100, gemm_case


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("volta_sgemm_128x64_nn", "not_tensor"),
        ("ampere_sgemm_64x32_sliced1x4_nn", "not_tensor"),
        ("volta_s884gemm_fp16_128x128_ldg8_f2f_nn", "tensor"),
        ("turing_fp16_s1688gemm_fp16_128x128_ldg8_f2f_nn", "tensor"),
        ("ampere_bf16_s16816gemm_bf16_128x256_ldg8_f2f_stages_64x3_nn", "tensor"),
        ("cutlass_80_tensorop_s1688gemm_128x128_16x5_nn_align4", "tensor"),
        ("cutlass_80_simt_sgemm_128x64_8x5_nn_align1", "not_tensor"),
        ("sm80_xmma_gemm_f32f32_tf32f32_f32_nn_n_tilesize128x128x16", "tensor"),
        ("sm90_xmma_gemm_bf16bf16_bf16f32_f32_nn_n_tilesize64x128x64_warpgroupsize1x1x1", "tensor"),
        ("nvjet_hsh_128x256_64x4_2x1_v_bz_coopA_NNT", "tensor"),
        ("void gemvNSP_kernel<float>", "not_tensor"),
        ("maxwell_sgemm_128x32_tn", "not_tensor"),
        ("void gemmSN_NN_kernel<float, 256, 4>", "not_tensor"),
        ("something_new_in_2031", "unknown"),
    ],
)
def test_families(name: str, kind: str) -> None:
    assert classify(name) == kind


def test_a_rate_above_the_cuda_cores_proves_tensor_cores_whatever_the_name() -> None:
    case = gemm_case("bf16", 8192)
    assert case.work is not None
    use = judge(("something_new",), case, A100, case.work.flops / 200e12)
    assert use.verdict == "used"
    assert any("above the CUDA cores' peak" in e for e in use.evidence)
    assert use.kernels == ("something_new",)


def test_a_name_alone_decides_where_the_rate_is_low() -> None:
    case = gemm_case("tf32", 64)
    assert judge(("ampere_sgemm_64x32_nn",), case, A100, 1e-3).verdict == "not_used"
    assert judge(("s1688gemm",), case, A100, 1e-3).verdict == "used"


def test_no_evidence_is_unknown_not_no() -> None:
    case = gemm_case("tf32", 64)
    assert judge((), case, A100, 1e-3).verdict == "unknown"
    assert judge(("mystery",), case, A100, 1e-3).verdict == "unknown"


def test_disagreement_is_told() -> None:
    case = gemm_case("bf16", 8192)
    assert case.work is not None
    use = judge(("volta_sgemm",), case, A100, case.work.flops / 200e12)
    assert use.verdict == "used"
    assert any("disagree" in e for e in use.evidence)


def test_pascal_has_none() -> None:
    pascal = DeviceInfo("cuda", "P100", compute_capability=(6, 0), architecture="Pascal")
    use = judge(("maxwell_fp16_sgemm",), gemm_case("fp16"), pascal, 1e-3)
    assert use.verdict == "not_used"
    assert "Pascal has no Tensor Cores" in use.evidence[0]
