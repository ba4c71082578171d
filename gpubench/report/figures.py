"""The figures of a run: throughput, speed-up and error; each by precision."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Final

import plotly.graph_objects as go

from gpubench.analysis.results import Interval, Result
from gpubench.report.axes import Axis, log_ticks, rate_ticks, sweep_axis
from gpubench.report.traces import (
    Ids,
    by_benchmark,
    by_precision,
    doubtful,
    empty_figure,
    plain,
    scatter,
    thinned,
)
from gpubench.report.view import FigureView
from gpubench.stats import geometric_mean
from gpubench.units import METRICS, show

MAX_FIGURES: Final = 8
"""Figures of one kind, one a benchmark; beyond that the table has the rest."""


def throughput_figures(results: Sequence[Result], ids: Ids) -> list[FigureView]:
    """Rate against size, one figure a benchmark with at least two measured cases."""
    found = []
    for index, (name, group) in enumerate(by_benchmark(results).items()):
        rated = [r for r in group if r.rate and r.rate_metric == group[0].rate_metric]
        axis = sweep_axis(rated) if len(rated) > 1 else None
        if axis is None:
            continue
        shown, note = thinned(rated)
        found.append(_throughput(name, shown, axis, ids, f"{ids.prefix}throughput-{index}", note))
    return found


def _throughput(
    name: str, rated: Sequence[Result], axis: Axis, ids: Ids, figure_id: str, note: str
) -> FigureView:
    metric = rated[0].rate_metric
    unit = METRICS[metric].unit
    figure = empty_figure()
    figure.add_traces(scatter(rated, ids, axis.value, _rate, metric, lines=axis.lines))
    values = [v for r in rated if r.rate for v in (r.rate.low, r.rate.high)]
    figure.update_xaxes(title_text=html.escape(axis.title), **axis.ticks)
    figure.update_yaxes(**rate_ticks(values, unit))
    best = max((r for r in rated if not doubtful(r)), key=_rate_value, default=None)
    said = (
        f" Best: {show(metric, best.rate.value)} in {best.record.case.precision} at {best.name}."
        if best and best.rate
        else ""
    )
    sentence = (
        f"{METRICS[metric].title} against {axis.phrase}, by precision; bars are 95 % intervals"
        f" of the median.{said}"
    )
    return FigureView(figure_id, name, sentence, plain(figure), 340, note)


def _rate(result: Result) -> Interval | None:
    return result.rate


def _rate_value(result: Result) -> float:
    return result.rate.value if result.rate else 0.0


def speedup_figures(results: Sequence[Result], ids: Ids) -> list[FigureView]:
    """Speed-up against the baseline, one figure a benchmark that has one."""
    found = []
    for index, (name, group) in enumerate(by_benchmark(results).items()):
        paired = [r for r in group if r.speedup]
        axis = sweep_axis(paired) if len(paired) > 1 else None
        if axis is None:
            continue
        shown, note = thinned(paired)
        figure = empty_figure()
        figure.add_traces(scatter(shown, ids, axis.value, _speedup, "speedup", lines=axis.lines))
        values = [v for r in shown if r.speedup for v in (r.speedup.low, r.speedup.high, 1.0)]
        figure.update_xaxes(title_text=html.escape(axis.title), **axis.ticks)
        figure.update_yaxes(**rate_ticks(values, "x"))
        figure.add_hline(y=1, line={"color": "var(--muted)", "width": 1.2, "dash": "dash"})
        base = paired[0].speedup_note.removeprefix("against ")
        sentence = (
            f"How many times faster than {base} on the same work (dashed line: equal);"
            f" bars are intervals of the ratio.{_means(paired)}"
        )
        figure_id = f"{ids.prefix}speedup-{index}"
        found.append(FigureView(figure_id, name, sentence, plain(figure), 340, note))
    return found


def _speedup(result: Result) -> Interval | None:
    return result.speedup


def _means(paired: Sequence[Result]) -> str:
    parts = []
    for precision, group in by_precision([r for r in paired if not doubtful(r)]).items():
        mean = geometric_mean([r.speedup.value for r in group if r.speedup])
        parts.append(f"{precision} {show('speedup', mean)}")
    return f" Geometric means: {', '.join(parts)}." if parts else ""


def error_figure(results: Sequence[Result], ids: Ids) -> FigureView | None:
    """Error against FP64 by precision, with the tolerance of each case."""
    checked = [r for r in results if _finite_error(r)]
    if not checked:
        return None
    shown, note = thinned(checked)
    order = list(by_precision(shown))
    place = _spread(shown, order)
    figure = empty_figure()
    figure.add_trace(
        go.Scatter(
            x=[place(r) for r in shown],
            y=[_tolerance(r) for r in shown],
            mode="markers",
            name="tolerance",
            marker={"symbol": "line-ew", "size": 9,
                    "line": {"width": 1.6, "color": "var(--muted)"}},
            hoverinfo="skip",
        )
    )  # fmt: skip
    figure.add_traces(scatter(shown, ids, place, _error, "rel_error", errors=False))
    values = [v for r in shown for v in (_finite_error(r), _tolerance(r)) if v]
    figure.update_xaxes(
        tickvals=list(range(len(order))),
        ticktext=[html.escape(p) for p in order],
        range=[-0.6, len(order) - 0.4],
        showgrid=False,
    )
    figure.update_yaxes(**log_ticks(min(values), max(values), ""))
    zero = sum(r.rel_error == 0 for r in results if r.rel_error is not None)
    exact = f" {zero} exact results have no place on a log axis." if zero else ""
    sentence = (
        "Relative error of each case against an FP64 reference on fresh random inputs; short"
        f" lines are the tolerance, which no point should be above.{exact}"
    )
    return FigureView(
        f"{ids.prefix}error", "Error against FP64", sentence, plain(figure), 340, note
    )


def _finite_error(result: Result) -> float | None:
    error = result.rel_error
    return error if error and 0 < error < float("inf") else None


def _error(result: Result) -> Interval | None:
    error = _finite_error(result)
    return Interval(error, error, error) if error else None


def _tolerance(result: Result) -> float | None:
    m = result.measurement
    tolerance = m.accuracy.tolerance if m and m.accuracy else 0.0
    return tolerance if 0 < tolerance < float("inf") else None


def _spread(results: Sequence[Result], order: Sequence[str]) -> Callable[[Result], float]:
    """Side by side within a precision, in the suite's order: no random jitter."""
    places: dict[int, float] = {}
    for column, precision in enumerate(order):
        group = [r for r in results if r.record.case.precision == precision]
        for i, r in enumerate(group):
            places[id(r)] = column + (((i + 0.5) / len(group)) - 0.5) * 0.7
    return lambda r: places[id(r)]
