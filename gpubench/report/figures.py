"""Plotly figures, as plain JSON data. Colours are CSS variables, so they follow the theme."""

from __future__ import annotations

import html
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import plotly.graph_objects as go

from gpubench.analysis.flags import flag_info
from gpubench.analysis.results import MEASURED_CPU, Interval, Result
from gpubench.report.axes import Axis, log_ticks, rate_ticks, sweep_axis
from gpubench.report.view import FigureView
from gpubench.spec import PRECISIONS
from gpubench.stats import geometric_mean
from gpubench.units import METRICS, percent, scaled, show

MAX_POINTS: Final = 1500
"""Points a figure draws; beyond that every n-th, and the figure says so."""

MAX_FIGURES: Final = 8
"""Figures of one kind, one a benchmark; beyond that the table has the rest."""

SYMBOLS: Final = {
    "fp64": "diamond",
    "fp32": "circle",
    "tf32": "square",
    "fp16": "triangle-up",
    "bf16": "triangle-down",
    "fp8": "pentagon",
}
_STRIPS: Final = 12
_STRIP_POINTS: Final = 150


@dataclass(frozen=True, slots=True)
class Ids:
    """Anchors of cases and the prefix of figure ids, both within one report."""

    prefix: str

    def case(self, result: Result) -> str:
        """The anchor of a case."""
        return f"{self.prefix}case-{result.record.case.key}"


def color(precision: str) -> str:
    """The CSS variable that colours a precision."""
    return f"var(--c-{precision if precision in SYMBOLS else 'other'})"


def symbol(result: Result) -> str:
    """The marker of a precision; open where it was measured on CPU."""
    shape = SYMBOLS.get(result.record.case.precision, "hexagon")
    return shape + "-open" if result.provenance == MEASURED_CPU else shape


def doubtful(result: Result) -> bool:
    """Whether a flag says not to rely on the number."""
    return any(flag_info(f).severity == "bad" for f in result.flags)


# ---------------------------------------------------------------- shared parts


def _figure() -> Any:
    return go.Figure(layout={"template": {"layout": {}}})


def _plain(figure: Any) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(figure.to_json())
    spec["layout"].pop("template", None)
    return spec


def _thin(results: Sequence[Result]) -> tuple[list[Result], str]:
    if len(results) <= MAX_POINTS:
        return list(results), ""
    step = -(-len(results) // MAX_POINTS)
    shown = list(results)[::step]
    return shown, f"Drawn: {len(shown)} of {len(results)} cases, every {step}th; the table has all."


def _by_precision(results: Sequence[Result]) -> dict[str, list[Result]]:
    groups: dict[str, list[Result]] = defaultdict(list)
    for r in results:
        groups[r.record.case.precision].append(r)
    known = [p for p in PRECISIONS if p in groups]
    return {p: groups[p] for p in known + [p for p in groups if p not in known]}


def _hover(result: Result, value: str) -> str:
    time = scaled(result.summary.median_s, "s") if result.summary else "–"
    mark = " · measured on CPU" if result.provenance == MEASURED_CPU else ""
    note = "".join(f"<br>{flag_info(f).title}" for f in result.flags)
    text = f"{result.record.case.precision} · {time}{mark}"
    return f"<b>{html.escape(result.name)}</b><br>{value}<br>{html.escape(text)}{html.escape(note, False).replace('&lt;br&gt;', '<br>')}"


def _errors(intervals: Sequence[Interval]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [i.high - i.value for i in intervals],
        "arrayminus": [i.value - i.low for i in intervals],
        "thickness": 1.2,
        "width": 3,
    }


def _scatter(
    results: Sequence[Result],
    ids: Ids,
    x: Callable[[Result], float | None],
    pick: Callable[[Result], Interval | None],
    metric: str,
    *,
    lines: bool = False,
    errors: bool = True,
) -> list[Any]:
    """A trace for each precision, and one of crosses over the doubtful points."""
    traces = []
    for precision, group in _by_precision(results).items():
        points = sorted(
            ((x(r), pick(r), r) for r in group), key=lambda p: (p[0] is None, p[0] or 0.0)
        )
        kept = [(a, b, r) for a, b, r in points if a is not None and b is not None]
        if not kept:
            continue
        suffix = " (CPU)" if kept[0][2].provenance == MEASURED_CPU else ""
        traces.append(
            go.Scatter(
                x=[a for a, _, _ in kept],
                y=[b.value for _, b, _ in kept],
                mode="lines+markers" if lines else "markers",
                name=html.escape(precision + suffix),
                legendgroup=html.escape(precision),
                marker={"symbol": [symbol(r) for _, _, r in kept], "size": 9,
                        "color": color(precision), "line": {"width": 1.6, "color": color(precision)}},
                line={"color": color(precision), "width": 1.6},
                error_y=_errors([b for _, b, _ in kept]) | {"color": color(precision)}
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


def _benchmarks(results: Sequence[Result]) -> dict[str, list[Result]]:
    groups: dict[str, list[Result]] = defaultdict(list)
    for r in results:
        groups[r.record.case.benchmark].append(r)
    return dict(groups)


# ---------------------------------------------------------------- the figures


def throughput_figures(results: Sequence[Result], ids: Ids) -> list[FigureView]:
    """Rate against size, one figure a benchmark with at least two measured cases."""
    found = []
    for index, (name, group) in enumerate(_benchmarks(results).items()):
        rated = [r for r in group if r.rate and r.rate_metric == group[0].rate_metric]
        axis = sweep_axis(rated) if len(rated) > 1 else None
        if axis is None:
            continue
        shown, note = _thin(rated)
        found.append(_throughput(name, shown, axis, ids, f"{ids.prefix}throughput-{index}", note))
    return found


def _throughput(
    name: str, rated: Sequence[Result], axis: Axis, ids: Ids, figure_id: str, note: str
) -> FigureView:
    metric = rated[0].rate_metric
    unit = METRICS[metric].unit
    figure = _figure()
    figure.add_traces(_scatter(rated, ids, axis.value, _rate, metric, lines=axis.lines))
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
        f"{METRICS[metric].title} against {axis.phrase}, by precision; bars are 95 % intervals"
        f" of the median.{said}"
    )
    return FigureView(figure_id, name, sentence, _plain(figure), 340, note)


def _rate(result: Result) -> Interval | None:
    return result.rate


def _rate_value(result: Result) -> float:
    return result.rate.value if result.rate else 0.0


def speedup_figures(results: Sequence[Result], ids: Ids) -> list[FigureView]:
    """Speed-up against the baseline, one figure a benchmark that has one."""
    found = []
    for index, (name, group) in enumerate(_benchmarks(results).items()):
        paired = [r for r in group if r.speedup]
        axis = sweep_axis(paired) if len(paired) > 1 else None
        if axis is None:
            continue
        shown, note = _thin(paired)
        figure = _figure()
        figure.add_traces(_scatter(shown, ids, axis.value, _speedup, "speedup", lines=axis.lines))
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
        found.append(FigureView(figure_id, name, sentence, _plain(figure), 340, note))
    return found


def _speedup(result: Result) -> Interval | None:
    return result.speedup


def _means(paired: Sequence[Result]) -> str:
    parts = []
    for precision, group in _by_precision([r for r in paired if not doubtful(r)]).items():
        mean = geometric_mean([r.speedup.value for r in group if r.speedup])
        parts.append(f"{precision} {show('speedup', mean)}")
    return f" Geometric means: {', '.join(parts)}." if parts else ""


def roofline_figure(results: Sequence[Result], ids: Ids) -> FigureView | None:
    """Every case that computes, against its arithmetic intensity, under the known peaks."""
    placed = [r for r in results if r.flops_per_s and _intensity(r)]
    if len(placed) < 2:
        return None
    shown, note = _thin(placed)
    xs = [v for r in placed if (v := _intensity(r))]
    ys = [r.flops_per_s.value for r in placed if r.flops_per_s]
    roofs = _roofs(placed)
    low, high = min(xs) / 2, max(xs) * 2
    figure = _figure()
    for roof in roofs:
        figure.add_trace(_roof_trace(*roof, low, high))
    figure.add_traces(
        _scatter(shown, ids, _intensity, lambda r: r.flops_per_s, "flops_per_s", errors=False)
    )
    tops = [peak for _, peak, _ in roofs if peak]
    figure.update_xaxes(title_text="Arithmetic intensity", **log_ticks(low, high, "FLOP/B", 0.0))
    figure.update_yaxes(**log_ticks(min(ys), max([*ys, *tops]), "FLOP/s"))
    return FigureView(
        f"{ids.prefix}roofline",
        "Roofline",
        _roofline_sentence(placed, bool(roofs)),
        _plain(figure),
        430,
        note,
        wide=True,
    )


def _roofline_sentence(placed: Sequence[Result], roofed: bool) -> str:
    what = "Each case's throughput against the FLOPs it does per byte it must move"
    if not roofed:
        why = (
            "a CPU has no datasheet peak here"
            if all(r.provenance == MEASURED_CPU for r in placed)
            else "no peak is known for this device"
        )
        return f"{what}; no roof is drawn, since {why}."
    return (
        f"{what}; lines are the peaks of memory (sloping) and of each precision (flat), and the"
        " distance to them is what is left."
    )


def _intensity(result: Result) -> float | None:
    work = result.record.case.work
    return work.intensity or None if work else None


def _roofs(results: Sequence[Result]) -> list[tuple[str, float | None, float | None]]:
    """Distinct (precision, peak FLOP/s, peak B/s) among the records."""
    found: dict[tuple[str, float | None, float | None], None] = {}
    for precision, group in _by_precision(results).items():
        for r in group:
            peaks = r.record.peaks
            if peaks.flops_per_s or peaks.bytes_per_s:
                found[precision, peaks.flops_per_s, peaks.bytes_per_s] = None
    return list(found)[:12]


def _roof_trace(
    precision: str, peak: float | None, bandwidth: float | None, low: float, high: float
) -> Any:
    xs = [low, high]
    if peak and bandwidth and low < peak / bandwidth < high:
        xs = [low, peak / bandwidth, high]
    bounds = [(bandwidth * x if bandwidth else float("inf")) for x in xs]
    ys = [min(b, peak or float("inf")) for b in bounds]
    name = f"{precision} peak" if peak else "memory peak"
    text = " · ".join(
        t for t in (scaled(peak, "FLOP/s") if peak else "",
                    scaled(bandwidth, "B/s") if bandwidth else "") if t
    )  # fmt: skip
    return go.Scatter(
        x=xs,
        y=ys,
        mode="lines",
        name=html.escape(name),
        legendgroup=html.escape(precision),
        showlegend=False,
        line={"color": color(precision), "width": 1.4, "dash": "dot"},
        text=[f"{html.escape(name)}: {text}"] * len(xs),
        hovertemplate="%{text}<extra></extra>",
    )


def error_figure(results: Sequence[Result], ids: Ids) -> FigureView | None:
    """Error against FP64 by precision, with the tolerance of each case."""
    checked = [r for r in results if _finite_error(r)]
    if not checked:
        return None
    shown, note = _thin(checked)
    order = list(_by_precision(shown))
    place = _spread(shown, order)
    figure = _figure()
    figure.add_trace(
        go.Scatter(
            x=[place(r) for r in shown],
            y=[_tolerance(r) for r in shown],
            mode="markers",
            name="tolerance",
            marker={"symbol": "line-ew", "size": 9,
                    "line": {"width": 1.6, "color": "var(--muted)"}},
            hoverinfo="skip",
        )
    )  # fmt: skip
    figure.add_traces(_scatter(shown, ids, place, _error, "rel_error", errors=False))
    values = [v for r in shown for v in (_finite_error(r), _tolerance(r)) if v]
    figure.update_xaxes(
        tickvals=list(range(len(order))),
        ticktext=[html.escape(p) for p in order],
        range=[-0.6, len(order) - 0.4],
        showgrid=False,
    )
    figure.update_yaxes(**log_ticks(min(values), max(values), ""))
    zero = sum(r.rel_error == 0 for r in results if r.rel_error is not None)
    exact = f" {zero} exact results have no place on a log axis." if zero else ""
    sentence = (
        "Relative error of each case against an FP64 reference on fresh random inputs; short"
        f" lines are the tolerance, which no point should be above.{exact}"
    )
    return FigureView(
        f"{ids.prefix}error", "Error against FP64", sentence, _plain(figure), 340, note
    )


def _finite_error(result: Result) -> float | None:
    error = result.rel_error
    return error if error and 0 < error < float("inf") else None


def _error(result: Result) -> Interval | None:
    error = _finite_error(result)
    return Interval(error, error, error) if error else None


def _tolerance(result: Result) -> float | None:
    m = result.measurement
    return m.accuracy.tolerance or None if m and m.accuracy else None


def _spread(results: Sequence[Result], order: Sequence[str]) -> Callable[[Result], float]:
    """Side by side within a precision, in the suite's order: no random jitter."""
    places: dict[int, float] = {}
    for column, precision in enumerate(order):
        group = [r for r in results if r.record.case.precision == precision]
        for i, r in enumerate(group):
            places[id(r)] = column + (((i + 0.5) / len(group)) - 0.5) * 0.7
    return lambda r: places[id(r)]


def noise_figure(results: Sequence[Result], ids: Ids) -> FigureView | None:
    """Samples of the noisiest cases, relative to each one's median."""
    measured = [r for r in results if r.summary and r.summary.median_s > 0]
    if not measured:
        return None
    noisiest = sorted(measured, key=lambda r: -_noise(r))[:_STRIPS]
    figure = _figure()
    labels: Mapping[int, float] = {id(r): float(len(noisiest) - i) for i, r in enumerate(noisiest)}
    for spoiled in (False, True):
        trace = _strip_trace(noisiest, labels, ids, spoiled)
        if trace is not None:
            figure.add_trace(trace)
    figure.update_yaxes(
        tickvals=list(labels.values()),
        ticktext=[html.escape(_clip(f"{r.name} {r.record.case.precision}")) for r in noisiest],
        range=[0.4, len(noisiest) + 0.6],
    )
    figure.update_xaxes(title_text="Difference from the median", ticksuffix=" %", zeroline=True)
    one = len(measured) == 1
    which = "the case" if one else f"the {len(noisiest)} noisiest of {len(measured)} cases"
    if len(noisiest) == len(measured) and not one:
        which = f"all {len(measured)} cases, noisiest first"
    sentence = (
        f"Samples of {which}, as difference from the median; crosses are spoiled samples."
        f" The middle half of the noisiest spans {percent(_noise(noisiest[0]))}."
    )
    height = 130 + 30 * len(noisiest)
    title = "How much single samples vary"
    return FigureView(f"{ids.prefix}noise", title, sentence, _plain(figure), height, wide=True)


def _clip(text: str, width: int = 34) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


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
