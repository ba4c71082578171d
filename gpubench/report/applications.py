"""Applications in a report: latency under load, dialogue by batch, candidates ranked."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import plotly.graph_objects as go

from gpubench.analysis.applications import (
    Load,
    candidates_per_s,
    exactly,
    loads,
    number,
)
from gpubench.analysis.results import MEASURED_CPU, Interval, Result
from gpubench.report.axes import rate_ticks, value_ticks
from gpubench.report.series import series_of, varying
from gpubench.report.traces import Ids, by_benchmark, empty_figure, flagged, plain, scatter
from gpubench.report.view import ChartSection, Fact, FigureView
from gpubench.units import METRICS, scaled, show

TITLE: Final = "What users wait for"
MOST_FIGURES: Final = 8
MOST_LINES: Final = 6
_DASHES: Final = {"p50": "dot", "p99": "solid"}
_TINTS: Final = ("fp32", "bf16", "tf32", "fp64", "fp16", "other")


def application_sections(results: Sequence[Result], ids: Ids) -> tuple[ChartSection, ...]:
    """The section on applications; none in a run without any."""
    found: list[FigureView] = []
    for name, group in by_benchmark(results).items():
        found += _figures(name, group, ids, f"{ids.prefix}applications-{len(found)}")
    if not found:
        return ()
    return (ChartSection(f"{ids.prefix}applications", TITLE, tuple(found[:MOST_FIGURES])),)


def _figures(name: str, group: Sequence[Result], ids: Ids, figure_id: str) -> Iterable[FigureView]:
    streams = [r for r in group if loads(r)]
    if streams:
        yield _latency(name, streams, ids, figure_id)
    talks = [r for r in group if exactly(r, "dialogue.tokens_per_s")]
    if talks:
        yield _sweep(
            f"{name}: tokens a second", talks, ids, f"{figure_id}-tokens", "batch",
            lambda r: exactly(r, "dialogue.tokens_per_s"), "tokens_per_s",
            "Tokens generated a second by dialogues at once, the prompt's reading included.",
        )  # fmt: skip
        yield _sweep(
            f"{name}: time to the first token", talks, ids, f"{figure_id}-first", "batch",
            lambda r: exactly(r, "dialogue.first_token_s"), "time_s",
            "Time from the question to the first token of the answer: reading the prompt.",
        )  # fmt: skip
    ranked = [r for r in group if candidates_per_s(r)]
    if ranked:
        yield _sweep(
            f"{name}: candidates a second", ranked, ids, f"{figure_id}-ranked", "candidates",
            candidates_per_s, "candidates_per_s",
            "Candidates scored a second, of all users together, by candidates a user.",
        )  # fmt: skip


def _on_cpu(results: Sequence[Result]) -> str:
    return " Measured on CPU." if all(r.provenance == MEASURED_CPU for r in results) else ""


def _latency(name: str, streams: Sequence[Result], ids: Ids, figure_id: str) -> FigureView:
    """Percentiles of latency against the rate of requests, one colour a case."""
    figure = empty_figure()
    shown = streams[:MOST_LINES]
    for r, tint in zip(shown, _TINTS, strict=False):
        found = loads(r)
        for which in ("p99", "p50"):
            figure.add_trace(_percentile(r, found, which, f"var(--c-{tint})", ids))
    said = [text for r in shown if (text := _breaks(r))]
    sentence = (
        "Latency of requests that arrive at random, whether or not the last is done: solid the"
        " 99th percentile, dotted the median, against requests a second over what the server"
        f" could do without a gap.{' ' + ' '.join(said) if said else ''}{_on_cpu(streams)}"
    )
    values = [v for r in shown for found in loads(r) for v in (found.p50_s, found.p99_s)]
    figure.update_xaxes(title_text="requests / capacity", rangemode="tozero")
    figure.update_yaxes(**rate_ticks(values, "s"))
    note = f"Drawn: {len(shown)} of {len(streams)} cases." if len(streams) > len(shown) else ""
    return FigureView(figure_id, f"{name}: latency under load", sentence, plain(figure), 340, note)


def _percentile(r: Result, found: Sequence[Load], which: str, tint: str, ids: Ids) -> Any:
    name = f"{r.name} {r.record.case.precision} {which}"
    times = [getattr(one, f"{which}_s") for one in found]
    return go.Scatter(
        x=[one.share for one in found], y=times, mode="lines+markers", name=html.escape(name),
        line={"color": tint, "dash": _DASHES[which], "width": 1.6},
        marker={"color": tint, "size": 8,
                "symbol": "circle-open" if r.provenance == MEASURED_CPU else "circle"},
        text=[flagged(f"{scaled(t, 's')} at {one.rate_per_s:.3g} requests/s", r.flags)
              for t, one in zip(times, found, strict=True)],
        customdata=[ids.case(r)] * len(found),
        hovertemplate=f"<b>{html.escape(name)}</b><br>%{{text}}<extra></extra>",
    )  # fmt: skip


def _breaks(r: Result) -> str:
    at, capacity = number(r, "stream.breaks_at_per_s"), number(r, "stream.capacity_per_s")
    if at is None or not capacity:
        return ""
    named = f"{r.name} {r.record.case.precision}"
    return f"{named} breaks at {at:.3g} requests/s, {at / capacity:.0%} of its capacity."


def _sweep(
    title: str, group: Sequence[Result], ids: Ids, figure_id: str, key: str,
    pick: Callable[[Result], Interval | None], metric: str, sentence: str,
) -> FigureView:  # fmt: skip
    """A figure of one number against one parameter, a line for what else varies."""
    figure = empty_figure()
    lines = series_of(group, key, [name for name in varying(group) if name != key])

    def at(r: Result) -> float:
        value = r.record.case.params.get(key, 0)
        return float(value) if isinstance(value, int | float) else 0.0

    figure.add_traces(scatter(group, ids, at, pick, metric, lines=True, series=lines))
    values = [v for r in group if (i := pick(r)) for v in (i.low, i.high)]
    figure.update_xaxes(title_text=key, **value_ticks(sorted({at(r) for r in group})))
    figure.update_yaxes(**rate_ticks(values, METRICS[metric].unit))
    return FigureView(figure_id, title, sentence + _on_cpu(group), plain(figure), 340)


def application_facts(result: Result) -> Iterable[Fact]:
    """What users wait for, in the details of a case."""
    first = number(result, "dialogue.first_token_s")
    if first is not None:
        yield Fact("Time to first token", scaled(first, "s"))
        token = number(result, "dialogue.token_s")
        yield Fact("Time per further token", scaled(token, "s") if token else "–")
        rate = number(result, "dialogue.tokens_per_s")
        yield Fact("Tokens per second", show("tokens_per_s", rate) if rate else "–")
    scored = candidates_per_s(result)
    if scored:
        yield Fact("Candidates per second", show("candidates_per_s", scored.value))
    for one in loads(result):
        said = f"p50 {scaled(one.p50_s, 's')}, p99 {scaled(one.p99_s, 's')}"
        yield Fact(f"At {one.rate_per_s:.3g} requests/s ({one.share:.0%} of capacity)", said)
    text = _breaks(result)
    if text:
        yield Fact("Where p99 breaks", text)
