from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gpubench.analysis.causes import Side, causes
from gpubench.analysis.level import Rule
from gpubench.analysis.tracking import (
    CLOCK,
    IMPROVEMENT,
    INSUFFICIENT,
    NOISE,
    REGRESSION,
    STACK,
    track,
    track_all,
)
from gpubench.record import Environment
from gpubench.store.points import Point
from tests.builders import record
from tests.nightly import GPU, measured, night


def points(times_s: np.ndarray, **more: object) -> list[Point]:
    made = []
    for i, t in enumerate(times_s):
        given = {k: v[i] if isinstance(v, list | np.ndarray) else v for k, v in more.items()}
        base = Point(
            "k", f"r{i:03d}", f"2026-01-01T{i:04d}", "old", "events/cold/normal",
            float(t), float(t) * 0.998, float(t) * 1.002, None, None, None, (),
        )  # fmt: skip
        made.append(replace(base, **given))  # type: ignore[arg-type]
    return made


def times(seed: int, count: int = 80, step: float = 0.0, at: int = 70) -> np.ndarray:
    log = np.random.default_rng(seed).normal(0, 0.01, count)
    log[at:] += np.log1p(step)
    return 1e-3 * np.exp(log)


def test_verdicts() -> None:
    assert track("k", []).verdict == INSUFFICIENT
    assert track("k", points(times(0))).verdict == NOISE
    slower = track("k", points(times(0, step=0.1)))
    assert slower.verdict == REGRESSION
    assert slower.since is not None
    assert slower.since.run_id == "r070"
    assert slower.before is not None
    assert slower.before.run_id == "r069"
    assert "slower for 10 nights" in slower.text
    assert track("k", points(times(0, step=-0.1, at=76))).verdict == IMPROVEMENT


def test_a_change_is_told_since_it_began_and_against_what_was_before() -> None:
    """However many nights ago; windows are of few lengths, and none may fit."""
    changes = ((0.08, REGRESSION, "slower", 15), (-0.1, IMPROVEMENT, "faster", 11))
    for step, verdict, word, most in changes:  # a gain is news for ten nights
        for count in range(2, most):
            found = track("k", points(times(5, step=step, at=80 - count)))
            assert found.verdict == verdict, (count, step)
            assert found.since is not None
            if count >= 3:  # two nights are few to place it by
                assert found.since.run_id == f"r{80 - count:03d}", (count, step)
                assert f"{word} for {count} nights" in found.text
            assert found.shift.level == pytest.approx(1e-3, rel=0.01)
            assert found.shift.ratio == pytest.approx(1 + step, abs=0.015)


def test_a_change_with_the_stack_is_no_regression_of_the_code() -> None:
    for moved in (-1, 0, 1):
        stacks = ["old"] * (70 + moved) + ["new"] * (10 - moved)
        assert track("k", points(times(1, step=0.1), stack=stacks)).verdict == STACK
    long_before = ["old"] * 50 + ["new"] * 30
    assert track("k", points(times(1, step=0.1), stack=long_before)).verdict == REGRESSION
    # A stack that came and went again explains nothing.
    there_and_back = ["old"] * 70 + ["new"] + ["old"] * 9
    assert track("k", points(times(1, step=0.1), stack=there_and_back)).verdict == REGRESSION
    assert track("k", points(times(1), stack=["old"] * 70 + ["new"] * 10)).verdict == NOISE


def test_a_slower_clock_is_told_from_slower_code() -> None:
    clocks = np.where(np.arange(80) >= 70, 1.41e9 / 1.1, 1.41e9)
    assert track("k", points(times(2, step=0.1), clock_hz=clocks)).verdict == CLOCK
    half = np.where(np.arange(80) >= 70, 1.41e9 / 1.03, 1.41e9)
    assert track("k", points(times(2, step=0.1), clock_hz=half)).verdict == REGRESSION
    assert track("k", points(times(2, step=0.1), clock_hz=1.41e9)).verdict == REGRESSION


def test_doubtful_nights_do_not_count() -> None:
    flags = [("contended",) if i in (20, 30, 79) else () for i in range(80)]
    wild = times(3)
    wild[[20, 30, 79]] *= 2
    told = track("k", points(wild, flags=flags))
    assert told.verdict == INSUFFICIENT
    assert "contended" in told.text
    throttled = [("throttled",) if i == 79 else () for i in range(80)]
    assert track("k", points(wild, flags=throttled)).verdict == CLOCK
    usable = track("k", points(wild[:79], flags=flags[:79]))
    assert usable.verdict == NOISE
    assert len(usable.points) == 77


def test_only_nights_measured_in_the_same_way_compare() -> None:
    how = ["events/cold/normal"] * 79 + ["events/hot/normal"]
    told = track("k", points(times(4, step=0.5, at=79), how=how))
    assert told.verdict == INSUFFICIENT
    assert len(told.points) == 1


def test_an_acceptance_by_run() -> None:
    slower = points(times(5, step=0.1))
    assert track("k", slower, accepted=("r070", "driver")).verdict == NOISE
    assert track("k", slower, accepted=("r070", "driver")).accepted == "driver"
    assert track("k", slower, accepted=("gone", "driver")).verdict == REGRESSION
    assert track("k", slower, accepted=("r010", "old")).verdict == REGRESSION


def test_false_discoveries_are_held_over_all_cases() -> None:
    """One borderline alarm is believed alone, and not among a hundred thousand quiet cases."""
    borderline = next(
        p
        for step in np.arange(0.020, 0.05, 0.0005)
        if track("k", p := points(times(6, count=74, step=float(step)))).verdict == REGRESSION
    )
    quiet = points(times(7, count=12))
    alone = track_all({"k": borderline}, {})
    assert [t.verdict for t in alone] == [REGRESSION]
    many = {"k": borderline, **{f"q{i}": quiet for i in range(60)}}
    strict = track_all(many, {}, Rule(fdr=0.0005))
    assert strict[0].verdict == NOISE
    assert "not believed among 61 cases" in strict[0].text


def test_causes_are_one_line_each() -> None:
    facts = {"gpu.driver": "570.86", "gpu.power_limit_w": 300.0, "git.commit": "b" * 40}
    before = Side(night(0), record(outcome=measured(1e-3)))
    after = Side(night(1, facts), record(outcome=measured(1e-3, 1.2e9, "other_gemm")))
    assert causes(before, after) == (
        "dispatcher switched kernel: ampere_gemm → other_gemm",
        "driver: 550.54 → 570.86",
        "power cap: 400.0 W → 300.0 W",
        "code commit: aaaaaaaaaa → bbbbbbbbbb",
        "SM clock: 1.41 GHz → 1.20 GHz (15 % lower)",
    )
    assert causes(before, before) == ()
    assert causes(Side(night(0)), Side(night(1))) == ()
    switched = replace(
        night(1), environment=Environment({**GPU, "switch.NVIDIA_TF32_OVERRIDE": "0"})
    )
    assert causes(Side(night(0)), Side(switched)) == ("NVIDIA_TF32_OVERRIDE: not set → 0",)
