"""What the device did while the run went on: cases, power, clock, temperature on one axis."""

from __future__ import annotations

import html
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

import plotly.graph_objects as go

from gpubench.analysis.flags import flag_info
from gpubench.analysis.results import Result
from gpubench.report.axes import linear_ticks
from gpubench.report.series import color
from gpubench.report.traces import MAX_POINTS, Ids, empty_figure, plain
from gpubench.report.view import FigureView
from gpubench.units import METRICS, scaled

SENSORS: Final = (
    "power_w", "clock_hz", "cpu_clock_hz", "temperature_c", "utilisation", "foreign_cpus",
)  # fmt: skip
"""One row each, where something was read, under the row of the cases."""
_ROW: Final = 120
_CASES_ROW: Final = 46
_HARMLESS: Final = frozenset({"gpu_idle", "applications_clocks"})


def timeline_figures(results: Sequence[Result], ids: Ids) -> list[FigureView]:
    """One figure: cases and every sensor that was read, on one axis of time."""
    placed = _placed(results)
    rows = [s for s in SENSORS if len(_points(s, placed)) > 1]
    return [_figure(rows, placed, ids)] if rows else []


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


_Point: TypeAlias = tuple[float, float, Sequence[str], Result]
"""(seconds since the first case began, value, event reasons, the case)."""


def _points(sensor: str, placed: Sequence[tuple[float, Result]]) -> list[_Point]:
    return [
        (begun + reading.time_s, reading.values[sensor], reading.reasons, r)
        for begun, r in placed
        if r.measurement
        for reading in r.measurement.readings
        if sensor in reading.values
    ]


def _figure(rows: Sequence[str], placed: Sequence[tuple[float, Result]], ids: Ids) -> FigureView:
    figure = empty_figure()
    height = _CASES_ROW + _ROW * len(rows)
    _cases(figure, placed, ids, 1 - 0.8 * _CASES_ROW / height)
    sentences, note = [], ""
    for n, sensor in enumerate(rows):
        top = 1 - (_CASES_ROW + _ROW * n) / height
        points = _points(sensor, placed)
        step = -(-len(points) // (MAX_POINTS // 3))
        _row(figure, sensor, points[::step], ids, n + 2, (top - 0.8 * _ROW / height, top))
        if step > 1:
            note = f"Drawn: every {step}th of {len(points)} readings."
        sentences.append(_said(sensor, points))
    held = any(set(p[2]) - _HARMLESS for s in rows for p in _points(s, placed))
    figure.update_layout(
        xaxis={"title": {"text": "Seconds since the first case began"}, "rangemode": "tozero",
               "anchor": f"y{len(rows) + 1}"},
        showlegend=False,
    )  # fmt: skip
    sentence = (
        f"Cases in the order they ran and what was read beside them: {'; '.join(sentences)}."
        + (" Crosses: a power cap or heat held the clock back." if held else "")
    )
    title = "Cases, power and clocks"
    return FigureView(
        f"{ids.prefix}timeline-all", title, sentence, plain(figure), height + 70, note, wide=True
    )


def _cases(figure: Any, placed: Sequence[tuple[float, Result]], ids: Ids, floor: float) -> None:
    """The row of cases: from where each began to its last reading."""
    lasting = [
        (begun, max(r.measurement.readings[-1].time_s, r.measurement.measuring_s), r)
        for begun, r in placed
        if r.measurement
    ]
    figure.add_trace(
        go.Bar(
            orientation="h",
            base=[begun for begun, _, _ in lasting],
            x=[took for _, took, _ in lasting],
            y=["cases"] * len(lasting),
            marker={"color": [color(r.record.case.precision) for _, _, r in lasting],
                    "line": {"width": 0.6, "color": "var(--bg)"}},
            text=[_case_hover(r, took) for _, took, r in lasting],
            textposition="none",
            customdata=[ids.case(r) for _, _, r in lasting],
            hovertemplate="%{text}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_layout(yaxis={"domain": [max(0.0, floor), 1.0], "showgrid": False})


def _row(
    figure: Any, sensor: str, points: Sequence[_Point], ids: Ids, axis: int,
    domain: tuple[float, float],
) -> None:  # fmt: skip
    metric = METRICS[sensor]
    figure.add_trace(
        go.Scatter(
            x=[p[0] for p in points],
            y=[p[1] for p in points],
            mode="markers",
            name=html.escape(metric.title),
            yaxis=f"y{axis}",
            marker={"size": 5, "color": "var(--c-fp32)"},
            text=[_hover(p[1], metric.unit, p[2], p[3]) for p in points],
            customdata=[ids.case(p[3]) for p in points],
            hovertemplate="%{text}<extra></extra>",
        )
    )
    marked = [p for p in points if set(p[2]) - _HARMLESS]
    if marked:
        cross = {"symbol": "x-thin", "size": 9, "line": {"width": 1.6, "color": "var(--bad)"}}
        figure.add_trace(
            go.Scatter(
                x=[p[0] for p in marked], y=[p[1] for p in marked], mode="markers",
                name="held back", marker=cross, hoverinfo="skip", yaxis=f"y{axis}",
            )
        )  # fmt: skip
    ticks = linear_ticks(max(p[1] for p in points) or 1.0, metric.unit, most=3)
    where = {"domain": [max(0.0, domain[0]), domain[1]], "anchor": "x"}
    title = {"title": {"text": _SHORT.get(sensor, metric.title)}}
    figure.update_layout({f"yaxis{axis}": {**ticks, **where, **title}})


_SHORT: Final = {"foreign_cpus": "Others' CPUs", "temperature_c": "Temp."}


def _said(sensor: str, points: Sequence[_Point]) -> str:
    metric, values = METRICS[sensor], sorted(p[1] for p in points)
    middle = _text(values[len(values) // 2], metric.unit)
    name = (
        metric.title if metric.title[1].isupper() else metric.title[:1].lower() + metric.title[1:]
    )
    return f"{name} {middle} in the median, up to {_text(values[-1], metric.unit)}"


def _case_hover(r: Result, took_s: float) -> str:
    lines = [f"<b>{html.escape(r.name)}</b> {html.escape(r.record.case.precision)}"]
    lines.append(f"{html.escape(r.record.case.benchmark)}, {scaled(took_s, 's')}")
    lines += [html.escape(flag_info(flag).title) for flag in r.flags]
    return "<br>".join(lines)


def _text(value: float, unit: str) -> str:
    return scaled(value, unit) if unit else f"{value:.2f}"


def _hover(value: float, unit: str, reasons: Sequence[str], r: Result) -> str:
    lines = [f"<b>{html.escape(r.name)}</b> {html.escape(r.record.case.precision)}"]
    lines += [_text(value, unit), *map(html.escape, reasons)]
    return "<br>".join(lines)
