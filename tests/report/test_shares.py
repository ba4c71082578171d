"""What a step is made of: shares in run reports and comparisons."""

from __future__ import annotations

from dataclasses import replace

from gpubench.analysis.comparison import Subject, compare
from gpubench.analysis.shares import measured_shares, predicted_shares
from gpubench.catalogue import find
from gpubench.record import DeviceRef, Modelled, Operator, Record
from gpubench.report.build import report_view
from gpubench.report.comparison import comparison_view
from gpubench.spec import Case
from tests.builders import measurement, record, run

OPERATORS = (
    Operator("aten::mm", "backward", 3, 6e-3), Operator("aten::addmm", "forward", 3, 2e-3),
    Operator("aten::gelu", "forward", 1, 2e-3),
)  # fmt: skip
CASE = Case(
    key="model-alexnet", benchmark="steps", workload="model", precision="fp32",
    params={"model": "alexnet", "batch": 2, "mode": "inference"}, label="alexnet 2",
)  # fmt: skip


def traced(predicted: bool = False, device: str = "cpu") -> Record:
    m = replace(measurement(*[0.012] * 8), operators=OPERATORS, facts={"samples_per_step": 2})
    found = replace(record(CASE, m), device=DeviceRef(device, "it"))
    if predicted:
        classes = {"matrix products": 1.0e-2, "elementwise and copies": 1.0e-2}
        found = replace(found, model=Modelled(predicted_s=0.02, classes=classes))
    return found


def test_shares_add_up_and_tell_matrix_units_apart() -> None:
    found = measured_shares(traced())
    assert found is not None
    assert found.share("matrix products") == 0.8
    assert found.matrix_share == 0.8
    assert abs(sum(found.share(c) for c in found.times_s) - 1) < 1e-12
    assert predicted_shares(traced()) is None


def test_predicted_bars_stand_below_the_measured_ones_and_are_hatched() -> None:
    (view,) = report_view([(run(), [traced(predicted=True, device="cuda")])]).runs
    section = next(s for s in view.sections if s.title == "What a step is made of")
    bars = section.figures[0].spec["data"]
    assert [b["name"] for b in bars] == ["matrix products", "elementwise and copies"]
    assert bars[0]["x"] == [80.0, 50.0]
    assert bars[0]["marker"]["pattern"]["shape"] == ["", "/"]
    assert "predicted" in bars[0]["y"][1]
    assert "Hatched" in section.figures[0].sentence


def test_details_name_both_shares() -> None:
    (view,) = report_view([(run(), [traced(predicted=True)])]).runs
    (group,) = [g for g in view.rows[0].details if g.title == "What the step is made of"]
    said = {f.label: f.value for f in group.facts}
    assert said["Operators: matrix products"].startswith("8.00 ms, 80 %; predicted 10.0 ms, 50 %")
    assert said["Matrix units' part (C_TC)"] == "80 %; predicted 50 %"


def test_a_run_beside_gpus_that_are_not_here() -> None:
    """The article's C_GPU of a whole step: measured here, predicted for the catalogue."""
    found = traced()
    subjects = [
        Subject("mine", "mine", "run", None, run(), {found.case.key: found}),
        Subject("v100", "V100", "gpu", find("v100"), None, {}),
    ]
    view = comparison_view(compare("steps", "", subjects, [CASE]))
    section = next(s for s in view.evidence if s.charts.title == "What a step is made of")
    bars = section.charts.figures[0].spec["data"]
    assert bars[0]["y"] == ["mine, measured on CPU", "v100, predicted"]
    convolutions = next(b for b in bars if b["name"] == "convolutions")
    assert convolutions["x"][0] == 0 < convolutions["x"][1]
