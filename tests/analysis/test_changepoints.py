from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from gpubench.analysis.changepoints import change_points, robust_noise
from gpubench.analysis.level import Night, Rule
from gpubench.analysis.shift import judge
from gpubench.analysis.significance import discoveries, rank_p
from tests.histories import make, nights_of


def found_after(kind: str, seed: int, within: int) -> bool:
    history = make(kind, np.random.default_rng(seed))
    assert history.slower_from is not None
    nights = nights_of(history.times_s)
    ends = range(history.slower_from + 1, history.slower_from + within + 1)
    return any(judge(nights[:k]).verdict == "regression" for k in ends)


def test_steps_of_three_noises_are_found_within_four_nights() -> None:
    found = sum(found_after("step", seed, 4) for seed in range(40))
    assert found >= 36
    assert all(found_after("large_step", seed, 2) for seed in range(20))
    assert sum(found_after("missing", seed, 4) for seed in range(20)) >= 17
    assert all(found_after("drift", seed, 60) for seed in range(10))


def test_a_stationary_history_raises_no_alarm() -> None:
    for seed in range(3):
        nights = nights_of(make("stationary", np.random.default_rng(seed)).times_s)
        assert {judge(nights[:k]).verdict for k in range(6, 366)} == {"noise"}


def test_an_outlier_is_told_that_night_at_most() -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        times = make("stationary", rng, 120).times_s.copy()
        times[100] *= 1.08
        nights = nights_of(times)
        after = [judge(nights[:k]).verdict for k in range(102, 121)]
        assert set(after) == {"noise"}, (seed, after)


def test_a_level_of_two_clocks_is_no_regression() -> None:
    for seed in range(4):
        nights = nights_of(make("bimodal", np.random.default_rng(seed), 150).times_s)
        verdicts = {judge(nights[:k]).verdict for k in range(20, 151)}
        assert "regression" not in verdicts, seed


def test_a_regression_stays_until_it_is_gone() -> None:
    rng = np.random.default_rng(5)
    times = np.exp(rng.normal(0, 0.01, 130))
    times[60:100] *= 1.05
    nights = nights_of(times)
    assert {judge(nights[:k]).verdict for k in range(64, 101)} == {"regression"}
    told = judge(nights[:95])
    assert told.since == 60
    assert told.ratio == pytest.approx(1.05, abs=0.01)
    assert told.noise == pytest.approx(0.01, abs=0.003)
    assert {judge(nights[:k]).verdict for k in range(104, 131)} == {"noise"}


def test_a_level_near_the_threshold_is_told_once() -> None:
    """Without ``Rule.hold`` such a step is told, dropped and told again."""

    def told(seed: int, hold: float) -> int:
        rng = np.random.default_rng(seed)
        log = rng.normal(0, 0.01, 160)
        log[120:] = rng.normal(0.0165, 0.01, 40)
        nights = nights_of(np.exp(log))
        on = [judge(nights[:k], Rule(hold=hold)).verdict == "regression" for k in range(120, 161)]
        return sum(now and not before for before, now in pairwise(on))

    flickering = (3, 4, 5, 8, 10)
    assert all(told(seed, 0.0) > 1 for seed in flickering)
    assert all(told(seed, Rule().hold) == 1 for seed in flickering)


def test_what_is_held_keeps_its_evidence_and_ends() -> None:
    rng = np.random.default_rng(5)
    log = rng.normal(0, 0.01, 200)
    log[120:150] = rng.normal(0.0165, 0.01, 30)
    nights = nights_of(np.exp(log))
    rule = Rule()
    for k in range(121, 151):
        found = judge(nights[:k], rule)
        if found.verdict == "regression":
            # The p-value is the one it was told with, so that other cases do not drop it.
            assert found.p <= rule.chance * 4
            assert found.since is not None
            assert found.since >= 110
    assert judge(nights[:170], rule).verdict == "noise"


def test_an_accepted_level_is_the_level() -> None:
    rng = np.random.default_rng(6)
    times = np.exp(rng.normal(0, 0.01, 100))
    times[60:] *= 1.05
    assert judge(nights_of(times)).verdict == "regression"
    for accepted in (60, 64):
        for k in range(accepted + 1, 101):
            assert judge(nights_of(times[:k]), accepted=accepted).verdict == "noise", k
    times[90:] *= 1.05
    assert judge(nights_of(times[:94]), accepted=64).verdict == "regression"


def test_a_faster_stretch_becomes_the_level_and_going_back_is_a_regression() -> None:
    rng = np.random.default_rng(7)
    times = np.exp(rng.normal(0, 0.01, 120))
    times[60:90] *= 0.9
    nights = nights_of(times)
    assert judge(nights[:64]).verdict == "improvement"
    assert judge(nights[:89]).verdict == "noise"
    assert judge(nights[:94]).verdict == "regression"


def test_direction_comes_from_the_metric() -> None:
    rate = nights_of(1 / np.concatenate([np.full(40, 1.0), np.full(5, 1.1)]))
    assert judge(rate, Rule(better="higher")).verdict == "regression"
    assert judge(rate, Rule(better="higher")).ratio == pytest.approx(1 / 1.1)
    assert judge(rate).verdict == "improvement"


def test_little_history_needs_much() -> None:
    def verdict(times: list[float], accepted: int | None = None) -> str:
        return judge(nights_of(times), accepted=accepted).verdict

    assert verdict([1.0]) == "insufficient"
    assert verdict([1.0, 1.04]) == "insufficient"
    assert verdict([1.0, 1.5]) == "regression"
    # An accepted level is compared by the samples, as the pytest fixture does.
    assert verdict([1.0, 1.10], accepted=0) == "regression"
    assert verdict([1.0, 1.03], accepted=0) == "noise"
    assert verdict([1.0, 0.9], accepted=0) == "improvement"
    assert verdict([1.0, 1.2], accepted=1) == "noise"


def test_tonight_alone_needs_its_samples_to_agree() -> None:
    rng = np.random.default_rng(8)
    past = nights_of(np.exp(rng.normal(0, 0.01, 50)))
    clear = Night(1.12, 1.11, 1.13)
    assert judge([*past, clear]).verdict == "regression"
    assert judge([*past, replace(clear, low=0.95)]).verdict == "noise"


def test_a_noisy_series_needs_more_than_a_quiet_one() -> None:
    rng = np.random.default_rng(9)
    noise = rng.normal(0, 1, 60)
    step = np.where(np.arange(60) >= 56, np.log(1.03), 0)
    assert judge(nights_of(np.exp(0.005 * noise + step))).verdict == "regression"
    assert judge(nights_of(np.exp(0.05 * noise + step))).verdict == "noise"
    # Below the A/A floor nothing matters, however sure it is.
    tiny = np.where(np.arange(60) >= 40, np.log(1.005), 0)
    assert judge(nights_of(np.exp(0.0005 * noise + tiny))).verdict == "noise"


def test_values_that_are_no_times() -> None:
    assert judge([Night(0.0, 0.0, 0.0)] * 10).verdict == "insufficient"
    assert judge([Night(math.nan, 1, 1)] * 10).verdict == "insufficient"
    assert judge([Night(1.0, 1.0, 1.0)] * 50).verdict == "noise"
    assert judge([Night(1.0, 0.0, 1.0)] * 50).verdict == "noise"


def test_change_points_of_levels() -> None:
    rng = np.random.default_rng(10)
    log = rng.normal(0, 0.01, 150)
    log[50:100] += 0.1
    assert change_points(log) == (50, 100)
    assert change_points(log[:5]) == ()
    assert change_points(np.zeros(40)) == ()
    assert robust_noise(log) == pytest.approx(0.01, rel=0.25)


@pytest.mark.parametrize(("m", "n"), [(2, 30), (4, 12), (4, 60), (8, 20), (12, 200), (1, 150)])
def test_the_rank_test_agrees_with_scipy(m: int, n: int) -> None:
    rng = np.random.default_rng(m * 100 + n)
    a, b = rng.normal(0.8, 1, m), rng.normal(0, 1, n)
    exact = m * n <= 400 and m <= 8
    theirs = stats.mannwhitneyu(
        a, b, alternative="greater", method="exact" if exact else "asymptotic"
    )
    assert rank_p(a, b) == pytest.approx(theirs.pvalue, rel=1e-6)


def test_discoveries_by_benjamini_and_hochberg() -> None:
    p = [0.001, 0.2, 0.012, 0.03, 0.9]
    ours = discoveries(p, 0.05)
    assert ours == [True, False, True, True, False]
    adjusted = stats.false_discovery_control(p)
    assert ours == [bool(x <= 0.05) for x in adjusted]
    assert discoveries([], 0.05) == []
    assert discoveries([0.04, 0.04, 0.04], 0.05) == [True] * 3
