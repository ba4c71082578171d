"""SVG of a history: a sparkline for a table, a chart for a page. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median
from typing import Final

from markupsafe import Markup, escape

from gpubench.analysis.tracking import Tracked
from gpubench.store.points import Point
from gpubench.units import scaled

SPARK: Final = (168, 34)
HEIGHT: Final = 300
_STEPS: Final = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical mark on the time axis."""

    index: int
    label: str
    kind: str


@dataclass(frozen=True, slots=True)
class _Scale:
    """Data to pixels, for x or y."""

    low: float
    high: float
    first: float
    last: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.first + share * (self.last - self.first), 1)


def sparkline(tracked: Tracked, nights: int = 60) -> Markup:
    """The last nights as a line, the level they are judged by, and the newest as a dot."""
    points = tracked.points[-nights:]
    if not points:
        return Markup("")
    width, height = SPARK
    times = [p.median_s for p in points]
    level = tracked.shift.level
    x = _Scale(0, max(len(points) - 1, 1), 3, width - 5)
    y = _vertical([*times, *([level] if level else [])], 4, height - 4)
    line = " ".join(f"{x(i)},{y(t)}" for i, t in enumerate(times))
    parts = [f'<svg class="spark" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
             f' role="img" aria-label="{escape(_said(tracked))}">']  # fmt: skip
    if level:
        parts.append(f'<line class="level" x1="0" x2="{width}" y1="{y(level)}" y2="{y(level)}"/>')
    parts.append(f'<polyline points="{line}"/>')
    parts.append(f'<circle cx="{x(len(points) - 1)}" cy="{y(times[-1])}" r="3"/></svg>')
    return Markup("".join(parts))


def _said(tracked: Tracked) -> str:
    return f"{len(tracked.points)} nights; {tracked.verdict}: {tracked.text}"


def chart(tracked: Tracked, marks: Sequence[Mark], width: int) -> Markup:
    """Every night with the interval of its samples, levels, and what changed when."""
    points = tracked.points
    if not points:
        return Markup("")
    left, right, top, bottom = 64, width - 10, 26, HEIGHT - 26
    stamps = [_stamp(p) for p in points]
    pad = max((stamps[-1] - stamps[0]) * 0.01, 3600.0)
    x = _Scale(stamps[0] - pad, stamps[-1] + pad, left, right)
    y = _vertical([v for p in points for v in (p.ci_low_s, p.ci_high_s)], top, bottom)
    parts = [f'<svg class="history" viewBox="0 0 {width} {HEIGHT}" role="img"'
             f' aria-label="{escape(_said(tracked))}">']  # fmt: skip
    parts += _grid(y, left, right)
    parts += _days(x, stamps, bottom, max((right - left) // 110, 2))
    parts += _marks(marks, stamps, x, top, bottom)
    parts += _levels(tracked, stamps, x, y)
    since = tracked.shift.since
    for i, (p, at) in enumerate(zip(points, stamps, strict=True)):
        off = " off" if since is not None and i >= since else ""
        tip = f"{p.started_at[:10]}: {scaled(p.median_s, 's')}"
        parts.append(
            f'<g class="night{off}"><title>{escape(tip)}</title>'
            f'<line x1="{x(at)}" x2="{x(at)}" y1="{y(p.ci_low_s)}" y2="{y(p.ci_high_s)}"/>'
            f'<circle cx="{x(at)}" cy="{y(p.median_s)}" r="2.4"/></g>'
        )
    return Markup("".join([*parts, "</svg>"]))


def _vertical(values: Sequence[float], top: float, bottom: float) -> _Scale:
    """A scale that shows at least 4 % of the level, so that noise does not look like news."""
    low, high = min(values), max(values)
    least = 0.04 * abs(high) or 1.0
    spare = max(0.0, least - (high - low)) / 2 + 0.06 * max(high - low, least)
    return _Scale(low - spare, high + spare, bottom, top)


def _grid(y: _Scale, left: int, right: int) -> list[str]:
    raw = (y.high - y.low) / 4
    power = 10.0 ** int(f"{raw:e}".partition("e")[2])
    step = next(s * power for s in _STEPS if s * power >= raw)
    found, value = [], step * (int(y.low / step) + 1)
    while value < y.high:
        found.append(
            f'<line class="grid" x1="{left}" x2="{right}" y1="{y(value)}" y2="{y(value)}"/>'
            f'<text class="tick" x="{left - 8}" y="{y(value) + 4}" text-anchor="end">'
            f"{escape(scaled(value, 's'))}</text>"
        )
        value += step
    return found


def _days(x: _Scale, stamps: Sequence[float], bottom: int, most: int) -> list[str]:
    count = min(most, len(stamps))
    chosen = {stamps[round(i * (len(stamps) - 1) / max(count - 1, 1))] for i in range(count)}
    found = []
    for at in sorted(chosen):
        day = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")
        anchor = "end" if at == stamps[-1] and len(stamps) > 1 else "middle"
        anchor = "start" if at == stamps[0] else anchor
        found.append(
            f'<text class="tick" x="{x(at)}" y="{bottom + 19}" text-anchor="{anchor}">{day}</text>'
        )
    return found


def _marks(
    marks: Sequence[Mark], stamps: Sequence[float], x: _Scale, top: int, bottom: int
) -> list[str]:
    found = []
    for mark in marks:
        at = stamps[mark.index]
        middle = x((at + stamps[mark.index - 1]) / 2) if mark.index else x(at)
        found.append(
            f'<g class="{mark.kind}"><line x1="{middle}" x2="{middle}" y1="{top}" y2="{bottom}"/>'
            f'<text x="{middle}" y="{top - 8}" text-anchor="middle">{escape(mark.label)}</text></g>'
        )
    return found


def _levels(tracked: Tracked, stamps: Sequence[float], x: _Scale, y: _Scale) -> list[str]:
    edges = [0, *tracked.shift.changes, len(stamps)]
    found = []
    for a, b in pairwise(edges):
        level = y(median(p.median_s for p in tracked.points[a:b]))
        found.append(
            f'<line class="level" x1="{x(stamps[a])}" x2="{x(stamps[b - 1])}"'
            f' y1="{level}" y2="{level}"/>'
        )
    return found


def _stamp(point: Point) -> float:
    """Seconds since 1970; a start that cannot be read stands at zero."""
    try:
        return datetime.fromisoformat(point.started_at).timestamp()
    except ValueError:
        return 0.0
