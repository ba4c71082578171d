"""The figure of sample distributions."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import plotly.graph_objects as go

from gpubench.analysis.flags import beside_number
from gpubench.analysis.results import Result
from gpubench.report.traces import Ids, empty_figure, plain
from gpubench.report.view import FigureView
from gpubench.stats import quantile
from gpubench.units import percent

_STRIPS: Final = 12
_SPOILED_STRIPS: Final = 4
_STRIP_POINTS: Final = 150


@dataclass(frozen=True, slots=True)
class _Strip:
    """One case's samples as differences from its median in percent, in ascending order."""

    result: Result
    row: float
    good: tuple[float, ...]
    spoiled: tuple[float, ...]


def noise_figure(results: Sequence[Result], ids: Ids) -> FigureView | None:
    """Samples of the cases that vary most, each relative to its own median."""
    measured = [r for r in results if r.summary and r.summary.median_s > 0]
    if not measured:
        return None
    chosen = _choose(measured)
    strips = [_strip(r, float(len(chosen) - i)) for i, r in enumerate(chosen)]
    edge = _edge(strips)
    figure = empty_figure()
    figure.add_traces(_traces(strips, edge, ids))
    for strip in strips:
        figure.add_annotation(
            x=0, xref="paper", y=strip.row + 0.24, text=html.escape(_label(strip.result)),
            xanchor="left", yanchor="bottom", showarrow=False,
            font={"size": 11, "color": "var(--muted)"},
        )  # fmt: skip
    figure.update_yaxes(showticklabels=False, ticks="", showgrid=False,
                        range=[0.5, len(chosen) + 0.9])  # fmt: skip
    figure.update_xaxes(title_text="Difference from the median", ticksuffix=" %", zeroline=True)
    return FigureView(
        f"{ids.prefix}noise",
        "Sample distributions",
        _sentence(chosen, measured) + _beyond(strips, edge),
        plain(figure),
        110 + 40 * len(chosen),
        wide=True,
    )


def _strip(result: Result, row: float) -> _Strip:
    m, s = result.measurement, result.summary
    if m is None or s is None:
        return _Strip(result, row, (), ())
    good: list[float] = []
    spoiled: list[float] = []
    for i, t in enumerate(m.samples.times_s):
        difference = round((t / s.median_s - 1) * 100, 3)
        (spoiled if i in m.samples.spoiled else good).append(difference)
    return _Strip(result, row, tuple(sorted(good)), tuple(sorted(spoiled)))


def _edge(strips: Sequence[_Strip]) -> float | None:
    """Where to cut the axis so that a few far samples do not squash all others; None: nowhere."""
    values = sorted(v for s in strips for v in (*s.good, *s.spoiled))
    most = max((quantile(s.good, 0.98) for s in strips if s.good), default=0.0)
    most = max([most, *(max(s.spoiled) for s in strips if s.spoiled)])
    return 1.25 * most if most > 0 and values[-1] > 2 * most else None


def _beyond(strips: Sequence[_Strip], edge: float | None) -> str:
    far = [v for s in strips for v in s.good if edge is not None and v > edge]
    if not far:
        return ""
    some = "1 sample lies" if len(far) == 1 else f"{len(far)} samples lie"
    return f" {some} beyond the right edge, up to +{max(far):.0f} %; arrows mark where."


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
    whose = "" if len(measured) == 1 else " of the noisiest"
    return (
        f"Samples of {which}, as difference from the median{' of each' if whose else ''}{marks}."
        f" The middle half{whose} spans {percent(_noise(chosen[0]))}."
    )


def _label(result: Result, width: int = 44) -> str:
    text = f"{result.name} {result.record.case.precision}"
    short = text if len(text) <= width else text[: width - 1] + "…"
    return ", ".join([short, *beside_number(result.flags)])


def _spoiled(result: Result) -> bool:
    return bool(result.measurement and result.measurement.samples.spoiled)


def _noise(result: Result) -> float:
    return result.summary.rel_noise if result.summary else 0.0


def _traces(strips: Sequence[_Strip], edge: float | None, ids: Ids) -> list[Any]:
    """Samples, spoiled samples, and an arrow for those beyond the edge."""
    limit = math.inf if edge is None else edge
    good = [(v, s) for s in strips for v in _few([v for v in s.good if v <= limit])]
    spoiled = [(v, s) for s in strips for v in _few(s.spoiled)]
    far = [(limit, s) for s in strips if s.good and s.good[-1] > limit]
    tick = {"symbol": "line-ns", "size": 13, "line": {"width": 1.3, "color": "var(--strip)"}}
    cross = {"symbol": "x-thin", "size": 9, "line": {"width": 2, "color": "var(--bad)"}}
    arrow = {"symbol": "triangle-right", "size": 10, "color": "var(--strip)"}
    made = []
    for points, name, marker, opacity in (
        (good, "sample", tick, 0.55),
        (spoiled, "spoiled sample", cross, 1.0),
        (far, "samples beyond the edge", arrow, 1.0),
    ):
        if points:
            made.append(
                go.Scatter(
                    x=[v for v, _ in points],
                    y=[s.row for _, s in points],
                    mode="markers",
                    name=name,
                    marker=marker,
                    opacity=opacity,
                    customdata=[ids.case(s.result) for _, s in points],
                    text=[f"up to +{s.good[-1]:.0f} %" for _, s in points]
                    if points is far
                    else None,
                    hovertemplate="%{text}<extra></extra>"
                    if points is far
                    else "%{x:.2f} %<extra></extra>",
                )
            )
    return made


def _few(ordered: Sequence[float]) -> Sequence[float]:
    return ordered[:: -(-len(ordered) // _STRIP_POINTS) or 1]
