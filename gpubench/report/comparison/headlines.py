"""Headline numbers: geometric-mean speed-ups by precision, each from values of one kind."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Final

from gpubench.analysis.comparison import PROVENANCES, ClassSpeedup, Comparison, class_speedups
from gpubench.report.comparison.marks import (
    ABSENT,
    MARKS,
    ON_CPU,
    Names,
    band_of,
    class_name,
    classes,
    on_cpu,
    times,
)
from gpubench.report.comparison.view import Headline
from gpubench.report.traces import color
from gpubench.report.view import Card

_LONGEST_REASON: Final = 110


def headlines(comparison: Comparison, names: Names) -> tuple[Headline, ...]:
    """A card for each subject and class; further provenances are lines of it."""
    found: dict[tuple[int, str, str], list[ClassSpeedup]] = defaultdict(list)
    for c in class_speedups(comparison):
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


def _card(
    comparison: Comparison,
    names: Names,
    index: int,
    workload: str,
    precision: str,
    found: list[ClassSpeedup],
) -> Card:
    title, tint = class_name(comparison, workload, precision), color(precision)
    if not found:
        why = _why_absent(comparison, names, index, workload, precision)
        return Card(title, ABSENT, "", (why,), tint, absent=True)
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
    return f"{MARKS[shown]} {shown}, {c.cases} case{'s' if c.cases > 1 else ''}"


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
    text = reason if reason.startswith(name) else f"{name}: {reason}"
    return text if len(text) <= _LONGEST_REASON else text[: _LONGEST_REASON - 1] + "…"
