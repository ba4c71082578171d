"""Errors against FP64: by precision, by size and variant, and against what speed they buy."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

import plotly.graph_objects as go

from gpubench.analysis.results import Interval, Result
from gpubench.report.axes import log_ticks, sweep_axis
from gpubench.report.figures import told_apart
from gpubench.report.series import series_of
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


def error_figures(results: Sequence[Result], ids: Ids) -> list[FigureView]:
    """The errors of a run in one figure; then, where precisions are compared, a figure each.

    Of a benchmark with several precisions that has an axis: the error along it. Of one that
    also has speed-ups: the speed-up against the error, what a precision buys for what it loses.
    """
    whole = error_figure(results, ids)
    if whole is None:
        return []
    found = [whole]
    for index, (name, group) in enumerate(by_benchmark(results).items()):
        checked = [r for r in group if _finite_error(r)]
        if len({r.record.case.precision for r in checked}) < 2:
            continue
        found += [
            f
            for f in (
                _along(name, checked, ids, f"{ids.prefix}error-along-{index}"),
                _bought(name, checked, ids, f"{ids.prefix}error-bought-{index}"),
            )
            if f
        ]
    return found


def _along(name: str, checked: Sequence[Result], ids: Ids, figure_id: str) -> FigureView | None:
    axis = sweep_axis(checked)
    if axis is None:
        return None
    shown, note = thinned(checked)
    lines = series_of(shown, axis.param)
    figure = empty_figure()
    figure.add_traces(
        scatter(shown, ids, axis.value, _error, "rel_error", lines=axis.lines, series=lines,
                errors=False)
    )  # fmt: skip
    values = [v for r in shown if (v := _finite_error(r))]
    figure.update_xaxes(title_text=html.escape(axis.title), **axis.ticks)
    figure.update_yaxes(**log_ticks(min(values), max(values), ""))
    sentence = f"Error against FP64 along {axis.phrase}, by {told_apart(lines)}."
    return FigureView(figure_id, f"{name}: error", sentence, plain(figure), 340, note)


def _bought(name: str, checked: Sequence[Result], ids: Ids, figure_id: str) -> FigureView | None:
    paired = [r for r in checked if r.speedup and not doubtful(r)]
    if len({r.record.case.precision for r in paired}) < 2:
        return None
    shown, note = thinned(paired)
    figure = empty_figure()
    figure.add_traces(scatter(shown, ids, _finite_error, lambda r: r.speedup, "speedup"))
    errors = [v for r in shown if (v := _finite_error(r))]
    ratios = [v for r in shown if r.speedup for v in (r.speedup.low, r.speedup.high)]
    figure.update_xaxes(title_text="Error against FP64", **log_ticks(min(errors), max(errors), ""))
    figure.update_yaxes(**log_ticks(min([*ratios, 1.0]), max([*ratios, 1.0]), "x"))
    figure.add_hline(y=1, line={"color": "var(--muted)", "width": 1.2, "dash": "dash"})
    base = paired[0].speedup_note.removeprefix("against ")
    sentence = (
        f"What each precision buys and what it loses: speed-up against {base} over the error"
        " against FP64. Up is faster, left is more exact."
    )
    return FigureView(figure_id, f"{name}: speed and error", sentence, plain(figure), 340, note)


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
