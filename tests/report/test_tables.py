"""Every table of every kind of page: sorting, filter and copy, in a browser."""

import csv
import io
import re

import fake_pages
import pytest

pytestmark = pytest.mark.browser

READY = "[data-tables=yes]"
PLAIN = "main table:not(.case-table)"
PREFIXES = {"p": 1e-12, "n": 1e-9, "µ": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


def column(table, index):
    """What the cells of a column say, the smaller line below left out."""
    return table.evaluate(
        "(t, i) => [...t.tBodies[0].rows].map(r => { const c = r.cells[i].cloneNode(true);"
        " c.querySelectorAll('.sub').forEach(s => s.remove()); return c.textContent.trim(); })",
        index,
    )


def seconds(text):
    """A time or any amount as a number; None for none."""
    found = re.match(r"[^\d]*([\d.]+)\s*([pnµmkMGT]?)([a-zA-Z]*)", text)
    if not found:
        return None
    value = float(found[1])
    return value * PREFIXES.get(found[2], 1.0) if found[2] and found[3] else value


@pytest.mark.parametrize("kind", fake_pages.KINDS)
def test_every_heading_sorts_there_and_back(pages, visit, kind):
    seen = visit(pages[kind], ready=READY)
    seen.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    tables = [
        t for t in seen.page.query_selector_all(PLAIN)
        if len(t.query_selector_all("tbody tr")) > 1
    ]  # fmt: skip
    assert tables or kind == "run"
    for table in tables:
        heads = table.query_selector_all("thead th")
        for index, head in enumerate(heads):
            before = column(table, index)
            press = head.query_selector("button")
            press.evaluate("b => b.click()")
            assert head.get_attribute("aria-sort") in ("ascending", "descending")
            once = column(table, index)
            press.evaluate("b => b.click()")
            assert sorted(column(table, index)) == sorted(before) == sorted(once)
            press.evaluate("b => b.click()")
            assert head.get_attribute("aria-sort") is None
            assert column(table, index) == before
    assert seen.troubles == []


def test_sorting_is_by_amount_not_by_letters(pages, visit):
    changed = 0
    for page in sorted(pages["case"].parent.iterdir()):
        seen = visit(page, ready=READY)
        seen.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        table = seen.page.query_selector_all(PLAIN)[-1]
        titles = [h.inner_text() for h in table.query_selector_all("thead th")]
        index = titles.index("Median")
        table.query_selector_all("thead th")[index].query_selector("button").click()
        values = [seconds(t) for t in column(table, index)]
        changed += len({*values}) > 1
        assert values == sorted(values, reverse=True)
    assert changed >= 2


def test_units_are_counted(visit, tmp_path):
    """Headings and cells as reports have them, all orders of magnitude in one column."""
    from gpubench.report.page import joined

    cells = ["2 ms", "900 ns", "–", "1.5 s", "30 µs", "1,200 s"]
    path = tmp_path / "t.html"
    path.write_text(
        "<!DOCTYPE html><html><main><table><thead><tr><th>T</th></tr></thead><tbody>"
        + "".join(f"<tr><td>{c}<span class=sub>9 s</span></td></tr>" for c in cells)
        + f"</tbody></table></main><script>{joined('tables.js', 'plain.js')}</script></html>",
        encoding="utf-8",
    )
    seen = visit(path, ready=READY)
    table = seen.page.query_selector("table")
    table.query_selector("th button").click()
    assert column(table, 0) == ["1,200 s", "1.5 s", "2 ms", "30 µs", "900 ns", "–"]
    table.query_selector("th button").click()
    assert column(table, 0) == ["900 ns", "30 µs", "2 ms", "1.5 s", "1,200 s", "–"]


def test_a_long_table_is_filtered_and_copied(pages, visit):
    seen = visit(pages["fleet"], ready=READY)
    seen.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tools = seen.page.query_selector_all(".table-tools")[-1]
    table = seen.page.query_selector_all("table.devices")[-1]
    name = column(table, 0)[3]
    tools.query_selector("input").fill(name)
    shown = table.query_selector_all("tbody tr:not([hidden])")
    assert 0 < len(shown) < len(table.query_selector_all("tbody tr"))
    assert all(name in row.inner_text() for row in shown)
    assert tools.query_selector("output").inner_text().startswith(f"{len(shown)} of ")
    tools.query_selector(".copy").click()
    seen.page.wait_for_selector(".table-tools .copy >> text=Copied")
    copied = list(csv.reader(io.StringIO(seen.page.evaluate("navigator.clipboard.readText()"))))
    assert copied[0][0] == "Device"
    assert len(copied) == 1 + len(shown)
    assert copied[1][0] == name
    assert seen.troubles == []


@pytest.mark.parametrize("kind", fake_pages.KINDS)
def test_headings_stay_in_sight(pages, visit, kind):
    seen = visit(pages[kind], ready=READY)
    heads = seen.page.query_selector_all("main thead th")
    assert all(h.evaluate("h => getComputedStyle(h).position") == "sticky" for h in heads)
