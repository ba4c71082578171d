from __future__ import annotations

import numpy as np
import pytest

from gpubench.analysis.outliers import LEAST, OutlierRule, score, tail_df


def fleet(
    rng: np.random.Generator, devices: int, cases: int = 12
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Logs of times of good devices: off in everything at once, and a little in each case."""
    return rng.normal(0, 0.007, (devices, 1)) + rng.normal(0, 0.004, (devices, cases))


def test_a_planted_fault_is_found_and_it_alone() -> None:
    found = false = 0
    for seed in range(20):
        logs = fleet(np.random.default_rng(seed), 200)
        logs[17] += np.log(1.06)
        slow = score(np.exp(logs)).slow
        found += int(slow[17])
        false += int(slow.sum() - slow[17])
    assert found >= 18
    assert false <= 3


def test_a_fault_in_one_case_is_found() -> None:
    logs = fleet(np.random.default_rng(1), 200)
    logs[5, 3] += np.log(1.10)
    found = score(np.exp(logs))
    assert list(np.flatnonzero(found.slow)) == [5]
    assert found.overall[5] == pytest.approx(1, abs=0.03)
    assert np.nanargmax(found.z[5]) == 3


def test_good_fleets_name_nobody() -> None:
    named = sum(
        int(score(np.exp(fleet(np.random.default_rng(seed), n))).slow.sum())
        for n in (8, 64, 300) for seed in range(20)
    )  # fmt: skip
    assert named <= 3


def test_faster_is_odd_but_not_slow() -> None:
    logs = fleet(np.random.default_rng(2), 100)
    logs[9] -= np.log(1.08)
    found = score(np.exp(logs))
    assert not found.slow.any()
    assert list(np.flatnonzero(found.fast)) == [9]


def test_what_is_too_small_to_matter_is_not_odd() -> None:
    logs = np.zeros((50, 10)) + np.random.default_rng(3).normal(0, 1e-5, (50, 10))
    logs[4] += np.log(1.015)
    assert not score(np.exp(logs)).slow.any()
    assert score(np.exp(logs), OutlierRule(floor=0.01)).slow[4]


def test_equal_devices_have_no_odd_one() -> None:
    found = score(np.ones((20, 5)))
    assert not (found.slow | found.fast).any()


def test_few_devices_are_not_judged() -> None:
    for n in (0, 1, LEAST - 1):
        found = score(np.ones((n, 3)))
        assert not found.judged
        assert len(found.slow) == n
    assert score(np.ones((LEAST, 3))).judged


def test_missing_cases_take_no_part() -> None:
    logs = fleet(np.random.default_rng(4), 60)
    logs[7] += np.log(1.10)
    times = np.exp(logs)
    times[7, :8] = np.nan  # measured in a third of the cases only
    times[:, 11] = np.nan  # nobody has it
    times[3:, 10] = np.nan  # too few have it
    times[12] = np.nan  # a device without any
    found = score(times)
    assert list(np.flatnonzero(found.slow)) == [7]
    assert np.isnan(found.z[:, 10:]).all()
    assert np.isnan(found.overall[12])
    assert found.p_slow[12] == 1


def test_one_wild_case_does_not_make_all_odd() -> None:
    logs = fleet(np.random.default_rng(5), 80, cases=30)
    logs[2, 0] += 3.0
    found = score(np.exp(logs))
    assert found.slow[2]
    assert found.overall_z[2] < 3


def test_tails_are_taken_from_the_devices() -> None:
    rng = np.random.default_rng(6)
    light, heavy = rng.normal(size=(4000, 1)), rng.standard_t(3, (4000, 1))
    assert tail_df(light) > 20
    assert tail_df(heavy) == pytest.approx(8.0)
    assert tail_df(np.zeros((10, 2))) == pytest.approx(8.0)


def test_heavy_tails_name_few() -> None:
    false = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        whole = rng.standard_t(5, (500, 1)) * 0.007 / np.sqrt(5 / 3)
        false += int(score(np.exp(whole + rng.normal(0, 0.004, (500, 12)))).slow.sum())
    assert false <= 5
