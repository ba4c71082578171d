"""Traces: how a case is marked, and what is shared by all figures.

Colours are CSS variables, so that figures follow the theme.
"""

from __future__ import annotations

import html
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import plotly.graph_objects as go

from gpubench.analysis.flags import beside_number, flag_info
from gpubench.analysis.results import MEASURED_CPU, Interval, Result
from gpubench.report.series import Series, precision_series
from gpubench.spec import PRECISIONS
from gpubench.units import scaled, show

MAX_POINTS: Final = 1500
"""Points a figure draws; beyond that every n-th, and the figure says so."""


@dataclass(frozen=True, slots=True)
class Ids:
    """Anchors of cases and the prefix of figure ids, both within one report."""

    prefix: str

    def case(self, result: Result) -> str:
        """The anchor of a case."""
        return f"{self.prefix}case-{result.record.case.key}"


def flagged(text: str, flags: Iterable[str]) -> str:
    """Hover text of a number, with the flags that it is never shown without; escaped."""
    return "<br>".join(map(html.escape, [text, *beside_number(flags)]))


def doubtful(result: Result) -> bool:
    """Whether a flag says not to rely on the number."""
    return any(flag_info(f).severity == "bad" for f in result.flags)


def empty_figure() -> Any:
    """Start a figure without Plotly's own template."""
    return go.Figure(layout={"template": {"layout": {}}})


def plain(figure: Any) -> dict[str, Any]:
    """Turn a figure into plain JSON data."""
    spec: dict[str, Any] = json.loads(figure.to_json())
    spec["layout"].pop("template", None)
    return spec


def thinned(results: Sequence[Result]) -> tuple[list[Result], str]:
    """Take every n-th case where there are too many to draw, and say so."""
    if len(results) <= MAX_POINTS:
        return list(results), ""
    step = -(-len(results) // MAX_POINTS)
    shown = list(results)[::step]
    return shown, f"Drawn: {len(shown)} of {len(results)} cases, every {step}th; the table has all."


def by_precision(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Group by precision, in the order of the standard names."""
    groups: dict[str, list[Result]] = defaultdict(list)
    for r in results:
        groups[r.record.case.precision].append(r)
    known = [p for p in PRECISIONS if p in groups]
    return {p: groups[p] for p in known + [p for p in groups if p not in known]}


def _hover(result: Result, value: str) -> str:
    time = scaled(result.summary.median_s, "s") if result.summary else "–"
    mark = " · measured on CPU" if result.provenance == MEASURED_CPU else ""
    lines = [value, f"{result.record.case.precision} · {time}{mark}"]
    lines += [flag_info(flag).title for flag in result.flags]
    return "<br>".join([f"<b>{html.escape(result.name)}</b>", *map(html.escape, lines)])


def _errors(intervals: Sequence[Interval]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [i.high - i.value for i in intervals],
        "arrayminus": [i.value - i.low for i in intervals],
        "thickness": 1.4,
        "width": 0,
    }


def scatter(
    results: Sequence[Result],
    ids: Ids,
    x: Callable[[Result], float | None],
    pick: Callable[[Result], Interval | None],
    metric: str,
    *,
    series: Sequence[Series] | None = None,
    lines: bool = False,
    errors: bool = True,
) -> list[Any]:
    """A trace for each series, and one of crosses over the doubtful points.

    Args:
        series: as ``series_of`` has them; by precision alone where it is not given.
    """
    traces = []
    for one in series if series is not None else precision_series(results):
        points = sorted(
            ((x(r), pick(r), r) for r in one.results), key=lambda p: (p[0] is None, p[0] or 0.0)
        )
        kept = [(a, b, r) for a, b, r in points if a is not None and b is not None]
        if not kept:
            continue
        name = html.escape(one.name + (" (CPU)" if one.on_cpu else ""))
        traces.append(
            go.Scatter(
                x=[a for a, _, _ in kept],
                y=[b.value for _, b, _ in kept],
                mode="lines+markers" if lines else "markers",
                name=name,
                legendgroup=html.escape(one.name),
                marker={"symbol": [_symbol(one, r) for _, _, r in kept], "size": one.size,
                        "color": one.color, "line": _outline(one)},
                line={"color": one.color, "width": 1.6, "dash": one.dash},
                error_y=_errors([b for _, b, _ in kept]) | {"color": one.color}
                if errors else None,
                text=[_hover(r, _interval_hover(metric, b)) for _, b, r in kept],
                customdata=[ids.case(r) for _, _, r in kept],
                hovertemplate="%{text}<extra></extra>",
            )
        )  # fmt: skip
    bad = [(x(r), pick(r), r) for r in results if doubtful(r)]
    marked = [(a, b) for a, b, _ in bad if a is not None and b is not None]
    if marked:
        traces.append(_crosses([a for a, _ in marked], [b.value for _, b in marked]))
    return traces


def _symbol(series: Series, result: Result) -> str:
    """The marker of a case; open where it was measured on CPU."""
    return series.symbol + ("-open" if result.provenance == MEASURED_CPU else "")


def _outline(series: Series) -> dict[str, Any]:
    """Open markers are their outline; filled ones get a thin gap where they overlap."""
    if series.on_cpu:
        return {"width": 1.6, "color": series.color}
    return {"width": 0.8, "color": "var(--bg)"}


def _crosses(x: Sequence[float], y: Sequence[float]) -> Any:
    marker = {"symbol": "x-thin", "size": 15, "line": {"width": 2.2, "color": "var(--ink)"}}
    return go.Scatter(
        x=list(x), y=list(y), mode="markers", name="do not rely on", marker=marker, hoverinfo="skip"
    )


def _interval_hover(metric: str, interval: Interval) -> str:
    if interval.low == interval.high == interval.value:
        return show(metric, interval.value)
    low, high = show(metric, interval.low), show(metric, interval.high)
    return f"{show(metric, interval.value)} [{low}, {high}]"


def by_benchmark(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Group by benchmark, in the suite's order."""
    groups: dict[str, list[Result]] = defaultdict(list)
    for r in results:
        groups[r.record.case.benchmark].append(r)
    return dict(groups)
