"""Runs of one device over time: the speed of each class, run by run."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any, Final

from gpubench.analysis.comparison import Comparison
from gpubench.analysis.gains import ClassSpeedup, class_speedups
from gpubench.report.comparison.marks import (
    ON_CPU,
    SYMBOLS,
    Names,
    band_of,
    class_name,
    hover,
    on_cpu,
    precision_tint,
    times,
    titled,
)
from gpubench.report.view import FigureView

LEAST_RUNS: Final = 3
_DASHES: Final = ("solid", "dash", "dot", "dashdot")


def history_figure(comparison: Comparison, names: Names) -> FigureView | None:
    """Measured geometric means over the reference, by when the runs began.

    None unless three runs or more of one device are compared, and nothing else.
    """
    subjects = comparison.subjects
    devices = {r.device.name for s in subjects for r in s.records.values()}
    if len(subjects) < LEAST_RUNS or len(devices) != 1 or any(s.kind != "run" for s in subjects):
        return None
    found = [c for c in class_speedups(comparison) if c.provenance == "measured"]
    if not found:
        return None
    order = sorted(range(len(subjects)), key=lambda i: _began(comparison, i))
    groups: dict[tuple[str, str], dict[int, ClassSpeedup]] = {}
    for c in found:
        groups.setdefault((c.workload, c.precision), {})[c.subject] = c
    dashes = {w: _DASHES[i % 4] for i, w in enumerate(dict.fromkeys(w for w, _ in groups))}
    data = [
        _line(comparison, names, order, w, p, group, dashes[w]) for (w, p), group in groups.items()
    ]
    reach = [1.0, *(v for c in found for v in (c.low, c.high))]
    room = max(0.01, 0.06 * (max(reach) - min(reach)))
    ticks = [
        f"{html.escape(names.subjects[i])}<br>{html.escape(_began(comparison, i)[:10])}"
        for i in order
    ]
    layout = {
        "xaxis": {"tickvals": list(range(len(order))), "ticktext": ticks, "showgrid": False},
        "yaxis": {
            # Nights differ by per cents, for which a logarithmic axis has no ticks.
            "range": [min(reach) - room, max(reach) + room],
            "ticksuffix": "x",
            "title": titled(f"Times faster than {names.reference}"),
        },
    }
    sentence = (
        f"How many times faster each run of the same device was than {names.reference}, in the"
        " order in which they began; geometric mean of each class with its interval."
    )
    return FigureView(
        "history", "Run by run", sentence, {"data": data, "layout": layout}, 380, wide=True
    )


def _began(comparison: Comparison, index: int) -> str:
    run = comparison.subjects[index].run
    return run.started_at if run else ""


def _line(
    comparison: Comparison,
    names: Names,
    order: Sequence[int],
    workload: str,
    precision: str,
    group: dict[int, ClassSpeedup],
    dash: str,
) -> dict[str, Any]:
    """One class; the reference stands at one."""
    last = len(names.subjects) - 1
    places = [place for place, index in enumerate(order) if index == last or index in group]
    kept = [group.get(order[place]) for place in places]
    title = class_name(comparison, workload, precision)
    cpu = any(on_cpu(comparison, i) for i in order)
    shown = ON_CPU if cpu else "measured"
    texts = [
        hover(f"{title}, {names.subjects[order[place]]}",
              [f"{times(c.ratio)}, {shown}, {c.cases} cases", band_of(c.low, c.high)]
              if c else ["the reference"])
        for place, c in zip(places, kept, strict=True)
    ]  # fmt: skip
    color = precision_tint(precision)
    return {
        "type": "scatter", "mode": "lines+markers", "name": html.escape(title),
        "x": places, "y": [c.ratio if c else 1.0 for c in kept],
        "line": {"color": color, "width": 1.6, "dash": dash},
        "marker": {"symbol": SYMBOLS[shown], "size": 8, "color": color},
        "error_y": {
            "type": "data", "symmetric": False, "thickness": 1.4, "width": 0, "color": color,
            "array": [c.high - c.ratio if c else 0.0 for c in kept],
            "arrayminus": [c.ratio - c.low if c else 0.0 for c in kept],
        },
        "text": texts, "hovertemplate": "%{text}<extra></extra>",
    }  # fmt: skip
