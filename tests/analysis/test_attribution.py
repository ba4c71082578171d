from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gpubench.analysis.attribution import attribute
from gpubench.analysis.results import results
from gpubench.catalogue import find
from gpubench.model.prediction import predict
from gpubench.record import DeviceRef, Kernel, Modelled, Reading, Run, Samples
from gpubench.spec import Case
from tests.builders import gemm_case, measurement, record

RUN = Run(id="r", suite="s", started_at="2026-01-01T00:00:00+00:00")


def parts(
    measured_s: float, predicted_s: float, *, clock_hz: float = 1.41e9, host_s: float | None = None,
    bound: str = "compute", flags: tuple[str, ...] = (), reasons: tuple[str, ...] = (),
    gpu: str | None = "a100-sxm4-40gb",
) -> dict[str, Any]:  # fmt: skip
    m = measurement(
        *[measured_s] * 12, flags=flags,
        readings=tuple(Reading(i, {"clock_hz": clock_hz}, reasons) for i in range(5)),
    )  # fmt: skip
    if host_s is not None:
        m = replace(m, samples=Samples(m.samples.times_s, (host_s,) * 12, launches=(12,)))
    one = replace(
        record(outcome=m), device=DeviceRef("cuda", "NVIDIA A100-SXM4-40GB", gpu),
        model=Modelled(predicted_s, 0.9 * predicted_s, 1.1 * predicted_s, bound),
    )  # fmt: skip
    found = attribute(results(RUN, [one])[0])
    assert sum(p.seconds for p in found) == pytest.approx(measured_s - predicted_s)
    return {p.name: p for p in found}


def test_at_full_clock_all_of_it_is_the_rest() -> None:
    found = parts(1.05e-3, 1e-3)
    assert list(found) == ["rest"]
    assert found["rest"].why == "within the band of the model"


def test_a_clock_below_boost_takes_its_share_with_the_reason() -> None:
    found = parts(1.3e-3, 1e-3, clock_hz=1.2e9, reasons=("sw_power_cap",))
    assert found["clock"].seconds == pytest.approx(1e-3 * (1.41 / 1.2 - 1))
    assert found["clock"].why == "the SM clock was 1.20 GHz of 1.41 GHz boost (sw_power_cap)"
    assert "outside the band" in found["rest"].why


def test_a_step_that_ran_on_cuda_cores_names_the_kernels() -> None:
    """Also of whole steps, which are traced: what Tensor Cores would have saved."""
    pytest.importorskip("transformers")
    params = {"model": "bert-tiny", "mode": "inference", "batch": 64, "seq_len": 128}
    gpu = find("a100-sxm4-40gb")
    tf32, fp32 = (predict(gpu, "model", p, params).predicted_s for p in ("tf32", "fp32"))
    assert fp32 > tf32
    m = measurement(*[2 * fp32] * 12, flags=("tensor_cores_not_used",))
    one = replace(
        record(Case("k", "b", "model", "tf32", params), m),
        device=DeviceRef("cuda", "NVIDIA A100-SXM4-40GB", gpu.key),
        model=Modelled(tf32, 0.9 * tf32, 1.1 * tf32, "compute"),
    )
    found = {p.name: p for p in attribute(results(RUN, [one])[0])}
    assert found["kernel"].seconds == pytest.approx(fp32 - tf32)


def test_it_never_explains_more_than_there_is() -> None:
    found = parts(1.02e-3, 1e-3, clock_hz=0.7e9)
    assert found["clock"].seconds == pytest.approx(0.02e-3)
    assert "clock" not in parts(0.9e-3, 1e-3, clock_hz=1.405e9)


def test_a_memory_bound_case_does_not_lose_by_its_sm_clock() -> None:
    assert "clock" not in parts(1.3e-3, 1e-3, clock_hz=1.0e9, bound="memory")


def test_a_host_that_is_too_slow_is_the_launch() -> None:
    found = parts(9e-6, 4e-6, host_s=8.5e-6, flags=("launch_bound",))
    assert found["launch"].seconds == pytest.approx(4.5e-6)
    assert found["rest"].seconds == pytest.approx(0.5e-6)
    assert "launch" not in parts(9e-6, 4e-6, host_s=8.5e-6)


def test_hints_have_no_seconds() -> None:
    found = parts(3e-3, 1e-3, flags=("tensor_cores_not_used",))
    assert "did not run" in found["rest"].why


def attributed(difference: float, **more: Any) -> dict[str, Any]:
    """A product on an A100, measured that much over (under) what the model says, as a share."""
    case = replace(gemm_case(more.pop("precision", "fp16"), more.pop("size", 1024)))
    model = predict(find("a100-sxm4-40gb"), "gemm", case.precision, case.params)
    bound = more.pop("bound", "compute")
    m = measurement(*[model.predicted_s * (1 + difference)] * 12, **more)
    one = replace(
        record(case, m), device=DeviceRef("cuda", "NVIDIA A100-SXM4-40GB", "a100-sxm4-40gb"),
        model=Modelled(model.predicted_s, model.low_s, model.high_s, bound),
    )  # fmt: skip
    found = attribute(results(RUN, [one])[0])
    assert sum(p.seconds for p in found) == pytest.approx(difference * model.predicted_s)
    return {p.name: p for p in found}


def test_a_last_wave_ill_filled_takes_its_share() -> None:
    """109 blocks on 108 multiprocessors: two waves, the second for one block."""
    kernel = Kernel("s16816gemm", 1.0, 1e-3, (109, 1, 1), (256, 1, 1))
    found = attributed(1.0, kernels=(kernel,))
    assert found["waves"].seconds > 0
    assert "109 blocks run in 2 waves on 108 multiprocessors, 50% of them filled" in (
        found["waves"].why
    )
    other = Kernel("copy", 1.0, 1e-3, (4, 1, 1), (256, 1, 1))
    assert "waves" not in attributed(1.0, kernels=(kernel, other))


def test_another_kernel_than_expected_takes_the_models_difference() -> None:
    found = attributed(20.0, size=4096, flags=("tensor_cores_not_used",))
    case = gemm_case("fp16", 4096)
    gpu = find("a100-sxm4-40gb")
    tensor, plain = (predict(gpu, "gemm", p, case.params).predicted_s for p in ("fp16", "fp32"))
    assert found["kernel"].seconds == pytest.approx(plain - tensor)
    assert found["kernel"].seconds > 5 * tensor


def test_operands_in_l2_save_time_and_only_what_was_saved() -> None:
    found = attributed(-0.4, bound="memory", flags=("hot_cache",))
    assert found["cache"].seconds < 0
    assert found["rest"].seconds == pytest.approx(0.0, abs=1e-12)
    assert "cache" not in attributed(0.4, bound="memory", flags=("hot_cache",))


def test_without_a_prediction_there_is_nothing_to_split() -> None:
    one = record(outcome=measurement())
    assert attribute(results(RUN, [one])[0]) == ()
