"""Every string of a document of everything is a payload, and every page stays a page."""

import itertools
import json

import fake_pages
import fake_whole
import pytest
from test_hostile import PAYLOADS

from gpubench import codec
from gpubench.api.fleets import look
from gpubench.report import fleet as fleets
from gpubench.store import Store
from tests import fleets as members

SINK = "<img src=x onerror='window.harmed=1'><script>window.harmed=1</script>"
CLOSED = {"status", "type", "started_at", "finished_at", "workload", "baseline"}
"""Keys of closed sets, of times, of links between cases, and of what makes a section."""
FREE_KEYS = {"environment", "settings"}
"""Objects whose keys are a stranger's words too."""
READ_BY_NAME = {"facts", "params", "policy"}
"""Objects whose keys say what a value is; more of them are added."""


def every_string(value, payloads, where=()):
    """The document with payloads in its strings, and the paths that were changed."""
    name = where[-1] if where else ""
    if isinstance(value, str) and name not in CLOSED:
        return next(payloads) + value, [where]
    changed = []
    if isinstance(value, dict):
        made = {}
        for key, item in value.items():
            made[key], found = every_string(item, payloads, (*where, key))
            changed += found
        if name in FREE_KEYS | {"facts", "params", "classes", "values"}:
            made[next(payloads)] = 1.0 if name in ("classes", "values") else next(payloads)
        return made, changed
    if isinstance(value, list):
        pairs = [every_string(item, payloads, (*where, "[]")) for item in value]
        return [p[0] for p in pairs], [w for p in pairs for w in p[1]]
    return value, changed


@pytest.fixture(scope="module")
def poisoned():
    run, records = fake_whole.whole_run()
    kept = [r for r in records if r.status != "measured"][:6]
    kept += [r for r in records if r.status == "measured"][-22:]
    kept += [r for r in records if r.status == "measured"][:6]
    document = json.loads(codec.dumps(codec.encode_document(run, kept)))
    return every_string(document, itertools.cycle((*PAYLOADS, SINK)))


def test_no_text_field_is_left_out(poisoned):
    found = {".".join(path) for path in poisoned[1]}
    for field in (
        "run.id", "run.label", "run.suite", "run.description", "run.environment.gpu.name",
        "run.settings.fleet", "records.[].case.key", "records.[].case.label",
        "records.[].case.benchmark", "records.[].case.precision", "records.[].case.params.model",
        "records.[].device.name", "records.[].device.gpu_key", "records.[].reason",
        "records.[].failure.kind", "records.[].failure.traceback", "records.[].flags.[]",
        "records.[].facts.backend", "records.[].facts.quality.loss_curve",
        "records.[].kernels.[].name", "records.[].kernels.[].module",
        "records.[].operators.[].name", "records.[].operators.[].phase",
        "records.[].ranges.[].name", "records.[].ranges.[].reason",
        "records.[].readings.[].reasons.[]", "records.[].tensor_cores.evidence.[]",
        "records.[].tensor_cores.kernels.[]", "records.[].tensor_cores.verdict",
        "records.[].accuracy.reference", "records.[].peaks.source", "records.[].model.bound",
        "records.[].energy.method", "records.[].summary.method", "records.[].work.formula",
        "records.[].samples.spoiled.3",
    ):  # fmt: skip
        assert field in found, field


@pytest.fixture(scope="module")
def pages(poisoned, tmp_path_factory):
    run, records = codec.decode_document(poisoned[0])
    return fake_pages.write_pages(run, records, tmp_path_factory.mktemp("hostile"))


@pytest.mark.browser
@pytest.mark.parametrize("kind", ["run", "comparison", "dashboard", "case"])
def test_nothing_runs_and_nothing_is_asked_for(pages, visit, kind):
    ready = "[data-ready=yes]" if kind in ("run", "comparison") else ""
    seen = visit(pages[kind], ready=ready)
    seen.draw_all()
    for button in seen.page.query_selector_all(".expand"):
        button.evaluate("b => b.click()")
    for summary in seen.page.query_selector_all("summary"):
        summary.click()
    seen.page.wait_for_timeout(200)
    assert seen.troubles == []
    assert seen.page.evaluate("window.harmed") is None
    odd = "main img, [onload], [onerror], [onclick], iframe, main script, main link"
    assert seen.page.query_selector_all(odd) == []
    links = {a.get_attribute("href") or "" for a in seen.page.query_selector_all("main a")}
    assert not [h for h in links if h.lower().startswith(("javascript", "http", "data"))]
    assert "onerror=" in seen.page.inner_text("main")


@pytest.fixture(scope="module")
def hostile_fleet(tmp_path_factory):
    """The same word before every string, so that devices of one model stay devices of one model."""
    folder = tmp_path_factory.mktemp("fleet")
    odd = {(1, 1): {"gpu.driver": "565.57", "gpu.ecc_uncorrected": 12, "gpu.pcie_width": 4}}
    with Store(str(folder / "good.db")) as store:
        members.fill(store, 3, 8, slow={(1, 1): 1.2}, facts=odd, broken={(2, 0): "CUDA error"})
        found = [(run, store.records(run.id)) for run in store.fleet("acceptance")]
    with Store(str(folder / "bad.db")) as store:
        for run, records in found:
            document = json.loads(codec.dumps(codec.encode_document(run, records)))
            evil, _ = every_string(document, itertools.repeat(SINK))
            store.add(*codec.decode_document(evil))
        name = store.fleets()[0]
    assert name == f"{SINK}acceptance"
    judged = look([name], store=str(folder / "bad.db"))
    return judged, fleets.write(judged, folder / "fleet.html")


@pytest.mark.browser
def test_nothing_runs_on_the_page_of_a_fleet(hostile_fleet, visit):
    judged, path = hostile_fleet
    assert judged.bad
    seen = visit(path, ready="[data-tables=yes]")
    for summary in seen.page.query_selector_all("summary"):
        summary.click()
    for head in seen.page.query_selector_all("th button"):
        head.evaluate("b => b.click()")
    seen.page.wait_for_timeout(200)
    assert seen.troubles == []
    assert seen.page.evaluate("window.harmed") is None
    odd = "main img, [onload], [onerror], [onclick], iframe, main script, main link"
    assert seen.page.query_selector_all(odd) == []
    text = seen.page.inner_text("main")
    for words in ("onerror=", "node-001", "565.57", "PCIe x4"):
        assert words in text, words
