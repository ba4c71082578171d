"""The figures of a run: throughput and speed-up, a figure a benchmark."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Final

from gpubench.analysis.results import Interval, Result
from gpubench.report.axes import Axis, rate_ticks, sweep_axis
from gpubench.report.series import Series, series_of
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
    lines = series_of(rated, axis.param)
    figure.add_traces(
        scatter(rated, ids, axis.value, _rate, metric, lines=axis.lines, series=lines)
    )
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
        f"{METRICS[metric].title} against {axis.phrase}, by {told_apart(lines)};"
        f" bars are 95 % intervals of the median.{said}"
    )
    return FigureView(figure_id, name, sentence, plain(figure), 340, note)


def told_apart(lines: Sequence[Series]) -> str:
    """What distinguishes the lines of a figure, in words."""
    precisions = {s.results[0].record.case.precision for s in lines}
    if len(lines) == len(precisions):
        return "precision"
    return "variant" if len(precisions) == 1 else "precision and variant"


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
        lines = series_of(shown, axis.param)
        figure.add_traces(
            scatter(shown, ids, axis.value, _speedup, "speedup", lines=axis.lines, series=lines)
        )
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
