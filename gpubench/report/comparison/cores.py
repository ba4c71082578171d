"""Tensor Core against CUDA core time: the two terms of the article, by shape and subject."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any, Final

from gpubench.analysis.comparison import Comparison
from gpubench.analysis.gains import TensorCoreGain
from gpubench.report.axes import linear_ticks
from gpubench.report.comparison.marks import Names, hover, times, tint
from gpubench.report.comparison.view import Line, TableView
from gpubench.report.view import Cell, Column, FigureView
from gpubench.spec import PRECISIONS
from gpubench.stats import geometric_mean
from gpubench.units import percent, scaled

_HEIGHT: Final = 780
_ROW: Final = 30
"""Pixels of one subject's two bars."""
_PREFERRED: Final = ("fp16", "bf16", "tf32", "fp8")

TERMS: Final = (
    "C_TC is the time of the arithmetic on Tensor Cores; C_T is everything else, which Tensor"
    " Cores do not make faster: memory traffic that is not hidden, and launch. Their sum stands"
    " beside the time of the same product in FP32 on CUDA cores; both are predicted."
)


def gains_figure(names: Names, gains: Sequence[TensorCoreGain], subjects: int) -> FigureView | None:
    """Stacked bars of C_TC and C_T beside the CUDA-core time, for some shapes."""
    precision = _precision(gains)
    chosen = [g for g in gains if g.case.precision == precision]
    shapes = _shapes(chosen, subjects)
    if not shapes:
        return None
    bars = _Bars(names, max(g.subject for g in chosen))
    for key in shapes:
        bars.shape(key, [g for g in chosen if g.case.key == key])
    sentence = (
        f"Predicted time in {precision} on Tensor Cores, split into C_TC (solid) and C_T"
        " (hatched), above that in FP32 on CUDA cores (outlined); every shape in units of the"
        " longest bar. The number is the gain."
    )
    height = min(_HEIGHT, 90 + _ROW * bars.rows)
    title = f"C_TC and C_T in {precision}"
    return FigureView(
        "tensor-cores", title, sentence, bars.spec(), height,
        f"Shown: {len(shapes)} of {len({g.case.key for g in chosen})} shapes; the table of cases"
        " has the terms of all.", wide=True,
    )  # fmt: skip


def _precision(gains: Sequence[TensorCoreGain]) -> str:
    """The precision that most subjects have."""
    reach = {p: len({g.subject for g in gains if g.case.precision == p}) for p in _PREFERRED}
    return max(_PREFERRED, key=lambda p: reach[p])


def _shapes(gains: Sequence[TensorCoreGain], subjects: int) -> list[str]:
    """Shapes that spread evenly over the work, smallest first; as many as there is room for."""
    room = max(3, min(8, (_HEIGHT - 90) // (_ROW * (subjects + 1))))
    flops = {g.case.key: g.case.work.flops if g.case.work else g.cuda_core_s for g in gains}
    ordered = sorted(flops, key=lambda key: flops[key])
    if len(ordered) <= room:
        return ordered
    return [ordered[round(i * (len(ordered) - 1) / (room - 1))] for i in range(room)]


class _Bars:
    """Bars of shapes, laid out from the top: a line for the name, then one a subject."""

    def __init__(self, names: Names, last: int) -> None:
        self.names, self.last, self.rows = names, last, 0
        self.ticks: list[tuple[int, str]] = []
        self.titles: list[tuple[int, str]] = []
        self.tensor: list[tuple[float, float, float, str, str]] = []
        self.other: list[tuple[float, float, float, str, str]] = []
        self.cores: list[tuple[float, float, float, str, str]] = []
        self.gains: list[tuple[float, float, str]] = []

    def shape(self, key: str, group: Sequence[TensorCoreGain]) -> None:
        longest = max(max(g.cuda_core_s, g.total_s) for g in group)
        self.titles.append((self.rows, self.names.cases[key]))
        self.rows += 1
        for g in group:
            y, name, color = self.rows, self.names.subjects[g.subject], tint(g.subject)
            said = hover(f"{self.names.cases[key]} on {name}", [
                f"C_TC {scaled(g.tensor_core_s, 's')}", f"C_T {scaled(g.other_s, 's')}",
                f"together {scaled(g.total_s, 's')}",
                f"FP32 on CUDA cores {scaled(g.cuda_core_s, 's')}", f"gain {times(g.gain)}",
            ])  # fmt: skip
            self.ticks.append((y, name))
            first = g.tensor_core_s / longest
            self.tensor.append((y - 0.2, 0.0, first, said, color))
            self.other.append((y - 0.2, first, g.other_s / longest, said, color))
            self.cores.append((y + 0.2, 0.0, g.cuda_core_s / longest, said, color))
            self.gains.append((g.total_s / longest, y - 0.2, times(g.gain)))
            self.rows += 1

    def spec(self) -> dict[str, Any]:
        axis = linear_ticks(1.0, "x")
        return {
            "data": [
                _bar("C_TC, Tensor Cores", self.tensor, ""),
                _bar("C_T, the rest", self.other, "/"),
                _bar("FP32 on CUDA cores", self.cores, "."),
                {"type": "scatter", "mode": "text", "x": [g[0] for g in self.gains],
                 "y": [g[1] for g in self.gains], "text": [" " + g[2] for g in self.gains],
                 "textposition": "middle right", "textfont": {"size": 11},
                 "showlegend": False, "hoverinfo": "skip", "cliponaxis": False},
            ],
            "layout": {
                "barmode": "overlay",
                "xaxis": {**axis, "range": [0, 1.12], "title": {"text": "Time / longest bar"}},
                "yaxis": {"tickvals": [y for y, _ in self.ticks], "range": [self.rows - 0.4, -0.6],
                          "ticktext": [html.escape(t) for _, t in self.ticks], "showgrid": False},
                "annotations": [
                    {"text": f"<b>{html.escape(t)}</b>", "x": 0, "y": y + 0.15, "xanchor": "left",
                     "showarrow": False, "font": {"size": 11.5}} for y, t in self.titles
                ],
            },
        }  # fmt: skip


def _bar(
    name: str, bars: Sequence[tuple[float, float, float, str, str]], pattern: str
) -> dict[str, Any]:
    colors = [color for *_, color in bars]
    marker: dict[str, Any] = {"color": colors, "line": {"width": 1, "color": colors}}
    if pattern:
        marker |= {"color": "var(--bg)"}
        marker["pattern"] = {"shape": pattern, "fgcolor": colors, "bgcolor": "var(--bg)", "size": 6,
                             "solidity": 0.4 if pattern == "/" else 0.15}  # fmt: skip
    return {
        "type": "bar", "orientation": "h", "name": name, "width": 0.36,
        "y": [y for y, *_ in bars], "base": [base for _, base, *_ in bars],
        "x": [length for _, _, length, *_ in bars], "text": [said for *_, said, _ in bars],
        "textposition": "none", "hovertemplate": "%{text}<extra></extra>", "marker": marker,
    }  # fmt: skip


def gains_table(comparison: Comparison, names: Names, gains: Sequence[TensorCoreGain]) -> TableView:
    """Gain and share of C_T by subject and precision."""
    groups: dict[tuple[int, str], list[TensorCoreGain]] = {}
    for g in gains:
        groups.setdefault((g.subject, g.case.precision), []).append(g)
    order = {p: i for i, p in enumerate(PRECISIONS)}
    lines = [
        _gain_line(names.subjects[index], precision, groups[index, precision])
        for index, precision in sorted(groups, key=lambda k: (k[0], order.get(k[1], 99)))
    ]
    without = [
        names.subjects[i] for i, s in enumerate(comparison.subjects)
        if s.spec and not s.spec.has_tensor_cores
    ]  # fmt: skip
    return TableView(
        "Gain of Tensor Cores over CUDA cores",
        (
            Column("Subject", "subject", "", False),
            Column("Precision", "precision", "", False),
            Column("Gain over FP32", "gain", "Geometric mean, predicted.", True),
            Column("Least and most", "range", "Over the cases.", True),
            Column("C_T of the time", "other_share", "Mean of C_T / (C_TC + C_T).", True),
            Column("Cases", "cases", "", True),
        ),
        tuple(lines),
        "Predicted time in FP32 on CUDA cores over that on Tensor Cores. 16-bit formats gain"
        " twice: from the units, and from moving half the bytes.",
        f"No Tensor Cores: {', '.join(without)}." if without else "",
    )


def _gain_line(subject: str, precision: str, group: Sequence[TensorCoreGain]) -> Line:
    gains = [g.gain for g in group]
    share = sum(g.other_s / g.total_s for g in group) / len(group)
    return Line(
        (
            Cell(subject),
            Cell(precision),
            Cell(times(geometric_mean(gains))),
            Cell(f"{times(min(gains))} to {times(max(gains))}"),
            Cell(percent(share)),
            Cell(str(len(group))),
        )
    )
