"""What follows from a measured step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gpubench.analysis.results import Result, results
from gpubench.analysis.steps import knee, phases, step_figures
from gpubench.record import Energy, Peaks, Range, Record
from gpubench.spec import Case
from tests.builders import measurement, record, run


def step(median_s: float = 0.5, **facts: Any) -> Record:
    case = Case(
        key="model-fp16-1", benchmark="b", workload="model", precision="fp16",
        params={"model": "bert-tiny", "batch": 8},
    )  # fmt: skip
    ranges = (Range("data", 0.0, 1.0), Range("forward", 1.0, 3.0), Range("kernel", 1.0, 2.0, 1))
    m = replace(measurement(*[median_s] * 8), facts=facts, ranges=ranges)
    return replace(record(case, m), peaks=Peaks(flops_per_s=1e12), energy=Energy(40.0, "meter"))


def result(one: Record) -> Result:
    return results(run(), [one])[0]


def test_rates_and_utilisation_of_a_step() -> None:
    found = step_figures(result(step(samples_per_step=8, tokens_per_step=256, flops_per_step=2e11)))
    assert found is not None
    assert found.samples_per_s.value == pytest.approx(16)
    assert found.tokens_per_s is not None
    assert found.tokens_per_s.value == pytest.approx(512)
    assert found.mfu == pytest.approx(0.4)
    assert found.joules_per_sample == pytest.approx(5.0)


def test_what_is_not_known_stays_out() -> None:
    bare = replace(step(samples_per_step=8), peaks=Peaks(), energy=Energy())
    found = step_figures(result(bare))
    assert found is not None
    assert (found.tokens_per_s, found.mfu, found.joules_per_sample) == (None, None, None)
    assert step_figures(result(step())) is None


def test_counted_flops_are_the_throughput_of_a_result() -> None:
    r = result(step(samples_per_step=8, flops_per_step=2e11))
    assert r.flops_per_s is not None
    assert r.flops_per_s.value == pytest.approx(4e11)
    assert r.share_of_peak == pytest.approx(0.4)


def test_phases_are_the_outermost_ranges() -> None:
    assert phases(result(step(samples_per_step=8))) == {"data": 1.0, "forward": 2.0}


def test_the_knee_is_the_smallest_batch_near_the_best() -> None:
    found = knee([(64, 1000.0), (1, 100.0), (16, 920.0), (4, 380.0), (256, 990.0)])
    assert found is not None
    assert (found.batch, found.rising) == (16, False)
    rising = knee([(1, 100.0), (4, 390.0), (16, 1500.0)])
    assert rising is not None
    assert (rising.batch, rising.rising) == (16, True)
    assert knee([(1, 100.0), (4, 390.0)]) is None
