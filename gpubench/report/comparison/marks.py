"""How subjects and kinds of values are told apart: names, marks, colours, hover text."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from gpubench.analysis.comparison import PROVENANCES, Comparison, Entry, Row, Speedup, Value
from gpubench.analysis.naming import names_of_cases
from gpubench.spec import PRECISIONS
from gpubench.units import percent, scaled, show

ABSENT: Final = "–"
ON_CPU: Final = "measured on CPU"
MARKS: Final = {"measured": "●", ON_CPU: "○", "published": "✚", "predicted": "◇"}
"""Provenance -> its mark in text."""
SYMBOLS: Final = {
    "measured": "circle", ON_CPU: "circle-open", "published": "cross", "predicted": "diamond-open",
}  # fmt: skip
"""Provenance -> its marker in charts, of the same shape."""
_LONGEST_NAME: Final = 28


@dataclass(frozen=True, slots=True)
class Names:
    """Short names within one comparison.

    Attributes:
        subjects: one a subject, all different.
        cases: case key -> name.
    """

    subjects: tuple[str, ...]
    cases: dict[str, str]

    @property
    def reference(self) -> str:
        """The subject that speed-ups are against."""
        return self.subjects[-1]

    def case(self, row: Row) -> str:
        """A case by name and precision."""
        return f"{self.cases[row.case.key]} {row.case.precision}"


def names_in(comparison: Comparison) -> Names:
    """Name every subject and case."""
    given = [_short(s.name) for s in comparison.subjects]
    seen: Counter[str] = Counter()
    subjects = []
    for name in given:
        seen[name] += 1
        subjects.append(f"{name} ({seen[name]})" if given.count(name) > 1 else name)
    return Names(tuple(subjects), names_of_cases([r.case for r in comparison.rows]))


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def kind(comparison: Comparison, row: Row, index: int, provenance: str) -> str:
    """The provenance as marked: a measured value of a CPU is marked apart."""
    if provenance != "measured":
        return provenance
    record = comparison.subjects[index].records.get(row.case.key)
    return ON_CPU if record is not None and record.device.type == "cpu" else provenance


def ratio_kinds(comparison: Comparison, index: int) -> tuple[str, ...]:
    """The provenances that speed-ups of a subject are shown from.

    Of one GPU twice, predictions always agree; they are left out where anything else is known.
    """
    a, b = comparison.subjects[index].spec, comparison.reference.spec
    direct = PROVENANCES[:-1]
    known = any(r.speedup(index, p) for r in comparison.rows for p in direct)
    return direct if known and a and b and a.key == b.key else PROVENANCES


def on_cpu(comparison: Comparison, index: int) -> bool:
    """Whether a subject was measured on a CPU."""
    return any(r.device.type == "cpu" for r in comparison.subjects[index].records.values())


def tint(index: int) -> str:
    """The CSS variable that colours a subject."""
    return f"var(--s{index % 6})"


def precision_tint(precision: str) -> str:
    """The CSS variable that colours a precision."""
    return f"var(--c-{precision if precision in PRECISIONS else 'other'})"


def anchor(row: Row) -> str:
    """Where a case stands in the file."""
    return f"case-{row.case.key}"


def classes(comparison: Comparison) -> tuple[tuple[str, str], ...]:
    """(workload, precision) of the cases: workloads as they come, precisions in their order."""
    present = list(dict.fromkeys((r.case.workload, r.case.precision) for r in comparison.rows))
    workloads = list(dict.fromkeys(w for w, _ in present))
    order = [*PRECISIONS, *(p for _, p in present if p not in PRECISIONS)]
    return tuple(sorted(present, key=lambda c: (workloads.index(c[0]), order.index(c[1]))))


def class_name(comparison: Comparison, workload: str, precision: str) -> str:
    """The precision alone where one workload is compared."""
    several = len({r.case.workload for r in comparison.rows}) > 1
    return f"{workload} {precision}".strip() if several else precision or workload


def times(ratio: float) -> str:
    """A speed-up or any ratio: ``2.10x``."""
    return show("speedup", ratio)


def band_of(low: float, high: float) -> str:
    """The ends of a speed-up's interval."""
    return f"{times(low)} to {times(high)}"


def speedup_text(found: Speedup) -> str:
    """A speed-up with what it was made from."""
    return f"{times(found.ratio)} ({band_of(found.low, found.high)}), {found.provenance}"


def signed(ratio: float) -> str:
    """A relative error with its sign: ``+25 %``, ``−8.1 %``."""
    return f"{'+' if ratio >= 0 else '−'}{percent(abs(ratio))}"


def time_band(value: Value) -> str:
    """The ends of a value's interval, in one unit where that is possible."""
    low, high = scaled(value.low_s, "s"), scaled(value.high_s, "s")
    number, _, unit = low.partition(" ")
    return f"{number}–{high}" if high.endswith(f" {unit}") else f"{low}–{high}"


def missing(entry: Entry) -> str:
    """Why an entry has no value of some kind."""
    return entry.reason or "not known"


def hover(title: str, lines: Sequence[str]) -> str:
    """Hover text; whatever it says does nothing else."""
    return "<br>".join([f"<b>{html.escape(title)}</b>", *map(html.escape, lines)])


def points(
    x: Sequence[float], y: Sequence[float], name: str, symbol: str, color: str,
    texts: Sequence[str], anchors: Sequence[str], **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """A trace of markers that lead to their cases."""
    thin = symbol.endswith("-open")
    outline = {"width": 1.6, "color": color} if thin else {"width": 0.8, "color": "var(--bg)"}
    return {
        "type": "scatter", "mode": "markers", "x": list(x), "y": list(y), "name": html.escape(name),
        "marker": {"symbol": symbol, "size": 8, "color": color, "line": outline},
        "text": list(texts), "customdata": list(anchors),
        "hovertemplate": "%{text}<extra></extra>", **more,
    }  # fmt: skip


def titled(text: str) -> dict[str, str]:
    """An axis title."""
    return {"text": html.escape(text)}
