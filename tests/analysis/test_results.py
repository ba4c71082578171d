import math
from dataclasses import replace

import pytest

from gpubench.analysis.results import IS_BASELINE, MEASURED_CPU, MEASURED_CUDA
from gpubench.record import Accuracy, Failure, Peaks, Skip, TensorCoreUse


def test_throughput_and_its_interval_turn_the_time_over(build):
    (r,) = build.results(build.measured(times=(1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 2.0)))
    assert r.flops_per_s.value == pytest.approx(2000 / 1.3)
    assert r.flops_per_s.low == pytest.approx(2000 / r.summary.ci_high_s)
    assert r.flops_per_s.high == pytest.approx(2000 / r.summary.ci_low_s)
    assert r.bytes_per_s.value == pytest.approx(100 / 1.3)


def test_speedup_is_baseline_time_over_time_with_the_opposite_ends(build):
    base = build.measured("base", times=[2.0 + 0.01 * i for i in range(20)])
    fast = build.measured("fast", times=[1.0 + 0.01 * i for i in range(20)], baseline="base")
    b, f = build.results(base, fast)
    assert f.speedup.value == pytest.approx(b.summary.median_s / f.summary.median_s)
    assert f.speedup.low == pytest.approx(b.summary.ci_low_s / f.summary.ci_high_s)
    assert f.speedup.low < f.speedup.value < f.speedup.high
    assert b.speedup is None
    assert b.speedup_note == IS_BASELINE
    (alone,) = build.results(build.measured("alone"))
    assert "no baseline" in alone.speedup_note


@pytest.mark.parametrize(
    ("outcome", "words"),
    [(Skip("needs Ampere"), "skipped: needs Ampere"), (Failure("error", "boom"), "failed: boom")],
)
def test_no_speedup_against_a_baseline_without_a_number(build, outcome, words):
    _, r = build.results(build.record(outcome, "base"), build.measured("x", baseline="base"))
    assert r.speedup is None
    assert words in r.speedup_note


def test_no_speedup_across_devices_or_without_the_baseline_or_time(build):
    other = build.measured("base", device=build.gpu)
    _, across = build.results(other, build.measured("x", baseline="base"))
    (missing,) = build.results(build.measured("x", baseline="gone"))
    _, zero = build.results(
        build.measured("base"), build.measured("x", times=(0.0,) * 10, baseline="base")
    )
    assert across.speedup is None
    assert missing.speedup is None
    assert zero.speedup is None
    assert zero.flops_per_s is None


def test_share_is_of_the_ceiling_that_binds(build):
    peaks = Peaks(flops_per_s=4000.0, bytes_per_s=125.0, source="datasheet")
    (r,) = build.results(build.measured(peaks=peaks))
    assert (r.share_of_peak, r.peak_kind) == (0.8, "memory")
    (r,) = build.results(build.measured(peaks=replace(peaks, bytes_per_s=1e6)))
    assert (r.share_of_peak, r.peak_kind) == (0.5, "compute")
    (r,) = build.results(build.measured())
    assert (r.share_of_peak, r.peak_kind) == (None, None)


def test_memory_workloads_are_quoted_in_bytes(build):
    gemm, copy = build.results(build.measured("a"), build.measured("b", workload="memcpy"))
    assert gemm.rate_metric == "flops_per_s"
    assert copy.rate_metric == "bytes_per_s"
    assert copy.rate == copy.bytes_per_s


def test_wrong_result_is_flagged_from_the_check_itself(build):
    bad, nan, failed = build.results(
        build.measured("a", accuracy=Accuracy(1e-2, 1e-6, "FP64")),
        build.measured("b", accuracy=Accuracy(math.nan, 1e-6, "FP64")),
        build.record(Failure("wrong_result", "off by 2"), "c"),
    )
    assert bad.flags == nan.flags == failed.flags == ("wrong_result",)


def test_provenance_follows_the_device(build):
    cpu, gpu = build.results(build.measured("a"), build.measured("b", device=build.gpu))
    assert (cpu.provenance, gpu.provenance) == (MEASURED_CPU, MEASURED_CUDA)


def test_fp32_on_tensor_cores_is_not_true_fp32(build):
    used = TensorCoreUse("used")
    fp32, fp16, plain = build.results(
        build.measured("a", cores=used),
        build.measured("b", cores=used, precision="fp16"),
        build.measured("c", cores=TensorCoreUse("not_used")),
    )
    assert fp32.flags == ("not_true_fp32",)
    assert fp16.flags == plain.flags == ()
