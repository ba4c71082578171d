"""Steps of models in a report: where a step goes, and throughput by batch with its knee."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any, Final

import plotly.graph_objects as go

from gpubench.analysis.results import MEASURED_CPU, Interval, Result
from gpubench.analysis.steps import BESIDE, Knee, knee, phases, step_figures
from gpubench.report.axes import rate_ticks, value_ticks
from gpubench.report.series import Series, color, param, series_of, varying
from gpubench.report.traces import (
    Ids,
    by_benchmark,
    empty_figure,
    flagged,
    plain,
    scatter,
    thinned,
)
from gpubench.report.view import ChartSection, Fact, FigureView
from gpubench.units import METRICS, percent, scaled, show

MOST_FIGURES: Final = 8
MOST_BARS: Final = 24
LEAST_BATCHES: Final = 3
PHASES: Final = {
    "data": ("data", color("other")),
    "host_to_device": ("host to device", color("fp64")),
    "forward": ("forward", color("fp32")),
    "backward": ("backward", color("tf32")),
    "optimizer": ("optimizer", color("bf16")),
}
"""Phase -> its name for people and its colour."""


def step_sections(results: Sequence[Result], ids: Ids) -> tuple[ChartSection, ...]:
    """The sections on steps; none in a run without any."""
    steps = [r for r in results if step_figures(r)]
    if not steps:
        return ()
    sections = (
        ChartSection(f"{ids.prefix}phases", "Where a step goes", tuple(_phase_figures(steps, ids))),
        ChartSection(
            f"{ids.prefix}batches", "Samples per second by batch", tuple(_batches(steps, ids))
        ),
    )
    return tuple(s for s in sections if s.figures)


def step_facts(result: Result) -> Iterable[Fact]:
    """Rates of a step and its phases, for the details of a case."""
    found = step_figures(result)
    if found is None:
        return
    yield Fact("Samples per second", _between("samples_per_s", found.samples_per_s))
    if found.tokens_per_s:
        yield Fact("Tokens per second", _between("tokens_per_s", found.tokens_per_s))
    if found.mfu is not None:
        yield Fact("MFU", percent(found.mfu), "counted FLOPs of the step / time / peak")
    if found.joules_per_sample is not None:
        yield Fact("Energy per sample", show("energy_j", found.joules_per_sample))
    spent = phases(result)
    whole = sum(took_s for name, took_s in spent.items() if name not in BESIDE)
    for name, took_s in spent.items():
        share = "beside the step" if name in BESIDE else f"{percent(took_s / whole)} of the step"
        title = PHASES[name][0] if name in PHASES else name
        yield Fact(f"Phase: {title}", f"{scaled(took_s, 's')}, {share}" if whole else "–")


def _between(metric: str, interval: Interval) -> str:
    low, high = show(metric, interval.low), show(metric, interval.high)
    return f"{show(metric, interval.value)} ({low} to {high})"


# ---------------------------------------------------------------- where a step goes


def _phase_figures(steps: Sequence[Result], ids: Ids) -> list[FigureView]:
    """Stacked bars of each case's phases, one figure a benchmark."""
    found = []
    for index, (name, group) in enumerate(by_benchmark(steps).items()):
        shown = [r for r in group if phases(r)]
        if not shown:
            continue
        note = ""
        if len(shown) > MOST_BARS:
            note = f"Drawn: {MOST_BARS} of {len(shown)} cases; the details of a case have the rest."
            shown = shown[:MOST_BARS]
        figure = _bars(shown, ids)
        on_cpu = " Measured on CPU." if all(r.provenance == MEASURED_CPU for r in shown) else ""
        sentence = (
            "Share of each phase in data loading, transfer and step together, one after the"
            " other without overlap: medians of a pass of its own, the times are in the labels."
            f"{on_cpu}"
        )
        height = 120 + 26 * len(shown)
        figure_id = f"{ids.prefix}phases-{index}"
        found.append(FigureView(figure_id, name, sentence, plain(figure), height, note, wide=True))
    return found[:MOST_FIGURES]


def _bars(shown: Sequence[Result], ids: Ids) -> Any:
    figure = empty_figure()
    names = [html.escape(f"{r.name} {r.record.case.precision}") for r in shown]
    for phase in dict.fromkeys(p for r in shown for p in phases(r)):
        title, colour = PHASES.get(phase, (phase, "var(--muted)"))
        spent = [phases(r) for r in shown]
        figure.add_trace(
            go.Bar(
                orientation="h",
                y=names,
                x=[100 * s.get(phase, 0.0) / (sum(s.values()) or 1.0) for s in spent],
                name=html.escape(title),
                marker={"color": colour},
                text=[scaled(s[phase], "s") if phase in s else "" for s in spent],
                textposition="inside",
                hovertext=[
                    flagged(f"{title}: {scaled(s.get(phase, 0.0), 's')}", r.flags)
                    for r, s in zip(shown, spent, strict=True)
                ],
                customdata=[ids.case(r) for r in shown],
                hovertemplate="<b>%{y}</b><br>%{x:.1f} % %{hovertext}<extra></extra>",
            )
        )
    figure.update_layout(barmode="stack", bargap=0.3)
    figure.update_xaxes(title_text="Share of the time", ticksuffix=" %", range=[0, 100])
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure


# ---------------------------------------------------------------- throughput by batch


def _batches(steps: Sequence[Result], ids: Ids) -> list[FigureView]:
    """Samples per second against the batch, with the knee of each line marked."""
    found = []
    for index, (name, group) in enumerate(by_benchmark(steps).items()):
        lines = [s for s in series_of(group, "batch", _keys(group)) if _is_sweep(s)]
        if lines:
            found.append(_by_batch(name, lines, ids, f"{ids.prefix}batches-{index}"))
    return found[:MOST_FIGURES]


def _keys(group: Sequence[Result]) -> list[str]:
    """What tells lines apart: every parameter but the batch, and but those that follow one."""
    keys: list[str] = []
    for name in varying(group):
        if name != "batch" and not any(_follows(group, name, key) for key in keys):
            keys.append(name)
    return keys


def _follows(group: Sequence[Result], name: str, key: str) -> bool:
    """Whether the value of ``key`` decides that of ``name``."""
    pairs = {(param(r, key), param(r, name)) for r in group}
    return len(pairs) == len({k for k, _ in pairs})


def _is_sweep(line: Series) -> bool:
    """Whether its cases differ in their batch alone, and enough of them."""
    return len(line.results) >= LEAST_BATCHES and set(varying(line.results)) == {"batch"}


def _by_batch(name: str, lines: Sequence[Series], ids: Ids, figure_id: str) -> FigureView:
    group, note = thinned([r for line in lines for r in line.results])
    figure = empty_figure()
    figure.add_traces(scatter(group, ids, _batch, _rate, "samples_per_s", lines=True, series=lines))
    knees = [(line, k) for line in lines if (k := _knee(line))]
    if knees:
        figure.add_trace(_marks([k for _, k in knees]))
    rates = [v for r in group if (i := _rate(r)) for v in (i.low, i.high)]
    figure.update_xaxes(title_text="batch", **value_ticks(sorted({_batch(r) for r in group})))
    figure.update_yaxes(**rate_ticks(rates, METRICS["samples_per_s"].unit))
    sentence = (
        "Samples per second against the samples of a step."
        + (
            " Rings mark the knee: the smallest batch with 90 % of the line's best."
            if knees
            else ""
        )
        + "".join(f" {_said(line, k)}" for line, k in knees[:4])
    )
    return FigureView(figure_id, name, sentence, plain(figure), 340, note)


def _said(line: Series, k: Knee) -> str:
    at = next(r for r in line.results if _batch(r) == k.batch)
    latency = scaled(at.summary.median_s, "s") if at.summary else "–"
    more = ", still rising at the largest batch" if k.rising else ""
    return f"{line.name}: {k.batch:g} samples in {latency}{more}."


def _knee(line: Series) -> Knee | None:
    return knee([(_batch(r), i.value) for r in line.results if (i := _rate(r))])


def _marks(knees: Sequence[Knee]) -> Any:
    ring = {"symbol": "circle-open", "size": 19, "line": {"width": 2, "color": "var(--ink)"}}
    return go.Scatter(
        x=[k.batch for k in knees], y=[k.samples_per_s for k in knees], mode="markers",
        name="knee", marker=ring, hoverinfo="skip",
    )  # fmt: skip


def _batch(result: Result) -> float:
    value = result.record.case.params.get("batch", 1)
    return float(value) if isinstance(value, int | float) else 1.0


def _rate(result: Result) -> Interval | None:
    found = step_figures(result)
    return found.samples_per_s if found else None
