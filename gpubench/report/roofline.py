"""The roofline: throughput against arithmetic intensity, under the peaks that are known."""

from __future__ import annotations

import html
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from gpubench.analysis.results import MEASURED_CPU, Result
from gpubench.report.axes import log_ticks
from gpubench.report.series import color
from gpubench.report.traces import Ids, by_precision, empty_figure, plain, scatter, thinned
from gpubench.report.view import FigureView
from gpubench.units import scaled


@dataclass(frozen=True, slots=True)
class _Roof:
    """A ceiling: the precisions that share it, its flat part and its slope."""

    precisions: tuple[str, ...]
    flops_per_s: float | None
    bytes_per_s: float | None

    def at(self, intensity: float) -> float:
        """FLOP/s that this roof allows."""
        slope = self.bytes_per_s * intensity if self.bytes_per_s else math.inf
        return min(slope, self.flops_per_s or math.inf)


def roofline_figure(results: Sequence[Result], ids: Ids) -> FigureView | None:
    """Every case that computes, against its arithmetic intensity, under the known peaks."""
    placed = [r for r in results if r.flops_per_s and _intensity(r)]
    if len(placed) < 2:
        return None
    shown, note = thinned(placed)
    xs = [v for r in placed if (v := _intensity(r))]
    ys = [r.flops_per_s.value for r in placed if r.flops_per_s]
    roofs = _roofs(placed)
    low, high = min(xs) / 2, max(xs) * 4
    figure = empty_figure()
    for roof in roofs:
        figure.add_trace(_roof_trace(roof, low, high))
    for label in _labels(roofs, low, high):
        figure.add_annotation(label)
    figure.add_traces(
        scatter(shown, ids, _intensity, lambda r: r.flops_per_s, "flops_per_s", errors=False)
    )
    tops = [2 * roof.flops_per_s for roof in roofs if roof.flops_per_s]
    figure.update_xaxes(title_text="Arithmetic intensity", **log_ticks(low, high, "FLOP/B", 0.0))
    figure.update_yaxes(**log_ticks(min(ys), max([*ys, *tops]), "FLOP/s"))
    figure_id, sentence = f"{ids.prefix}roofline", _sentence(placed, bool(roofs))
    return FigureView(figure_id, "Roofline", sentence, plain(figure), 460, note, wide=True)


def _sentence(placed: Sequence[Result], roofed: bool) -> str:
    what = "Each case's throughput against the FLOPs it does per byte it must move"
    if roofed:
        return (
            f"{what}; dotted lines are the peak of memory (sloping) and of each precision (flat),"
            " and the distance to them is what is left to gain."
        )
    if all(r.provenance == MEASURED_CPU for r in placed):
        return f"{what}; no roof is drawn, since a CPU has no datasheet peak here."
    return f"{what}; no roof is drawn, since no peak is known for this device."


def _intensity(result: Result) -> float | None:
    work = result.record.case.work
    return work.intensity or None if work else None


def _roofs(results: Sequence[Result]) -> list[_Roof]:
    """Distinct ceilings among the records; precisions with the same one share it."""
    found: dict[tuple[float | None, float | None], dict[str, None]] = defaultdict(dict)
    for precision, group in by_precision(results).items():
        for r in group:
            peaks = r.record.peaks
            if peaks.flops_per_s or peaks.bytes_per_s:
                found[peaks.flops_per_s, peaks.bytes_per_s][precision] = None
    return [_Roof(tuple(names), *peaks) for peaks, names in found.items()][:12]


def _roof_trace(roof: _Roof, low: float, high: float) -> Any:
    xs = [low, high]
    if roof.flops_per_s and roof.bytes_per_s and low < roof.flops_per_s / roof.bytes_per_s < high:
        xs.insert(1, roof.flops_per_s / roof.bytes_per_s)
    return go.Scatter(
        x=xs,
        y=[roof.at(x) for x in xs],
        mode="lines",
        showlegend=False,
        line={"color": color(roof.precisions[-1]), "width": 1.5, "dash": "dot"},
        hoverinfo="skip",
    )


def _labels(roofs: Sequence[_Roof], low: float, high: float) -> list[dict[str, Any]]:
    """Each peak at the right end of its flat part, each bandwidth left of its slope."""
    made = []
    for roof in roofs:
        if roof.flops_per_s and roof.at(high) == roof.flops_per_s:
            names = html.escape(", ".join(roof.precisions))
            text = f"{names} {scaled(roof.flops_per_s, 'FLOP/s')}"
            made.append(_label(text, high, roof.flops_per_s, "right"))
    middle = low * (high / low) ** 0.16
    for bandwidth in {roof.bytes_per_s for roof in roofs if roof.bytes_per_s}:
        if all(roof.at(middle) < (roof.flops_per_s or math.inf) for roof in roofs):
            text = f"memory {scaled(bandwidth, 'B/s')}"
            made.append(_label(text, middle, 1.3 * bandwidth * middle, "right"))
    return made


def _label(text: str, x: float, y: float, xanchor: str) -> dict[str, Any]:
    return {
        "text": text,
        "x": math.log10(x),
        "y": math.log10(y),
        "xanchor": xanchor,
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": 11},
    }
