"""Short tables: what gains most and least and why, and where model and knowledge disagree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from gpubench.analysis.comparison import PROVENANCES, Comparison, Row
from gpubench.analysis.gains import disagreements, why
from gpubench.report.comparison.marks import (
    MARKS,
    Names,
    anchor,
    band_of,
    kind,
    ratio_kinds,
    signed,
    time_band,
    times,
)
from gpubench.report.comparison.view import Line, TableView
from gpubench.report.view import Cell, Column
from gpubench.units import percent, scaled

EXTREMES: Final = 5
"""Cases named at each end."""
ALIKE: Final = 2
"""Cases named of one precision and reason, so that near copies leave room for others."""
WORST: Final = 12
"""Disagreements listed; the table of cases has the rest."""
_FEW: Final = 4


def extremes_table(comparison: Comparison, names: Names, index: int) -> TableView | None:
    """The cases that gain most and least, from values of one provenance, and why."""
    provenance, rows = _ranked(comparison, index)
    if not provenance:
        return None
    most = _various(comparison, rows, index)
    least = _various(comparison, [r for r in reversed(rows) if r not in most], index)
    least = least[: max(1, len(rows) // 2)]
    lines = [_extreme(comparison, names, index, provenance, r) for r in (*most, *least[::-1])]
    left = len(rows) - len(lines)
    return TableView(
        f"{names.subjects[index]} over {names.reference}: most and least",
        (
            Column("Case", "case", "", False),
            Column("Speed-up", "speedup", "And its interval.", True),
            Column("Why, by the model and the datasheets", "why", "", False),
        ),
        tuple(lines),
        f"From {provenance} values, the most first"
        + (f"; of {len(rows)} cases, at most {ALIKE} alike at each end." if left else "."),
    )


def _various(comparison: Comparison, rows: Sequence[Row], index: int) -> list[Row]:
    """The first rows, but few of one precision and reason; fewer where there are many tables."""
    room = max(2, EXTREMES + 2 - len(comparison.subjects))
    seen: Counter[tuple[str, str]] = Counter()
    chosen: list[Row] = []
    for row in rows:
        key = (row.case.precision, why(comparison, row, index))
        seen[key] += 1
        if seen[key] <= ALIKE:
            chosen.append(row)
        if len(chosen) == min(room, -(-len(rows) // 2)):
            break
    return chosen


def _ranked(comparison: Comparison, index: int) -> tuple[str, list[Row]]:
    """Rows by speed-up, of the most direct provenance that has more than a handful."""
    found = {
        p: [r for r in comparison.rows if r.speedup(index, p)]
        for p in ratio_kinds(comparison, index)
    }  # fmt: skip
    enough = [p for p in found if len(found[p]) >= _FEW] or [p for p in found if found[p]]
    if not enough:
        return "", []
    rows = sorted(found[enough[0]], key=lambda r: -_ratio(r, index, enough[0]))
    return enough[0], rows


def _ratio(row: Row, index: int, provenance: str) -> float:
    found = row.speedup(index, provenance)
    return found.ratio if found else 0.0


def _extreme(comparison: Comparison, names: Names, index: int, provenance: str, row: Row) -> Line:
    s = row.speedup(index, provenance)
    assert s is not None
    mark = MARKS[kind(comparison, row, index, provenance)]
    return Line(
        (
            Cell(names.case(row), row.case.benchmark),
            Cell(f"{mark} {times(s.ratio)}", band_of(s.low, s.high)),
            Cell(why(comparison, row, index) or "the model has no word on both"),
        ),
        anchor(row),
    )


def disagreements_table(comparison: Comparison, names: Names) -> TableView | None:
    """Known values outside the band of their prediction, worst first."""
    found = disagreements(comparison)
    if not found:
        return None
    lines = []
    for index, row in found[:WORST]:
        e = row.entries[index]
        value, expected = e.best_known, e.values["predicted"]
        assert value is not None
        shown = kind(comparison, row, index, value.provenance)
        lines.append(
            Line(
                (
                    Cell(names.case(row), row.case.benchmark),
                    Cell(names.subjects[index]),
                    Cell(f"{MARKS[shown]} {scaled(value.time_s, 's')}", shown),
                    Cell(f"{MARKS['predicted']} {scaled(expected.time_s, 's')}",
                         time_band(expected)),
                    Cell(signed(e.model_error or 0.0), expected.bound or ""),
                    Cell(value.note or value.source),
                ),
                anchor(row),
            )
        )  # fmt: skip
    rest = len(found) - len(lines)
    return TableView(
        "Outside the band, worst first",
        (
            Column("Case", "case", "", False),
            Column("Subject", "subject", "", False),
            Column("Known", "known", "Measured or published.", True),
            Column("Predicted", "predicted", "With its 80 % band.", True),
            Column("Model error", "model_error", "Predicted / known - 1.", True),
            Column("Where the known value comes from", "note", "", False),
        ),
        tuple(lines),
        note=f"{rest} more: set “Known” to “outside the band” in the table of cases."
        if rest
        else "",
    )


def coverage_sentence(comparison: Comparison) -> str:
    """How many of how many known values fall in the band, for each provenance."""
    inside: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for row in comparison.rows:
        for e in row.entries:
            if e.model_error is None or e.best_known is None:
                continue
            total[e.best_known.provenance] += 1
            inside[e.best_known.provenance] += not e.outside_band
    parts = [
        f"{inside[p]} of {total[p]} {p} values ({percent(inside[p] / total[p])}) fall in the band"
        " of their prediction"
        for p in PROVENANCES if total[p]
    ]  # fmt: skip
    return f"{', '.join(parts)}; a fair band would hold about 80\u00a0%." if parts else ""


def joined(texts: Sequence[str]) -> str:
    """A list for people: ``a, b and c``."""
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
