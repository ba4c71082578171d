"""What a step is made of on every subject: shares of classes of operators."""

from __future__ import annotations

from typing import Final

from gpubench.analysis.comparison import Comparison, Row
from gpubench.analysis.shares import Shares
from gpubench.report.comparison.marks import Names, anchor, on_cpu
from gpubench.report.sharebars import Bar, shares_figure
from gpubench.report.view import FigureView

MOST_CASES: Final = 6
_KINDS: Final = ("measured", "predicted")


def shares_figures(comparison: Comparison, names: Names) -> list[FigureView]:
    """A figure for each of the first cases that are whole steps."""
    steps = [
        r for r in comparison.rows if any(v.classes for e in r.entries for v in e.values.values())
    ]
    return [
        shares_figure(f"shares-{i}", names.case(row), _bars(comparison, names, row))
        for i, row in enumerate(steps[:MOST_CASES])
    ]


def _bars(comparison: Comparison, names: Names, row: Row) -> list[Bar]:
    found = []
    for index, entry in enumerate(row.entries):
        for kind in _KINDS:
            value = entry.values.get(kind)
            if value is not None and value.classes:
                cpu = kind == "measured" and on_cpu(comparison, index)
                said = f"{names.subjects[index]}, {kind}" + (" on CPU" if cpu else "")
                found.append(Bar(said, Shares(kind, value.classes), anchor(row), cpu, value.flags))
    return found
