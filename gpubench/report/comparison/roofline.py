"""The rooflines of all subjects in one figure."""

from __future__ import annotations

import html
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from gpubench.analysis.comparison import PROVENANCES, Comparison, Row
from gpubench.report.axes import log_ticks
from gpubench.report.comparison.figures import thinned
from gpubench.report.comparison.marks import (
    SYMBOLS,
    Names,
    anchor,
    hover,
    kind,
    points,
    tint,
    titled,
)
from gpubench.report.view import FigureView
from gpubench.spec import PRECISIONS
from gpubench.units import show

_MAX_ROOFS: Final = 8
_LABEL_GAP: Final = 0.042
"""Least distance of two labels, as a part of the axis' length."""


@dataclass(frozen=True, slots=True)
class _Roof:
    """A peak of one subject under its bandwidth."""

    subject: int
    precisions: tuple[str, ...]
    flops_per_s: float
    bytes_per_s: float


def roofline_figure(comparison: Comparison, names: Names) -> FigureView | None:
    """Achieved or predicted FLOP/s of every case, against its intensity, under the peaks."""
    placed = [r for r in comparison.rows if r.case.work and r.case.work.intensity]
    rows, note = thinned([r for r in placed if r.case.work and r.case.work.flops])
    marks = _marks(comparison, names, rows)
    if len(rows) < 2 or not marks:
        return None
    xs = [x for trace in marks for x in trace["x"]]
    ys = [y for trace in marks for y in trace["y"]]
    low, high = min(xs) / 2, max(xs) * 5
    roofs, left_out = _roofs(comparison)
    tops = [1.6 * roof.flops_per_s for roof in roofs]
    y_axis = log_ticks(min(ys), max([*ys, *tops]), "FLOP/s")
    data = [_roof_trace(roof, low, high) for roof in roofs] + marks
    layout = {
        "xaxis": {**log_ticks(low, high, "FLOP/B", 0.0), "title": titled("Arithmetic intensity")},
        "yaxis": y_axis,
        "annotations": _labels(names, roofs, high, y_axis["range"]),
    }
    sentence = (
        "FLOP/s of every case against the FLOPs it does per byte it must move, with what each"
        " subject allows: memory bandwidth on the slope, the peak of a precision on the flat."
        f"{left_out}"
    )
    spec = {"data": data, "layout": layout}
    return FigureView("roofline", "Roofline", sentence, spec, 560, note, wide=True)


def _marks(comparison: Comparison, names: Names, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """A trace for each subject and provenance; the most direct value of a case counts."""
    groups: dict[tuple[int, str], list[tuple[Row, float]]] = defaultdict(list)
    for row in rows:
        for index, e in enumerate(row.entries):
            value = next((e.values[p] for p in PROVENANCES if p in e.values), None)
            if value and row.case.work:
                shown = kind(comparison, row, index, value.provenance)
                groups[index, shown].append((row, row.case.work.flops / value.time_s))
    return [
        points(
            [row.case.work.intensity or 0.0 for row, _ in group if row.case.work],
            [rate for _, rate in group],
            f"{names.subjects[index]}, {shown}",
            SYMBOLS[shown],
            tint(index),
            [hover(names.case(row), [f"{show('flops_per_s', rate)} on {names.subjects[index]}",
                                     shown]) for row, rate in group],
            [anchor(row) for row, _ in group],
        )
        for (index, shown), group in sorted(groups.items(), key=lambda item: item[0][0])
    ]  # fmt: skip


def _roofs(comparison: Comparison) -> tuple[list[_Roof], str]:
    """Distinct peaks of each subject; with many subjects only those of fp32 and fp16."""
    compared = {r.case.precision for r in comparison.rows}
    wanted = [p for p in PRECISIONS if p in compared]
    found = _peaks(comparison, wanted)
    if len(found) <= _MAX_ROOFS:
        return found, ""
    few = [p for p in ("fp16", "fp32") if p in wanted][:1] or wanted[:1]
    return _peaks(comparison, few), f" Only the peaks of {few[0]} are drawn; the facts have all."


def _peaks(comparison: Comparison, precisions: Sequence[str]) -> list[_Roof]:
    found: dict[tuple[int, float], list[str]] = defaultdict(list)
    keys = [s.spec.key if s.spec else None for s in comparison.subjects]
    for index, subject in enumerate(comparison.subjects):
        if keys.index(keys[index]) < index:
            continue  # the same GPU again, a run of it say
        for precision in precisions if subject.spec else ():
            peak = subject.spec.peak_flops(precision) if subject.spec else None
            if peak:
                found[index, peak].append(precision)
    return [
        _Roof(index, tuple(shared), peak, spec.memory_bw_bytes_per_s)
        for (index, peak), shared in found.items()
        if (spec := comparison.subjects[index].spec)
    ]


def _roof_trace(roof: _Roof, low: float, high: float) -> dict[str, Any]:
    ridge = roof.flops_per_s / roof.bytes_per_s
    xs = [low, *([ridge] if low < ridge < high else []), high]
    return {
        "type": "scatter", "mode": "lines", "showlegend": False, "hoverinfo": "skip", "x": xs,
        "y": [min(roof.bytes_per_s * x, roof.flops_per_s) for x in xs],
        "line": {"color": tint(roof.subject), "width": 1.4, "dash": ("dot", "dash")[
            roof.subject % 2]},
    }  # fmt: skip


def _labels(
    names: Names, roofs: Sequence[_Roof], high: float, reach: Sequence[float]
) -> list[dict[str, Any]]:
    """A name above the right end of each flat part, moved apart where they would touch."""
    gap = _LABEL_GAP * (reach[1] - reach[0])
    made: list[dict[str, Any]] = []
    below = -math.inf
    for roof in sorted(roofs, key=lambda r: r.flops_per_s):
        if roof.flops_per_s / roof.bytes_per_s >= high:
            continue
        y = max(math.log10(roof.flops_per_s), below + gap)
        below = y
        text = f"{names.subjects[roof.subject]} {', '.join(roof.precisions)}"
        made.append({
            "text": html.escape(text), "x": math.log10(high), "y": y, "xanchor": "right",
            "yanchor": "bottom", "showarrow": False, "bgcolor": "var(--bg)", "font": {"size": 11,
                                                              "color": tint(roof.subject)},
        })  # fmt: skip
    return made
