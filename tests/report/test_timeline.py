from __future__ import annotations

from dataclasses import replace

from gpubench.analysis.results import results
from gpubench.record import Measurement
from gpubench.report.timeline import timeline_figures
from gpubench.report.traces import Ids


def drawn(run, records):
    return {f.id: f for f in timeline_figures(results(run, records), Ids(""))}


def test_power_and_clock_lie_on_the_time_of_the_run(gpu) -> None:
    run, records = gpu
    first = next(r for r in records if isinstance(r.outcome, Measurement) and r.outcome.readings)
    later = replace(
        first, started_at="2026-01-01T00:01:00+00:00", case=replace(first.case, key="later")
    )
    first = replace(first, started_at="2026-01-01T00:00:00+00:00")
    found = drawn(run, [later, first])
    assert {"timeline-power_w", "timeline-clock_hz"} <= set(found)
    trace = found["timeline-power_w"].spec["data"][0]
    count = len(first.outcome.readings)
    assert [round(x) for x in trace["x"][:count]] == [
        round(r.time_s) for r in first.outcome.readings
    ]
    assert min(trace["x"][count:]) >= 60
    assert trace["customdata"][0].endswith(first.case.key)
    assert "median" in found["timeline-power_w"].sentence


def test_a_power_cap_is_crossed(gpu) -> None:
    run, records = gpu
    first = next(r for r in records if isinstance(r.outcome, Measurement) and r.outcome.readings)
    readings = tuple(replace(r, reasons=("sw_power_cap",)) for r in first.outcome.readings)
    capped = replace(first, outcome=replace(first.outcome, readings=readings))
    (figure, *_) = drawn(run, [capped]).values()
    assert [t["name"] for t in figure.spec["data"]] == ["Power", "held back"]
    assert "held the clock back" in figure.sentence


def test_without_readings_or_times_there_is_nothing(cpu) -> None:
    run, records = cpu
    assert drawn(run, [replace(r, started_at="yesterday") for r in records]) == {}
