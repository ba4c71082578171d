from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gpubench.analysis.results import results
from gpubench.analysis.tensor_cores import likely_cause, simt_findings, truth_table
from gpubench.record import DeviceRef, Environment, Reading, Run, TensorCoreUse
from gpubench.telemetry.kernels import with_more_evidence
from tests.builders import gemm_case, measurement, record

SIMT = ("ampere_sgemm_128x64_nn",)


def result(
    precision: str = "tf32", workload: str = "gemm", use: TensorCoreUse | None = None,
    flags: tuple[str, ...] = ("tensor_cores_not_used",), environment: dict[str, Any] | None = None,
    facts: dict[str, Any] | None = None, **params: Any,
) -> Any:  # fmt: skip
    use = use or TensorCoreUse("not_used", (f"kernel name: {SIMT[0]}",), SIMT)
    m = measurement(tensor_cores=use, flags=flags, facts=facts or {})
    case = replace(gemm_case(precision), workload=workload, params=params)
    one = replace(record(case, m), device=DeviceRef("cuda", "A100", "a100-sxm4-40gb"))
    run = Run("r", "s", "2026-01-01T00:00:00+00:00", environment=Environment(environment or {}))
    return results(run, [one])[0]


@pytest.mark.parametrize(
    ("more", "cause"),
    [
        ({"environment": {"switch.NVIDIA_TF32_OVERRIDE": "0"}}, "NVIDIA_TF32_OVERRIDE=0"),
        ({"facts": {"switch.matmul.allow_tf32": False}}, "switch matmul.allow_tf32 was off"),
        ({"m": 1024, "n": 1, "k": 1024}, "product with a vector"),
        ({"m": 1024, "n": 1022, "k": 1024}, "leading dimension n of B = 1022"),
        ({"m": 1023, "n": 1024, "k": 1024, "transpose": "tn"}, "leading dimension m of A = 1023"),
        ({"m": 1023, "n": 1024, "k": 1024}, "neither switches nor shape"),
        ({"m": 64, "n": 64, "k": 36, "precision": "fp16"}, "no multiple of 8 elements"),
        ({"workload": "conv2d", "c_in": 3, "c_out": 64}, "input channels = 3"),
        ({"workload": "conv2d", "c_in": 64, "c_out": 64, "layout": "nchw"}, "layout is NCHW"),
        ({"workload": "attention", "head_dim": 60, "precision": "bf16"}, "head_dim = 60"),
    ],
)
def test_the_likely_cause(more: dict[str, Any], cause: str) -> None:
    assert cause in likely_cause(result(**more))[0]


def test_asked_tf32_ran_simt_is_a_finding_by_cause() -> None:
    rows = [result(m=8, n=6, k=8), result(m=8, n=8, k=8), result(flags=(), m=8, n=8, k=6)]
    found = list(simt_findings(rows))
    assert len(found) == 2
    assert found[0].text.startswith("1 case asked for tf32 and ran on CUDA cores")
    assert SIMT[0] in found[0].text
    assert "no multiple of 4 elements" in found[0].text
    assert found[0].mend == "Pad to a multiple of 4."


def test_every_witness_speaks_for_itself() -> None:
    use = TensorCoreUse(
        "used", ("kernel name: s1688gemm", "rate: 90 TFLOP/s is above the CUDA cores' peak"),
        ("s1688gemm",),
    )  # fmt: skip
    readings = [Reading(0.1 * i, {"tensor_activity": 0.6}) for i in range(5)]
    use = with_more_evidence(use, readings, {"cudnn.numerical_notes": "TENSOR_CORE"})
    table = {w.name: w.says for w in truth_table(result(use=use, flags=()))}
    assert table == {
        "precision": "asked for", "kernel family": "used", "rate": "used", "cuDNN notes": "used",
        "NVML GPM": "used",
    }  # fmt: skip
    silent = {w.name: w.says for w in truth_table(result())}
    assert silent["kernel family"] == "not used"
    assert silent["rate"] == silent["NVML GPM"] == "does not say"
    assert truth_table(result(use=TensorCoreUse("not_applicable"))) == ()


def test_a_counter_that_stood_still_overrules_a_name() -> None:
    use = TensorCoreUse("used", ("kernel name: s1688gemm",), ("s1688gemm",))
    found = with_more_evidence(use, [Reading(0.1, {"tensor_activity": 0.0})], {})
    assert found.verdict == "not_used"
    assert any("GPM disagrees" in e for e in found.evidence)
    assert {w.name: w.says for w in truth_table(result(use=found))}["NVML GPM"] == "not used"


def test_notes_of_cudnn_decide_where_a_name_does_not() -> None:
    use = TensorCoreUse("unknown", ("kernel name of no known family: x",), ("x",))
    found = with_more_evidence(use, [], {"cudnn.numerical_notes": "TENSOR_CORE"})
    assert found.verdict == "used"
    assert with_more_evidence(use, [], {"cudnn.numerical_notes": ""}).verdict == "not_used"
