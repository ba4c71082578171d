"""Steps in a report: phases, throughput by batch, the knee."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gpubench.record import DeviceRef, Range, Record
from gpubench.report.build import report_view
from gpubench.report.view import ChartSection, FigureView
from gpubench.spec import Case
from tests.builders import measurement, record, run


def step(batch: int, time_s: float, model: str = "bert-tiny", benchmark: str = "text") -> Record:
    case = Case(
        key=f"model-{model}-{batch}", benchmark=benchmark, workload="model", precision="fp32",
        params={"model": model, "batch": batch, "mode": "training"}, label=f"{model} {batch}",
    )  # fmt: skip
    spans = (("data", 0.1), ("host_to_device", 0.1), ("forward", 0.2), ("backward", 0.6))
    ranges, at = [], 0.0
    for name, took_s in spans:
        ranges.append(Range(name, at, at + took_s * time_s))
        at += took_s * time_s
    m = replace(
        measurement(*[time_s] * 8), ranges=tuple(ranges),
        facts={"samples_per_step": batch, "flops_per_step": 1e6 * batch, "weights_bytes": 2048},
    )  # fmt: skip
    return replace(record(case, m), device=DeviceRef("cpu", "a CPU"))


SWEEP = [step(1, 0.010), step(4, 0.012), step(16, 0.030), step(64, 0.118)]


def sections(records: list[Record]) -> dict[str, ChartSection]:
    (view,) = report_view([(run(), records)]).runs
    return {s.title: s for s in view.sections}


def figure(records: list[Record], title: str) -> FigureView:
    return sections(records)[title].figures[0]


def test_bars_of_a_case_add_up_to_all_of_its_time() -> None:
    bars = figure(SWEEP, "Where a step goes").spec["data"]
    assert [b["name"] for b in bars] == ["data", "host to device", "forward", "backward"]
    for i in range(len(SWEEP)):
        assert abs(sum(b["x"][i] for b in bars) - 100) < 1e-6
    assert bars[3]["text"][0] == "6.00 ms"


def test_the_knee_is_marked_with_its_latency() -> None:
    found = figure(SWEEP, "Samples per second by batch")
    (ring,) = [t for t in found.spec["data"] if t["name"] == "knee"]
    assert ring["x"] == [16]
    assert "16 samples in 30.0 ms" in found.sentence


def test_only_cases_that_differ_in_their_batch_alone_make_a_line() -> None:
    mixed = [step(1, 0.01), step(4, 0.02, "alexnet"), step(16, 0.03, "gpt2-tiny")]
    assert "Samples per second by batch" not in sections(mixed)
    both = SWEEP + [step(b, 0.02 * b, "alexnet") for b in (1, 4, 16, 64)]
    lines: list[Any] = figure(both, "Samples per second by batch").spec["data"]
    assert sum(len(t["x"]) == 4 for t in lines) == 2


def test_a_run_without_steps_has_no_word_on_them() -> None:
    assert "Where a step goes" not in sections([record()])


def test_details_of_a_case_tell_rates_phases_and_memory() -> None:
    (view,) = report_view([(run(), SWEEP)]).runs
    groups = {g.title: {f.label: f.value for f in g.facts} for g in view.rows[1].details}
    assert groups["The step"]["Samples per second"].startswith("333 sample/s")
    assert groups["The step"]["Phase: data"] == "1.20 ms, beside the step"
    assert groups["The step"]["Phase: forward"] == "2.40 ms, 25 % of the step"
    assert groups["As it ran"]["Memory of weights"] == "2.00 KiB"
