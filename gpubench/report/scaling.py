"""Several ranks in a report: bandwidth of collectives by size, efficiency of steps by ranks."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import plotly.graph_objects as go

from gpubench.analysis.results import MEASURED_CPU, Result
from gpubench.analysis.scaling import (
    Efficiency,
    Line,
    algbw,
    collective_bytes,
    communication,
    efficiencies,
    fitted,
    ranks,
)
from gpubench.report.axes import rate_ticks, value_ticks
from gpubench.report.series import color
from gpubench.report.traces import Ids, empty_figure, flagged, plain
from gpubench.report.view import ChartSection, Fact, FigureView
from gpubench.units import percent, scaled, show

MOST_FIGURES: Final = 8
_TINTS: Final = ("fp32", "bf16", "tf32", "fp64", "fp16", "other", "fp8")
_SYMBOLS: Final = (
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "triangle-down",
    "pentagon",
    "star",
)
_CPU: Final = " Between CPU ranks over Gloo: functional only, not how fast any network is."


def scaling_sections(results: Sequence[Result], ids: Ids) -> tuple[ChartSection, ...]:
    """Sections on collectives and on scaling; none in a run without several ranks."""
    collectives = tuple(_collectives(results, ids))[:MOST_FIGURES]
    steps = tuple(_steps(results, ids))[:MOST_FIGURES]
    sections = (
        ChartSection(f"{ids.prefix}collectives", "Collectives", collectives),
        ChartSection(f"{ids.prefix}scaling", "Scaling", steps),
    )
    return tuple(s for s in sections if s.figures)


def lines_of(results: Sequence[Result]) -> dict[tuple[str, int, str, str], list[Result]]:
    """Collectives that differ in size alone: (benchmark, ranks, op, precision) -> results."""
    groups: dict[tuple[str, int, str, str], list[Result]] = {}
    for r in results:
        if collective_bytes(r):
            case = r.record.case
            # As torch.distributed spells it: the label begins with it.
            op = case.label.split(" ", 1)[0] or str(case.params.get("op"))
            key = (case.benchmark, ranks(r), op, case.precision)
            groups.setdefault(key, []).append(r)
    return groups


def _collectives(results: Sequence[Result], ids: Ids) -> Iterable[FigureView]:
    """Bus bandwidth against size: a figure for each benchmark and number of ranks."""
    groups = lines_of(results)
    for index, (name, world) in enumerate(dict.fromkeys(key[:2] for key in groups)):
        lines = {key[2:]: group for key, group in groups.items() if key[:2] == (name, world)}
        figure = empty_figure()
        several = len({precision for _, precision in lines}) > 1
        said = []
        for place, ((op, precision), group) in enumerate(lines.items()):
            title = f"{op} {precision}" if several else op
            figure.add_trace(_line(title, place, group, ids))
            found = fitted([(collective_bytes(r) or 0.0, _time(r)) for r in group])
            if found:
                said.append(_said(title, found))
        measured = [r for group in lines.values() for r in group]
        rates = [r.rate.value for r in measured if r.rate]
        sizes = sorted({collective_bytes(r) or 0.0 for r in measured})
        figure.update_xaxes(title_text="bytes of the whole buffer", **value_ticks(sizes))
        figure.update_yaxes(**rate_ticks(rates, "B/s"))
        cpu = _CPU if all(r.provenance == MEASURED_CPU for r in measured) else ""
        sentence = (
            "Bus bandwidth (busbw of nccl-tests: what each link carries) of the slowest rank by"
            f" size.{cpu}"
        )
        note = "Fitted, time = latency + size / algorithm bandwidth: " + "; ".join(said) + "."
        yield FigureView(
            f"{ids.prefix}collectives-{index}", f"{name}, {world} ranks", sentence, plain(figure),
            360, note if said else "",
        )  # fmt: skip


def _time(result: Result) -> float:
    return result.summary.median_s if result.summary else 0.0


def _line(title: str, place: int, group: Sequence[Result], ids: Ids) -> Any:
    shown = sorted((r for r in group if r.rate), key=lambda r: collective_bytes(r) or 0.0)
    tint = color(_TINTS[place % len(_TINTS)])
    symbol = _SYMBOLS[place % len(_SYMBOLS)]
    return go.Scatter(
        x=[collective_bytes(r) for r in shown], y=[r.rate.value for r in shown if r.rate],
        mode="lines+markers", name=html.escape(title), line={"color": tint, "width": 1.6},
        marker={"color": tint, "size": 8, "symbol":
                [symbol + ("-open" if r.provenance == MEASURED_CPU else "") for r in shown]},
        text=[flagged(f"{scaled(_time(r), 's')}, algbw {scaled(algbw(r) or 0.0, 'B/s')},"
                      f" busbw {scaled(r.rate.value, 'B/s')}", r.flags) for r in shown if r.rate],
        customdata=[ids.case(r) for r in shown],
        hovertemplate=f"<b>{html.escape(title)}</b><br>%{{text}}<extra></extra>",
    )  # fmt: skip


def _said(title: str, line: Line) -> str:
    rate = f" + size / {scaled(line.bytes_per_s, 'B/s')}" if line.bytes_per_s else ""
    return f"{title} {scaled(line.latency_s, 's')}{rate} (at worst {percent(line.worst)} off)"


# ---------------------------------------------------------------- steps


def _steps(results: Sequence[Result], ids: Ids) -> Iterable[FigureView]:
    """Efficiency against ranks, weak and strong apart, a line for each kind of step."""
    found = efficiencies(results)
    by_key = {r.record.case.key: r for r in results}
    for kind in ("weak", "strong"):
        lines: dict[str, list[tuple[Efficiency, Result]]] = {}
        for key, one in found.items():
            if one.kind == kind:
                lines.setdefault(_name(by_key[key], kind), []).append((one, by_key[key]))
        if lines:
            yield _efficiency(kind, lines, ids)


def _name(result: Result, kind: str) -> str:
    case = result.record.case
    batch = case.params.get("batch")
    whole = f"{int(batch) * ranks(result)} in all" if isinstance(batch, int | float) else ""
    size = whole if kind == "strong" else f"{batch} a rank"
    return f"{case.params.get('model')} {case.params.get('strategy')} {size} {case.precision}"


def _efficiency(
    kind: str, lines: Mapping[str, Sequence[tuple[Efficiency, Result]]], ids: Ids
) -> FigureView:
    figure = empty_figure()
    for place, (name, points) in enumerate(lines.items()):
        ordered = sorted(points, key=lambda p: p[0].ranks)
        tint, symbol = color(_TINTS[place % len(_TINTS)]), _SYMBOLS[place % len(_SYMBOLS)]
        figure.add_trace(go.Scatter(
            x=[e.ranks for e, _ in ordered], y=[100 * e.value for e, _ in ordered],
            mode="lines+markers", name=html.escape(name), line={"color": tint, "width": 1.6},
            marker={"color": tint, "size": 8, "symbol": [
                symbol + ("-open" if r.provenance == MEASURED_CPU else "") for _, r in ordered]},
            text=[flagged(_hover(e, r), r.flags) for e, r in ordered],
            customdata=[ids.case(r) for _, r in ordered],
            hovertemplate=f"<b>{html.escape(name)}</b><br>%{{text}}<extra></extra>",
        ))  # fmt: skip
    every = [r for points in lines.values() for _, r in points]
    counts = sorted({float(ranks(r)) for r in every})
    figure.update_xaxes(title_text="ranks", **value_ticks(counts))
    figure.update_yaxes(title_text="efficiency", ticksuffix=" %", rangemode="tozero")
    meaning = {
        "weak": "each rank keeps its batch, so the same time is 100 %",
        "strong": "the batch is divided, so n times as fast is 100 %",
    }[kind]
    cpu = _CPU if all(r.provenance == MEASURED_CPU for r in every) else ""
    sentence = f"Efficiency of {kind} scaling against the fewest ranks: {meaning}.{cpu}"
    return FigureView(
        f"{ids.prefix}scaling-{kind}", f"{kind.capitalize()} scaling", sentence, plain(figure), 340
    )


def _hover(e: Efficiency, r: Result) -> str:
    text = f"{e.ranks} ranks: {percent(e.value)} of {e.base}, {scaled(_time(r), 's')} a step"
    found = communication(r)
    if found is None:
        return text
    share, hidden = found
    return f"{text}; communication adds {percent(share)}, {percent(hidden)} of it is hidden"


def scaling_facts(result: Result, efficiency: Efficiency | None = None) -> Iterable[Fact]:
    """Bandwidths of a collective, scaling and communication of a step, for a case's details."""
    if efficiency is not None and efficiency.ranks != efficiency.base:
        yield Fact(
            f"Efficiency of {efficiency.kind} scaling", percent(efficiency.value),
            f"{efficiency.ranks} ranks against {efficiency.base}",
        )  # fmt: skip
    rate = algbw(result)
    if rate is not None:
        yield Fact("Algorithm bandwidth (algbw)", scaled(rate, "B/s"), "bytes / time")
        if result.rate:
            yield Fact("Bus bandwidth (busbw)", show("bytes_per_s", result.rate.value))
    shares = communication(result)
    if shares is not None and result.measurement is not None:
        facts = result.measurement.facts
        yield Fact("Communication adds", f"{percent(shares[0])} of the step")
        yield Fact("Hidden part of it", percent(shares[1]))
        for name, title in _PARTS.items():
            value = facts.get(name)
            if isinstance(value, int | float):
                yield Fact(title, scaled(float(value), "s"))


_PARTS: Final = {
    "parallel.step_s": "The step, again",
    "parallel.compute_s": "Without communication",
    "parallel.communication_s": "Communication alone",
    "parallel.exposed_s": "Not hidden",
}
