from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from gpubench.analysis.results import results
from gpubench.record import Measurement
from gpubench.report.timeline import timeline_figures
from gpubench.report.traces import Ids


def drawn(run, records):
    return {f.id: f for f in timeline_figures(results(run, records), Ids(""))}


def test_cases_power_and_clock_lie_on_one_axis_of_the_run(gpu) -> None:
    run, records = gpu
    first = next(r for r in records if isinstance(r.outcome, Measurement) and r.outcome.readings)
    later = replace(
        first, started_at="2026-01-01T00:01:00+00:00", case=replace(first.case, key="later")
    )
    first = replace(first, started_at="2026-01-01T00:00:00+00:00")
    (figure,) = drawn(run, [later, first]).values()
    cases, power, *_ = figure.spec["data"]
    assert cases["base"] == [0, 60]
    count = len(first.outcome.readings)
    assert [round(x) for x in power["x"][:count]] == [
        round(r.time_s) for r in first.outcome.readings
    ]
    assert min(power["x"][count:]) >= 60
    assert power["customdata"][0].endswith(first.case.key)
    assert {t["name"] for t in figure.spec["data"][1:]} == {"Power", "SM clock", "Temperature"}
    # A row each, one above the other, all over the same axis of time.
    layout = figure.spec["layout"]
    domains = [layout[f"yaxis{n}"]["domain"] for n in ("", 2, 3, 4)]
    assert all(low[1] <= high[0] for high, low in pairwise(domains))
    assert all(0 <= a < b <= 1 for a, b in domains)
    assert "xaxis2" not in layout
    assert "power 3" in figure.sentence


def test_a_power_cap_is_crossed(gpu) -> None:
    run, records = gpu
    first = next(r for r in records if isinstance(r.outcome, Measurement) and r.outcome.readings)
    readings = tuple(replace(r, reasons=("sw_power_cap",)) for r in first.outcome.readings)
    capped = replace(first, outcome=replace(first.outcome, readings=readings))
    (figure,) = drawn(run, [capped]).values()
    assert [t.get("name") for t in figure.spec["data"][1:3]] == ["Power", "held back"]
    assert "held the clock back" in figure.sentence


def test_without_readings_or_times_there_is_nothing(cpu) -> None:
    run, records = cpu
    assert drawn(run, [replace(r, started_at="yesterday") for r in records]) == {}
