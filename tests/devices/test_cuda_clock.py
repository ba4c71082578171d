from __future__ import annotations

import itertools

import pytest

from gpubench.devices.cuda_clock import (
    EventTimer,
    SlopeTimer,
    choose_timer,
    event_floor_s,
    host_enqueue_s,
)
from gpubench.stats import quantile
from tests.devices.fake_cuda import FakeCuda


def median(timer: EventTimer | SlopeTimer) -> float:
    return quantile(sorted(t.time_s for t in timer.batch(1000)), 0.5)


def test_floor_is_the_empty_pair() -> None:
    assert event_floor_s(FakeCuda(floor_s=1.5e-6)) == pytest.approx(1.5e-6)


def test_a_host_that_records_slowly_does_not_raise_the_floor() -> None:
    cuda = FakeCuda(floor_s=1.5e-6, record_host_s=5e-6)
    assert event_floor_s(cuda) == pytest.approx(1.5e-6)


def test_host_enqueue_does_not_wait_for_the_device() -> None:
    cuda = FakeCuda()
    assert host_enqueue_s(cuda, [cuda.kernel(1e-3, host_s=7e-6)]) == pytest.approx(7e-6)


@pytest.mark.parametrize("host_s", [2e-6, 50e-6, 400e-6])
def test_event_pairs_time_the_device_however_slow_the_host(host_s: float) -> None:
    cuda = FakeCuda()
    timer = choose_timer(cuda, [cuda.kernel(100e-6, host_s)], "auto", 100e-6)
    assert (timer.method, timer.cache) == ("events", "cold")
    assert median(timer) == pytest.approx(100e-6 + cuda.floor_s)


def test_without_blocking_a_slow_host_would_be_timed() -> None:
    """What the block is for: this is the error it prevents."""
    cuda = FakeCuda(can_block=False)
    timer = choose_timer(cuda, [cuda.kernel(100e-6, 400e-6)], "hot", 100e-6)
    assert median(timer) > 300e-6


def test_every_cold_sample_is_flushed_before_its_start_event() -> None:
    cuda = FakeCuda()
    timer = choose_timer(cuda, [cuda.kernel(1e-3)], "auto", 1e-3)
    cuda.log.clear()
    n = len(timer.batch(1000))
    assert cuda.log == ["flush", "block", "record", "call", "record"] * n + ["sync"]


def test_hot_samples_are_not_flushed_and_rotating_ones_rotate() -> None:
    cuda = FakeCuda()
    times = itertools.cycle([1e-3, 2e-3, 3e-3])
    timer = choose_timer(cuda, [cuda.kernel(next(times)) for _ in range(3)], "rotating", 1e-3)
    cuda.log.clear()
    samples = [round(t.time_s * 1e3) for t in timer.batch(1000)]
    assert "flush" not in cuda.log
    assert samples[:6] == [1, 2, 3, 1, 2, 3]
    assert timer.cache == "rotating"


def test_one_synchronisation_a_batch() -> None:
    cuda = FakeCuda()
    timer = choose_timer(cuda, [cuda.kernel(1e-3)], "auto", 1e-3)
    cuda.log.clear()
    timer.batch(1000)
    assert cuda.log.count("sync") == 1


def test_long_calls_are_sampled_one_by_one() -> None:
    cuda = FakeCuda()
    timer = choose_timer(cuda, [cuda.kernel(0.2)], "auto", 0.2)
    assert len(timer.batch(1000)) == 1


def test_short_calls_get_the_graph_slope_free_of_launch_and_event_cost() -> None:
    cuda = FakeCuda(floor_s=3e-6)
    timer = choose_timer(cuda, [cuda.kernel(2e-6, host_s=9e-6)], "auto", 2e-6)
    assert (timer.method, timer.cache) == ("graph_slope", "hot")
    samples = timer.batch(1000)
    assert [t.time_s for t in samples] == pytest.approx([2e-6] * len(samples))
    # The host cannot keep up with this kernel in eager mode, and the sample says so.
    assert samples[0].host_enqueue_s == pytest.approx(9e-6)


def test_a_slow_event_clock_moves_the_border() -> None:
    cuda = FakeCuda(floor_s=5e-6)
    assert choose_timer(cuda, [cuda.kernel(60e-6)], "auto", 60e-6).method == "graph_slope"
    cuda = FakeCuda(floor_s=0.5e-6)
    assert choose_timer(cuda, [cuda.kernel(60e-6)], "auto", 60e-6).method == "events"


def test_cold_is_kept_even_for_short_calls() -> None:
    cuda = FakeCuda()
    timer = choose_timer(cuda, [cuda.kernel(2e-6)], "cold", 2e-6)
    assert (timer.method, timer.cache) == ("events", "cold")


def test_slope_rounds_are_whole_over_the_input_sets() -> None:
    cuda = FakeCuda()
    timer = choose_timer(cuda, [cuda.kernel(t) for t in (1e-6, 2e-6, 6e-6)], "auto", 3e-6)
    assert timer.cache == "rotating"
    assert timer.calls_per_sample % 3 == 0
    assert median(timer) == pytest.approx(3e-6)


def test_what_cannot_be_captured_is_timed_in_the_stream_and_says_so() -> None:
    cuda = FakeCuda(can_capture=False)
    timer = choose_timer(cuda, [cuda.kernel(2e-6, host_s=9e-6)], "auto", 2e-6)
    assert timer.method == "stream_slope"
    # Bound by the host: the method's name warns, and launch_bound will be flagged.
    assert median(timer) == pytest.approx(9e-6, rel=0.05)


def test_a_negative_slope_becomes_an_upper_bound() -> None:
    cuda = FakeCuda()
    timer = SlopeTimer(cuda, [cuda.kernel(2e-6)], "hot", 2e-6, 1e-6)
    short, long = timer._short, timer._long
    timer._short, timer._long = long, short  # as if the short loop had been disturbed
    n = timer.calls_per_sample
    for sample in timer.batch(1000):
        assert sample.time_s == pytest.approx((n * 2e-6 + cuda.floor_s) / (2 * n), rel=0.01)
        assert sample.time_s > 0
