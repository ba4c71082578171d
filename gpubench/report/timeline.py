"""What the device did while the run went on: power, clock, temperature along its time."""

from __future__ import annotations

import html
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import plotly.graph_objects as go

from gpubench.analysis.results import Result
from gpubench.report.axes import linear_ticks
from gpubench.report.traces import MAX_POINTS, Ids, empty_figure, plain
from gpubench.report.view import FigureView
from gpubench.units import METRICS, scaled

SENSORS: Final = ("power_w", "clock_hz", "temperature_c", "foreign_cpus")
_TITLES: Final = {"foreign_cpus": ("CPUs in use by others", "")}


def timeline_figures(results: Sequence[Result], ids: Ids) -> list[FigureView]:
    """A figure for each sensor that was read, cases in the order they ran."""
    placed = _placed(results)
    if not placed:
        return []
    found = (_figure(sensor, placed, ids) for sensor in SENSORS)
    return [f for f in found if f is not None]


def _placed(results: Sequence[Result]) -> list[tuple[float, Result]]:
    """(seconds since the first case began, result) of every case with readings."""
    moments = []
    for r in results:
        begun = _moment(r.record.started_at)
        if r.measurement and r.measurement.readings and begun is not None:
            moments.append((begun, r))
    if not moments:
        return []
    zero = min(m for m, _ in moments)
    return sorted(((m - zero, r) for m, r in moments), key=lambda item: item[0])


def _moment(text: str | None) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except ValueError:
        return None


def _figure(sensor: str, placed: Sequence[tuple[float, Result]], ids: Ids) -> FigureView | None:
    points = [
        (begun + reading.time_s, reading.values[sensor], reading.reasons, r)
        for begun, r in placed
        if r.measurement
        for reading in r.measurement.readings
        if sensor in reading.values
    ]
    if len(points) < 2:
        return None
    step = -(-len(points) // MAX_POINTS)
    shown = points[::step]
    title, unit = _TITLES.get(sensor) or (METRICS[sensor].title, METRICS[sensor].unit)
    figure = empty_figure()
    figure.add_trace(
        go.Scatter(
            x=[p[0] for p in shown],
            y=[p[1] for p in shown],
            mode="markers",
            name=html.escape(title),
            showlegend=False,
            marker={"size": 5, "color": "var(--c-fp32)"},
            text=[_hover(p[1], unit, p[2], p[3]) for p in shown],
            customdata=[ids.case(p[3]) for p in shown],
            hovertemplate="%{text}<extra></extra>",
        )
    )
    marked = [p for p in shown if set(p[2]) - {"gpu_idle", "applications_clocks"}]
    if marked:
        cross = {"symbol": "x-thin", "size": 9, "line": {"width": 1.6, "color": "var(--bad)"}}
        figure.add_trace(
            go.Scatter(
                x=[p[0] for p in marked], y=[p[1] for p in marked], mode="markers",
                name="held back", marker=cross, hoverinfo="skip",
            )
        )  # fmt: skip
    figure.update_xaxes(title_text="Seconds since the first case began", rangemode="tozero")
    figure.update_yaxes(**linear_ticks(max(p[1] for p in points) or 1.0, unit))
    values = sorted(p[1] for p in points)
    sentence = (
        f"{title} read while cases were measured, in the order they ran: median"
        f" {_text(values[len(values) // 2], unit)}, up to {_text(values[-1], unit)}."
        + (" Crosses: a power cap or heat held the clock back." if marked else "")
    )
    note = f"Drawn: every {step}th of {len(points)} readings." if step > 1 else ""
    return FigureView(f"{ids.prefix}timeline-{sensor}", title, sentence, plain(figure), 260, note)


def _text(value: float, unit: str) -> str:
    return scaled(value, unit) if unit else f"{value:.2f}"


def _hover(value: float, unit: str, reasons: Sequence[str], r: Result) -> str:
    lines = [f"<b>{html.escape(r.name)}</b> {html.escape(r.record.case.precision)}"]
    lines += [_text(value, unit), *map(html.escape, reasons)]
    return "<br>".join(lines)
