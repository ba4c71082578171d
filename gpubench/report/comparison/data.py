"""A comparison as data: one JSON document, or one flat row a value."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any, Final

from gpubench import codec
from gpubench.analysis.caveats import caveats, verdict
from gpubench.analysis.comparison import PROVENANCES, Comparison, Entry, Row, Speedup, Value
from gpubench.analysis.economy import Economy, costs, energies
from gpubench.analysis.gains import class_speedups, why
from gpubench.errors import InputError
from gpubench.report.comparison.marks import Names, names_in
from gpubench.report.payload import compact, escape_script

Json = dict[str, Any]

_VALUE: Final = (
    "time_s", "low_s", "high_s", "source", "note", "bound", "compute_s", "memory_s", "launch_s",
    "energy_j", "on_tensor_cores",
)  # fmt: skip
COLUMNS: Final = (
    "suite", "case_key", "benchmark", "case", "workload", "precision", "subject", "device",
    "provenance", *_VALUE, "flags", "reference", "speedup", "speedup_low", "speedup_high",
    "model_error", "outside_band", "reason",
)  # fmt: skip
"""Columns of the flat form; parameters follow as ``param.*``."""


def document(comparison: Comparison) -> str:
    """The whole comparison as JSON."""
    return codec.dumps(_document(comparison), indent=2) + "\n"


def embedded(comparison: Comparison) -> str:
    """The same for a script element: compact, and unable to leave it."""
    return escape_script(compact(_document(comparison)))


def _document(comparison: Comparison) -> Json:
    names = names_in(comparison)
    return {
        "schema_version": codec.SCHEMA_VERSION,
        "comparison": {
            "suite": comparison.suite,
            "description": comparison.description,
            "verdict": verdict(comparison),
            "caveats": [{"severity": c.severity, "text": c.text} for c in caveats(comparison)],
            "reference": names.reference,
            "subjects": [
                {
                    "name": name, "given": s.name, "title": s.title, "kind": s.kind,
                    "gpu_key": s.spec.key if s.spec else None, "run": s.run.id if s.run else None,
                }
                for name, s in zip(names.subjects, comparison.subjects, strict=True)
            ],
            "speedups": [
                {
                    "subject": names.subjects[c.subject], "workload": c.workload,
                    "precision": c.precision, "provenance": c.provenance, "cases": c.cases,
                    "geometric_mean": c.ratio, "low": c.low, "high": c.high,
                }
                for c in class_speedups(comparison)
            ],
            "energy": [_economy(names, e, "joules") for e in energies(comparison)],
            "cost": [_economy(names, e, "cost") for e in costs(comparison)],
            "currency": comparison.prices.currency if comparison.prices else None,
            "cases": [_case(comparison, names, row) for row in comparison.rows],
        },
    }  # fmt: skip


def _economy(names: Names, e: Economy, what: str) -> Json:
    """Means of a class: joules or currency per FLOP or byte, by subject."""
    return {
        "workload": e.workload, "precision": e.precision, "provenance": e.provenance,
        "cases": e.cases,
        f"{what}_per_{ {'FLOP': 'flop', 'B': 'byte'}[e.unit] }": {
            name: v for name, v in zip(names.subjects, e.per_unit, strict=True) if v is not None
        },
    }  # fmt: skip


def _case(comparison: Comparison, names: Names, row: Row) -> Json:
    case = row.case
    return {
        "case": {
            "key": case.key, "benchmark": case.benchmark, "workload": case.workload,
            "precision": case.precision, "params": dict(case.params),
        },
        "work": {"flops": case.work.flops, "bytes": case.work.bytes} if case.work else None,
        "subjects": {
            name: _entry(comparison, row, index, e)
            for index, (name, e) in enumerate(zip(names.subjects, row.entries, strict=True))
        },
    }  # fmt: skip


def _entry(comparison: Comparison, row: Row, index: int, e: Entry) -> Json:
    found: Json = {
        "values": {p: _value(v) for p, v in e.values.items()},
        "others": [_value(v) for v in e.others],
        "model_error": e.model_error,
        "outside_band": e.outside_band,
        "reason": e.reason,
    }
    if index < len(row.entries) - 1:
        found["speedups"] = {
            p: {"ratio": s.ratio, "low": s.low, "high": s.high}
            for p in PROVENANCES if (s := row.speedup(index, p))
        }  # fmt: skip
        found["why"] = why(comparison, row, index)
    return {k: v for k, v in found.items() if v not in (None, [], {}, "")}


def _value(value: Value) -> Json:
    kept = {n: getattr(value, n) for n in _VALUE} | {"flags": list(value.flags)}
    return {k: v for k, v in kept.items() if v not in (None, [], "")}


# ---------------------------------------------------------------- flat


def csv_text(comparison: Comparison) -> str:
    """One line a value; a line without one says why."""
    rows = list(_flat(comparison))
    out = io.StringIO()
    writer = csv.DictWriter(out, _columns(comparison), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def parquet(comparison: Comparison) -> bytes:
    """The same as Parquet.

    Raises:
        InputError: pyarrow is not there.
    """
    try:
        import pyarrow as arrow
        import pyarrow.parquet as files
    except ImportError as error:
        raise InputError(
            "Parquet needs pyarrow", expected="it installed: pip install 'gpubench[parquet]'"
        ) from error
    rows = list(_flat(comparison))
    columns = {name: _one_type([r.get(name) for r in rows]) for name in _columns(comparison)}
    sink = arrow.BufferOutputStream()
    files.write_table(arrow.table(columns), sink)
    return bytes(sink.getvalue().to_pybytes())


def _one_type(values: list[Any]) -> list[Any]:
    """A column whose values differ in type becomes text."""
    kinds = {type(v) for v in values if v is not None}
    if len(kinds) <= 1:
        return values
    convert = float if kinds == {int, float} else str
    return [None if v is None else convert(v) for v in values]


def _columns(comparison: Comparison) -> list[str]:
    params = dict.fromkeys(f"param.{n}" for row in comparison.rows for n in row.case.params)
    return [*COLUMNS, *params]


def _flat(comparison: Comparison) -> Iterator[Json]:
    names = names_in(comparison)
    for row in comparison.rows:
        case = row.case
        head: Json = {
            "suite": comparison.suite, "case_key": case.key, "benchmark": case.benchmark,
            "case": names.cases[case.key], "workload": case.workload, "precision": case.precision,
            "reference": names.reference, **{f"param.{n}": v for n, v in case.params.items()},
        }  # fmt: skip
        for index, e in enumerate(row.entries):
            mine = head | {"subject": names.subjects[index],
                           "device": comparison.subjects[index].title}  # fmt: skip
            for value in e.values.values():
                s = row.speedup(index, value.provenance) if index < len(row.entries) - 1 else None
                yield mine | _flat_value(e, value, s)
            for value in e.others:
                yield mine | _flat_value(e, value, None)
            if not e.values:
                yield mine | {"reason": e.reason}


def _flat_value(e: Entry, value: Value, s: Speedup | None) -> Json:
    found: Json = {"provenance": value.provenance} | {n: getattr(value, n) for n in _VALUE}
    found["flags"] = ";".join(value.flags)
    if s:
        found |= {"speedup": s.ratio, "speedup_low": s.low, "speedup_high": s.high}
    if value is e.best_known and e.model_error is not None:
        found |= {"model_error": e.model_error, "outside_band": e.outside_band}
    return found
