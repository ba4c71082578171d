from __future__ import annotations

from dataclasses import replace

from gpubench.api import with_model
from gpubench.record import DeviceRef
from tests.builders import gemm_case, record


def test_records_of_a_catalogue_gpu_get_the_models_expectation() -> None:
    on_a100 = replace(
        record(gemm_case("bf16", 8192)), device=DeviceRef("cuda", "A100", "a100-sxm4-40gb")
    )
    m = with_model(on_a100).model
    assert m.predicted_s is not None
    assert m.low_s is not None
    assert m.high_s is not None
    # 1.1 PFLOP at 312 TFLOP/s is 3.5 ms; no model may promise less.
    assert m.low_s < m.predicted_s < m.high_s
    assert 3.5e-3 < m.predicted_s < 7e-3
    assert m.bound == "compute"


def test_what_the_model_cannot_know_stays_empty() -> None:
    assert with_model(record()).model.predicted_s is None
    unknown = replace(record(), device=DeviceRef("cuda", "GPU", "no-such-gpu"))
    assert with_model(unknown).model.predicted_s is None
    pascal = replace(record(gemm_case("tf32")), device=DeviceRef("cuda", "P100", "p100"))
    assert with_model(pascal).model.predicted_s is None
