"""What a comparison says: speed-ups of classes, why, the article's two terms, disagreements."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from gpubench.analysis.comparison import (
    PROVENANCES,
    Asked,
    Comparison,
    Entry,
    Row,
    Speedup,
    Value,
    expectations,
)
from gpubench.spec import Case
from gpubench.stats import geometric_mean

TENSOR_PRECISIONS: Final = ("tf32", "fp16", "bf16", "fp8")


@dataclass(frozen=True, slots=True)
class ClassSpeedup:
    """Geometric mean of the speed-ups of a class of cases, of one provenance."""

    subject: int
    workload: str
    precision: str
    provenance: str
    cases: int
    ratio: float
    low: float
    high: float


def class_speedups(comparison: Comparison) -> tuple[ClassSpeedup, ...]:
    """Geometric means by workload and precision, apart for each provenance.

    The ends are the geometric means of the cases' ends: errors of a model are shared by
    the cases of a class, so the mean of many is no better known than one.
    """
    found = []
    for index in range(len(comparison.subjects) - 1):
        groups: dict[tuple[str, str, str], list[Speedup]] = {}
        for row in comparison.rows:
            for kind in PROVENANCES:
                speedup = row.speedup(index, kind)
                if speedup:
                    key = (row.case.workload, row.case.precision, kind)
                    groups.setdefault(key, []).append(speedup)
        for (workload, precision, kind), speedups in groups.items():
            found.append(
                ClassSpeedup(
                    index, workload, precision, kind, len(speedups),
                    *(geometric_mean([getattr(s, end) for s in speedups])
                      for end in ("ratio", "low", "high")),
                )
            )  # fmt: skip
    return tuple(found)


def why(comparison: Comparison, row: Row, index: int) -> str:
    """Why a subject is that much faster on a case: what bounds both, and the facts behind.

    From the model's terms and the datasheets; empty where the model has no word on both.
    """
    a, b = row.entries[index].values.get("predicted"), row.entries[-1].values.get("predicted")
    x, y = comparison.subjects[index].spec, comparison.reference.spec
    if not (a and b and x and y):
        return ""
    precision = row.case.precision
    parts = [
        f"{a.bound}-bound"
        if a.bound == b.bound
        else f"{a.bound}-bound here, {b.bound}-bound on {y.name}"
    ]
    if "compute" in (a.bound, b.bound):
        here, there = x.peak_flops(precision), y.peak_flops(precision)
        if here and there:
            parts.append(f"{here / there:.2g}x the {precision} {_units(a, b)}")
    if "memory" in (a.bound, b.bound):
        parts.append(f"{x.memory_bw_bytes_per_s / y.memory_bw_bytes_per_s:.2g}x the bandwidth")
    if a.bound == b.bound == "launch":
        parts.append("too short for either GPU's size to matter")
    return ", ".join(parts)


def _units(a: Value, b: Value) -> str:
    """The peaks, by the units of the two GPUs."""
    if a.on_tensor_cores == b.on_tensor_cores:
        return "Tensor Core peak" if a.on_tensor_cores else "CUDA core peak"
    names = {True: "Tensor Cores", False: "CUDA cores", None: "unknown units"}
    return f"peak, {names[a.on_tensor_cores]} against {names[b.on_tensor_cores]}"


@dataclass(frozen=True, slots=True)
class TensorCoreGain:
    """The article's two terms for one case on one subject, by the model.

    Attributes:
        tensor_core_s: C_TC, time of the arithmetic on Tensor Cores.
        other_s: C_T, everything else: memory traffic that is not hidden, and launch.
        total_s: the predicted time, their sum.
        cuda_core_s: predicted time of the same product in FP32 on CUDA cores.
    """

    subject: int
    case: Case
    tensor_core_s: float
    other_s: float
    total_s: float
    cuda_core_s: float

    @property
    def gain(self) -> float:
        """How many times faster the Tensor Cores make the case."""
        return self.cuda_core_s / self.total_s


def tensor_core_gains(comparison: Comparison) -> tuple[TensorCoreGain, ...]:
    """C_TC and C_T of every case that runs on Tensor Cores, beside FP32 on CUDA cores."""
    asked: list[tuple[Asked, Value]] = []
    for row in comparison.rows:
        if row.case.precision not in TENSOR_PRECISIONS:
            continue
        for index, e in enumerate(row.entries):
            p, spec = e.values.get("predicted"), comparison.subjects[index].spec
            if p and spec and p.on_tensor_cores and p.compute_s is not None:
                asked.append(((index, spec, row.case, "fp32"), p))
    plain = expectations([question for question, _ in asked])
    found = []
    for (index, _, case, _), p in asked:
        cores = plain[index, case.key]
        if isinstance(cores, Value) and p.compute_s is not None:
            on_tensor = min(p.compute_s, p.time_s)
            found.append(
                TensorCoreGain(index, case, on_tensor, p.time_s - on_tensor, p.time_s, cores.time_s)
            )
    return tuple(found)


def disagreements(comparison: Comparison) -> tuple[tuple[int, Row], ...]:
    """(subject, row) where model and knowledge disagree by more than the band, worst first."""
    found = [
        (index, row)
        for row in comparison.rows
        for index, e in enumerate(row.entries)
        if e.outside_band
    ]
    return tuple(sorted(found, key=lambda f: -abs(_log_error(f[1].entries[f[0]]))))


def _log_error(e: Entry) -> float:
    error = e.model_error
    return math.log1p(error) if error is not None else 0.0
