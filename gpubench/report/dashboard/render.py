"""Write the dashboard: index.html, a page a case, feed.xml. Pages of lost cases go."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from markupsafe import Markup

from gpubench.report.checks import xml_text
from gpubench.report.dashboard.view import Dashboard
from gpubench.report.page import PLAIN_SCRIPTS, joined, script_policy, templates, write_whole
from gpubench.units import show

_ATOM: Final = "http://www.w3.org/2005/Atom"
_MARKER: Final = "<!-- gpubench dashboard -->"


def write(site: Dashboard, folder: Path) -> Path:
    """Write every page and return the overview; files that are no dashboard's stay.

    Raises:
        InputError: a place that cannot be written.
    """
    cases = folder / "cases"
    written = set()
    for machine in site.machines:
        for page in machine.pages:
            path = folder / page.file
            _write(path, "case.html.j2", site=site, page=page, machine=machine, root="../")
            written.add(path.name)
    for old in cases.glob("*.html"):
        if old.name not in written and _MARKER in old.read_text("utf-8", "replace")[:200]:
            old.unlink()
    write_whole(feed(site).encode("utf-8", "replace"), folder / "feed.xml")
    return _write(folder / "index.html", "index.html.j2", site=site, root="")


def _write(path: Path, template: str, **values: object) -> Path:
    script = joined(*PLAIN_SCRIPTS)
    style = joined("report.css", "dashboard.css")
    html = templates().get_template(f"dashboard/{template}").render(
        policy=script_policy(script), style=Markup(style), script=Markup(script),
        marker=Markup(_MARKER), show=show, **values,
    )  # fmt: skip
    return write_whole(html.encode("utf-8", "replace"), path)


def feed(site: Dashboard) -> str:
    """An Atom feed (RFC 4287): an entry each change of level, told once.

    An entry is known by machine, case and the run at which the level changed, so that it
    stays the same entry night after night.
    """
    ElementTree.register_namespace("", _ATOM)
    root = ElementTree.Element(f"{{{_ATOM}}}feed")
    base = site.url.rstrip("/") + "/" if site.url else ""

    def add(parent: ElementTree.Element, tag: str, text: str = "", **given: str) -> None:
        child = ElementTree.SubElement(parent, f"{{{_ATOM}}}{tag}", given)
        child.text = xml_text(text) or None

    add(root, "title", site.title)
    add(root, "id", base or "urn:gpubench:dashboard")
    add(root, "updated", site.made_at)
    add(root, "link", href=f"{base}index.html")
    author = ElementTree.SubElement(root, f"{{{_ATOM}}}author")
    add(author, "name", "gpubench")
    for machine in site.machines:
        for page in machine.pages:
            t = page.row.tracked
            if t.since is None:
                continue
            entry = ElementTree.SubElement(root, f"{{{_ATOM}}}entry")
            add(entry, "title", f"{t.verdict}: {page.row.name} on {page.machine}")
            add(entry, "id", f"urn:gpubench:{machine.anchor}:{t.case_key}:{t.since.run_id}")
            add(entry, "updated", t.since.started_at)
            add(entry, "link", href=f"{base}{page.file}")
            add(entry, "summary", "\n".join([t.text, *page.row.causes]))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, "unicode") + "\n"
