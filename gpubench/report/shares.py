"""What a step is made of, in the report of a run: its section, and lines for the details."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from gpubench.analysis.results import MEASURED_CPU, Result
from gpubench.analysis.shares import Shares, measured_shares, predicted_shares
from gpubench.model.classes import CLASSES
from gpubench.report.sharebars import TITLE, Bar, shares_figure
from gpubench.report.traces import Ids, by_benchmark
from gpubench.report.view import ChartSection, Fact
from gpubench.units import percent, scaled

MOST_FIGURES: Final = 8


def share_sections(results: Sequence[Result], ids: Ids) -> tuple[ChartSection, ...]:
    """The section on classes of operators; none in a run without traced steps."""
    found = []
    for index, (name, group) in enumerate(by_benchmark(results).items()):
        bars = [bar for r in group for bar in _bars_of(r, ids)]
        if bars:
            figure_id = f"{ids.prefix}shares-{index}"
            found.append(shares_figure(figure_id, name, bars))
    if not found:
        return ()
    return (ChartSection(f"{ids.prefix}shares", TITLE, tuple(found[:MOST_FIGURES])),)


def _bars_of(r: Result, ids: Ids) -> Iterable[Bar]:
    name = f"{r.name} {r.record.case.precision}"
    measured, predicted = measured_shares(r.record), predicted_shares(r.record)
    if measured:
        yield Bar(name, measured, ids.case(r), r.provenance == MEASURED_CPU, r.flags)
    if measured and predicted:
        yield Bar(f"{name}, predicted", predicted, ids.case(r))


def share_facts(result: Result) -> Iterable[Fact]:
    """Classes of a step for the details of a case: measured, and predicted beside it."""
    measured, predicted = measured_shares(result.record), predicted_shares(result.record)
    if measured is None:
        reason = result.measurement.facts.get("operators.reason") if result.measurement else None
        if reason:
            yield Fact("Operators of a step", "–", str(reason))
        return
    yield from facts_of(measured, predicted)
    yield Fact(
        "Matrix units' part (C_TC)",
        percent(measured.matrix_share)
        + (f"; predicted {percent(predicted.matrix_share)}" if predicted else ""),
    )


def facts_of(measured: Shares, predicted: Shares | None) -> Iterable[Fact]:
    """One line a class."""
    names: Mapping[str, None] = dict.fromkeys(
        [*measured.times_s, *(predicted.times_s if predicted else ())]
    )
    # A class of another version stands last.
    known = {name: place for place, name in enumerate(CLASSES)}
    for name in sorted(names, key=lambda name: known.get(name, len(known))):
        said = f"{scaled(measured.times_s.get(name, 0.0), 's')}, {percent(measured.share(name))}"
        if predicted:
            said += (
                f"; predicted {scaled(predicted.times_s.get(name, 0.0), 's')},"
                f" {percent(predicted.share(name))}"
            )
        yield Fact(f"Operators: {name}", said)
