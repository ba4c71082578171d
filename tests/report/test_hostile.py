"""Text from a stranger's results file is shown and does nothing else."""

import itertools
import json
import re

import pytest

from gpubench import codec
from gpubench.report import render

PAYLOADS = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "\"'><svg onload=alert(3)>",
    "javascript:alert(4)",
    "<!--<script>",
    "{{ 7*7 }}{% raw %}${7*7}",
    "\u2028alert(5)\u2029%41%zz&lt;b&gt;",
    "]]><a href='javascript:alert(6)'>x</a><br>`|*_",
    "%{x} <b onclick=alert(7)>bold</b>",
    "http://example.invalid/x.js?<link rel=stylesheet href=//example.invalid>",
)
_FIXED = {"status", "started_at", "finished_at"}
"""Fields with a closed set of values."""


def poison(value, payloads, key=""):
    if isinstance(value, str) and key not in _FIXED:
        return next(payloads) + value[:8]
    if isinstance(value, dict):
        return {
            (next(payloads) + k[:8] if key in ("params", "environment", "values") else k): poison(
                v, payloads, k
            )
            for k, v in value.items()
        }
    if isinstance(value, list):
        return [poison(v, payloads, key) for v in value]
    return value


@pytest.fixture(scope="module")
def hostile(gpu, cpu):
    """Two runs with a payload in every text field, links between cases kept."""
    found = []
    for run, records in (gpu, cpu):
        keep = [r for r in records if r.status == "measured"][:12]
        keep += [r for r in records if r.status != "measured"][:8]
        document = json.loads(codec.dumps(codec.encode_document(run, keep)))
        poisoned = poison(document, itertools.cycle(PAYLOADS))
        for old, new in zip(document["records"], poisoned["records"], strict=True):
            new["device"]["type"] = old["device"]["type"]
            new["case"]["key"] = f"{old['case']['key']}\"<img src=x onerror=alert(8)>%41 '&"
            new["case"]["baseline"] = (
                f"{old['case']['baseline']}\"<img src=x onerror=alert(8)>%41 '&"
            )
            new["case"]["precision"] = old["case"]["precision"] + "<i>"
            spoiled = old.get("samples", {}).get("spoiled", {})
            if spoiled:
                new["samples"]["spoiled"] = dict.fromkeys(spoiled, PAYLOADS[1])
            if old.get("flags") is not None:
                new["flags"] = [*old["flags"], PAYLOADS[0], PAYLOADS[1]]
        found.append(codec.decode_document(poisoned))
    return found


def test_the_data_element_cannot_be_left(hostile, embedded):
    html = render.text(hostile)
    assert [d["run"] for d in embedded(html)] == [codec.encode_run(run) for run, _ in hostile]
    assert html.count("<script") == html.count("</script>") == 6
    assert "\u2028" not in html.split('id="gpubench-data">')[1].split("</script>")[0]
    for payload in ("<img src=x", "<svg onload", "<b onclick", "<a href='javascript"):
        assert payload not in html


def test_markdown_holds_no_raw_markup(hostile):
    code_span = r"(?<!\\)`[^`\n]*`"
    text = re.sub(code_span, "", render.text(hostile, "markdown"))
    assert "<script" not in text
    assert "<img" not in text
    assert "](javascript" not in text


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_script_runs_in_a_browser(hostile, visit, tmp_path, scheme):
    path = render.write(hostile, tmp_path / "hostile.html")
    seen = visit(path, scheme=scheme)
    seen.draw_all()
    for button in seen.page.query_selector_all(".expand"):
        button.evaluate("b => b.click()")
    for select in seen.page.query_selector_all("[data-samples]"):
        count = len(select.query_selector_all("option"))
        for index in (0, count - 1):
            select.select_option(index=index)
            seen.page.wait_for_timeout(100)
    for summary in seen.page.query_selector_all("summary"):
        summary.click()
    chart = seen.page.query_selector("[data-figure='throughput-0'] .nsewdrag")
    if chart:
        box = chart.bounding_box()
        for part in range(1, 10):
            seen.page.mouse.move(box["x"] + box["width"] * part / 10, box["y"] + box["height"] / 2)
    seen.page.wait_for_timeout(300)
    assert seen.troubles == []
    assert seen.page.query_selector_all("img, svg[onload], [onerror], [onclick], iframe") == []
    links = {a.get_attribute("href") for a in seen.page.query_selector_all("a")}
    assert not [h for h in links if not h.startswith(("#", "https://plotly.com/"))]
    assert "<img src=x onerror=alert(2)>" in seen.page.inner_text("body")


@pytest.mark.browser
def test_links_to_cases_with_odd_keys_work(hostile, visit, tmp_path):
    path = render.write(hostile, tmp_path / "hostile.html")
    seen = visit(path)
    seen.page.click(".card a")
    seen.page.wait_for_selector("tr.open")
    assert len(seen.page.query_selector_all("td.details")) == 1
    assert seen.troubles == []
