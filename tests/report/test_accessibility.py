"""WCAG 2.1 A and AA, as far as axe can tell, on every kind of page in a browser."""

from __future__ import annotations

from pathlib import Path

import fake_pages
import pytest

pytestmark = pytest.mark.browser

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
RUN = """async () => (await axe.run(document, {
  runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], resultTypes: ["violations"],
}))"""


def broken_rules(page):
    """What axe finds wrong, a line each rule and place.

    DevTools evaluate it beside the page's own scripts, whose policy stays as it is.
    """
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate(RUN)
    assert len(found["passes"]) > 5, "axe looked at nothing"
    return [
        f"{rule['id']}: {' '.join(map(str, node['target']))}: {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


@pytest.mark.slow
@pytest.mark.parametrize("kind", fake_pages.KINDS)
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_axe_finds_nothing(pages, visit, kind, width, scheme):
    ready = "[data-ready=yes]" if kind in ("run", "comparison") else ""
    seen = visit(pages[kind], width=width, scheme=scheme, ready=ready)
    seen.draw_all()
    for button in seen.page.query_selector_all(".expand")[:3]:
        button.evaluate("b => b.click()")
    for summary in seen.page.query_selector_all("summary"):
        summary.click()
    assert broken_rules(seen.page) == []


def test_axe_would_find_a_label_that_is_missing(pages, visit):
    seen = visit(pages["run"])
    seen.page.evaluate(
        "document.querySelector('[data-filter=text]').closest('label').replaceWith("
        "Object.assign(document.createElement('input'), {type: 'text'}))"
    )
    assert any(line.startswith("label: ") for line in broken_rules(seen.page))
