"""What more ranks buy: fitted latency and bandwidth, weak and strong efficiency."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gpubench.analysis.frame import EFFICIENCY, SCALING, frame
from gpubench.analysis.results import Result, results
from gpubench.analysis.scaling import algbw, communication, efficiencies, fitted
from gpubench.plan import case_key
from gpubench.record import DeviceRef, Record
from gpubench.report.build import report_view
from gpubench.spec import Case
from gpubench.workloads.collectives import Collective, bus_factor
from tests.builders import measurement, record, run


def made(
    workload: str, params: dict[str, Any], time_s: float, benchmark: str = "b", **facts: Any
) -> Record:
    work = None
    label = str(params)
    if workload == "collective":
        own = Collective.from_params(params, "fp32")
        work, label, params = own.work(), own.label(), dict(own.params())
    case = Case(
        key=case_key(workload, "fp32", params), benchmark=benchmark, workload=workload,
        precision="fp32", params=params, label=label, work=work,
    )  # fmt: skip
    m = replace(measurement(*[time_s] * 8), facts=facts, flags=("functional_only",))
    return replace(record(case, m), device=DeviceRef("cpu", "a CPU"))


def judged(*records: Record) -> list[Result]:
    return results(run(), list(records))


def step(ranks: int, batch: int, time_s: float, benchmark: str = "weak", **facts: Any) -> Record:
    params = {"model": "m", "strategy": "ddp", "batch": batch, "world_size": ranks}
    return made("data_parallel", params, time_s, benchmark, **facts)


@pytest.mark.parametrize(("op", "n", "factor"), [
    ("allreduce", 2, 1.0), ("allreduce", 8, 1.75), ("allgather", 4, 0.75),
    ("reducescatter", 4, 0.75), ("alltoall", 8, 0.875), ("broadcast", 8, 1.0), ("reduce", 8, 1.0),
])  # fmt: skip
def test_factors_are_those_of_nccl_tests(op: str, n: int, factor: float) -> None:
    assert bus_factor(op, n) == factor


def test_latency_and_bandwidth_are_found_again() -> None:
    points = [(2.0**k, 20e-6 + 2.0**k / 200e9) for k in range(10, 31, 4)]
    line = fitted(points)
    assert line is not None
    assert line.latency_s == pytest.approx(20e-6, rel=1e-6)
    assert line.bytes_per_s == pytest.approx(200e9, rel=1e-6)
    assert line.worst < 1e-6


def test_a_line_needs_three_sizes_and_says_how_far_off_it_is() -> None:
    assert fitted([(1.0, 1.0), (2.0, 1.0), (2.0, 1.1)]) is None
    line = fitted([(1e3, 1e-5), (1e6, 1e-5), (1e9, 1.5e-2)])
    assert line is not None
    assert line.worst > 0.3
    flat = fitted([(1e3, 3e-5), (1e6, 2e-5), (1e9, 1e-5)])
    assert flat is not None
    assert flat.bytes_per_s is None  # larger and faster: size does not show


def test_bandwidth_of_the_algorithm_and_of_the_bus() -> None:
    (r,) = judged(made("collective", {"op": "all_reduce", "bytes": 2**20, "world_size": 8}, 1e-4))
    assert algbw(r) == pytest.approx(2**20 / 1e-4)
    assert r.rate is not None
    assert r.rate.value == pytest.approx(1.75 * 2**20 / 1e-4)


def test_weak_and_strong_scaling() -> None:
    weak = [step(1, 8, 1.0), step(2, 8, 1.25), step(4, 8, 2.0)]
    strong = [step(1, 8, 1.0, "strong"), step(2, 4, 0.625, "strong"), step(4, 2, 0.5, "strong")]
    found = efficiencies(judged(*weak))
    assert [(found[r.case.key].kind, found[r.case.key].value) for r in weak] == [
        ("weak", 1.0), ("weak", 0.8), ("weak", 0.5),
    ]  # fmt: skip
    found = efficiencies(judged(*strong))
    assert [(found[r.case.key].kind, found[r.case.key].value) for r in strong] == [
        ("strong", 1.0), ("strong", 0.8), ("strong", 0.5),
    ]  # fmt: skip


def test_one_number_of_ranks_has_no_efficiency() -> None:
    assert efficiencies(judged(step(2, 8, 1.0))) == {}


def test_communication_that_is_hidden() -> None:
    facts = {"parallel.communication_share": 0.2, "parallel.hidden_share": 0.75}
    (r,) = judged(step(2, 8, 1.0, **facts))
    assert communication(r) == (0.2, 0.75)


def test_a_report_of_several_ranks() -> None:
    collectives = [
        made("collective", {"op": op, "bytes": size, "world_size": 4}, 1e-5 + size / 1e10)
        for op in ("all_reduce", "broadcast") for size in (2**10, 2**16, 2**22)
    ]  # fmt: skip
    facts = {"parallel.communication_share": 0.2, "parallel.hidden_share": 0.75}
    steps = [step(1, 8, 1.0), step(4, 8, 1.25, **facts)]
    (view,) = report_view([(run(), [*collectives, *steps])]).runs
    sections = {s.title: s for s in view.sections}
    (bandwidth,) = sections["Collectives"].figures
    assert [t["name"] for t in bandwidth.spec["data"]] == ["all_reduce", "broadcast"]
    assert "functional only" in bandwidth.sentence
    assert "all_reduce 10.0 µs + size / 10.0 GB/s" in bandwidth.note
    (scaling,) = sections["Scaling"].figures
    assert scaling.spec["data"][0]["y"] == [100.0, 80.0]
    assert "communication adds 20 %, 75 % of it is hidden" in scaling.spec["data"][0]["text"][1]
    labels = {f.label: f.value for row in view.rows for g in row.details for f in g.facts}
    assert labels["Communication adds"] == "20 % of the step"
    assert "Algorithm bandwidth (algbw)" in labels
    assert labels["Efficiency of weak scaling"] == "80 %"


def test_efficiency_is_a_column_of_the_export() -> None:
    steps = [step(1, 8, 1.0), step(4, 8, 1.25)]
    lone = [step(2, 8, 1.0)]
    table = frame([(run(), steps), (replace(run(), id="another"), lone)])
    assert list(table[EFFICIENCY])[:2] == [1.0, 0.8]
    assert list(table[SCALING])[:2] == ["weak", "weak"]
    # The lone step of another run is not compared with this one's.
    assert table[EFFICIENCY].isna().tolist() == [False, False, True]
