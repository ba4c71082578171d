"""A fleet of made-up GPUs from the store to the page."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from gpubench.analysis.fleet import Fleet
from gpubench.api.fleets import look
from gpubench.errors import InputError, UnknownName
from gpubench.report import fleet as pages
from gpubench.store import Store
from tests.fleets import CASES, fill

FAULTS: dict[str, Any] = {
    "slow": {(1, 2): 1.07, (1, 3): 1.06, (3, 0): 1.12, (5, 5): 0.92},
    "clocks": {(1, 2): 1.755e9 / 1.07},
    "facts": {
        (3, 0): {"gpu.pcie_width": 8, "gpu.ecc_uncorrected": 12, "gpu.remapped_rows": 1},
        (5, 5): {"gpu.power_limit_w": 750.0},
        (1, 3): {"gpu.driver": "565.57"},
    },
    "broken": {(6, 1): "CUDA error: an illegal memory access was encountered"},
}


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    url = str(tmp_path_factory.mktemp("fleet") / "s.db")
    with Store(url) as store:
        fill(store, 8, 8, **FAULTS)
    return look(["acceptance"], store=url)


def named(fleet: Fleet, name: str) -> Any:
    (found,) = [o for o in fleet.odd if o.member.name == name]
    return found


def test_odd_devices_hosts_and_hints(odd: Fleet) -> None:
    assert [(h, [o.member.name for o in odds]) for h, odds in odd.drain] == [
        ("node-001", ["node-001/2", "node-001/3"]),
        ("node-006", ["node-006/1"]),
        ("node-003", ["node-003/0"]),
    ]
    assert odd.headline == (
        "4 of 64 devices on 8 hosts are odd: drain node-001, node-006, node-003"
    )
    clock = named(odd, "node-001/2").hints
    assert re.match(r"SM clock 6\.\d % below its peers \(1\.64 GHz\)", clock[0])
    assert clock[0].endswith("as many cycles as its peers, so the clock explains it")
    assert "2 of the 8 devices in host node-001 are odd" in clock
    assert "2 of the 32 devices in rack r0 are odd" not in clock  # the third is in r0 too
    assert "3 of the 32 devices in rack r0 are odd" in clock
    assert "driver 565.57, its peers 570.86" in named(odd, "node-001/3").hints
    lanes = named(odd, "node-003/0").hints
    assert "PCIe x8 where x16 is possible: reseat it" in lanes
    assert "12 uncorrected ECC errors in its life" in lanes
    assert "1 memory row remapped" in lanes
    failing = named(odd, "node-006/1")
    assert failing.kind == "failing"
    assert "illegal memory access" in failing.text
    assert failing.hints == (
        "nothing that was recorded differs: measure it again alone, then run dcgmi diag",
    )
    fast = named(odd, "node-005/5")
    assert fast.kind == "fast"
    assert "power limit (W) 750, its peers 700" in fast.hints
    assert odd.unmeasured == ()


def test_json_has_every_device(odd: Fleet) -> None:
    data = json.loads(pages.text(odd, "json"))
    (model,) = data["models"]
    assert len(model["devices"]) == 64
    assert {d["name"] for d in data["odd"]} == {o.member.name for o in odd.odd}
    assert [d["drain"] for d in data["odd"]] == [True] * 4 + [False]
    assert data["drain"][0] == {"host": "node-001", "devices": ["node-001/2", "node-001/3"]}
    assert next(d for d in data["odd"] if d["kind"] == "failing")["p"] == 0


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.parts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link", "line", "circle", "input", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("meta", "link", "line", "circle", "input", "br"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.parts.append(data)


def test_the_page_is_whole_and_names_what_to_drain(odd: Fleet) -> None:
    html = pages.text(odd, "html")
    parser = _Text()
    parser.feed(html)
    assert parser.open == []
    words = " ".join(" ".join(parser.parts).split())
    assert "drain node-001, node-006, node-003" in words
    assert words.count("node-001/2") >= 2
    assert "PCIe x8 where x16 is possible" in words
    assert len(re.findall(r"<circle", html)) == 2 * 64
    assert "http://" not in re.sub(r"xmlns=\S+", "", html)
    (block,) = re.findall(r'id="gpubench-data">(.*?)</script>', html, re.S)
    assert json.loads(block) == json.loads(pages.text(odd, "json"))


def test_markdown_has_the_hosts_first(odd: Fleet) -> None:
    text = pages.text(odd, "markdown")
    assert text.startswith("## Fleet acceptance: 4 of 64 devices")
    assert text.index("### Drain node-001 (rack r0)") < text.index("### Drain node-006")
    assert "| node-003/0 |" in text
    assert "The other 14 devices are in the JSON form." in text


def test_other_formats_are_refused(odd: Fleet) -> None:
    with pytest.raises(InputError, match="a fleet has no csv form"):
        pages.text(odd, "csv")
    with pytest.raises(UnknownName):
        pages.text(odd, "pdf")


def test_a_good_fleet_and_a_small_one(tmp_path: Path) -> None:
    with Store(str(tmp_path / "good.db")) as store:
        fill(store, 4, 8)
    found = look(store=str(tmp_path / "good.db"))
    assert (found.headline, found.bad) == ("None of 32 devices on 4 hosts is odd", ())
    with Store(str(tmp_path / "small.db")) as store:
        fill(store, 1, 3)
    found = look(store=str(tmp_path / "small.db"))
    assert found.headline == "None of 3 devices on 1 host could be judged: each model needs 4"
    assert "too few to call one odd" in pages.text(found, "html")


def test_models_are_compared_within_themselves(tmp_path: Path) -> None:
    url = str(tmp_path / "two.db")
    with Store(url) as store:
        # Half of them are another GPU, twice as slow: none is odd.
        other = {(h, g): {"gpu.name": "NVIDIA A100-SXM4-80GB"} for h in range(2) for g in range(8)}
        fill(store, 4, 8, slow=dict.fromkeys(other, 2.0), facts=other)
    found = look(store=url)
    assert [g.model for g in found.groups] == ["NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3"]
    assert found.bad == ()


def test_a_device_that_is_not_whole_is_told(tmp_path: Path) -> None:
    url = str(tmp_path / "part.db")
    with Store(url) as store:
        fill(store, 2, 4)
        run = store.fleet("acceptance")[3]
        store.update(type(run)(**{
            **{n: getattr(run, n) for n in run.__slots__}, "status": "interrupted", "planned": 20,
        }))  # fmt: skip
    found = look(store=url)
    ((where, why),) = found.unmeasured
    assert where == run.settings["slot"]
    assert why == f"acceptance: {len(CASES)} of 20 cases, run interrupted"
    assert "Not measured whole" in pages.text(found, "html")


def test_a_case_that_fails_everywhere_is_nobodys_fault(tmp_path: Path) -> None:
    url = str(tmp_path / "all.db")
    with Store(url) as store:
        everyone = {(h, g): "out of memory" for h in range(2) for g in range(8)}
        fill(store, 2, 8, broken=everyone)
    assert look(store=url).bad == ()


def test_runs_by_label_make_a_fleet_too(tmp_path: Path) -> None:
    url = str(tmp_path / "label.db")
    with Store(url) as store:
        fill(store, 2, 8)
        for run in store.fleet("acceptance"):
            plain = {n: getattr(run, n) for n in run.__slots__}
            store.update(type(run)(**{**plain, "label": "night", "settings": {}}))
        assert store.fleets() == []
    assert len(look(["night"], store=url).members) == 16
    with pytest.raises(InputError, match=r"has no fleet; expected .*--launcher ray"):
        look(store=url)
    with pytest.raises(UnknownName, match="did you mean 'night'"):
        look(["nihgt"], store=url)


def test_hostile_names_break_no_form(tmp_path: Path) -> None:
    url = str(tmp_path / "bad.db")
    evil = "</script><img src=x onerror=alert(1)>|`*"
    with Store(url) as store:
        facts = {(1, 1): {"host.name": evil, "host.rack": evil, "gpu.driver": evil}}
        fill(store, 2, 8, slow={(1, 1): 1.2}, facts=facts)
    found = look(store=url)
    assert [h for h, _ in found.drain] == [evil]
    html = pages.text(found, "html")
    assert "<img" not in html
    assert json.loads(pages.text(found, "json"))["drain"][0]["host"] == evil
    assert "<img" not in pages.text(found, "markdown")


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_the_page_in_a_browser(
    odd: Fleet, visit: Any, tmp_path: Path, width: int, scheme: str
) -> None:
    seen = visit(pages.write(odd, tmp_path / "f.html"), width=width, scheme=scheme, ready="")
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    box = seen.page.query_selector(".headline").bounding_box()
    assert box["y"] + box["height"] < 900
    charts = [c for c in seen.page.query_selector_all("svg.fleet") if c.is_visible()]
    assert len(charts) == 1
    assert len(charts[0].query_selector_all("circle")) == 64
    assert seen.troubles == []
