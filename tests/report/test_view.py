from dataclasses import replace

import pytest

from gpubench.record import Measurement
from gpubench.report.build import run_view
from gpubench.report.environment import environment_groups


def section(view, name):
    return next(s for s in view.sections if s.id.endswith(name))


def test_figures_of_a_gpu_run(gpu):
    view = run_view(*gpu)
    assert [f.title for f in section(view, "throughput").figures] == [
        "square-gemm", "deepbench", "skinny", "misaligned",
    ]  # fmt: skip
    first = section(view, "throughput").figures[0]
    names = [t["name"] for t in first.spec["data"]]
    assert names == ["fp64", "fp32", "tf32", "fp16", "bf16"]
    assert first.spec["layout"]["xaxis"]["type"] == "log"
    assert first.spec["layout"]["xaxis"]["ticktext"] == ["1024", "2048", "4096", "8192", "16384"]
    for figure in (f for s in view.sections for f in s.figures):
        assert figure.sentence.endswith(".") or ". " in figure.sentence
        assert figure.spec["data"]


def test_a_wrong_result_is_crossed_out_in_the_charts(gpu):
    view = run_view(*gpu)
    deepbench = section(view, "throughput").figures[1]
    crosses = [t for t in deepbench.spec["data"] if t["name"] == "do not rely on"]
    assert len(crosses) == 1
    assert len(crosses[0]["x"]) == 1


def test_cpu_markers_are_open_and_named(cpu):
    view = run_view(*cpu)
    for trace in section(view, "throughput").figures[0].spec["data"]:
        assert trace["name"].endswith("(CPU)")
        assert all(s.endswith("-open") for s in trace["marker"]["symbol"])


def test_a_cpu_roofline_draws_no_roof_and_says_why(cpu):
    (figure,) = section(run_view(*cpu), "rooflines").figures
    assert "no roof is drawn, since a CPU has no datasheet peak" in figure.sentence
    assert not [t for t in figure.spec["data"] if t["mode"] == "lines"]


def test_one_roof_for_precisions_that_share_a_peak(gpu):
    (figure,) = section(run_view(*gpu), "rooflines").figures
    texts = [a["text"] for a in figure.spec["layout"]["annotations"]]
    assert "fp16, bf16 312 TFLOP/s" in texts
    assert sum(t.startswith("memory") for t in texts) == 1


def test_charts_that_would_be_empty_are_left_out_with_a_reason(fakes, cpu):
    run, records = cpu
    lone = [r for r in records if r.status == "measured"][:1]
    lone = [replace(lone[0], outcome=replace(lone[0].outcome, accuracy=None))]
    view = run_view(run, lone)
    for name in ("throughput", "speedups", "rooflines", "errors"):
        assert section(view, name).figures == ()
        assert section(view, name).missing[0].startswith("No ")
    assert any("No share of peak" in n for n in view.table_notes)
    assert "Of peak" not in [c.title for c in view.columns]
    skipped = run_view(run, [r for r in records if r.status == "skipped"])
    assert skipped.sections == ()
    assert skipped.level == "nothing"


def test_many_benchmarks_are_capped_with_a_statement(fakes):
    run, records = fakes.large_run(200, 8)
    view = run_view(run, records)
    assert len(section(view, "throughput").figures) == 8
    assert "2 more benchmarks" in section(view, "throughput").missing[0]


def test_large_figures_are_thinned_with_a_statement(fakes, monkeypatch):
    monkeypatch.setattr("gpubench.report.traces.MAX_POINTS", 50)
    run, records = fakes.large_run(200, 8)
    (figure,) = section(run_view(run, records), "rooflines").figures
    points = sum(len(t["text"]) for t in figure.spec["data"] if t["mode"] == "markers")
    assert points == 50
    assert figure.note.startswith("Drawn: 50 of 200 cases")


def test_details_hold_what_a_doubter_asks_for(gpu):
    view = run_view(*gpu)
    row = next(r for r in view.rows if r.tone == "bad" and r.status == "measured")
    said = {f.label: f.value for g in row.details for f in g.facts}
    for label in ("Median", "95 % interval", "Samples", "Method", "Cache", "Stopped because",
                  "Clock floor", "FLOPs", "Source of the peak", "Speed-up", "Tensor Cores",
                  "Evidence", "Kernel", "SM clock", "Policy", "Parameters", "Key",
                  "Error against FP64", "Wrong result"):  # fmt: skip
        assert said[label], label
    assert "2·m·n·k" in said["FLOPs"]
    assert "beyond the tolerance" in said["Error against FP64"]
    why = {f.label: f.why for g in row.details for f in g.facts}
    assert "gpubench profile" in why["Energy per call"]


def test_skips_are_grouped_by_reason_and_failures_keep_their_traceback(cpu, gpu):
    view = run_view(*cpu)
    assert [s.count for s in view.skips] == ["8 cases"] * 3
    failures = {f.kind: f for f in run_view(*gpu).failures}
    assert "Traceback" in failures["out of memory"].traceback
    assert failures["timeout"].traceback == ""


def test_anchors_are_unique_and_prefixed(gpu):
    first, second = run_view(*gpu), run_view(*gpu, "run2-")
    anchors = [r.anchor for v in (first, second) for r in v.rows]
    assert len(set(anchors)) == len(anchors)
    assert all(r.anchor.startswith("case-") for r in first.rows)
    figures = [f.id for v in (first, second) for s in v.sections for f in s.figures]
    assert len(set(figures)) == len(figures)


def test_every_link_of_a_finding_leads_to_a_row(gpu):
    view = run_view(*gpu)
    anchors = {r.anchor for r in view.rows}
    links = [c.anchor for f in view.findings for c in f.cases]
    links += [c.link.anchor for c in view.cards if c.link]
    assert links
    assert set(links) <= anchors


@pytest.mark.parametrize(
    ("key", "value", "name", "shown"),
    [
        ("gpu.power_limit_w", 400.0, "Power limit", "400 W"),
        ("gpu.memory_bytes", 42505273344, "Memory", "39.6 GiB"),
        ("gpu.clock_sm_max_hz", 1.41e9, "SM clock, maximum", "1.41 GHz"),
        ("gpu.ecc", True, "ECC", "yes"),
        ("gpu.ecc", None, "ECC", "–"),
        ("gpu.power_limit_w", "n/a", "Power limit", "n/a"),
        ("switch.NVIDIA_TF32_OVERRIDE", None, "NVIDIA_TF32_OVERRIDE", "–"),
        ("new.fact", 3.5, "new.fact", "3.5"),
    ],
)
def test_facts_have_names_and_units(key, value, name, shown):
    groups = environment_groups({key: value}, on_gpu=True)
    facts = {(f.label): f for g in groups for f in g.facts if f.value == shown or f.label != name}
    assert facts[name].value == shown
    assert bool(facts[name].why) == (value is None)


def test_gpu_facts_are_not_expected_of_a_cpu():
    titles = [g.title for g in environment_groups({"cpu.cores": 2}, on_gpu=False)]
    assert "GPU" not in titles
    assert "CUDA libraries" not in titles


def test_odd_numbers_do_not_break_a_report(cpu):
    """Zero times, one sample, NaN and infinite errors, an unknown precision."""
    run, records = cpu
    base = next(r for r in records if r.status == "measured")
    outcome = base.outcome
    assert isinstance(outcome, Measurement)

    def variant(key, precision="fp32", **changes):
        return replace(base, case=replace(base.case, key=key, precision=precision),
                       outcome=replace(outcome, **changes))  # fmt: skip

    odd = [
        variant("zero", samples=replace(outcome.samples, times_s=(0.0,) * 10)),
        variant("one", samples=replace(outcome.samples, times_s=(1e-3,))),
        variant("nan", accuracy=replace(outcome.accuracy, rel_error=float("nan"))),
        variant("inf", accuracy=replace(outcome.accuracy, rel_error=float("inf"))),
        variant("exact", accuracy=replace(outcome.accuracy, rel_error=0.0)),
        variant("int4", precision="int4"),
        replace(base, case=replace(base.case, key="nowork", work=None)),
    ]
    view = run_view(run, odd)
    assert len(view.rows) == len(odd)
    assert view.level == "not_trusted"


def with_times(record, times, key="k"):
    outcome = replace(record.outcome, samples=replace(record.outcome.samples, times_s=times))
    return replace(record, case=replace(record.case, key=key), outcome=outcome)


def test_far_samples_are_counted_at_the_edge_instead_of_squashing_the_rest(cpu):
    run, records = cpu
    base = next(r for r in records if r.status == "measured")
    times = tuple(1.0 + 0.001 * i for i in range(99))
    (figure,) = section(run_view(run, [with_times(base, (*times, 20.0))]), "noise-section").figures
    assert "1 sample lies beyond the right edge, up to +1806 %" in figure.sentence
    names = [t["name"] for t in figure.spec["data"]]
    assert names == ["sample", "samples beyond the edge"]
    (calm,) = section(run_view(run, [with_times(base, times)]), "noise-section").figures
    assert "beyond" not in calm.sentence
    assert [t["name"] for t in calm.spec["data"]] == ["sample"]


def test_a_benchmark_of_one_size_is_named_beside_the_charts(cpu):
    view = run_view(*cpu)
    assert section(view, "throughput").missing == (
        "Not drawn, having a single size: skinny, misaligned; the table of cases has them.",
    )


def test_close_sizes_do_not_overlap_on_the_axis():
    from gpubench.report.axes import value_ticks

    assert value_ticks([255.0, 257.0, 511.0])["ticktext"] == ["255", "511"]
    assert value_ticks([256.0, 512.0, 1024.0])["ticktext"] == ["256", "512", "1024"]
    assert value_ticks([7.0])["ticktext"] == ["7"]


def test_expectations_are_drawn_against_measurements():
    from dataclasses import replace

    from gpubench.analysis.results import results
    from gpubench.record import Modelled
    from gpubench.report.expectations import model_figures
    from gpubench.report.traces import Ids
    from tests import builders

    records = [builders.record(builders.gemm_case(size=n)) for n in (256, 512, 1024)]
    assert model_figures(results(builders.run(), records), Ids("")) == []
    known = [
        replace(r, model=Modelled(predicted_s=2e-3, calibrated_s=1e-3 if i else None))
        for i, r in enumerate(records)
    ]
    found = model_figures(results(builders.run(), known), Ids(""))
    assert [f.title for f in found] == ["From datasheet facts", "Calibrated on this device"]
    assert "3 cases" in found[0].sentence
    # Twice the measured time: the error is 100 %.
    assert "100 %" in found[0].sentence
    assert "2 cases" in found[1].sentence
