"""What was learned, in a report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gpubench.record import Record
from gpubench.report.build import report_view
from gpubench.spec import Case
from tests.builders import measurement, record, run


def learned(seed: int, reached: bool, **more: Any) -> Record:
    case = Case(
        key=f"model-{seed}", benchmark="learns", workload="model", precision="fp32",
        params={"model": "bert-tiny", "seed": seed}, label=f"seed {seed}",
    )  # fmt: skip
    facts = {
        "samples_per_step": 16, "quality.steps": 100, "quality.reached": reached,
        "quality.entity_f1": 0.89, "quality.token_accuracy": 0.978,
        "quality.loss_curve": "2.2 1.0 0.5 0.25",
        "quality.label.B-PER": "0.926 0.913 0.920 138",
    } | more  # fmt: skip
    return record(case, replace(measurement(*[0.1] * 8), facts=facts))


def test_loss_curves_end_at_their_last_step() -> None:
    (view,) = report_view([(run(), [learned(0, True), learned(1, False)])]).runs
    (section,) = [s for s in view.sections if s.title == "Does it learn"]
    (figure,) = section.figures
    first, second = figure.spec["data"]
    assert list(first["x"]) == [12.5, 37.5, 62.5, 87.5]
    assert list(first["y"]) == [2.2, 1.0, 0.5, 0.25]
    assert first["line"]["dash"] != second["line"]["dash"]
    assert "Reached: 1 of 2" in figure.sentence
    assert "89.0 % in fp32, with 97.8 % of tokens right" in figure.sentence


def test_details_hold_the_table_by_label() -> None:
    took = {"quality.time_to_target_s": 10.0}
    (view,) = report_view([(run(), [learned(0, True, **took), learned(1, False)])]).runs
    good, bad = (
        {g.title: {f.label: f.value for f in g.facts} for g in row.details} for row in view.rows
    )
    table = good["What it learned"]
    assert table["Target"] == "reached in 100 steps, 10.0 s of training"
    assert table["B-PER"] == "precision 0.926, recall 0.913, F1 0.920, support 138"
    assert bad["What it learned"]["Target"] == "not reached in 100 steps"
    assert not any("quality" in label for label in good["As it ran"])


def test_a_curve_of_no_numbers_is_not_drawn() -> None:
    odd = learned(0, True, **{"quality.loss_curve": "what <b>is</b> this"})
    (view,) = report_view([(run(), [odd])]).runs
    assert not [s for s in view.sections if s.title == "Does it learn"]


def test_a_target_that_was_missed_is_among_the_findings() -> None:
    (view,) = report_view([(run(), [learned(0, False)])]).runs
    assert any("did not learn to the target" in f.text for f in view.findings)
