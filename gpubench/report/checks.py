"""A check in a format: terminal table, Markdown, JUnit XML, JSON, github-action-benchmark."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree

from gpubench.analysis.checks import Check, Row
from gpubench.analysis.tracking import (
    CLOCK,
    IMPROVEMENT,
    INSUFFICIENT,
    NOISE,
    REGRESSION,
    SLOWER,
    STACK,
)
from gpubench.codec import dumps
from gpubench.report.page import templates

if TYPE_CHECKING:
    from rich.table import Table

FORMATS: Final = ("table", "markdown", "junit", "json", "github")

_STYLES: Final = {
    REGRESSION: "bold red", STACK: "yellow", CLOCK: "yellow", INSUFFICIENT: "dim",
    IMPROVEMENT: "green", NOISE: "",
}  # fmt: skip

_CONTROL: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def text(check: Check, fmt: str) -> str:
    """A check as text in one of ``FORMATS`` except ``table``."""
    makers: dict[str, Callable[[Check], str]] = {
        "markdown": _markdown,
        "junit": _junit,
        "json": lambda c: dumps(document(c), indent=1),
        "github": lambda c: dumps(_github(c), indent=1),
    }
    return makers[fmt](check)


def table(check: Check, *, everything: bool = False) -> Table:
    """What needs a look, worst first; every case on request."""
    from rich.table import Table
    from rich.text import Text

    found = Table(box=None, pad_edge=False)
    for column in ("verdict", "benchmark", "case", "what"):
        found.add_column(column, overflow="fold")
    for row in shown(check, everything=everything):
        t = row.tracked
        what = "\n".join([t.text, *(f"  {c}" for c in row.causes)])
        verdict = Text(t.verdict, style=_STYLES[t.verdict])
        found.add_row(verdict, Text(row.benchmark), Text(row.name), Text(what))
    return found


def shown(check: Check, *, everything: bool = False) -> tuple[Row, ...]:
    """The rows that are not noise or waiting for history; all of them on request."""
    quiet = (NOISE, INSUFFICIENT)
    return tuple(r for r in check.rows if everything or r.tracked.verdict not in quiet)


def document(check: Check) -> dict[str, Any]:
    """A check as JSON for other programs."""
    return {
        "run": check.run.id,
        "suite": check.run.suite,
        "device": check.device,
        "exit_code": check.exit_code,
        "headline": check.headline,
        "problems": list(check.problems),
        "cases": [_case(r) for r in check.rows],
    }


def _case(row: Row) -> dict[str, Any]:
    t, newest = row.tracked, row.tracked.newest
    return {
        "key": t.case_key,
        "benchmark": row.benchmark,
        "name": row.name,
        "verdict": t.verdict,
        "text": t.text,
        "causes": list(row.causes),
        "median_s": newest.median_s if newest else None,
        "level_s": t.shift.level,
        "ratio": t.shift.ratio,
        "p": t.shift.p,
        "noise": t.shift.noise,
        "nights": t.shift.nights,
        "since": t.since.run_id if t.since else None,
        "accepted": t.accepted,
    }


def _markdown(check: Check) -> str:
    return templates().get_template("check.md.j2").render(check=check, rows=shown(check))


def _junit(check: Check) -> str:
    """JUnit XML: a regression is a failure; what could not be compared is an error or skip.

    Incomparable levels are errors, as they make the check end with 3; cases that wait for
    more history are skipped.
    """
    cases = [_junit_case(r, check) for r in check.rows]
    cases += [_junit_problem(p) for p in check.problems]
    suite = ElementTree.Element("testsuite", name=xml_text(f"gpubench {check.run.suite}"))
    suite.set("timestamp", check.run.started_at[:19])
    suite.set("tests", str(len(cases)))
    for kind, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(kind, str(sum(c.find(tag) is not None for c in cases)))
    suite.extend(cases)
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, "unicode") + "\n"


def _junit_case(row: Row, check: Check) -> ElementTree.Element:
    t = row.tracked
    case = ElementTree.Element(
        "testcase",
        classname=xml_text(f"{check.run.suite}.{row.benchmark}"),
        name=xml_text(row.name),
        time=f"{t.newest.median_s:.9f}" if t.newest else "0",
    )
    tag = {REGRESSION: "failure", INSUFFICIENT: "skipped"}.get(
        t.verdict, "error" if t.verdict in SLOWER else ""
    )
    if tag:
        child = ElementTree.SubElement(case, tag, message=xml_text(f"{t.verdict}: {t.text}"))
        child.text = xml_text("\n".join(row.causes)) or None
    return case


def _junit_problem(problem: str) -> ElementTree.Element:
    case = ElementTree.Element("testcase", classname="gpubench", name="the run is whole", time="0")
    ElementTree.SubElement(case, "error", message=xml_text(problem))
    return case


def xml_text(text: str) -> str:
    """Without the characters that XML cannot hold, however they are written."""
    return _CONTROL.sub("�", text)


def _github(check: Check) -> list[dict[str, Any]]:
    """What github-action-benchmark takes with ``tool: customSmallerIsBetter``."""
    return [
        {
            "name": f"{r.benchmark} {r.name}",
            "unit": "s",
            "value": p.median_s,
            "range": f"{p.ci_low_s:.6g} to {p.ci_high_s:.6g}",
            "extra": "\n".join([f"{r.tracked.verdict}: {r.tracked.text}", *r.causes]),
        }
        for r in check.rows
        if (p := r.tracked.newest) is not None
    ]
