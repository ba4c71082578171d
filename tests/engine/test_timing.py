"""The measurement loop on scripted time: no sleeping, no hardware."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from gpubench.devices.cuda_clock import choose_timer
from gpubench.engine.timing import measure
from gpubench.engine.trust import FLAGS, flags_of, with_flags
from gpubench.ports import Call, Timed
from gpubench.record import Accuracy, Measurement, Peaks, Reading, Samples, TensorCoreUse
from gpubench.spec import DeviceInfo, Policy
from gpubench.stats import summarize
from gpubench.stopping import PolicyStop
from tests.builders import A100, CPU, gemm_case, measurement
from tests.devices.fake_cuda import FakeCuda


@dataclass
class FakeDevice:
    """A CUDA device on the scripted timeline."""

    cuda: FakeCuda = field(default_factory=FakeCuda)
    info: DeviceInfo = A100
    sets: int = 1

    def prepare(self, precision: str) -> None: ...

    def switches(self) -> dict[str, str]:
        return {}

    def release(self) -> None: ...

    def synchronize(self) -> None:
        self.cuda.synchronize()

    def wall_s(self) -> float:
        return self.cuda.host

    def estimate(self, call: Call) -> tuple[float, int]:
        before = self.cuda.free
        call()
        self.cuda.synchronize()
        return self.cuda.free - before, 1

    def input_sets(self, footprint_bytes: float, cache: str, estimate_s: float) -> int:
        return self.sets

    def timer(self, calls: Sequence[Call], cache: str, estimate_s: float):  # type: ignore[no-untyped-def]
        return choose_timer(self.cuda, calls, cache, estimate_s)


@dataclass
class FakeProbe:
    """Has looked every 50 ms; says what the script says, by the number of the reading."""

    reasons: Callable[[int], tuple[str, ...]] = lambda _i: ()
    count: int = 0

    def facts(self) -> dict[str, None]:
        return {}

    def between(self, start_s: float, end_s: float) -> list[Reading]:
        self.count = int((end_s - start_s) / 0.05)
        return [
            Reading(start_s + 0.05 * (i + 1), {"clock_hz": 1.41e9}, self.reasons(i))
            for i in range(self.count)
        ]


def take(
    device: FakeDevice, time_s: float | Callable[[], float], policy: Policy, **more: object
) -> Measurement:
    kernel = device.cuda.kernel(time_s)
    m, _ = measure(
        device,
        lambda _i: kernel,
        policy=policy,
        stop=PolicyStop(policy),
        **more,  # type: ignore[arg-type]
    )
    return m


def test_a_steady_kernel_is_measured_to_the_floor() -> None:
    m = take(FakeDevice(), 1e-3, Policy(min_time_s=0.1))
    s = summarize(m.samples)
    assert s.median_s == pytest.approx(1e-3 + 1e-6)
    assert (m.method, m.cache, m.stopped_by) == ("events", "cold", "target_ci")
    assert s.rel_ci < 1e-9
    assert m.floor_s == pytest.approx(1e-6)
    assert len(m.samples.host_enqueue_s) == len(m.samples.times_s)


def test_the_first_calls_do_not_count() -> None:
    """A kernel that is slow for its first calls: warm-up swallows them."""
    calls = iter(range(10**9))
    m = take(FakeDevice(), lambda: 50e-3 if next(calls) < 20 else 1e-3, Policy(warmup_s=1.5))
    assert max(m.samples.times_s) < 2e-3
    assert m.warmup_calls >= 20


def test_measuring_time_leaves_out_building() -> None:
    device = FakeDevice(sets=3)
    kernel = device.cuda.kernel(1e-3)

    def build(_i: int) -> Call:
        device.cuda.host += 5.0
        return kernel

    policy = Policy(min_time_s=0.2)
    m, calls = measure(device, build, policy=policy, stop=PolicyStop(policy))
    assert len(calls) == m.input_sets == 3
    assert 0.2 < m.measuring_s < 1.0


def test_throttled_samples_are_tagged_and_kept() -> None:
    """The fifth reading, 250 ms after the start, speaks for the 50 ms before it."""
    probe = FakeProbe(lambda i: ("hw_thermal",) if i == 4 else ("sw_power_cap",))
    m = take(FakeDevice(), 1e-3, Policy(min_time_s=0.5, warmup_s=0.0), probe=probe)
    first, last, n = min(m.samples.spoiled), max(m.samples.spoiled), len(m.samples.times_s)
    # Batches of 50 ms: two of them lie in part in those 50 ms.
    assert 100 < first <= 200
    assert 200 < last < 300
    assert set(m.samples.spoiled) == set(range(first, last + 1))
    assert "thermal" in m.samples.spoiled[first]
    assert summarize(m.samples).n == n - (last - first + 1) > 0
    assert len(m.readings) == probe.count
    assert m.readings[0].values["clock_hz"] == 1.41e9
    assert m.readings[0].time_s == pytest.approx(0.05, abs=0.05)


def test_another_process_on_the_gpu_is_contention() -> None:
    alone, company = (
        measurement(readings=(Reading(0.1, {"foreign_processes": n}),)) for n in (0.0, 1.0)
    )
    assert "contended" not in with_flags(alone, gemm_case(), A100, Peaks()).flags
    assert "contended" in with_flags(company, gemm_case(), A100, Peaks()).flags


def test_always_throttled_still_has_a_number_and_stops() -> None:
    m = take(FakeDevice(), 1e-3, Policy(), probe=FakeProbe(lambda _i: ("sw_thermal",)))
    assert summarize(m.samples).n == len(m.samples.times_s)
    assert "throttled" in with_flags(m, gemm_case(), A100, Peaks()).flags


def test_a_slow_host_is_flagged_not_timed() -> None:
    device = FakeDevice()
    kernel = device.cuda.kernel(100e-6, 300e-6)
    policy = Policy(min_time_s=0.05)
    m, _ = measure(device, lambda _i: kernel, policy=policy, stop=PolicyStop(policy))
    assert summarize(m.samples).median_s == pytest.approx(101e-6)
    assert summarize(m.samples).host_enqueue_s == pytest.approx(300e-6)
    assert "launch_bound" in with_flags(m, gemm_case(), A100, Peaks()).flags


def test_garbage_collection_is_off_while_sampling_and_back_after() -> None:
    device, seen = FakeDevice(), []
    kernel = device.cuda.kernel(1e-3)

    def call() -> None:
        seen.append(gc.isenabled())
        kernel()

    policy = Policy(min_time_s=0.05)
    measure(device, lambda _i: call, policy=policy, stop=PolicyStop(policy))
    assert gc.isenabled()
    assert not any(seen[5:])


@pytest.mark.parametrize("time_s", [1e-3, 2e-6])
def test_no_more_samples_than_the_policy_allows(time_s: float) -> None:
    m = take(FakeDevice(), time_s, Policy(max_samples=3, min_time_s=9))
    assert len(m.samples.times_s) == 3
    assert m.stopped_by == "max_samples"


def test_progress_is_told() -> None:
    told: list[tuple[int, float]] = []
    take(FakeDevice(), 1e-3, Policy(min_time_s=0.2), progress=lambda n, t: told.append((n, t)))
    assert [n for n, _ in told] == sorted(n for n, _ in told)
    assert told[-1][1] == pytest.approx(1e-3, rel=0.01)


def test_an_error_in_the_middle_passes_through_and_restores_the_collector() -> None:
    left = iter(range(30))

    def fail() -> float:
        if next(left) > 20:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return 1e-3

    with pytest.raises(RuntimeError, match="illegal"):
        take(FakeDevice(), fail, Policy())
    assert gc.isenabled()


class Sampled:
    """A timer that plays back given times; for stop rules with the loop around them."""

    method, cache, calls_per_sample, floor_s = "loop", "hot", 1, 0.0

    def __init__(self, times: Sequence[float], device: FakeDevice) -> None:
        self._times, self._device = list(times), device

    def batch(self, most: int) -> Sequence[Timed]:
        t = self._times.pop(0)
        self._device.cuda.host += t
        return [Timed(t)]


def test_the_budget_ends_a_noisy_case_and_the_flags_say_so() -> None:
    device = FakeDevice()
    times = [0.1 if i % 2 else 0.3 for i in range(1000)]
    device.timer = lambda *_a: Sampled(times, device)  # type: ignore[method-assign]
    m = take(device, 0.1, Policy(max_time_s=1.0))
    assert m.stopped_by == "max_time"
    flags = with_flags(m, gemm_case(max_time_s=1.0), CPU, Peaks()).flags
    assert {"noisy", "budget"} <= set(flags)


@pytest.mark.parametrize(
    ("flag", "m", "device", "peaks"),
    [
        ("wrong_result", measurement(accuracy=Accuracy(0.1, 0.01, "")), CPU, Peaks()),
        ("wrong_result", measurement(accuracy=Accuracy(float("nan"), 0.01, "")), CPU, Peaks()),
        ("few_samples", measurement(1.0, 1.0, 1.0), CPU, Peaks()),
        ("drifting", measurement(*[1.0] * 20, *[1.1] * 20), CPU, Peaks()),
        ("noisy", measurement(*(1.0 + i for i in range(20))), CPU, Peaks()),
        ("below_floor", measurement(floor_s=0.9e-3), CPU, Peaks()),
        ("above_peak", measurement(), CPU, Peaks(flops_per_s=1e6)),
        ("hot_cache", measurement(), A100, Peaks()),
        ("contended", measurement(readings=(Reading(0, {"foreign_cpus": 0.4}),)), CPU, Peaks()),
        ("power_capped", measurement(readings=(Reading(0, {}, ("sw_power_cap",)),)), A100, Peaks()),
    ],
)  # fmt: skip
def test_flags(flag: str, m: Measurement, device: DeviceInfo, peaks: Peaks) -> None:
    found = flags_of(m, gemm_case(), device, peaks)
    assert flag in found
    assert not flags_of(measurement(*[1e-3] * 10), gemm_case(), CPU, Peaks())
    assert list(found) == sorted(found, key=FLAGS.index)


def test_tensor_cores_asked_for_and_not_used() -> None:
    m = measurement(tensor_cores=TensorCoreUse("not_used", ("kernel name: sgemm",)))
    assert "tensor_cores_not_used" in flags_of(m, gemm_case("bf16"), A100, Peaks())
    assert "tensor_cores_not_used" not in flags_of(m, gemm_case("fp32"), A100, Peaks())
    unknown = Measurement(
        Samples((1.0,)), "loop", "hot", "x", tensor_cores=TensorCoreUse("unknown")
    )
    assert "tensor_cores_not_used" not in flags_of(unknown, gemm_case("bf16"), A100, Peaks())
