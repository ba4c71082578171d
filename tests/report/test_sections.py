"""Every section of a report that has all of them, in a browser."""

import fake_whole
import pytest

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_every_section_is_there_with_its_figures_drawn_and_explained(pages, visit, width, scheme):
    seen = visit(pages["run"], width=width, scheme=scheme)
    seen.draw_all()
    titles = seen.texts("#evidence section.charts > h3")
    assert titles == [*fake_whole.SECTIONS, "Samples of one case"]
    for section in seen.page.query_selector_all("#evidence section.charts"):
        figures = section.query_selector_all("figure")
        assert figures
        for figure in figures:
            chart = figure.query_selector(".chart")
            assert chart.get_attribute("data-drawn") == "yes"
            assert chart.query_selector("svg .trace, svg .point, svg path")
            assert "." in figure.query_selector("figcaption").inner_text()
            assert chart.get_attribute("aria-label").startswith("Chart: ")
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    assert seen.troubles == []


def test_bars_of_ranges_and_learning_lead_to_their_words(pages, visit):
    _, records = fake_whole.whole_run()
    step = next(r for r in records if r.case.workload == "model")
    seen = visit(pages["run"], anchor=f"#case-{step.case.key}")
    text = seen.page.inner_text("td.details")
    for words in ("What it learned", "B-PER", "What the step is made of", "The step",
                  "mine: layer", "layer.*.attn", "flash"):  # fmt: skip
        assert words.lower() in text.lower(), words


def test_the_comparison_of_everything_is_drawn(pages, visit):
    seen = visit(pages["comparison"], width=1440)
    seen.draw_all()
    assert len(seen.page.query_selector_all("figure .chart svg.main-svg")) >= 3
    captions = seen.texts("figcaption")
    assert captions
    assert all("." in c for c in captions)
    assert seen.troubles == []


@pytest.mark.parametrize("kind", ["run", "comparison"])
def test_a_deep_link_opens_and_shows_its_case(pages, visit, kind):
    _, records = fake_whole.whole_run()
    last = [r for r in records if r.status == "measured"][-1]
    seen = visit(pages[kind], anchor=f"#case-{last.case.key}")
    row = seen.page.query_selector(f"[id='case-{last.case.key}']")
    assert "open" in row.get_attribute("class")
    box = row.bounding_box()
    assert 0 <= box["y"] < 900
    # The same link again, after a filter has hidden the case.
    seen.page.fill("[data-filter=text]", "nothing-like-this")
    assert not seen.page.query_selector(f"[id='case-{last.case.key}']")
    seen.page.evaluate("location.hash = ''")
    seen.page.evaluate(f"location.hash = '#case-{last.case.key}'")
    seen.page.wait_for_selector(f"[id='case-{last.case.key}'].open")
    assert seen.page.evaluate("document.activeElement.className") == "expand"
    assert seen.troubles == []


@pytest.mark.parametrize("kind", ["run", "comparison"])
def test_the_table_works_by_keyboard_alone(pages, visit, kind):
    seen = visit(pages[kind])
    keys = seen.page.keyboard
    seen.page.focus("[data-filter=text]")
    keys.type("bert-tiny")
    assert all("bert-tiny" in t for t in seen.texts(".case-table tbody td:first-child"))
    keys.press("Tab")  # the next filter
    assert seen.page.evaluate("document.activeElement.matches('[data-filter]')")
    for _ in range(20):
        keys.press("Tab")
        if seen.page.evaluate("!!document.activeElement.closest('th[data-column]')"):
            break
    keys.press("Enter")
    assert seen.page.query_selector("th[aria-sort]")
    for _ in range(40):
        keys.press("Tab")
        if seen.page.evaluate("document.activeElement.matches('.expand')"):
            break
    keys.press("Space")
    assert seen.page.query_selector("td.details")
    assert seen.page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"


@pytest.mark.parametrize("kind", ["run", "comparison"])
def test_paper_gets_tables_and_figures_without_the_controls(pages, visit, kind):
    seen = visit(pages[kind], scheme="dark")
    seen.draw_all()
    seen.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    seen.page.emulate_media(media="print", color_scheme="dark")
    for hidden in (".bar", ".filters", ".copy"):
        assert not seen.page.is_visible(hidden), hidden
    assert all(f.is_visible() for f in seen.page.query_selector_all("figure .chart svg.main-svg"))
    assert seen.page.is_visible(".case-table tbody tr:last-child")
    assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(255, 255, 255)"
    )
    clipped = seen.page.evaluate(
        "[...document.querySelectorAll('.scroll')]"
        ".filter(e => getComputedStyle(e).overflowY !== 'visible').length"
    )
    assert clipped == 0
    assert seen.troubles == []
