import json
import os
import re
import shutil
import time

import fake_pages
import fake_runs
import fake_whole
import pytest


@pytest.fixture(scope="session")
def fakes():
    return fake_runs


@pytest.fixture(scope="session")
def cpu():
    return fake_runs.cpu_run()


@pytest.fixture(scope="session")
def gpu():
    return fake_runs.gpu_run()


@pytest.fixture(scope="session")
def embedded():
    """The data of an HTML report, as any other program would read it."""

    def read(html):
        found = re.findall(
            r'<script type="application/json" id="gpubench-data">(.*?)</script>', html, re.DOTALL
        )
        assert len(found) == 1
        return json.loads(found[0])

    return read


@pytest.fixture(scope="session")
def pages(tmp_path_factory):
    """Kind of page -> its file, of a run that has every section."""
    return fake_pages.write_pages(*fake_whole.whole_run(), tmp_path_factory.mktemp("pages"))


@pytest.fixture(scope="session")
def chromium():
    """A browser; skips visibly where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = os.environ.get("CHROMIUM") or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if path is None:
        pytest.skip("no Chromium found on PATH (nor in $CHROMIUM)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking",
                  "--disable-component-update", "--disable-sync", "--no-first-run"],
        )  # fmt: skip
        yield browser
        browser.close()


class Visit:
    """A page with what went wrong on it: console messages, errors, requests, dialogs."""

    def __init__(
        self, browser, path, anchor="", width=1280, scheme="light", ready="[data-ready=yes]"
    ):
        self.context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            reduced_motion="reduce",
        )
        self.page = self.context.new_page()
        self.troubles = []
        self.page.on("console", lambda m: self.troubles.append(f"{m.type}: {m.text}"))
        self.page.on("pageerror", lambda e: self.troubles.append(f"error: {e}"))
        self.page.on("request", self._request)
        self.page.on("dialog", self._dialog)
        self.page.goto(f"file://{path}{anchor}")
        self.page.wait_for_selector(f"html{ready}")

    def _request(self, request):
        if not request.url.startswith(("file:", "blob:", "data:")):
            self.troubles.append(f"request: {request.url}")

    def _dialog(self, dialog):
        self.troubles.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def draw_all(self):
        for chart in self.page.query_selector_all(".chart"):
            chart.scroll_into_view_if_needed()
            # Asked of the element: its name may hold a stranger's quotes, and the page's
            # policy forbids the eval that wait_for_function needs.
            until = time.monotonic() + 30
            while chart.get_attribute("data-drawn") is None:
                assert time.monotonic() < until, chart.get_attribute("aria-label")
                self.page.wait_for_timeout(20)

    def texts(self, selector):
        return [e.inner_text() for e in self.page.query_selector_all(selector)]


@pytest.fixture
def visit(chromium):
    open_visits = []

    def go(path, *args, **kwargs):
        open_visits.append(Visit(chromium, path, *args, **kwargs))
        return open_visits[-1]

    yield go
    for each in open_visits:
        each.context.close()
