"""What the page of a fleet shows: frozen, ready for the templates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from markupsafe import Markup

from gpubench.analysis.fleet import FAILING, FAST, SLOW, Fleet, Group, Member, Odd, change
from gpubench.report.fleet.charts import strip
from gpubench.units import percent, scaled

TONES: Final = {SLOW: "bad", FAILING: "bad", FAST: "info"}
MARKS: Final = {SLOW: "!", FAILING: "×", FAST: "i"}
WORDS: Final = {SLOW: "slow", FAILING: "fails", FAST: "faster than its peers"}
ROWS: Final = 200
"""Devices that the page lists; the JSON within it has all."""


@dataclass(frozen=True, slots=True)
class OddView:
    """A line of what is odd."""

    name: str
    kind: str
    tone: str
    mark: str
    model: str
    rack: str
    text: str
    worst: tuple[str, ...]
    hints: tuple[str, ...]
    p: str


@dataclass(frozen=True, slots=True)
class HostView:
    """A host to drain."""

    name: str
    rack: str
    devices: tuple[OddView, ...]
    beside: str


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A device in the table of all."""

    name: str
    rack: str
    overall: str
    z: str
    worst: str
    clock: str
    temperature: str
    verdict: str
    tone: str


@dataclass(frozen=True, slots=True)
class GroupView:
    """The devices of one model."""

    model: str
    anchor: str
    sentence: str
    wide: Markup
    narrow: Markup
    rows: tuple[DeviceRow, ...]
    left_out: int


@dataclass(frozen=True, slots=True)
class FleetView:
    """The whole page."""

    title: str
    kicker: str
    tone: str
    seal: str
    headline: str
    coverage: str
    rule: str
    drain: tuple[HostView, ...]
    faster: tuple[OddView, ...]
    unmeasured: tuple[tuple[str, str], ...]
    groups: tuple[GroupView, ...]


def fleet_view(fleet: Fleet) -> FleetView:
    """Everything the templates need."""
    of_host = {h: [m for m in fleet.members if m.host == h] for h, _ in fleet.drain}
    drain = tuple(
        HostView(
            host,
            odds[0].member.rack or "",
            tuple(map(_odd, odds)),
            f"{len(odds)} of the {len(of_host[host])} devices measured there"
            if len(of_host[host]) > 1
            else "the only device measured there",
        )
        for host, odds in fleet.drain
    )
    judged = any(g.scores.judged for g in fleet.groups)
    tone = "not_trusted" if fleet.bad else "trusted" if judged and not fleet.unmeasured else ""
    tone = tone or "caveats"
    cases = len({k for g in fleet.groups for k in g.keys})
    models = len(fleet.groups)
    coverage = (
        f"{cases} cases of {', '.join(fleet.suites)}; {models} model{'s' * (models != 1)};"
        f" began {fleet.started_at[:16].replace('T', ' ')} UTC"
    )
    rule = (
        f"Odd within its model: by robust z-scores over all cases or in one of them, at least"
        f" {percent(fleet.rule.floor)} off, and so improbable that among the devices named"
        f" {percent(fleet.rule.fdr)} are good ones on average."
    )
    return FleetView(
        fleet.name, "Fleet", tone, "✓" if tone == "trusted" else "!", fleet.headline, coverage,
        rule, drain, tuple(_odd(o) for o in fleet.odd if o.kind == FAST), fleet.unmeasured,
        tuple(_group(g, fleet, i) for i, g in enumerate(fleet.groups)),
    )  # fmt: skip


def _odd(odd: Odd) -> OddView:
    # Where one fails, the others say nothing.
    cases = () if odd.kind == FAILING else odd.worst
    worst = tuple(f"{c.name}: {change(c.ratio)} (z {_score(c.z)})" for c in cases)
    p = "" if odd.kind == FAILING else f"p {odd.p:.0e}" if odd.p >= 1e-99 else "p below 1e-99"
    return OddView(
        odd.member.name, WORDS[odd.kind], TONES[odd.kind], MARKS[odd.kind], odd.member.model,
        odd.member.rack or "", odd.text, worst, odd.hints, p,
    )  # fmt: skip


def _group(group: Group, fleet: Fleet, number: int) -> GroupView:
    kinds = {o.member.device: o.kind for o in fleet.odd}
    s = group.scores
    count = len(group.members)
    if s.judged:
        spread = [float(x) for x in s.overall if math.isfinite(x)]
        sentence = (
            f"{count} devices, {len(group.keys)} cases. Median time over cases relative to the"
            f" median device, from {_signed(min(spread))} to {_signed(max(spread))}; devices of a"
            " host stand side by side."
            if spread
            else f"{count} devices, none measured."
        )
    else:
        sentence = f"{count} device{'s' * (count != 1)}: too few to call one odd (4 are needed)."
    order = sorted(range(count), key=lambda i: _rank(group, i, kinds))
    rows = tuple(_row(group, i, kinds) for i in order[:ROWS])
    wide, narrow = (strip(group, kinds, fleet.rule.floor, w) for w in (1130, 400))
    return GroupView(
        group.model, f"model-{number}", sentence, wide, narrow, rows, max(count - ROWS, 0)
    )


def _rank(group: Group, i: int, kinds: dict[str, str]) -> tuple[int, float, str]:
    member = group.members[i]
    odd = kinds.get(member.device)
    p = float(group.scores.p_slow[i])
    return (0 if odd in (SLOW, FAILING) else 1 if odd else 2, p, member.name)


def _row(group: Group, i: int, kinds: dict[str, str]) -> DeviceRow:
    member, s = group.members[i], group.scores
    kind = kinds.get(member.device)
    worst = ""
    z = s.z[i]
    if s.judged and any(math.isfinite(x) for x in z):
        j = max((j for j in range(len(z)) if math.isfinite(z[j])), key=lambda j: float(z[j]))
        worst = f"{_signed(float(s.ratios[i, j]))}, z {_score(float(z[j]))}"
    overall = known(s.overall[i])
    overall_z = known(s.overall_z[i])
    verdict = WORDS[kind] if kind else "incomplete" if member.missing else ""
    return DeviceRow(
        member.name, member.rack or "", "–" if overall is None else _signed(overall),
        "–" if overall_z is None else _score(overall_z), worst or "–",
        _sensor(member, "clock_hz", "Hz"), _sensor(member, "temperature_c", "°C"),
        verdict, TONES[kind] if kind else "warn" if member.missing else "",
    )  # fmt: skip


def _score(z: float) -> str:
    return f"{z:.1f}".replace("-", "−")


def _sensor(member: Member, name: str, unit: str) -> str:
    values: Sequence[float] = [
        v for p in member.points.values() if (v := getattr(p, name)) is not None
    ]
    return scaled(median(values), unit) if values else "–"


def _signed(ratio: float) -> str:
    """``+4.2 %``: slower is positive."""
    off = ratio - 1
    if abs(off) < 5e-4:
        return "0 %"
    return f"{'+' if off > 0 else '−'}{percent(abs(off))}"


def known(value: float) -> float | None:
    """A number, None for NaN."""
    return float(value) if math.isfinite(value) else None
