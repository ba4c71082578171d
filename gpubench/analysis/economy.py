"""Energy and cost of the same work: means by class over the cases that every subject knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from gpubench.analysis.comparison import PROVENANCES, Comparison, Row, Value
from gpubench.spec import Case
from gpubench.stats import geometric_mean

_Amount = Callable[[int, Value], float | None]
"""What a call of one subject uses, from its value: joules, or currency."""
_LEAST: Final = 2
"""Subjects that must know a class: of one alone nothing is compared."""


@dataclass(frozen=True, slots=True)
class Economy:
    """What the work of one class uses on each subject, from values of one kind.

    Attributes:
        provenance: measured, published or predicted: the most direct that they have in common.
        unit: of the work: ``FLOP``, or ``B`` where the class does no arithmetic.
        cases: how many the means are over.
        per_unit: geometric mean of joules (or of currency) per FLOP or byte; None for a subject
            that has no value of the class.
    """

    workload: str
    precision: str
    provenance: str
    unit: str
    cases: int
    per_unit: tuple[float | None, ...]


def energies(comparison: Comparison) -> tuple[Economy, ...]:
    """Joules per FLOP or byte, a class each; measured by NVML or RAPL, or predicted."""
    return _economies(comparison, lambda _, value: value.energy_j)


def costs(comparison: Comparison) -> tuple[Economy, ...]:
    """Currency per FLOP or byte: price of a GPU hour x time; nothing without a price list."""
    if comparison.prices is None:
        return ()

    def of_one(index: int, value: Value) -> float | None:
        thousand = cost_of_1000(comparison, index, value)
        return None if thousand is None else thousand / 1000.0

    return _economies(comparison, of_one)


def cost_of_1000(comparison: Comparison, index: int, value: Value) -> float | None:
    """Currency that 1,000 calls take on a subject; None without a price of its GPU."""
    prices, spec = comparison.prices, comparison.subjects[index].spec
    return prices.per_1000(spec, value.time_s) if prices and spec else None


def _economies(comparison: Comparison, amount: _Amount) -> tuple[Economy, ...]:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in comparison.rows:
        groups.setdefault((row.case.workload, row.case.precision), []).append(row)
    found = []
    for (workload, precision), rows in groups.items():
        for provenance in PROVENANCES:
            economy = _economy(rows, workload, precision, provenance, amount)
            if economy is not None:
                found.append(economy)
                break
    return tuple(found)


def _economy(
    rows: Sequence[Row], workload: str, precision: str, provenance: str, amount: _Amount
) -> Economy | None:
    """The means of one class from values of one kind; None where no two subjects share any."""
    unit = "FLOP" if any(r.case.work and r.case.work.flops for r in rows) else "B"
    table: list[list[float | None]] = []
    for row in rows:
        work = _work(row.case, unit)
        line: list[float | None] = []
        for index, entry in enumerate(row.entries):
            value = entry.values.get(provenance)
            used = amount(index, value) if value and not value.doubtful else None
            line.append(used / work if used and work else None)
        table.append(line)
    knowing = [i for i in range(len(table[0])) if any(line[i] is not None for line in table)]
    if len(knowing) < _LEAST:
        return None
    common = [line for line in table if all(line[i] is not None for i in knowing)]
    if not common:
        return None
    means = [
        geometric_mean([line[i] or 0.0 for line in common]) if i in knowing else None
        for i in range(len(table[0]))
    ]
    return Economy(workload, precision, provenance, unit, len(common), tuple(means))


def _work(case: Case, unit: str) -> float:
    if case.work is None:
        return 0.0
    return case.work.flops if unit == "FLOP" else case.work.bytes
