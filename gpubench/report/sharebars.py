"""Bars of what a step is made of, one a step: measured solid, predicted hatched."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from gpubench.analysis.flags import beside_number
from gpubench.analysis.shares import Shares
from gpubench.model.classes import CLASSES
from gpubench.report.series import color
from gpubench.report.view import FigureView
from gpubench.units import percent, scaled

MOST_BARS: Final = 16
LEAST_SHARE: Final = 0.005
COLORS: Final = {
    "matrix products": color("fp32"), "convolutions": color("tf32"), "attention": color("bf16"),
    "recurrent layers": color("fp16"), "normalisation": color("fp64"),
    "softmax and loss": color("fp8"), "embedding": "var(--strip)", "optimizer": color("fp16"),
    "fused by the compiler": color("tf32"), "elementwise and copies": color("other"),
}  # fmt: skip
"""Class -> its colour. Those that share one never stand next to each other, and every part of
a bar is labelled."""
TITLE: Final = "What a step is made of"


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its name, its shares, the anchor and the flags of its case."""

    name: str
    shares: Shares
    anchor: str
    on_cpu: bool = False
    flags: tuple[str, ...] = ()


def shares_figure(figure_id: str, title: str, bars: Sequence[Bar]) -> FigureView:
    """Bars of shares; predicted ones hatched, so that they differ without colour."""
    note = ""
    if len(bars) > MOST_BARS:
        note = f"Drawn: {MOST_BARS} of {len(bars)} bars; the details of a case have the rest."
        bars = bars[:MOST_BARS]
    kinds = {b.shares.provenance for b in bars}
    if kinds == {"measured"}:
        hatch = ""
    elif kinds == {"predicted"}:
        hatch = " All are predicted, hatched."
    else:
        hatch = " Hatched bars are predicted by the cost model."
    cpu = " On CPU an operator counts with its own time." if any(b.on_cpu for b in bars) else ""
    sentence = (
        "Share of each class of operators in the time of all operators of a step, from a traced"
        f" pass; gaps between kernels belong to none.{hatch}{cpu}"
    )
    height = 150 + 30 * len(bars)
    return FigureView(figure_id, title, sentence, _spec(bars), height, note, wide=True)


def _spec(bars: Sequence[Bar]) -> dict[str, Any]:
    # A class that a newer version told apart is drawn too, or a bar would not be whole.
    classes = dict.fromkeys([*CLASSES, *(c for b in bars for c in b.shares.times_s)])
    present = [c for c in classes if any(b.shares.share(c) >= LEAST_SHARE for b in bars)]
    return {
        "data": [_trace(name, bars) for name in present],
        "layout": {
            "barmode": "stack", "bargap": 0.25,
            "xaxis": {"title": {"text": "Share of the operators' time"}, "ticksuffix": " %",
                      "range": [0, 100]},
            "yaxis": {"autorange": "reversed", "automargin": True, "type": "category"},
        },
    }  # fmt: skip


def _trace(name: str, bars: Sequence[Bar]) -> dict[str, Any]:
    predicted = [b.shares.provenance == "predicted" for b in bars]
    return {
        "type": "bar", "orientation": "h", "name": html.escape(name),
        "y": [html.escape(b.name) for b in bars],
        "x": [100 * b.shares.share(name) for b in bars],
        "text": [percent(b.shares.share(name)) if b.shares.share(name) > 0.04 else ""
                 for b in bars],
        "textposition": "inside", "insidetextanchor": "middle",
        "customdata": [b.anchor for b in bars],
        "hovertext": [hovered(b, name) for b in bars],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "marker": {"color": COLORS.get(name, "var(--muted)"),
                   "line": {"width": 1, "color": "var(--bg)"},
                   "pattern": {"shape": ["/" if p else "" for p in predicted], "size": 9,
                               "solidity": 0.2}},
        # On hatching the page's own ink can be read; on a full colour its opposite.
        "insidetextfont": {"color": ["var(--ink)" if p else "var(--bg)" for p in predicted]},
    }  # fmt: skip


def hovered(bar: Bar, name: str) -> str:
    """Hover text of a part of a bar."""
    took = scaled(bar.shares.times_s.get(name, 0.0), "s")
    text = f"{took}, {percent(bar.shares.share(name))}, {bar.shares.provenance}"
    lines = [name, text, *beside_number(bar.flags)]
    return "<br>".join([f"<b>{html.escape(bar.name)}</b>", *map(html.escape, lines)])
