from __future__ import annotations

from dataclasses import replace

from gpubench.analysis.results import results
from gpubench.record import Kernel, Measurement, Range
from gpubench.report.details import detail_groups
from gpubench.report.ranges import range_sections, rows_of
from gpubench.report.traces import Ids

PROFILED = (
    Range("data", 0.0, 0.1, 0, None, None, "work of the host"),
    Range("forward", 0.1, 0.4, 0, 0.28, 12.5),
    Range("backward", 0.4, 1.0, 0, 0.55, 30.0),
    Range("mine: step", 0.0, 0.9, 0, 0.8, 42.0),
    Range("mine: <b>layer</b>", 0.1, 0.3, 1, 0.2, None, "standard error 20%"),
)


def profiled(run, records):
    first = next(r for r in records if isinstance(r.outcome, Measurement))
    kernels = (Kernel("gemm", 12, 0.6, (8, 1, 1), (128, 1, 1), "layer.*.attention",
                      "mine: step"),
               Kernel("add", 24, 0.2, (8, 1, 1), (128, 1, 1), None))  # fmt: skip
    outcome = replace(first.outcome, ranges=PROFILED, kernels=kernels)
    return results(run, [replace(first, outcome=outcome)])[0]


def test_phases_and_captured_ranges_lie_in_rows_of_their_own() -> None:
    assert rows_of(PROFILED) == [0, 0, 0, 1, 2]
    threads = (Range("a", 0, 2), Range("b", 1, 3), Range("c", 4, 5))
    assert rows_of(threads) == [0, 1, 0]


def test_the_icicle_holds_time_and_energy(gpu) -> None:
    (section,) = range_sections([profiled(*gpu)], Ids(""))
    (figure,) = section.figures
    (bars,) = figure.spec["data"]
    assert bars["base"] == [0.0, 100.0, 400.0, 0.0, 100.0] or bars["base"][3] == 0.0
    assert "forward · 280 ms · 12.5 J" in bars["text"]
    assert any("no energy: standard error" in t for t in bars["hovertext"])
    assert all("<b>layer" not in t.replace("<b>mine", "") for t in bars["text"])
    assert "Most energy: mine: step, 42.0 J a call." in figure.sentence


def test_runs_without_a_profile_have_no_such_section(gpu, cpu) -> None:
    assert range_sections(results(*gpu), Ids("")) == []
    assert range_sections(results(*cpu), Ids("")) == []


def test_details_name_ranges_and_modules(gpu) -> None:
    groups = {g.title: g.facts for g in detail_groups(profiled(*gpu), {})}
    ranges = {f.label: f for f in groups["Ranges"]}
    assert ranges["forward"].value == "300 ms on the host, 280 ms on the device, 12.5 J"
    assert ranges["· mine: <b>layer</b>"].why == "no energy: standard error 20%"
    kernels = {f.label: f.why for f in groups["Kernels"]}
    assert kernels == {"gemm": "in layer.*.attention, range mine: step", "add": ""}
    modules = {f.label: f.value for f in groups["Kernels by module"]}
    assert modules == {"layer.*.attention": "75 %, 600 ms", "outside of modules": "25 %, 200 ms"}
