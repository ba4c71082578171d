"""Headline numbers: the best rate of each precision, or why there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gpubench.analysis.findings import cases_text
from gpubench.analysis.results import Result
from gpubench.report.series import color
from gpubench.report.traces import Ids, doubtful
from gpubench.report.view import Card, Link
from gpubench.spec import PRECISIONS
from gpubench.stats import geometric_mean
from gpubench.units import show


def cards(results: Sequence[Result], ids: Ids) -> tuple[Card, ...]:
    """A card for each precision of the run that computes, and one for memory traffic."""
    computing = [r for r in results if r.rate_metric == "flops_per_s"]
    moving = [r for r in results if r.rate_metric == "bytes_per_s"]
    present = {r.record.case.precision for r in computing}
    ordered = [p for p in PRECISIONS if p in present] + sorted(present - set(PRECISIONS))
    made = [
        _card(p, color(p), [r for r in computing if r.record.case.precision == p], ids)
        for p in ordered
    ]
    if moving:
        made.append(_card("memory traffic", "var(--muted)", moving, ids))
    return tuple(made)


def _card(title: str, tint: str, group: Sequence[Result], ids: Ids) -> Card:
    usable = [r for r in group if r.rate and not doubtful(r)]
    if not usable:
        return Card(title, "–", "", (_why_absent(group),), tint, absent=True)
    best = max(usable, key=lambda r: r.rate.value if r.rate else 0.0)
    assert best.rate is not None
    value, _, unit = show(best.rate_metric, best.rate.value).partition(" ")
    lines = []
    if best.share_of_peak is not None:
        share = show("share_of_peak", best.share_of_peak)
        lines.append(f"{share} of {best.peak_kind} peak")
    lines += _speedup_line(usable)
    left_out = sum(1 for r in group if r.rate and doubtful(r))
    if left_out:
        lines.append(f"{cases_text(left_out)} left out as unreliable")
    return Card(title, value, unit, tuple(lines), tint, link=Link(ids.case(best), best.name))


def _speedup_line(usable: Sequence[Result]) -> list[str]:
    paired = [r for r in usable if r.speedup]
    if not paired:
        return []
    mean = show("speedup", geometric_mean([r.speedup.value for r in paired if r.speedup]))
    against = paired[0].speedup_note.removeprefix("against ")
    over = f"geometric mean of {len(paired)} cases" if len(paired) > 1 else "one case"
    return [f"{mean} {against}, {over}"]


def _why_absent(group: Sequence[Result]) -> str:
    """The commonest reason why a precision has no number."""
    statuses = Counter(r.record.status for r in group)
    reasons = Counter(r.reason for r in group if r.reason)
    if statuses["measured"]:
        return "every result is flagged as unreliable, or its FLOPs are not counted"
    word = "failed" if statuses["failed"] >= statuses["skipped"] else "skipped"
    reason = reasons.most_common(1)[0][0] if reasons else "no reason recorded"
    return f"{word}: {reason}"
