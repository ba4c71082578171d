"""What noise is usual, learnt from many cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from gpubench.analysis.level import PRIOR
from gpubench.analysis.shift import judge, scatter
from gpubench.analysis.significance import PRIOR_WEIGHT, _trigamma_inverse, prior_of
from tests.histories import make, nights_of


def scatters(
    rng: np.random.Generator, usual: float, weight: float | None, df: float, count: int
) -> list[tuple[float, float]]:
    """(variance, df) of cases whose true variances scatter as ``weight`` says, or not at all."""
    true = usual**2 * (np.ones(count) if weight is None else weight / rng.chisquare(weight, count))
    return [(float(v), df) for v in true * rng.chisquare(df, count) / df]


def test_the_weight_is_how_much_cases_have_in_common() -> None:
    rng = np.random.default_rng(1)
    for weight in (4.0, 15.0):
        found = prior_of(scatters(rng, 0.01, weight, 60.0, 2000))
        assert found is not None
        assert found[0] == pytest.approx(0.01, rel=0.05)
        assert found[1] == pytest.approx(weight, rel=0.25)
    equal = prior_of(scatters(rng, 0.02, None, 60.0, 500))
    assert equal is not None
    assert equal[0] == pytest.approx(0.02, rel=0.02)
    assert equal[1] > 100


def test_unlike_cases_say_nothing_of_each_other() -> None:
    rng = np.random.default_rng(2)
    noises = 10 ** rng.uniform(-3, -1, 200)
    found = prior_of([(float(x * x * rng.chisquare(60) / 60), 60.0) for x in noises])
    assert found is not None
    assert found[1] < 3


def test_few_cases_teach_nothing() -> None:
    rng = np.random.default_rng(3)
    assert prior_of(scatters(rng, 0.01, None, 60.0, 19)) is None
    assert prior_of([]) is None
    assert prior_of([(0.0, 60.0)] * 50) is None  # series without any noise


def test_trigamma_is_inverted() -> None:
    for x in (1e-4, 0.3, 1.0, 7.0, 300.0, 1e8):
        assert _trigamma_inverse(float(special.polygamma(1, x))) == pytest.approx(x, rel=1e-3)


def test_a_series_tells_its_own_noise() -> None:
    own = scatter(nights_of(make("step", np.random.default_rng(4), 300).times_s))
    assert own is not None
    variance, df = own
    assert np.sqrt(variance) == pytest.approx(0.01, rel=0.12)
    assert 285 <= df <= 300
    assert scatter(nights_of([1.0] * 10)) is None
    assert scatter(nights_of([0.0] * 40)) is None


def test_what_is_usual_finds_more_and_a_noisy_case_is_left_in_peace() -> None:
    found = {PRIOR: 0, (0.01, PRIOR_WEIGHT): 0}
    for seed in range(300, 340):
        history = make("step", np.random.default_rng(seed), 110)
        at = history.slower_from or 0
        for prior in found:
            nights = nights_of(history.times_s)
            ends = range(at + 1, at + 4)
            found[prior] += any(
                judge(nights[:k], prior=prior).verdict == "regression" for k in ends
            )
    assert found[0.01, PRIOR_WEIGHT] >= found[PRIOR]
    rng = np.random.default_rng(5)
    noisy = nights_of(np.exp(rng.normal(0, 0.04, 300)))
    # Three hundred nights of its own outweigh what a few cases have in common.
    assert {judge(noisy[:k], prior=(0.01, 10.0)).verdict for k in range(200, 301)} == {"noise"}
