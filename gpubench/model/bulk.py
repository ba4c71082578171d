"""``predict --cases``: a CSV of cases in, a CSV of predictions out, in the same order."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpubench.catalogue import GpuSpec, find
from gpubench.errors import InputError, UnknownName, nearest
from gpubench.model.operators import PARAMETERS
from gpubench.model.prediction import Predicted, predict_columns

REQUIRED: Final = ("case_id", "gpu", "workload", "precision")
OUTPUT: Final = ("case_id", "gpu", "predicted_s", "low_s", "high_s", "bound", "compute_s",
                 "memory_s", "launch_s", "energy_j")  # fmt: skip
_FLOATS: Final = ("predicted_s", "low_s", "high_s", "compute_s", "memory_s", "launch_s", "energy_j")


@dataclass(frozen=True, slots=True)
class Cases:
    """A table of cases: column -> one text a row."""

    columns: dict[str, list[str]]
    count: int
    errors: dict[int, str]


def read(path: Path) -> Cases:
    """Read a file of cases.

    Raises:
        InputError: no such file, no header, a required column missing or one twice. A row
            with too many fields keeps its place with an error.
    """
    try:
        stream = path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", file=str(path)) from error
    with stream:
        try:
            reader = csv.reader(stream)
            header = [h.strip() for h in next(reader, [])]
            _check_header(header, path)
            rows = [r for r in reader if r]
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"not a CSV file: {error}", file=str(path)) from error
    errors: dict[int, str] = {}
    width = len(header)
    for i, row in enumerate(rows):
        if len(row) != width:
            if len(row) > width:
                errors[i] = f"{len(row)} fields; the header has {width}"
            rows[i] = (row + [""] * width)[:width]
    by_column = list(zip(*rows, strict=True)) if rows else [()] * width
    columns = {h: list(column) for h, column in zip(header, by_column, strict=True)}
    return Cases(columns, len(rows), errors)


def predict_cases(cases: Cases, change: Callable[[GpuSpec], GpuSpec] = lambda g: g) -> Predicted:
    """Predict every case; bad rows are kept, with an error.

    Args:
        change: applied to every GPU, for what-if.
    """
    errors = dict(cases.errors)
    gpus: list[GpuSpec | None] = []
    known: dict[str, GpuSpec | str] = {}
    for i, name in enumerate(cases.columns["gpu"]):
        got = known.get(name)
        if got is None:
            got = known[name] = _gpu(name, change)
        if isinstance(got, str):
            errors.setdefault(i, got)
            gpus.append(None)
        else:
            gpus.append(got)
    workloads = [w.strip() for w in cases.columns["workload"]]
    for i, workload in enumerate(workloads):
        if workload not in PARAMETERS and i not in errors:
            errors[i] = str(UnknownName("workload", workload, PARAMETERS))
    precisions = [p.strip().lower() for p in cases.columns["precision"]]
    params = {n: v for n, v in cases.columns.items() if n not in REQUIRED}
    return predict_columns(gpus, workloads, precisions, params, errors)


def lines(cases: Cases, got: Predicted, cost: list[float | None] | None = None) -> Iterator[str]:
    """The output as CSV lines, header first; an ``error`` column only if a row has one."""
    failed = bool(got.errors)
    extra = (("cost_per_1000",) if cost is not None else ()) + (("error",) if failed else ())
    yield ",".join((*OUTPUT, *extra)) + "\n"
    ids, gpus = cases.columns["case_id"], cases.columns["gpu"]
    numbers = [getattr(got, n).tolist() for n in _FLOATS]
    bounds = got.bound.tolist()
    errors = got.errors
    for i, (p, low, high, comp, mem, launch, energy) in enumerate(zip(*numbers, strict=True)):
        start = f"{_quoted(ids[i])},{_quoted(gpus[i])},"
        if i in errors:
            tail = "," if cost is not None else ""
            yield f"{start},,,,,,,{tail},{_quoted(errors[i])}\n"
            continue
        joules = "" if energy != energy else f"{energy:.6g}"
        money = "" if cost is None else ("," if cost[i] is None else f",{cost[i]:.6g}")
        yield (f"{start}{p:.6g},{low:.6g},{high:.6g},{bounds[i]},{comp:.6g},{mem:.6g},"
               f"{launch:.6g},{joules}{money}{',' if failed else ''}\n")  # fmt: skip


def _quoted(text: str) -> str:
    if "," in text or '"' in text or "\n" in text or "\r" in text:
        return '"' + text.replace('"', '""') + '"'
    return text


def _gpu(name: str, change: Callable[[GpuSpec], GpuSpec]) -> GpuSpec | str:
    try:
        return change(find(name))
    except InputError as error:
        return str(error)


def _check_header(header: list[str], path: Path) -> None:
    for i, name in enumerate(header):
        if name in header[:i]:
            raise InputError(f"column {name!r} appears twice", file=str(path), line=1)
    for name in REQUIRED:
        if name not in header:
            raise InputError(
                f"column {name!r} is missing", file=str(path), line=1,
                expected=f"a header with {', '.join(REQUIRED)} and the workload's parameters",
                nearest=nearest(name, [h for h in header if h and h not in REQUIRED]),
            )  # fmt: skip
    known = {p for names in PARAMETERS.values() for p in names} | set(REQUIRED)
    for name in header:
        close = nearest(name, known)
        if name not in known and close is not None and close not in header and name:
            raise InputError(
                f"unknown column {name!r}", file=str(path), line=1,
                expected="parameters of the workloads", nearest=close,
            )  # fmt: skip
