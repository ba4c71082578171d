import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from gpubench.record import Energy, Failure, Samples
from gpubench.stats import (
    counted,
    drift,
    geometric_mean,
    joules_per,
    median_interval,
    median_ranks,
    quantile,
    ratio_interval,
    summarize,
)
from tests.builders import measurement, record

times = st.lists(st.floats(min_value=1e-9, max_value=1e3), min_size=1, max_size=60)


@given(times, st.floats(min_value=0, max_value=1))
def test_quantile_is_numpys(values: list[float], q: float) -> None:
    ordered = sorted(values)
    assert quantile(ordered, q) == pytest.approx(float(np.quantile(ordered, q)), rel=1e-9)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6, 9, 10, 25, 100, 1001])
def test_ranks_are_the_narrowest_with_the_coverage(n: int) -> None:
    low, high, coverage = median_ranks(n)
    assert low + high == n - 1
    if n >= 6:
        assert coverage == pytest.approx(1 - 2 * binom.cdf(low, n, 0.5), rel=1e-9)
        assert coverage >= 0.95
        assert 1 - 2 * binom.cdf(low + 1, n, 0.5) < 0.95
    else:
        assert (low, high) == (0, n - 1)
        assert coverage < 0.95


def test_interval_covers_the_median_as_often_as_it_says() -> None:
    rng = random.Random(1)
    n, trials, hits = 15, 4000, 0
    coverage = median_ranks(n)[2]
    for _ in range(trials):
        ordered = sorted(rng.lognormvariate(0, 1) for _ in range(n))
        low, high, _ = median_interval(ordered)
        hits += low <= 1.0 <= high
    # Three standard errors of the hit rate.
    assert hits / trials == pytest.approx(coverage, abs=3 * math.sqrt(0.05 * 0.95 / trials))


@given(times)
def test_summary_is_ordered(values: list[float]) -> None:
    s = summarize(Samples(times_s=tuple(values)))
    assert s.min_s <= s.ci_low_s <= s.median_s <= s.ci_high_s <= max(values)
    assert s.n == len(values)
    assert s.rel_noise >= 0


def test_spoiled_samples_are_left_out_unless_they_are_most() -> None:
    few = Samples(times_s=(1.0, 1.0, 1.0, 9.0), spoiled={3: "thermal"})
    assert counted(few) == (1.0, 1.0, 1.0)
    assert summarize(few).n_spoiled == 1
    most = Samples(times_s=(1.0, 9.0, 9.0), spoiled={1: "thermal", 2: "thermal"})
    assert counted(most) == (1.0, 9.0, 9.0)


def test_ratio_interval_is_conservative() -> None:
    a = summarize(Samples(times_s=tuple(2.0 + 0.01 * i for i in range(20))))
    b = summarize(Samples(times_s=tuple(1.0 + 0.01 * i for i in range(20))))
    ratio, low, high = ratio_interval(a, b)
    assert low < ratio < high
    assert low == a.ci_low_s / b.ci_high_s
    assert high == a.ci_high_s / b.ci_low_s


def test_geometric_mean() -> None:
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4.0)
    with pytest.raises(ValueError):
        geometric_mean([])


def test_no_samples_is_an_error() -> None:
    with pytest.raises(ValueError):
        summarize(Samples(times_s=()))


def test_drift_is_the_move_of_the_level() -> None:
    rng = random.Random(5)
    steady = [rng.gauss(1.0, 0.05) for _ in range(400)]
    assert drift([*steady, *(1.2 * t for t in steady)]) == pytest.approx(0.2, abs=0.02)
    assert drift([1.0] * 11 + [9.0] * 0) == 0.0
    assert drift([1.0] * 8 + [2.0] * 9) == 0.0


def test_steady_samples_rarely_seem_to_drift() -> None:
    rng = random.Random(6)
    hits = sum(drift([rng.lognormvariate(0, 0.1) for _ in range(100)]) > 0 for _ in range(500))
    # Disjoint 95 % intervals of two equal medians: well below 5 % of the time.
    assert hits <= 15


def test_joules_are_told_per_unit_of_the_work_that_was_done() -> None:
    """FLOPs counted for the step come before those of the case; nothing without energy."""
    facts = {"samples_per_step": 8, "tokens_per_step": 256, "flops_per_step": 4e12}
    done = replace(record(outcome=measurement(facts=facts)), energy=Energy(joules=16.0))
    assert joules_per(done) == {"sample": 2.0, "token": 0.0625, "TFLOP": 4.0}
    plain = replace(record(outcome=measurement()), energy=Energy(joules=1.0))
    assert plain.case.work is not None
    assert joules_per(plain) == {"TFLOP": pytest.approx(1e12 / plain.case.work.flops)}
    assert joules_per(record(outcome=measurement(facts=facts))) == {}
    failed = replace(record(outcome=Failure("crash", "x")), energy=Energy(joules=1.0))
    assert joules_per(failed) == {}
