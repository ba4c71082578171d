"""The table of all cases: every value by its provenance, and all terms on demand."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import partial

from gpubench.analysis.comparison import PROVENANCES, Comparison, Entry, Row, Value
from gpubench.analysis.economy import cost_of_1000
from gpubench.analysis.flags import beside_number, flag_info
from gpubench.analysis.gains import why
from gpubench.analysis.naming import value_text
from gpubench.report import view
from gpubench.report.comparison.marks import (
    ABSENT,
    MARKS,
    ON_CPU,
    Names,
    anchor,
    band_of,
    kind,
    missing,
    ratio_kinds,
    signed,
    speedup_text,
    time_band,
    times,
)
from gpubench.report.view import Cell, Column, Fact, Group, SkipGroup
from gpubench.units import scaled, show, significant

_Cells = Callable[[Row], Cell]
_ABSENT = Cell(ABSENT)

OUTSIDE = "outside the band"
_HINTS = {
    "measured": "Median of a stored run, and its 95 % interval.",
    "published": "From a shipped source; the details name it.",
    "predicted": "By the cost model: 80 % band, and what bounds it.",
}


def columns_and_rows(
    comparison: Comparison, names: Names
) -> tuple[tuple[Column, ...], tuple[view.Row, ...]]:
    """Columns that have something to show, and a row for each case."""
    used = [
        (column, cell) for column, cell in _columns(comparison, names)
        if not column.numeric or any(cell(r) != _ABSENT for r in comparison.rows)
    ]  # fmt: skip
    rows = tuple(
        view.Row(
            anchor=anchor(row),
            status=_status(row),
            benchmark=row.case.benchmark,
            precision=row.case.precision,
            tone="warn" if any(e.outside_band for e in row.entries) else "ok",
            index=index,
            cells=tuple(cell(row) for _, cell in used),
            details=_details(comparison, names, row),
            unit="",
        )
        for index, row in enumerate(comparison.rows)
    )
    return tuple(c for c, _ in used), rows


def _status(row: Row) -> str:
    """The most direct knowledge of any subject; disagreement comes first."""
    if any(e.outside_band for e in row.entries):
        return OUTSIDE
    return next(p for p in PROVENANCES if any(p in e.values for e in row.entries))


def _columns(comparison: Comparison, names: Names) -> Iterator[tuple[Column, _Cells]]:
    yield (
        Column("Case", "case", "What tells this case from others of its benchmark.", False),
        lambda r: Cell(names.cases[r.case.key], r.case.benchmark),
    )
    yield (
        Column("Precision", "precision", "fp32 is always true FP32.", False),
        lambda r: Cell(r.case.precision),
    )
    several = len(comparison.subjects) > 2
    for provenance in PROVENANCES:
        for index, name in enumerate(names.subjects[:-1]):
            whose = f"{name} speed-up" if several else "Speed-up"
            yield (
                Column(f"{whose}, {provenance}", f"{name}_speedup_{provenance}",
                       f"Time of {names.reference} / time of {name}, both {provenance}.", True),
                _speedup_cell(comparison, index, provenance),
            )  # fmt: skip
    for index, name in enumerate(names.subjects):
        for provenance in PROVENANCES:
            yield (
                Column(f"{name} {provenance}", f"{name}_{provenance}_s", _HINTS[provenance], True),
                _time_cell(comparison, index, provenance),
            )
        yield (
            Column(f"{name} energy", f"{name}_energy_j", "Joules of one call.", True),
            _amount_cell(comparison, index, lambda v: v.energy_j, lambda j: scaled(j, "J")),
        )
        yield (
            Column(f"{name} cost of 1,000", f"{name}_cost_1000", "Of 1,000 calls.", True),
            _amount_cell(comparison, index, partial(cost_of_1000, comparison, index), _money),
        )
        yield (
            Column(f"{name} error of model", f"{name}_model_error",
                   "Predicted / known - 1; known is measured, else published.", True),
            _error_cell(index),
        )  # fmt: skip


def _time_cell(comparison: Comparison, index: int, provenance: str) -> _Cells:
    def cell(row: Row) -> Cell:
        value = row.entries[index].values.get(provenance)
        if value is None:
            return _ABSENT
        shown = kind(comparison, row, index, provenance)
        parts = [time_band(value)] if value.low_s < value.high_s else []
        parts += [value.bound] if value.bound else []
        parts += ["CPU"] if shown == ON_CPU else []
        parts += beside_number(value.flags)
        return Cell(f"{MARKS[shown]} {scaled(value.time_s, 's')}", ", ".join(parts), value.time_s)

    return cell


def _money(amount: float) -> str:
    return significant(amount, 3)


def _amount_cell(
    comparison: Comparison, index: int, amount: Callable[[Value], float | None],
    text: Callable[[float], str],
) -> _Cells:  # fmt: skip
    """What one call or a thousand of them take, from the most direct value that tells it."""

    def cell(row: Row) -> Cell:
        for provenance in PROVENANCES:
            value = row.entries[index].values.get(provenance)
            found = amount(value) if value is not None else None
            if value is not None and found is not None:
                mark = MARKS[kind(comparison, row, index, provenance)]
                return Cell(f"{mark} {text(found)}", ", ".join(beside_number(value.flags)), found)
        return _ABSENT

    return cell


def _error_cell(index: int) -> _Cells:
    def cell(row: Row) -> Cell:
        error = row.entries[index].model_error
        if error is None:
            return _ABSENT
        outside = "outside the band" if row.entries[index].outside_band else ""
        return Cell(signed(error), outside, error)

    return cell


def _speedup_cell(comparison: Comparison, index: int, provenance: str) -> _Cells:
    shown = ratio_kinds(comparison, index)

    def cell(row: Row) -> Cell:
        found = row.speedup(index, provenance) if provenance in shown else None
        if found is None:
            return _ABSENT
        mark = MARKS[kind(comparison, row, index, provenance)]
        return Cell(f"{mark} {times(found.ratio)}", band_of(found.low, found.high), found.ratio)

    return cell


# ---------------------------------------------------------------- details


def _details(comparison: Comparison, names: Names, row: Row) -> tuple[Group, ...]:
    groups = [
        Group(name, tuple(_entry(comparison, row, index, e)))
        for index, (name, e) in enumerate(zip(names.subjects, row.entries, strict=True))
    ]
    groups.append(Group("Speed-up", tuple(_speedups(comparison, names, row))))
    groups.append(Group("Case", tuple(_case(row))))
    return tuple(groups)


def _entry(comparison: Comparison, row: Row, index: int, e: Entry) -> Iterator[Fact]:
    for provenance in PROVENANCES:
        value = e.values.get(provenance)
        if value:
            yield from _value(kind(comparison, row, index, provenance), value)
    for other in e.others:
        yield Fact("✚ Also published", f"{scaled(other.time_s, 's', 4)}, {other.source}",
                   other.note)  # fmt: skip
    if e.model_error is not None and e.best_known is not None:
        where = "outside" if e.outside_band else "inside"
        yield Fact("Model error", f"{signed(e.model_error)} against {e.best_known.provenance},"
                   f" {where} the band")  # fmt: skip
    if "measured" not in e.values and comparison.subjects[index].run is None:
        yield Fact("Measured", ABSENT, "no stored run of it")
    if e.reason or not e.values:
        yield Fact("Missing", ABSENT, missing(e))


def _value(shown: str, value: Value) -> Iterator[Fact]:
    title = shown[0].upper() + shown[1:]
    interval = f" ({time_band(value)})" if value.low_s < value.high_s else ""
    yield Fact(f"{MARKS[shown]} {title}", scaled(value.time_s, "s", 4) + interval)
    if shown == "predicted":
        yield from _terms(value)
        return
    yield Fact("Source", value.source, value.note)
    if value.on_tensor_cores is not None:
        yield Fact("Tensor Cores", "used" if value.on_tensor_cores else "not used")
    if value.energy_j is not None:
        yield Fact("Energy per call", show("energy_j", value.energy_j))
    for flag in value.flags:
        info = flag_info(flag)
        yield Fact(info.title[:1].upper() + info.title[1:], info.meaning)


def _terms(value: Value) -> Iterator[Fact]:
    if value.bound:
        yield Fact("Bound by", value.bound)
    for label, seconds in (("Arithmetic", value.compute_s), ("Memory traffic", value.memory_s),
                           ("Launch", value.launch_s)):  # fmt: skip
        if seconds is not None:
            yield Fact(label, scaled(seconds, "s"))
    if value.on_tensor_cores is not None:
        yield Fact("Units", "Tensor Cores" if value.on_tensor_cores else "CUDA cores")
    if value.energy_j is not None:
        yield Fact("Energy per call", show("energy_j", value.energy_j))
    else:
        yield Fact("Energy per call", ABSENT, "the power model has no value")
    yield Fact("Source", value.source, value.note)


def _speedups(comparison: Comparison, names: Names, row: Row) -> Iterator[Fact]:
    for index, name in enumerate(names.subjects[:-1]):
        found = [s for p in PROVENANCES if (s := row.speedup(index, p))]
        for s in found:
            yield Fact(f"{name} over {names.reference}", speedup_text(s))
        if not found:
            yield Fact(f"{name} over {names.reference}", ABSENT,
                       "no kind of value is known of both")  # fmt: skip
        reason = why(comparison, row, index)
        if reason:
            yield Fact("Why", reason)


def _case(row: Row) -> Iterator[Fact]:
    case = row.case
    yield Fact("Parameters", " ".join(f"{k}={value_text(v)}" for k, v in case.params.items()))
    yield Fact("Workload", f"{case.workload} in {case.precision}, benchmark {case.benchmark}")
    if case.work:
        yield Fact("FLOPs", f"{scaled(case.work.flops, 'FLOP')} ({case.work.formula})")
        yield Fact("Compulsory traffic", scaled(case.work.bytes, "B"))
        if case.work.intensity is not None:
            yield Fact("Arithmetic intensity", show("intensity", case.work.intensity))
    yield Fact("Key", case.key)


def missing_groups(comparison: Comparison, names: Names) -> tuple[SkipGroup, ...]:
    """What is not known of any subject, by reason, the commonest first."""
    groups: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for row in comparison.rows:
        for name, e in zip(names.subjects, row.entries, strict=True):
            if not e.values:
                groups[name, missing(e)][row.case.precision] += 1
    ordered = sorted(groups.items(), key=lambda item: -item[1].total())
    return tuple(
        SkipGroup(
            f"{name}: {reason}",
            f"{counts.total()} case" + ("s" if counts.total() > 1 else ""),
            ", ".join(f"{precision} ({n})" for precision, n in counts.items()),
        )
        for (name, reason), counts in ordered
    )
