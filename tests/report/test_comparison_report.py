"""The comparison report: what it says, that it is safe, and how it behaves in a browser."""

import itertools
import json
import re
from dataclasses import replace

import pytest
from test_hostile import PAYLOADS

from gpubench.analysis.comparison import Subject, compare
from gpubench.analysis.flags import flag_info
from gpubench.catalogue import find
from gpubench.errors import InputError
from gpubench.model.cost import Prices
from gpubench.report import comparison as report
from gpubench.report.comparison.build import comparison_view
from gpubench.report.comparison.marks import times
from gpubench.stats import geometric_mean
from gpubench.units import significant


def of_gpu(name):
    spec = find(name)
    return Subject(name, spec.name, "gpu", spec, None, {})


def of_run(name, head, records, key=None):
    spec = find(key) if key else None
    return Subject(name, f"{name} (device)", "run", spec, head, {r.case.key: r for r in records})


@pytest.fixture(scope="module")
def cases(gpu):
    return [r.case for r in gpu[1]]


@pytest.fixture(scope="module")
def two(cases):
    return compare("tensorcore", "GEMM", [of_gpu("a100"), of_gpu("v100")], cases)


@pytest.fixture(scope="module")
def mixed(cases, gpu, cpu):
    subjects = [of_gpu("h100"), of_run("mine", *gpu, "a100"), of_run("laptop", *cpu),
                of_gpu("t4"), of_gpu("p100"), of_gpu("v100")]  # fmt: skip
    return compare("mixed", "", subjects, [*cases, *(r.case for r in cpu[1])])


@pytest.fixture(scope="module")
def runs(cases, gpu):
    before = replace(gpu[0], id="before-run", label="before")
    subjects = [of_run("after", *gpu, "a100"), of_run("before", before, gpu[1], "a100")]
    return compare("runs", "", subjects, cases)


@pytest.fixture(scope="module")
def hostile(gpu, cases):
    """Every text of a stranger's run and of its cases is a payload."""
    texts = itertools.cycle(PAYLOADS)
    spoiled = {c.key: f"{c.key}\"<img src=x onerror=alert(8)>%41 '&" for c in cases[:20]}
    records = [
        replace(r, device=replace(r.device, name=next(texts)),
                case=replace(r.case, key=spoiled[r.case.key], benchmark=next(texts),
                             label=next(texts)))
        for r in gpu[1] if r.case.key in spoiled
    ]  # fmt: skip
    head = replace(gpu[0], id=next(texts), label=next(texts))
    subjects = [
        replace(of_run(next(texts), head, records, "a100"), title=next(texts)),
        replace(of_run(next(texts), replace(head, id=next(texts)), records, "a100"),
                title=next(texts)),
    ]  # fmt: skip
    return compare(next(texts), next(texts), subjects, [r.case for r in records])


def test_the_verdict_comes_first_and_kinds_are_never_mixed(two):
    view = comparison_view(two)
    assert view.headline == "Comparable"
    assert "predictions" in view.scope.lower()
    cards = {c.title: c for c in view.headlines[0].cards}
    assert cards["fp16"].lines[1].startswith("◇\u00a0predicted")
    assert cards["tf32"].value == "–"
    assert "has no tf32 units" in cards["tf32"].lines[0]
    assert "against fp32 of v100" in cards["tf32"].lines[1]
    titles = [c.title for c in view.columns]
    assert not [t for t in titles if "measured" in t]
    assert "a100 predicted" in titles


def test_measured_values_join_with_their_errors(runs):
    view = comparison_view(runs)
    assert "●\u00a0measured" in view.headlines[0].cards[0].lines[1]
    assert view.scope == ""
    assert "not to rely on" in view.caveats[0].text
    assert not [c for c in view.columns if "speedup_predicted" in c.name]
    assert "Speed-up, measured" in [c.title for c in view.columns]
    assert any("Model error" in f.label for g in view.rows[5].details for f in g.facts)


def test_a_run_on_a_cpu_is_marked_and_not_comparable(mixed):
    view = comparison_view(mixed)
    assert view.level == "not_trusted"
    assert view.scope == "Measured on CPU: laptop"
    assert view.headline_table is not None
    assert any(f.label == "○ measured on CPU" for f in view.legend)


def test_empty_sections_say_why(cpu):
    one = compare("c", "", [of_run("a", *cpu), of_run("b", *cpu)], [r.case for r in cpu[1]])
    missing = [line for s in comparison_view(one).sections for line in s.missing]
    assert any("No Tensor Core times" in line for line in missing)
    assert any("No model errors" in line for line in missing)


def test_nothing_in_common_still_makes_a_page(cpu, cases):
    none = compare("c", "", [of_run("a", *cpu), of_run("b", *cpu)], cases[:3])
    assert "Nothing is known" in report.text(none)


@pytest.mark.parametrize("fmt", ["html", "markdown", "csv", "json"])
def test_every_format_of_every_mix(two, mixed, runs, hostile, fmt):
    for one in (two, mixed, runs, hostile):
        assert len(report.text(one, fmt)) > 500


def test_parquet(mixed, tmp_path):
    pytest.importorskip("pyarrow")
    assert report.write(mixed, tmp_path / "x.parquet", "parquet").stat().st_size > 1000
    with pytest.raises(InputError, match="not text"):
        report.text(mixed, "parquet")


def test_the_embedded_data_is_the_exported_json(two, embedded):
    assert embedded(report.text(two)) == json.loads(report.text(two, "json"))


def test_the_page_is_small(two, mixed):
    assert len(report.text(two)) < 1_500_000
    assert len(report.text(mixed)) < 2_000_000


def test_hostile_text_stays_text(hostile, embedded):
    html = report.text(hostile)
    assert embedded(html)["comparison"]["suite"] in PAYLOADS
    assert html.count("<script") == html.count("</script>") == 6
    for payload in ("<img src=x", "<svg onload", "<b onclick", "<a href='javascript"):
        assert payload not in html
    text = re.sub(r"(?<!\\)`[^`\n]*`", "", report.text(hostile, "markdown"))
    assert "<script" not in text
    assert "<img" not in text


def test_the_terminal_says_provenance_and_verdict(two):
    from rich.console import Console

    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(report.summary_table(two))
    text = console.export_text()
    assert "◇ predicted" in text
    assert "Comparable" in text


def evidence(comparison):
    return {s.charts.id: s for s in comparison_view(comparison).evidence}


def test_energy_and_cost_are_per_work_and_by_the_price_list(two, cases):
    section = evidence(two)["economy"]
    assert [t.title for t in section.tables] == ["Energy"]
    assert "--prices" in section.charts.missing[0]

    prices = Prices({}, {find("a100").family: 2.0, find("v100").family: 1.0}, "EUR")
    priced = replace(two, prices=prices)
    energy, cost = evidence(priced)["economy"].tables
    assert cost.title == "Cost in EUR"
    fp16 = next(line for line in cost.lines if line.cells[0].text == "fp16")
    values = [
        (r.case.work.flops, *(e.values["predicted"].time_s for e in r.entries))
        for r in two.rows if r.case.precision == "fp16"
    ]  # fmt: skip
    mine = geometric_mean([2.0 / 3600 * a / work for work, a, _ in values])
    theirs = geometric_mean([1.0 / 3600 * b / work for work, _, b in values])
    assert fp16.cells[2].text == f"{significant(mine * 1e18, 3)} per EFLOP"
    assert fp16.cells[2].sub == times(mine / theirs)
    assert fp16.cells[3].text == f"{significant(theirs * 1e18, 3)} per EFLOP"
    assert fp16.cells[3].sub == ""
    joules = next(line for line in energy.lines if line.cells[0].text == "fp16")
    assert "predicted" in joules.cells[1].text
    assert joules.cells[2].text.endswith("pJ/FLOP")

    document = json.loads(report.text(priced, "json"))["comparison"]
    assert document["currency"] == "EUR"
    told = next(c for c in document["cost"] if c["precision"] == "fp16")
    assert told["cost_per_flop"]["a100"] == pytest.approx(mine)
    columns = [c.title for c in comparison_view(priced).columns]
    assert "a100 energy" in columns
    assert "a100 cost of 1,000" in columns
    assert "a100 cost of 1,000" not in [c.title for c in comparison_view(two).columns]


def test_energies_of_different_kinds_do_not_meet(runs, cases):
    """One side measured, the other only predicted: the class is compared by predictions."""
    subjects = [runs.subjects[0], of_gpu("v100")]
    section = evidence(compare("s", "", subjects, cases))["economy"]
    assert {line.cells[1].text for line in section.tables[0].lines} == {"◇ predicted"}


def test_runs_of_one_device_over_time(cases, gpu):
    head, records = gpu
    subjects = []
    for month, factor in ((3, 1.1), (1, 1.0), (2, 0.5)):
        slower = [
            replace(r, outcome=replace(r.outcome, samples=replace(
                r.outcome.samples, times_s=tuple(t * factor for t in r.outcome.samples.times_s))))
            if r.status == "measured" else r for r in records
        ]  # fmt: skip
        run = replace(head, id=f"r{month}", started_at=f"2026-0{month}-01T02:00:00.000+00:00")
        subjects.append(of_run(f"r{month}", run, slower, "a100"))
    three = compare("s", "", subjects, cases)
    (figure,) = evidence(three)["history"].charts.figures
    assert [t[:2] for t in figure.spec["layout"]["xaxis"]["ticktext"]] == ["r1", "r2", "r3"]
    line = figure.spec["data"][0]
    # The reference is the last named, r2, which was twice as fast as r1.
    assert line["y"] == pytest.approx([0.5, 1.0, 0.5 / 1.1], rel=1e-3)
    assert "history" not in evidence(compare("s", "", subjects[:2], cases))
    mixed = compare("s", "", [*subjects, of_gpu("v100")], cases)
    assert "history" not in evidence(mixed)


def test_conditions_stand_side_by_side_and_what_differs_is_a_caveat(cases, gpu):
    head, records = gpu
    facts = {**head.environment.facts, "gpu.power_limit_w": 250.0, "gpu.uuid": "GPU-other",
             "gpu.driver": "999.1"}  # fmt: skip
    other = replace(head, id="other", environment=replace(head.environment, facts=facts))
    slow = [
        replace(r, outcome=replace(r.outcome, readings=tuple(
            replace(x, values={**x.values, "clock_hz": 0.9e9}) for x in r.outcome.readings)))
        if r.status == "measured" else r for r in records
    ]  # fmt: skip
    subjects = [of_run("one", head, records, "a100"), of_run("other", other, slow, "a100")]
    view = comparison_view(compare("s", "", subjects, cases))
    assert view.level == "caveats"
    said = " ".join(c.text for c in view.caveats)
    for words in ("power limit (W)", "driver: ", "SM clock while measuring: 1.39 GHz",
                  "900 MHz in other", "Not the same board"):  # fmt: skip
        assert words in said
    lines = {line.cells[0].text: line.cells[1:] for line in view.facts.lines}
    assert [c.sub for c in lines["Driver"]] == ["differs", "differs"]
    assert lines["Power limit as set"][1].text == "250 W"
    assert lines["SM clock while measuring"][1].text == "900 MHz"
    assert lines["PyTorch"][0].sub == ""


# ---------------------------------------------------------------- in a browser


@pytest.mark.browser
@pytest.mark.parametrize("name", ["two", "mixed", "runs"])
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_every_chart_is_drawn(request, visit, tmp_path, name, width, scheme):
    path = report.write(request.getfixturevalue(name), tmp_path / "c.html")
    seen = visit(path, width=width, scheme=scheme)
    seen.draw_all()
    charts = seen.page.query_selector_all(".chart")
    assert len(charts) >= 3
    assert all(c.get_attribute("data-drawn") == "yes" for c in charts)
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    assert seen.troubles == []


@pytest.mark.browser
def test_table_filters_links_and_copy(runs, visit, tmp_path):
    path = report.write(runs, tmp_path / "c.html")
    seen = visit(path)
    seen.context.grant_permissions(["clipboard-read", "clipboard-write"])
    seen.page.select_option("[data-filter=precision]", "fp16")
    assert set(seen.texts(".case-table tbody td:nth-child(2)")) == {"fp16"}
    seen.page.click("#cases .copy")
    seen.page.wait_for_selector("#cases .copy >> text=Copied")
    copied = seen.page.evaluate("navigator.clipboard.readText()")
    assert "after_measured_s" in copied.split("\n")[0]
    seen.page.click(".short tbody th a")
    seen.page.wait_for_selector("td.details")
    assert "Bound by" in seen.page.inner_text("td.details")
    assert "Why" in seen.page.inner_text("td.details")
    assert seen.troubles == []


@pytest.mark.browser
def test_no_script_of_a_stranger_runs(hostile, visit, tmp_path):
    seen = visit(report.write(hostile, tmp_path / "c.html"))
    seen.draw_all()
    for button in seen.page.query_selector_all(".expand"):
        button.evaluate("b => b.click()")
    assert seen.troubles == []
    assert seen.page.query_selector_all("img, svg[onload], [onerror], [onclick], iframe") == []
    links = {a.get_attribute("href") for a in seen.page.query_selector_all("a")}
    assert not [h for h in links if not h.startswith(("#", "https://plotly.com/"))]


@pytest.mark.parametrize("flag", ["throttled", "contended", "launch_bound", "hot_cache", "noisy"])
def test_a_number_is_not_compared_without_its_flag(cases, gpu, flag):
    run, records = gpu
    first = next(r for r in records if r.status == "measured")
    marked = [replace(r, outcome=replace(r.outcome, flags=(flag,)))
              if r is first else r for r in records]  # fmt: skip
    view = comparison_view(
        compare("s", "", [of_run("mine", run, marked, "a100"), of_gpu("v100")], [first.case])
    )
    title = flag_info(flag).title
    assert any(title in cell.sub for row in view.rows for cell in row.cells)
