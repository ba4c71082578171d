"""What the cost model expected of each case, against what was measured."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

import plotly.graph_objects as go

from gpubench.analysis.results import Interval, Result
from gpubench.report.axes import log_ticks
from gpubench.report.traces import Ids, empty_figure, plain, scatter, thinned
from gpubench.report.view import FigureView
from gpubench.units import percent

Expected = Callable[[Result], float | None]

MODELS: tuple[tuple[str, str, Expected], ...] = (
    ("datasheet", "From datasheet facts", lambda r: r.record.model.predicted_s),
    ("calibrated", "Calibrated on this device", lambda r: r.record.model.calibrated_s),
)
"""Id, title and expected seconds of each model."""


def model_figures(results: Sequence[Result], ids: Ids) -> list[FigureView]:
    """Expected over measured time, a figure for each model that expected anything."""
    found = (_figure(results, ids, *model) for model in MODELS)
    return [f for f in found if f is not None]


def _figure(
    results: Sequence[Result], ids: Ids, name: str, title: str, expected: Expected
) -> FigureView | None:
    known = [r for r in results if r.summary and r.summary.median_s > 0 and expected(r)]
    if len(known) < 2:
        return None
    shown, note = thinned(known)
    xs = [_measured(r) for r in known]
    ratios = [_ratio(r, expected) for r in known]
    figure = empty_figure()
    low, high = min(xs) / 1.5, max(xs) * 1.5
    figure.add_trace(
        go.Scatter(
            x=[low, high], y=[1, 1], mode="lines", showlegend=False, hoverinfo="skip",
            line={"dash": "dash", "width": 1.2, "color": "var(--muted)"},
        )
    )  # fmt: skip
    figure.add_traces(
        scatter(
            shown, ids, _measured,
            lambda r: Interval(*(_ratio(r, expected),) * 3), "speedup", errors=False,
        )
    )  # fmt: skip
    figure.update_xaxes(title_text=html.escape("Measured time"), **log_ticks(low, high, "s", 0.0))
    figure.update_yaxes(**log_ticks(min([*ratios, 0.5]), max([*ratios, 2.0]), "x"))
    error = sum(abs(r - 1) for r in ratios) / len(ratios)
    sentence = (
        f"Expected over measured time of {len(known)} cases; the dashed line is a perfect model."
        f" Mean absolute error {percent(error)}."
    )
    return FigureView(f"{ids.prefix}model-{name}", title, sentence, plain(figure), 340, note)


def _measured(result: Result) -> float:
    return result.summary.median_s if result.summary else 0.0


def _ratio(result: Result, expected: Expected) -> float:
    return (expected(result) or 0.0) / _measured(result)
