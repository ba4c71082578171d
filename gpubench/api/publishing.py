"""Publish the dashboard: every machine's newest run, a page a case."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import gpubench
from gpubench.analysis.causes import Side, causes
from gpubench.analysis.checks import Check, Row
from gpubench.analysis.level import Rule
from gpubench.api.tracking import check_run
from gpubench.errors import InputError
from gpubench.record import Run
from gpubench.report.dashboard import charts, render
from gpubench.report.dashboard.view import CasePage, Dashboard, Machine, StackChange
from gpubench.store import Store
from gpubench.store.points import Point, device_id

WIDE, NARROW = 1100, 380
"""Widths of the two drawings of a history; the page shows the one that fits."""

SHOWN_MARKS = 12
"""Stack changes that are marked, the newest ones."""


def publish(
    folder: Path,
    *,
    store: str | None = None,
    suite: str | None = None,
    url: str = "",
    rule: Rule | None = None,
) -> Path:
    """Write the dashboard into a folder and return its overview.

    Raises:
        InputError: no history of that suite, or a place that cannot be written.
    """
    with Store(store) as opened:
        known = [(d, s) for d, s in opened.machines() if suite in (None, s)]
        if suite is not None and not known:
            raise InputError(f"the store {opened.shown} has no history of suite {suite!r}")
        newest: dict[tuple[str, str], Run] = {}
        for run in opened.runs(suite):  # newest first
            newest.setdefault((device_id(run.environment), run.suite), run)
        found = [_machine(opened, newest[k], rule) for k in known if k in newest]
    found.sort(key=lambda m: (-_urgency(m.check), m.title))
    title = f"Nightly performance: {suite}" if suite else "Nightly performance"
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return render.write(Dashboard(title, gpubench.__version__, now, url, tuple(found)), folder)


def _urgency(check: Check) -> int:
    return {1: 2, 3: 1}.get(check.exit_code, 0)


def _machine(opened: Store, run: Run, rule: Rule | None) -> Machine:
    check = check_run(opened, run, rule)
    env = run.environment
    board = env.get("gpu.name") or env.get("cpu.model") or check.device
    title = f"{run.suite} on {env.get('host.name') or 'a machine'} ({board})"
    digest = hashlib.sha256(f"{check.device} {run.suite}".encode()).hexdigest()[:8]
    anchor = f"{_slug(run.suite)}-{digest}"
    accepted = opened.accepted_on_all(check.device)

    @cache
    def head(run_id: str) -> Run:
        return opened.run(run_id)

    @cache
    def between(before: str, after: str) -> tuple[str, ...]:
        return causes(Side(head(before)), Side(head(after)))

    def page(row: Row) -> CasePage:
        t = row.tracked
        stacks = tuple(_stacks(t.points, between))
        given = tuple(a for a in accepted if a.case_key == t.case_key)
        at = {p.run_id: i for i, p in enumerate(t.points)}
        marks = [charts.Mark(s.index, f"S{s.number}", "stack") for s in stacks]
        marks += [charts.Mark(at[a.run_id], "A", "accepted") for a in given if a.run_id in at]
        return CasePage(
            row=row,
            file=f"cases/{anchor}-{_slug(t.case_key)}.html",
            machine=f"{env.get('host.name') or 'a machine'} ({board})",
            suite=run.suite,
            stacks=stacks,
            acceptances=given,
            spark=charts.sparkline(t),
            wide=charts.chart(t, marks, WIDE),
            narrow=charts.chart(t, marks, NARROW),
        )

    return Machine(title, anchor, check, tuple(page(r) for r in check.rows))


def _stacks(
    points: tuple[Point, ...], between: Callable[[str, str], tuple[str, ...]]
) -> list[StackChange]:
    """The nights with another stack than the night before, numbered in time."""
    changed = [i for i in range(1, len(points)) if points[i].stack != points[i - 1].stack]
    numbered = list(enumerate(changed, 1))[-SHOWN_MARKS:]
    return [
        StackChange(n, i, points[i].started_at, between(points[i - 1].run_id, points[i].run_id))
        for n, i in numbered
    ]


def _slug(text: str) -> str:
    """Text as part of a file name on any host."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-")[:80] or "case"
