"""How soon a large report can be read: size, first view and readiness in headless Chromium.

Beside a page with nothing in it, opened in turn with the others in the same browser.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright
from saving import report

from gpubench.report import render

ROOT = Path(__file__).parents[1]
ROUNDS = 7
SAMPLES = 80
COUNTS = (1000, 5000)
BOUNDS = {"size_mb": 3.0, "first_view_s": 1.5}
"""Of 1,000 cases."""
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"


def opened(browser: Browser, path: Path) -> tuple[float, float]:
    """Seconds until something is painted, and until sorting and filters work."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    start = time.perf_counter()
    page.goto(f"file://{path}")
    if path.stem != "empty":
        page.wait_for_selector("html[data-ready=yes]")
    ready_s = time.perf_counter() - start
    page.wait_for_function(f"({PAINTED}) !== null")
    painted_s = float(page.evaluate(PAINTED)) / 1000.0
    page.context.close()
    return painted_s, ready_s


def main() -> None:
    sys.path.insert(0, str(ROOT / "tests/report"))
    import fake_runs

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        pages = {"empty": Path(folder) / "empty.html"}
        pages["empty"].write_text("<!DOCTYPE html><title>empty</title><p>Nothing.</p>")
        written = {}
        for count in COUNTS:
            start = time.perf_counter()
            run = fake_runs.large_run(count, SAMPLES)
            pages[f"{count} cases"] = render.write([run], Path(folder) / f"{count}.html")
            written[f"{count} cases"] = time.perf_counter() - start
        chromium = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in pages}
        for _ in range(ROUNDS):
            for name, path in pages.items():
                times[name].append(opened(browser, path))
        browser.close()
        found = {
            name: {
                "size_mb": round(path.stat().st_size / 1e6, 2),
                "written_s": round(written.get(name, 0.0), 1),
                "first_view_s": round(statistics.median(p for p, _ in times[name]), 3),
                "ready_s": round(statistics.median(r for _, r in times[name]), 3),
            }
            for name, path in pages.items()
        }
    ready = found["1000 cases"]["ready_s"] / found["empty"]["ready_s"]
    report(
        "reports",
        {
            "rounds": ROUNDS, "samples_a_case": SAMPLES, "pages": found,
            "ready_1000_over_empty": round(ready, 1), "bounds_1000": BOUNDS,
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
