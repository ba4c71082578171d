"""Headline numbers: geometric-mean speed-ups by precision, each from values of one kind."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Final

from gpubench.analysis.comparison import PROVENANCES, Comparison, Row
from gpubench.analysis.gains import ClassSpeedup, class_speedups
from gpubench.report.comparison.marks import (
    ABSENT,
    MARKS,
    ON_CPU,
    Names,
    band_of,
    class_name,
    classes,
    on_cpu,
    precision_tint,
    ratio_kinds,
    times,
)
from gpubench.report.comparison.view import Headline, Line, TableView
from gpubench.report.view import Card, Cell, Column
from gpubench.stats import geometric_mean

_LONGEST_REASON: Final = 110
_STAND_IN: Final = {"tf32": "fp32", "bf16": "fp16", "fp8": "fp16"}
"""What one would use on a GPU that lacks a precision: the same range or the same storage."""


def headlines(comparison: Comparison, names: Names) -> tuple[Headline, ...]:
    """A card for each subject and class; further provenances are lines of it."""
    found: dict[tuple[int, str, str], list[ClassSpeedup]] = defaultdict(list)
    for c in class_speedups(comparison):
        if c.provenance in ratio_kinds(comparison, c.subject):
            found[c.subject, c.workload, c.precision].append(c)
    return tuple(
        Headline(
            f"{name} over {names.reference}",
            tuple(
                _card(comparison, names, index, w, p, found.get((index, w, p), []))
                for w, p in classes(comparison)
            ),
        )
        for index, name in enumerate(names.subjects[:-1])
    )


def headline_table(shown: tuple[Headline, ...], names: Names) -> TableView:
    """The same as a table: a line for each class, a column for each subject."""
    columns = [Column("Class", "class", "", False)]
    columns += [Column(name, name, "", True) for name in names.subjects[:-1]]
    lines = [
        Line((
            Cell(cards[0].title),
            *(Cell(c.value, ", ".join(c.lines[-1:] if c.absent else c.lines)) for c in cards),
        ))
        for cards in zip(*(h.cards for h in shown), strict=True)
    ]  # fmt: skip
    return TableView(f"Geometric means over {names.reference}", tuple(columns), tuple(lines))


def _card(
    comparison: Comparison,
    names: Names,
    index: int,
    workload: str,
    precision: str,
    found: list[ClassSpeedup],
) -> Card:
    title, tint = class_name(comparison, workload, precision), precision_tint(precision)
    if not found:
        why = _why_absent(comparison, names, index, workload, precision)
        instead = _instead(comparison, names, index, workload, precision)
        return Card(title, ABSENT, "", (why, *instead), tint, absent=True)
    ordered = sorted(found, key=lambda c: PROVENANCES.index(c.provenance))
    first, rest = ordered[0], ordered[1:]
    lines = [band_of(first.low, first.high), _from(comparison, index, first)]
    lines += [
        f"{times(c.ratio)} ({band_of(c.low, c.high)}) {_from(comparison, index, c)}" for c in rest
    ]
    return Card(title, times(first.ratio), "", tuple(lines), tint)


def _from(comparison: Comparison, index: int, c: ClassSpeedup) -> str:
    cpu = c.provenance == "measured" and on_cpu(comparison, index)
    shown = ON_CPU if cpu else c.provenance
    return f"{MARKS[shown]}\u00a0{shown}, {c.cases} case{'s' if c.cases > 1 else ''}"


def _why_absent(
    comparison: Comparison, names: Names, index: int, workload: str, precision: str
) -> str:
    """The commonest reason on either side, or that the two sides know different things."""
    rows = [
        r for r in comparison.rows if (r.case.workload, r.case.precision) == (workload, precision)
    ]
    for which in (len(names.subjects) - 1, index):
        reasons = Counter(
            r.entries[which].reason or "" for r in rows if not r.entries[which].values
        )
        if reasons:
            text = reasons.most_common(1)[0][0] or "nothing is known"
            return f"not known: {_shortened(names.subjects[which], text)}"
    return "not known: no kind of value is known of both"


def _shortened(name: str, reason: str) -> str:
    """The first clause of a reason, after the name where it does not say it itself."""
    first = reason.partition(";")[0].partition("\n")[0]
    text = first if first.startswith(name) else f"{name}: {first}"
    return text if len(text) <= _LONGEST_REASON else text[: _LONGEST_REASON - 1] + "…"


def _instead(
    comparison: Comparison, names: Names, index: int, workload: str, precision: str
) -> tuple[str, ...]:
    """The subject's precision over what the reference would use instead, by predictions alone."""
    other = _STAND_IN.get(precision, "")
    there = {
        _work(r): v
        for r in comparison.rows
        if r.case.workload == workload and r.case.precision == other
        and (v := r.entries[-1].values.get("predicted"))
    }  # fmt: skip
    pairs = [
        (v, there[_work(r)])
        for r in comparison.rows
        if r.case.workload == workload and r.case.precision == precision and _work(r) in there
        and (v := r.entries[index].values.get("predicted"))
    ]  # fmt: skip
    if not pairs:
        return ()
    ratio = geometric_mean([b.time_s / a.time_s for a, b in pairs])
    low = geometric_mean([b.low_s / a.high_s for a, b in pairs])
    high = geometric_mean([b.high_s / a.low_s for a, b in pairs])
    return (
        f"against {other} of {names.reference}: {times(ratio)} ({band_of(low, high)}),"
        f" {MARKS['predicted']} predicted, {len(pairs)} cases",
    )


def _work(row: Row) -> tuple[tuple[str, object], ...]:
    return tuple(sorted(row.case.params.items(), key=lambda item: item[0]))
