"""Speed-up by case, and what is known against the model."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any, Final

from gpubench.analysis.comparison import Comparison, Row, Speedup
from gpubench.report.axes import log_ticks, rate_ticks
from gpubench.report.comparison.marks import (
    SYMBOLS,
    Names,
    anchor,
    band_of,
    class_name,
    classes,
    hover,
    kind,
    points,
    ratio_kinds,
    signed,
    time_band,
    times,
    tint,
    titled,
)
from gpubench.report.view import FigureView
from gpubench.spec import PRECISIONS
from gpubench.units import scaled

MAX_CASES: Final = 1500
"""Cases a figure draws; beyond that every n-th, and the figure says so."""
_SHARE: Final = 0.84
"""Part of a column that its cases fill."""


_Column = tuple[str, str, list[Row]]
"""Workload, precision and their cases."""


def thinned(rows: Sequence[Row]) -> tuple[Sequence[Row], str]:
    """Every n-th case where there are too many to draw, and a line that says so."""
    if len(rows) <= MAX_CASES:
        return rows, ""
    step = -(-len(rows) // MAX_CASES)
    shown = rows[::step]
    return shown, f"Drawn: {len(shown)} of {len(rows)} cases, every {step}th; the table has all."


def speedup_figure(comparison: Comparison, names: Names, index: int) -> FigureView | None:
    """Speed-ups of one subject, a column a class, from thin to compute-heavy cases."""
    kinds = ratio_kinds(comparison, index)
    rows, note = thinned(
        [r for r in comparison.rows if any(r.speedup(index, p) for p in kinds)]
    )  # fmt: skip
    if not rows:
        return None
    columns = [
        (workload, precision, group)
        for workload, precision in classes(comparison)
        if (group := _ordered(rows, workload, precision))
    ]
    data, reach = _speedup_data(comparison, names, index, columns)
    layout = {
        "xaxis": {
            "tickvals": list(range(len(columns))),
            "ticktext": [html.escape(class_name(comparison, w, p)) for w, p, _ in columns],
            "range": [-0.55, len(columns) - 0.45],
            "showgrid": False,
        },
        "yaxis": {
            **log_ticks(min(reach), max(reach), "x"),
            "title": titled(f"Times faster than {names.reference}"),
        },
        "shapes": [_level(1.0)],
    }
    sentence = (
        f"How many times faster {names.subjects[index]} is than {names.reference}, case by case;"
        " within a column from the fewest to the most FLOPs per byte. Bars are the intervals,"
        " short lines the datasheet ratios that bandwidth and peak alone would give."
    )
    title = f"{names.subjects[index]} over {names.reference}"
    return FigureView(
        f"speedup-{index}", title, sentence, {"data": data, "layout": layout}, 400, note,
        wide=len(names.subjects) == 2,
    )  # fmt: skip


def _speedup_data(
    comparison: Comparison, names: Names, index: int, columns: Sequence[_Column]
) -> tuple[list[dict[str, Any]], list[float]]:
    """Traces, and every value that the axis has to reach."""
    place = {
        id(row): column + ((i + 0.5) / len(group) - 0.5) * _SHARE
        for column, (_, _, group) in enumerate(columns)
        for i, row in enumerate(group)
    }
    found = [
        (provenance, row, s)
        for provenance in ratio_kinds(comparison, index)
        for _, _, group in columns
        for row in group
        if (s := row.speedup(index, provenance))
    ]
    data = _ratio_lines(comparison, index, columns)
    reach = [v for _, _, s in found for v in (s.low, s.high, s.ratio)] + [1.0]
    reach += [y for line in data for y in line["y"] if y is not None]
    data += _bands([(place[id(row)], s) for p, row, s in found if p == "predicted"], index)
    for shown in dict.fromkeys(kind(comparison, row, index, p) for p, row, _ in found):
        chosen = [(r, s) for p, r, s in found if kind(comparison, r, index, p) == shown]
        data.append(_speedup_points(names, index, shown, chosen, place))
    return data, reach


def _ordered(rows: Sequence[Row], workload: str, precision: str) -> list[Row]:
    group = [r for r in rows if (r.case.workload, r.case.precision) == (workload, precision)]
    return sorted(group, key=lambda r: (r.case.work and r.case.work.intensity) or 0.0)


def _ratio_lines(
    comparison: Comparison, index: int, columns: Sequence[_Column]
) -> list[dict[str, Any]]:
    """The ratio of bandwidths and of peaks, across each column."""
    a, b = comparison.subjects[index].spec, comparison.reference.spec
    if a is None or b is None:
        return []
    bandwidth: list[tuple[int, float]] = []
    peaks: list[tuple[int, float]] = []
    for column, (_, precision, _) in enumerate(columns):
        bandwidth.append((column, a.memory_bw_bytes_per_s / b.memory_bw_bytes_per_s))
        if precision in PRECISIONS:
            here, there = a.peak_flops(precision), b.peak_flops(precision)
            if here and there:
                peaks.append((column, here / there))
    return [
        _line("ratio of bandwidths", bandwidth, "dot"),
        *([_line("ratio of peaks", peaks, "dash")] if peaks else []),
    ]


def _line(name: str, places: Sequence[tuple[int, float]], dash: str) -> dict[str, Any]:
    xs = [x for column, _ in places for x in (column - 0.46, column + 0.46, None)]
    ys = [y for _, ratio in places for y in (ratio, ratio, None)]
    return {
        "type": "scatter", "mode": "lines", "x": xs, "y": ys, "name": name,
        "line": {"color": "var(--ink)", "width": 1.6, "dash": dash}, "hoverinfo": "skip",
    }  # fmt: skip


def _bands(places: Sequence[tuple[float, Speedup]], index: int) -> list[dict[str, Any]]:
    if not places:
        return []
    return [{
        "type": "scatter", "mode": "lines", "name": "band of a prediction",
        "x": [x for place, _ in places for x in (place, place, None)],
        "y": [y for _, s in places for y in (s.low, s.high, None)],
        "line": {"color": tint(index), "width": 2.4}, "opacity": 0.3, "hoverinfo": "skip",
    }]  # fmt: skip


def _speedup_points(
    names: Names,
    index: int,
    provenance: str,
    chosen: Sequence[tuple[Row, Speedup]],
    place: dict[int, float],
) -> dict[str, Any]:
    said = [
        hover(names.case(row), [f"{times(s.ratio)}, {provenance}", band_of(s.low, s.high)])
        for row, s in chosen
    ]
    measured = provenance.startswith("measured")
    bars = {
        "type": "data", "symmetric": False, "thickness": 1.4, "width": 0, "color": "var(--ink)",
        "array": [s.high - s.ratio for _, s in chosen],
        "arrayminus": [s.ratio - s.low for _, s in chosen],
    }  # fmt: skip
    return points(
        [place[id(row)] for row, _ in chosen], [s.ratio for _, s in chosen], provenance,
        SYMBOLS[provenance], tint(index) if provenance == "predicted" else "var(--ink)", said,
        [anchor(row) for row, _ in chosen], **({"error_y": bars} if measured else {}),
    )  # fmt: skip


def _level(y: float) -> dict[str, Any]:
    return {
        "type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y,
        "line": {"color": "var(--muted)", "width": 1.2},
    }  # fmt: skip


# ---------------------------------------------------------------- known against model


def model_figure(comparison: Comparison, names: Names, index: int) -> FigureView | None:
    """Known over predicted time of one subject, with the band of each prediction."""
    known = [r for r in comparison.rows if r.entries[index].model_error is not None]
    rows, note = thinned(known)
    if not rows:
        return None
    expected = [r.entries[index].values["predicted"] for r in rows]
    band_x = [x for p in expected for x in (p.time_s, p.time_s, None)]
    band_y = [y for p in expected for y in (p.low_s / p.time_s, p.high_s / p.time_s, None)]
    groups: dict[str, list[_Known]] = {}
    for row in rows:
        name, point = _known(comparison, names, index, row)
        groups.setdefault(name, []).append(point)
    band = {
        "type": "scatter", "mode": "lines", "x": band_x, "y": band_y, "name": "80 % band",
        "line": {"color": "var(--c-other)", "width": 4}, "opacity": 0.35, "hoverinfo": "skip",
    }  # fmt: skip
    data = [band] + [_known_points(name, groups[name]) for name in sorted(groups)]
    seconds = [x for x in band_x if x is not None]
    ratios = [y for y in band_y if y is not None] + [p[1] for g in groups.values() for p in g]
    layout = {
        "xaxis": {**log_ticks(min(seconds), max(seconds), "s"), "title": titled("Predicted time")},
        "yaxis": {**rate_ticks([*ratios, 1.0], "x"), "title": titled("Known / predicted")},
        "shapes": [_level(1.0)],
    }
    sentence = (
        f"Known over predicted time of {names.subjects[index]}: on the line they agree, above it"
        " the model is too fast. The bar at each case is the 80 % band of its prediction."
    )
    figure_id, title = f"model-{index}", names.subjects[index]
    return FigureView(figure_id, title, sentence, {"data": data, "layout": layout}, 360, note)


_Known = tuple[float, float, str, str]
"""Predicted time, known over predicted, hover text, anchor."""


def _known(comparison: Comparison, names: Names, index: int, row: Row) -> tuple[str, _Known]:
    """The group of a known value, and its point."""
    e = row.entries[index]
    value, expected = e.best_known, e.values["predicted"]
    assert value is not None
    shown = kind(comparison, row, index, value.provenance)
    where = ", outside the band" if e.outside_band else ""
    lines = [
        f"{scaled(value.time_s, 's')} {shown}",
        f"{scaled(expected.time_s, 's')} predicted ({time_band(expected)})",
        f"model {signed(e.model_error or 0.0)}{where}",
    ]
    ratio, said = value.time_s / expected.time_s, hover(names.case(row), lines)
    name = f"{shown}, outside its band" if e.outside_band else shown
    return name, (expected.time_s, ratio, said, anchor(row))


def _known_points(name: str, group: Sequence[_Known]) -> dict[str, Any]:
    outside = name.endswith("band")
    symbol = SYMBOLS[name.removesuffix(", outside its band")]
    color = "var(--bad)" if outside else "var(--ink)"
    trace = points([p[0] for p in group], [p[1] for p in group], name, symbol, color,
                   [p[2] for p in group], [p[3] for p in group])  # fmt: skip
    if outside:  # told apart without colour: larger
        trace["marker"]["size"] = 12
    return trace
