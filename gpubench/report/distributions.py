"""The figure of sample distributions."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any, Final

import plotly.graph_objects as go

from gpubench.analysis.results import Result
from gpubench.report.traces import Ids, empty_figure, plain
from gpubench.report.view import FigureView
from gpubench.units import percent

_STRIPS: Final = 12
_SPOILED_STRIPS: Final = 4
_STRIP_POINTS: Final = 150


def noise_figure(results: Sequence[Result], ids: Ids) -> FigureView | None:
    """Samples of the cases that vary most, each relative to its own median."""
    measured = [r for r in results if r.summary and r.summary.median_s > 0]
    if not measured:
        return None
    chosen = _choose(measured)
    figure = empty_figure()
    rows: Mapping[int, float] = {id(r): float(len(chosen) - i) for i, r in enumerate(chosen)}
    for spoiled in (False, True):
        trace = _strip_trace(chosen, rows, ids, spoiled)
        if trace is not None:
            figure.add_trace(trace)
    for r in chosen:
        figure.add_annotation(
            x=0, xref="paper", y=rows[id(r)] + 0.24, text=html.escape(_label(r)), xanchor="left",
            yanchor="bottom", showarrow=False, font={"size": 11, "color": "var(--muted)"},
        )  # fmt: skip
    figure.update_yaxes(showticklabels=False, ticks="", showgrid=False,
                        range=[0.5, len(chosen) + 0.9])  # fmt: skip
    figure.update_xaxes(title_text="Difference from the median", ticksuffix=" %", zeroline=True)
    return FigureView(
        f"{ids.prefix}noise",
        "Sample distributions",
        _sentence(chosen, measured),
        plain(figure),
        110 + 40 * len(chosen),
        wide=True,
    )


def _choose(measured: Sequence[Result]) -> list[Result]:
    """The noisiest cases, and up to a few that have spoiled samples, noisiest first."""
    ordered = sorted(measured, key=lambda r: -_noise(r))
    spoiled = [r for r in ordered if _spoiled(r)][:_SPOILED_STRIPS]
    kept = {id(r) for r in spoiled}
    others = [r for r in ordered if id(r) not in kept][: _STRIPS - len(spoiled)]
    return sorted([*others, *spoiled], key=lambda r: -_noise(r))


def _sentence(chosen: Sequence[Result], measured: Sequence[Result]) -> str:
    spoiled = any(_spoiled(r) for r in chosen)
    if len(measured) == 1:
        which = "the case"
    elif len(chosen) == len(measured):
        which = f"all {len(measured)} cases, noisiest first"
    else:
        marked = sum(_spoiled(r) for r in chosen)
        extra = f" and {marked} with spoiled samples" if marked else ""
        which = f"the {len(chosen) - marked} noisiest of {len(measured)} cases{extra}"
    marks = "; crosses are spoiled samples" if spoiled else ""
    return (
        f"Samples of {which}, as difference from the median of each{marks}. The middle half of"
        f" the noisiest spans {percent(_noise(chosen[0]))}."
    )


def _label(result: Result, width: int = 44) -> str:
    text = f"{result.name} {result.record.case.precision}"
    return text if len(text) <= width else text[: width - 1] + "…"


def _spoiled(result: Result) -> bool:
    return bool(result.measurement and result.measurement.samples.spoiled)


def _noise(result: Result) -> float:
    return result.summary.rel_noise if result.summary else 0.0


def _strip_trace(
    noisiest: Sequence[Result], rows: Mapping[int, float], ids: Ids, spoiled: bool
) -> Any | None:
    xs: list[float] = []
    ys: list[float] = []
    cases: list[str] = []
    for r in noisiest:
        if r.summary is None or r.measurement is None:
            continue
        samples = r.measurement.samples
        chosen = [t for i, t in enumerate(samples.times_s) if (i in samples.spoiled) is spoiled]
        step = -(-len(chosen) // _STRIP_POINTS) or 1
        for t in sorted(chosen)[::step]:
            xs.append(round((t / r.summary.median_s - 1) * 100, 3))
            ys.append(rows[id(r)])
            cases.append(ids.case(r))
    if not xs:
        return None
    marker: dict[str, Any] = {"symbol": "line-ns", "size": 13,
                              "line": {"width": 1.3, "color": "var(--strip)"}}  # fmt: skip
    if spoiled:
        marker = {"symbol": "x-thin", "size": 9, "line": {"width": 2, "color": "var(--bad)"}}
    return go.Scatter(
        x=xs,
        y=ys,
        mode="markers",
        name="spoiled sample" if spoiled else "sample",
        marker=marker,
        opacity=1.0 if spoiled else 0.55,
        customdata=cases,
        hovertemplate="%{x:.2f} %<extra></extra>",
    )
