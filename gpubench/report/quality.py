"""What was learned, in a report: loss curves, and the table by label in the details of a case."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any, Final

import plotly.graph_objects as go

from gpubench.analysis.results import MEASURED_CPU, Result
from gpubench.report.series import color
from gpubench.report.traces import Ids, by_benchmark, empty_figure, plain
from gpubench.report.view import ChartSection, Fact, FigureView
from gpubench.units import percent, scaled, significant

PREFIX: Final = "quality."
LABEL: Final = "quality.label."
_DASHES: Final = ("solid", "dash", "dot", "dashdot", "longdash")
MOST_FIGURES: Final = 8
MOST_LINES: Final = 16


def quality_sections(results: Sequence[Result], ids: Ids) -> tuple[ChartSection, ...]:
    """The section on what was learned; none in a run where nothing was."""
    learned = [r for r in results if _curve(r)]
    found = [
        _curves(name, group, ids, index)
        for index, (name, group) in enumerate(by_benchmark(learned).items())
    ]
    if not found:
        return ()
    return (ChartSection(f"{ids.prefix}learned", "Does it learn", tuple(found[:MOST_FIGURES])),)


def quality_facts(result: Result) -> Iterable[Fact]:
    """What a case learned, for its details."""
    m = result.measurement
    facts = dict(m.facts) if m else {}
    if "quality.steps" not in facts:
        return
    took_s = facts.get("quality.time_to_target_s")
    steps = facts["quality.steps"]
    if isinstance(took_s, int | float):
        yield Fact("Target", f"reached in {steps} steps, {scaled(float(took_s), 's')} of training")
    else:
        yield Fact("Target", f"not reached in {steps} steps")
    for name, title in (
        ("entity_f1", "Entity-level F1"), ("entity_precision", "Entity-level precision"),
        ("entity_recall", "Entity-level recall"), ("token_accuracy", "Token accuracy"),
    ):  # fmt: skip
        value = facts.get(PREFIX + name)
        if isinstance(value, int | float):
            yield Fact(title, percent(float(value), 3))
    for name, value in facts.items():
        parts = str(value).split()
        if name.startswith(LABEL) and len(parts) == 4:
            p, r, f1, support = parts
            text = f"precision {p}, recall {r}, F1 {f1}, support {support}"
            yield Fact(name.removeprefix(LABEL), text)


def _curve(result: Result) -> list[float]:
    """Mean losses along the steps; empty where there are none, or not numbers."""
    value = result.measurement.facts.get("quality.loss_curve") if result.measurement else None
    try:
        return [float(x) for x in str(value).split()] if value is not None else []
    except ValueError:
        return []


def _curves(name: str, group: Sequence[Result], ids: Ids, index: int) -> FigureView:
    figure = empty_figure()
    places: dict[str, int] = {}
    for r in group[:MOST_LINES]:
        precision = r.record.case.precision
        place = places[precision] = places.get(precision, -1) + 1
        figure.add_trace(_line(r, ids, _DASHES[place % len(_DASHES)]))
    figure.update_xaxes(title_text="step", rangemode="tozero")
    figure.update_yaxes(title_text="loss", rangemode="tozero")
    reached = [r for r in group if r.measurement and r.measurement.facts.get("quality.reached")]
    on_cpu = " Measured on CPU." if all(r.provenance == MEASURED_CPU for r in group) else ""
    sentence = (
        "Loss along the steps of learning, means over pieces of the curve; a line ends where the"
        f" target was reached or the steps were used up. Reached: {len(reached)} of {len(group)}."
        f"{_best(group)}{on_cpu}"
    )
    note = f"Drawn: {MOST_LINES} of {len(group)} cases." if len(group) > MOST_LINES else ""
    return FigureView(f"{ids.prefix}learned-{index}", name, sentence, plain(figure), 340, note)


def _best(group: Sequence[Result]) -> str:
    """Entity F1 beside token accuracy, of the case that learned most."""
    scored = [
        (float(f1), float(accuracy), r)
        for r in group
        if r.measurement
        and isinstance(f1 := r.measurement.facts.get("quality.entity_f1"), int | float)
        and isinstance(accuracy := r.measurement.facts.get("quality.token_accuracy"), int | float)
    ]
    if not scored:
        return ""
    f1, accuracy, r = max(scored, key=lambda s: s[0])
    return (
        f" Best entity-level F1: {percent(f1, 3)} in {r.record.case.precision}, with"
        f" {percent(accuracy, 3)} of tokens right: most tokens are outside of any entity, so the"
        " latter flatters."
    )


def _line(result: Result, ids: Ids, dash: str) -> Any:
    losses = _curve(result)
    steps = float(str(result.measurement.facts["quality.steps"])) if result.measurement else 0.0
    piece = steps / len(losses)
    name = html.escape(f"{result.name} {result.record.case.precision}")
    return go.Scatter(
        x=[round((i + 0.5) * piece, 1) for i in range(len(losses))],
        y=losses,
        mode="lines",
        name=name,
        line={"color": color(result.record.case.precision), "width": 1.8, "dash": dash},
        text=[significant(v) for v in losses],
        customdata=[ids.case(result)] * len(losses),
        hovertemplate=f"<b>{name}</b><br>step %{{x}}: loss %{{text}}<extra></extra>",
    )
