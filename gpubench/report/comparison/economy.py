"""What the same work takes in joules and in money, a class a line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from gpubench.analysis.comparison import Comparison
from gpubench.analysis.economy import Economy, costs, energies
from gpubench.report.comparison.marks import (
    ABSENT,
    MARKS,
    ON_CPU,
    Names,
    class_name,
    on_cpu,
    times,
)
from gpubench.report.comparison.view import Line, Section, TableView
from gpubench.report.view import Cell, ChartSection, Column
from gpubench.units import scaled, significant

TITLE: Final = "Energy and cost of the same work"
_LEDE: Final = (
    "Geometric means over the cases that every subject with a value knows; below each its ratio"
    " to the reference. Values of different kinds do not meet."
)
_UNPRICED: Final = (
    "No cost: nobody's prices are known here; --prices FILE gives them, in currency per GPU hour."
)
_LARGE: Final = {"FLOP": (1e18, "EFLOP"), "B": (1e15, "PB")}
"""Amount of work that prices are given for: an hour of one GPU does about as much."""


def economy_section(comparison: Comparison, names: Names) -> Section:
    """Energy and, with a price list, cost; or why there is neither."""
    joules, money = energies(comparison), costs(comparison)
    missing = []
    if not joules:
        missing.append("No energy: of no class do two subjects have values of one kind.")
    if comparison.prices is None:
        missing.append(_UNPRICED)
    elif not money:
        missing.append("No cost: the price list has no two of these GPUs.")
    tables = [
        *([_table("Energy", comparison, names, joules, _joules)] if joules else []),
        *([_table(_named("Cost", comparison), comparison, names, money, _money)] if money else []),
    ]
    return Section(
        ChartSection("economy", TITLE, (), tuple(missing)), tuple(tables), _LEDE if tables else ""
    )


def _named(title: str, comparison: Comparison) -> str:
    currency = comparison.prices.currency if comparison.prices else ""
    return f"{title} in {currency}" if currency else title


def _table(
    title: str,
    comparison: Comparison,
    names: Names,
    found: Sequence[Economy],
    text: Callable[[float, str], str],
) -> TableView:
    cpu = any(on_cpu(comparison, i) for i in range(len(names.subjects)))
    columns = [Column("Class", "class", "", False), Column("From", "from", "", False)]
    columns += [Column(name, name, "", True) for name in names.subjects]
    lines = []
    for e in found:
        shown = ON_CPU if cpu and e.provenance == "measured" else e.provenance
        cases = f"{e.cases} case{'s' if e.cases > 1 else ''}"
        cells = [_cell(e, i, text) for i in range(len(e.per_unit))]
        first = Cell(class_name(comparison, e.workload, e.precision), cases)
        lines.append(Line((first, Cell(f"{MARKS[shown]} {shown}"), *cells)))
    return TableView(title, tuple(columns), tuple(lines))


def _cell(e: Economy, index: int, text: Callable[[float, str], str]) -> Cell:
    value, reference = e.per_unit[index], e.per_unit[-1]
    if value is None:
        return Cell(ABSENT)
    is_reference = index == len(e.per_unit) - 1
    ratio = times(value / reference) if reference and not is_reference else ""
    return Cell(text(value, e.unit), ratio, value)


def _joules(per_unit: float, unit: str) -> str:
    return f"{scaled(per_unit, 'J')}/{unit}"


def _money(per_unit: float, unit: str) -> str:
    amount, name = _LARGE[unit]
    return f"{significant(per_unit * amount, 3)} per {name}"
