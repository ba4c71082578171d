"""SVG of a fleet: every device as a dot, hosts side by side. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from markupsafe import Markup, escape

from gpubench.analysis.fleet import FAILING, FAST, Group
from gpubench.units import percent

HEIGHT: Final = 280
LABELS: Final = 8
"""Odd devices that are named in the picture; the rest are dots."""
_STEPS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def strip(group: Group, kinds: Mapping[str, str], floor: float, width: int) -> Markup:
    """Devices in the order of their names, by how much slower they are over all cases.

    Args:
        group: devices of one model.
        kinds: device -> why it is odd.
        floor: what matters at least; drawn as a line.
        width: in pixels.
    """
    ratios = [float(x) - 1 for x in group.scores.overall]
    finite = [x for x in ratios if math.isfinite(x)]
    if not group.scores.judged or not finite:
        return Markup("")
    left, right, top, bottom = 58, width - 12, 22, HEIGHT - 30
    low, high = min(*finite, -floor), max(*finite, 1.6 * floor)
    spare = 0.08 * (high - low)
    low, high = low - spare, high + spare

    def y(value: float) -> float:
        return round(bottom - (value - low) / (high - low) * (bottom - top), 1)

    count = len(ratios)

    def x(i: int) -> float:
        return round(left + (i + 0.5) / count * (right - left), 1)

    said = f"{count} devices of {group.model}; {sum(m.device in kinds for m in group.members)} odd"
    parts = [f'<svg class="fleet" viewBox="0 0 {width} {HEIGHT}" role="img"'
             f' aria-label="{escape(said)}">']  # fmt: skip
    parts += _grid(low, high, y, left, right)
    parts.append(f'<line class="floor" x1="{left}" x2="{right}" y1="{y(floor)}" y2="{y(floor)}"/>')
    parts += _hosts(group, x, left, right, bottom)
    # Odd ones last, on top of the others.
    order = sorted(range(count), key=lambda i: group.members[i].device in kinds)
    labelled = 0
    for i in order:
        member, off = group.members[i], ratios[i]
        if not math.isfinite(off):
            continue
        kind = kinds.get(member.device, "")
        tip = f"{member.name}: {percent(abs(off))} {'slower' if off > 0 else 'faster'}"
        radius = 5 if kind else 3 if count <= 200 else 1.8
        parts.append(
            f'<g class="dot {kind}"><title>{escape(tip)}{escape(f", {kind}" if kind else "")}'
            f'</title><circle cx="{x(i)}" cy="{y(off)}" r="{radius}"/>'
        )
        if kind and kind != FAST and labelled < LABELS:
            labelled += 1
            end = x(i) > (left + right) / 2
            anchor, shift = ("end", -9) if end else ("start", 9)
            mark = "× " if kind == FAILING else ""
            parts.append(
                f'<text x="{x(i) + shift}" y="{y(off) + 4}" text-anchor="{anchor}">'
                f"{escape(mark + member.name)}</text>"
            )
        parts.append("</g>")
    return Markup("".join([*parts, "</svg>"]))


def _grid(low: float, high: float, y: Callable[[float], float], left: int, right: int) -> list[str]:
    step = next((s for s in _STEPS if (high - low) / s <= 6), _STEPS[-1])
    found = []
    for k in range(math.ceil(low / step), math.floor(high / step) + 1):
        at = y(k * step)
        sign = "+" if k > 0 else "−" if k < 0 else ""
        label = f"{sign}{abs(k * step) * 100:g} %"
        kind = "grid zero" if k == 0 else "grid"
        found.append(
            f'<line class="{kind}" x1="{left}" x2="{right}" y1="{at}" y2="{at}"/>'
            f'<text class="tick" x="{left - 8}" y="{at + 4}" text-anchor="end">{label}</text>'
        )
    return found


def _hosts(
    group: Group, x: Callable[[int], float], left: int, right: int, bottom: int
) -> list[str]:
    """Names of the first host and of some more, under the axis."""
    starts = [
        i for i, m in enumerate(group.members) if i == 0 or m.host != group.members[i - 1].host
    ]
    every = max(1, math.ceil(len(starts) / max((right - left) // 110, 2)))
    found, last = [], -math.inf
    for i in starts[::every]:
        name, at = group.members[i].host, x(i)
        if at < last:
            continue
        last = at + 8 * len(name) + 10
        found.append(
            f'<line class="host" x1="{at}" x2="{at}" y1="{bottom}" y2="{bottom + 5}"/>'
            f'<text class="tick" x="{max(at - 3, left)}" y="{bottom + 19}">{escape(name)}</text>'
        )
    return found
