"""Ranges of a profiled call as an icicle: nested bars along its time, with energy."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Final

import plotly.graph_objects as go

from gpubench.analysis.flags import beside_number
from gpubench.analysis.results import Result
from gpubench.record import Range
from gpubench.report.traces import Ids, empty_figure, plain
from gpubench.report.view import ChartSection, Fact, FigureView
from gpubench.units import scaled

MOST_FIGURES: Final = 6
MOST_BARS: Final = 300
_ROW: Final = 40
_COLORS: Final = ("var(--c-fp32)", "var(--c-tf32)", "var(--c-bf16)", "var(--c-fp16)",
                  "var(--c-fp64)", "var(--c-fp8)")  # fmt: skip


def range_sections(results: Sequence[Result], ids: Ids) -> list[ChartSection]:
    """Icicles of the cases whose ranges hold more than phases; none without a profile."""
    told = [r for r in results if _told(r)]
    told.sort(key=lambda r: all(x.energy_j is None for x in _ranges(r)))
    if not told:
        return []
    figures = tuple(_icicle(r, ids) for r in told[:MOST_FIGURES])
    more = len(told) - MOST_FIGURES
    notes = (f"{more} more cases have their ranges in their details.",) if more > 0 else ()
    return [ChartSection(f"{ids.prefix}ranges", "Time and energy by range", figures, notes)]


def range_facts(ranges: Sequence[Range]) -> Iterable[Fact]:
    """Every range of a call in words: host time, device time, energy or why there is none."""
    for r in ranges:
        if r.device_time_s is None and r.energy_j is None and r.reason is None:
            continue  # of a run without a profile
        parts = [f"{scaled(r.end_s - r.start_s, 's')} on the host"]
        if r.device_time_s is not None:
            parts.append(f"{scaled(r.device_time_s, 's')} on the device")
        if r.energy_j is not None:
            parts.append(scaled(r.energy_j, "J"))
        why = f"no energy: {r.reason}" if r.energy_j is None and r.reason else ""
        yield Fact("· " * r.depth + r.name, ", ".join(parts), why)


def _ranges(result: Result) -> tuple[Range, ...]:
    return result.measurement.ranges if result.measurement else ()


def _told(result: Result) -> bool:
    return any(r.device_time_s is not None or r.energy_j is not None for r in _ranges(result))


def _icicle(result: Result, ids: Ids) -> FigureView:
    ranges = _ranges(result)
    shown = ranges[:MOST_BARS]
    rows = rows_of(shown)
    unit_s, unit = _unit(max(r.end_s for r in shown))
    figure = empty_figure()
    names = list(dict.fromkeys(r.name for r in shown))
    figure.add_trace(
        go.Bar(
            orientation="h",
            base=[r.start_s / unit_s for r in shown],
            x=[(r.end_s - r.start_s) / unit_s for r in shown],
            y=rows,
            width=0.94,
            marker={"color": [_COLORS[names.index(r.name) % len(_COLORS)] for r in shown],
                    "line": {"width": 1, "color": "var(--bg)"}},
            text=[_label(r) for r in shown],
            textposition="inside",
            insidetextanchor="start",
            constraintext="both",
            hovertext=[_hover(r, result.flags) for r in shown],
            hovertemplate="%{hovertext}<extra></extra>",
            customdata=[ids.case(result)] * len(shown),
        )
    )  # fmt: skip
    deepest = max(rows)
    figure.update_xaxes(title_text=f"Time within a call ({unit})", rangemode="tozero")
    figure.update_yaxes(range=[deepest + 0.5, -0.5], showticklabels=False, showgrid=False, ticks="")
    # Too small to be read is left out; the tooltip and the details have it.
    figure.update_layout(showlegend=False, bargap=0, uniformtext={"minsize": 9, "mode": "hide"})
    sentence = (
        "Ranges of one call on the host's time, a level of nesting a row; labels hold device time"
        f" and energy. {_energy_said(ranges)}"
    )
    note = f"Drawn: the first {MOST_BARS} of {len(ranges)}." if len(ranges) > MOST_BARS else ""
    title = f"{result.record.case.benchmark}: {result.name} {result.record.case.precision}"
    height = 110 + _ROW * (deepest + 1)
    figure_id = f"{ids.prefix}ranges-{result.record.case.key}"
    return FigureView(figure_id, title, sentence, plain(figure), height, note, wide=True)


def rows_of(ranges: Sequence[Range]) -> list[int]:
    """The row of each range: its depth, below whatever else is drawn at the same time there.

    Phases of the workload and captured ranges of the same call follow one another in a record
    and overlap in time; so may ranges of several threads.
    """
    free: list[float] = []
    rows: list[int] = []
    base = 0
    for r in ranges:
        if r.depth == 0:
            start_s = r.start_s + 1e-12
            free_from = (i for i in range(len(free)) if all(end <= start_s for end in free[i:]))
            base = next(free_from, len(free))
        row = base + r.depth
        free += [0.0] * (row + 1 - len(free))
        free[row] = max(free[row], r.end_s)
        rows.append(row)
    return rows


def _unit(longest_s: float) -> tuple[float, str]:
    return next((u for u in ((1.0, "s"), (1e-3, "ms")) if longest_s >= u[0]), (1e-6, "µs"))


def _label(r: Range) -> str:
    parts = [html.escape(r.name)]
    if r.device_time_s is not None:
        parts.append(scaled(r.device_time_s, "s"))
    if r.energy_j is not None:
        parts.append(scaled(r.energy_j, "J"))
    return " · ".join(parts)


def _hover(r: Range, flags: Sequence[str]) -> str:
    host_s = r.end_s - r.start_s
    lines = [f"<b>{html.escape(r.name)}</b>", f"host {scaled(host_s, 's')}"]
    if r.device_time_s is not None:
        lines.append(f"device {scaled(r.device_time_s, 's')}")
    if r.energy_j is not None:
        lines.append(f"{scaled(r.energy_j, 'J')}, {scaled(r.energy_j / host_s, 'W')} on average"
                     if host_s > 0 else scaled(r.energy_j, "J"))  # fmt: skip
    elif r.reason:
        lines.append(html.escape(f"no energy: {r.reason}"))
    lines += map(html.escape, beside_number(flags))
    return "<br>".join(lines)


def _energy_said(ranges: Sequence[Range]) -> str:
    known = [r for r in ranges if r.energy_j is not None]
    if not known:
        reasons = dict.fromkeys(r.reason for r in ranges if r.reason)
        return f"No range has an energy: {'; '.join(reasons) or 'none was measured'}."
    most = max(known, key=lambda r: r.energy_j or 0.0)
    return f"Most energy: {most.name}, {scaled(most.energy_j or 0.0, 'J')} a call."
