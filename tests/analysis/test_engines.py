"""The engine atlas: winner, pick and regret, from records as a GPU run would store them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpubench.analysis.engines import atlas
from gpubench.analysis.results import results
from gpubench.analysis.verdicts import verdict
from gpubench.record import Accuracy, Measurement, Record
from tests.report.fake_engines import engine_run


def layers(records: list[Record] | None = None):
    run, made = engine_run()
    return atlas(results(run, records or made))


def test_every_layer_with_engines_is_there_with_what_could_not_run() -> None:
    found = layers()
    assert [(x.name, x.precision) for x in found] == [
        ("32x64x56x56 k64 3x3/1 fprop nchw", "fp32"),
        ("32x64x56x56 k64 3x3/1 wgrad nchw", "fp32"),
        ("32x64x56x56 k64 3x3/1 dgrad nhwc", "fp16"),
    ]
    for layer in found:
        assert list(layer.engines) == sorted(layer.engines, key=lambda e: e.time_s)
        assert set(layer.torch) == {"auto", "benchmark"}
        assert any("CUDNN_STATUS" in reason for reason in layer.refused)


def test_regret_is_of_the_most_preferred_plan_against_the_fastest() -> None:
    for layer in layers():
        choice = layer.choice()
        assert choice is not None
        assert choice.pick is not None
        ranks = [e.rank for e in layer.engines if e.rank is not None]
        assert choice.pick.rank == min(ranks)
        assert choice.best is layer.engines[0]
        assert choice.regret == pytest.approx(choice.pick.time_s / choice.best.time_s - 1)
        assert choice.regret >= 0


def test_a_limit_on_workspace_takes_plans_out_of_both_sides() -> None:
    layer = layers()[0]
    none = layer.choice(0)
    assert none is not None
    assert none.best.workspace_bytes == 0
    assert none.pick is None or none.pick.workspace_bytes == 0
    for limit in (10**4, 10**6, 10**9):
        choice = layer.choice(limit)
        assert choice is not None
        assert choice.best.time_s <= none.best.time_s
        assert choice.best.workspace_bytes <= limit


def test_a_wrong_result_wins_nothing() -> None:
    _, records = engine_run()
    first = layers()[0].engines[0].result.record
    assert isinstance(first.outcome, Measurement)
    wrong = replace(first, outcome=replace(first.outcome, accuracy=Accuracy(0.5, 1e-4, "FP64")))
    changed = [wrong if r.case.key == first.case.key else r for r in records]
    assert layers(changed)[0].engines[0].result.record.case.key != first.case.key


def test_a_run_without_engines_has_no_atlas() -> None:
    run, records = engine_run()
    torch_only = [r for r in records if r.case.benchmark == "torch-choice"]
    assert atlas(results(run, torch_only)) == []


def _as_tf32(error: float, **facts: bool):
    run, records = engine_run()
    r = records[0]
    assert isinstance(r.outcome, Measurement)
    case = replace(r.case, precision="tf32")
    outcome = replace(r.outcome, accuracy=Accuracy(error, 1e-2, "FP64"), facts=facts)
    found = verdict(run, results(run, [replace(r, case=case, outcome=outcome)])).findings
    return {f.code: f.severity for f in found}


def test_tf32_as_exact_as_fp32_is_a_finding() -> None:
    assert _as_tf32(3e-7)["tf32_did_not_round"] == "warn"
    assert "tf32_did_not_round" not in _as_tf32(3e-4)


def test_a_switch_that_contradicts_the_precision_is_a_finding() -> None:
    on, off = {"switch.matmul.allow_tf32": True}, {"switch.matmul.allow_tf32": False}
    assert "switch_against_precision" not in _as_tf32(3e-4, **on)
    assert _as_tf32(3e-4, **off)["switch_against_precision"] == "bad"
