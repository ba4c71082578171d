"""The HTML report in a real browser."""

import re

import pytest

from gpubench.report import render
from gpubench.stats import summarize
from gpubench.units import scaled

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def pages(gpu, cpu, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    return {
        "gpu": render.write([gpu], folder / "gpu.html"),
        "cpu": render.write([cpu], folder / "cpu.html"),
        "both": render.write([gpu, cpu], folder / "both.html"),
    }


@pytest.mark.parametrize("name", ["gpu", "cpu", "both"])
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_every_chart_is_drawn_nothing_complains_nothing_overflows(
    pages, visit, name, width, scheme
):
    seen = visit(pages[name], width=width, scheme=scheme)
    seen.draw_all()
    charts = seen.page.query_selector_all(".chart")
    assert len(charts) >= 6
    assert all(c.get_attribute("data-drawn") == "yes" for c in charts)
    assert all(c.query_selector("svg .trace, svg .point, svg path") for c in charts)
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    assert seen.troubles == []


def test_the_verdict_is_on_the_first_screen(pages, visit):
    seen = visit(pages["gpu"], width=390)
    box = seen.page.query_selector(".headline").bounding_box()
    assert box["y"] + box["height"] < 900
    assert "Do not rely on 1 case" in seen.page.inner_text(".headline")


def test_filters_narrow_and_count(pages, visit):
    seen = visit(pages["gpu"])
    assert seen.page.inner_text("output") == "115 of 138 cases"
    seen.page.select_option("[data-filter=precision]", "bf16")
    assert set(seen.texts("tbody td:nth-child(2)")) == {"bf16"}
    seen.page.select_option("[data-filter=benchmark]", "misaligned")
    assert len(seen.page.query_selector_all(".case-table tbody tr")) == 3
    seen.page.fill("[data-filter=text]", "4095 nothing-like-this")
    assert seen.texts(".case-table tbody tr") == ["No case matches these filters."]
    assert seen.page.inner_text("output") == "0 of 138 cases"


def test_status_filter_shows_skips_with_their_reason(pages, visit):
    seen = visit(pages["cpu"])
    seen.page.select_option("[data-filter=status]", "skipped")
    assert seen.page.inner_text("output") == "24 of 40 cases"
    assert "TF32 is a Tensor Core format" in seen.page.inner_text(".case-table tbody")


def test_sorting_is_by_value_and_back_to_the_suites_order(pages, visit):
    seen = visit(pages["gpu"])
    before = seen.texts(".case-table tbody td:nth-child(3)")
    head = seen.page.query_selector("th:nth-child(3)")
    head.query_selector("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert seen.texts(".case-table tbody td:nth-child(3)")[0].startswith("475 ms")
    head.query_selector("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    rows = seen.texts(".case-table tbody td:nth-child(3)")
    assert "µs" in rows[0]
    assert rows[-1] == "–"  # without a number: last either way
    head.query_selector("button").click()
    assert head.get_attribute("aria-sort") is None
    assert seen.texts(".case-table tbody td:nth-child(3)") == before


def test_a_deep_link_opens_its_case_even_if_filtered_away(pages, visit, gpu):
    skipped = next(r for r in gpu[1] if r.status == "skipped")
    seen = visit(pages["gpu"], anchor=f"#case-{skipped.case.key}")
    row = seen.page.query_selector(f"#case-{skipped.case.key}")
    assert "open" in row.get_attribute("class")
    assert "FP8 needs Ada or Hopper" in seen.page.inner_text("td.details")
    assert row.is_visible()


def test_a_finding_leads_to_its_case_with_samples(pages, visit):
    seen = visit(pages["gpu"])
    seen.page.click(".finding.bad .affected a")
    seen.page.wait_for_selector("td.details")
    text = seen.page.inner_text("td.details")
    assert "beyond the tolerance" in text
    assert "ampere_fp16_s16816gemm" in text
    seen.page.click(".detail-links a:nth-child(2)")
    seen.page.wait_for_selector("#sample-chart[data-drawn]")
    chosen = seen.page.evaluate("document.getElementById('sample-case').selectedOptions[0].text")
    assert chosen == "m=2560 n=128 k=2560 · bf16 · deepbench"
    points = seen.page.query_selector_all("#sample-chart .scatterlayer .point")
    assert len(points) == 120


def test_spoiled_samples_are_drawn_apart(pages, visit, gpu):
    seen = visit(pages["gpu"])
    options = seen.texts("#sample-case option")
    seen.page.select_option("#sample-case", label=next(o for o in options if o.startswith(
        "m=n=k=16384 · fp16")))  # fmt: skip
    seen.page.query_selector("#sample-chart").scroll_into_view_if_needed()
    seen.page.wait_for_selector("#sample-chart .legendtext >> text=spoiled sample")


def test_keyboard_alone_opens_details(pages, visit):
    seen = visit(pages["gpu"])
    seen.page.focus(".expand")
    seen.page.keyboard.press("Enter")
    assert seen.page.query_selector("td.details")
    assert seen.page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    seen.page.keyboard.press("Enter")
    assert not seen.page.query_selector("td.details")


def test_copying_gives_csv_in_si_units(pages, visit):
    seen = visit(pages["gpu"])
    seen.context.grant_permissions(["clipboard-read", "clipboard-write"])
    seen.page.select_option("[data-filter=benchmark]", "misaligned")
    seen.page.click(".copy")
    seen.page.wait_for_selector(".copy >> text=Copied")
    lines = seen.page.evaluate("navigator.clipboard.readText()").strip().split("\n")
    assert lines[0].startswith("benchmark,status,case,precision,time_s,rel_noise,flops_per_s")
    assert len(lines) == 16
    cells = dict(zip(lines[0].split(","), lines[1].split(","), strict=True))
    assert 1e-5 < float(cells["time_s"]) < 1


def test_the_theme_can_be_switched_and_charts_follow(pages, visit):
    seen = visit(pages["cpu"])
    seen.draw_all()

    def look():
        return seen.page.evaluate(
            "[getComputedStyle(document.body).backgroundColor,"
            " document.querySelector('.chart .xtick text').style.fill]"
        )

    light = look()
    seen.page.click("#theme")
    seen.page.wait_for_timeout(800)
    dark = look()
    assert light[0] != dark[0]
    assert light[1] != dark[1]
    seen.page.reload()
    seen.page.wait_for_selector("html[data-ready=yes]")
    assert seen.page.get_attribute("html", "data-theme") == "dark"


def test_without_scripts_the_verdict_and_the_first_cases_are_there(pages, chromium):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"file://{pages['gpu']}")
    text = page.inner_text("main")
    assert "Do not rely on 1 case" in text
    assert "Charts need JavaScript" in text
    assert "m=n=k=1024" in page.inner_text(".case-table")
    assert not page.is_visible(".filters")
    context.close()


def test_several_runs_keep_their_own_anchors(pages, visit):
    seen = visit(pages["both"])
    ids = seen.page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(set(ids)) == len(ids)
    assert seen.page.inner_text("h1") == "2 runs in this report"
    for link in seen.page.query_selector_all("nav a"):
        assert seen.page.query_selector(link.get_attribute("href"))


@pytest.mark.slow
def test_five_thousand_cases_are_found_sorted_and_filtered(fakes, visit, tmp_path):
    """How soon they are there is measured in ``benchmarks/reports.py``."""
    run, records = fakes.large_run(5000, 12)
    path = render.write([(run, records)], tmp_path / "large.html")
    seen = visit(path)
    assert "5000 of 5000 cases, 200 shown" in seen.page.inner_text("output")
    seen.page.click(".more button")
    assert len(seen.page.query_selector_all(".case-table tbody tr")) == 400
    seen.page.click(".case-table thead th:nth-child(3) button")
    # All are sorted, not only those shown.
    slowest = max(summarize(r.outcome.samples).median_s for r in records)
    first = seen.texts(".case-table tbody td:nth-child(3)")[0]
    assert first.startswith(scaled(slowest, "s"))
    seen.page.select_option("[data-filter=precision]", "bf16")
    shown, of = re.match(r"(\d+) of (\d+) cases", seen.page.inner_text("output")).groups()
    assert 0 < int(shown) < int(of) == 5000
    last = seen.page.evaluate("document.getElementById('sample-case').lastElementChild.text")
    name = last.split(" · ")[0]
    seen.page.fill("[data-filter=text]", name)
    seen.page.wait_for_function("document.querySelectorAll('.case-table tbody tr').length < 200")
    assert all(name in text for text in seen.texts(".case-table tbody tr"))
    assert seen.troubles == []
    far = records[4800].case.key
    linked = visit(path, anchor=f"#case-{far}").page.query_selector(f"#case-{far}")
    assert linked.is_visible()
    assert "open" in linked.get_attribute("class")
