import random

import pytest

from gpubench.spec import Policy
from gpubench.stopping import PolicyStop


def drive(policy: Policy, times: list[float]) -> tuple[str | None, int, float]:
    """Feed times as if each took as long as it says; (reason, samples, seconds)."""
    stop, spent = PolicyStop(policy), 0.0
    for i, t in enumerate(times, 1):
        spent += t
        stop.add(t, spent)
        if reason := stop.reason():
            return reason, i, spent
    return None, len(times), spent


def noisy(spread: float, n: int, seed: int = 1) -> list[float]:
    rng = random.Random(seed)
    return [1e-3 * (1 + spread * rng.random()) for _ in range(n)]


def test_stops_at_the_target_but_not_before_the_minimum_time() -> None:
    policy = Policy(min_time_s=0.1, max_time_s=10, target_rel_ci=0.05)
    reason, n, spent = drive(policy, noisy(0.02, 10_000))
    assert reason == "target_ci"
    assert 0.1 <= spent < 0.12
    assert n >= policy.min_samples


def test_steady_long_calls_still_get_the_minimum_of_samples() -> None:
    reason, n, _ = drive(Policy(min_time_s=0.1, max_time_s=1e9), [0.2] * 100)
    assert (reason, n) == ("target_ci", 10)


def test_budget_ends_slow_calls_with_three_samples() -> None:
    reason, n, _ = drive(Policy(max_time_s=1.0), [2.0, 2.1, 2.2, 2.3])
    assert (reason, n) == ("max_time", 3)


def test_stable_noise_ends_what_would_never_reach_the_target() -> None:
    policy = Policy(min_time_s=0.05, max_time_s=5.0, target_rel_ci=0.0005)
    reason, _, spent = drive(policy, noisy(3.0, 100_000))
    assert reason == "stable_noise"
    assert spent < 0.5 * policy.max_time_s


def test_growing_noise_is_not_called_stable() -> None:
    policy = Policy(min_time_s=0.0, max_time_s=0.4, target_rel_ci=0.001, max_samples=10**6)
    rng = random.Random(2)
    growing = [1e-4 * (1 + i / 500 * rng.random()) for i in range(1, 5000)]
    reason, _, _ = drive(policy, growing)
    assert reason == "max_time"


def test_sample_limit() -> None:
    reason, n, _ = drive(Policy(max_samples=50, min_time_s=100), noisy(1.0, 100))
    assert (reason, n) == ("max_samples", 50)


@pytest.mark.parametrize("seed", range(5))
def test_reached_interval_is_what_was_asked_for(seed: int) -> None:
    from gpubench.record import Samples
    from gpubench.stats import summarize

    policy = Policy(min_time_s=0.0, max_time_s=100, target_rel_ci=0.01)
    values = noisy(0.3, 20_000, seed)
    reason, n, _ = drive(policy, values)
    assert reason == "target_ci"
    assert summarize(Samples(times_s=tuple(values[:n]))).rel_ci <= 0.01


def test_a_level_that_moves_is_not_called_reached() -> None:
    """Two levels of equal weight: the interval of all is narrow, and wrong."""
    policy = Policy(min_time_s=0.1, max_time_s=2.0, target_rel_ci=0.01)
    two_levels = [1.30e-3] * 60 + [1.0e-3] * 5000
    reason, n, _ = drive(policy, two_levels)
    assert reason == "target_ci"
    # Not before the first level is less than half of what was seen.
    assert n >= 120
    falling = [1e-3 * (1 - i / 600) for i in range(500)]
    assert drive(policy, falling)[0] != "target_ci"
