"""Records -> pandas DataFrame. The column names live here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import pandas as pd

from gpubench.analysis.results import Result, results
from gpubench.analysis.scaling import efficiencies
from gpubench.record import Failure, Record, Run

RUN_ID: Final = "run_id"
RUN_LABEL: Final = "run_label"
SUITE: Final = "suite"
KEY: Final = "case_key"
BENCHMARK: Final = "benchmark"
CASE: Final = "case"
WORKLOAD: Final = "workload"
PRECISION: Final = "precision"
DEVICE_TYPE: Final = "device_type"
DEVICE: Final = "device"
GPU_KEY: Final = "gpu_key"
PROVENANCE: Final = "provenance"
STATUS: Final = "status"
REASON: Final = "reason"
FAILURE_KIND: Final = "failure_kind"
TIME: Final = "time_s"
TIME_LOW: Final = "time_low_s"
TIME_HIGH: Final = "time_high_s"
CI_LEVEL: Final = "ci_level"
REL_CI: Final = "rel_ci"
REL_NOISE: Final = "rel_noise"
MINIMUM: Final = "min_s"
SAMPLES: Final = "samples"
SPOILED: Final = "spoiled"
HOST_ENQUEUE: Final = "host_enqueue_s"
FLOPS: Final = "flops"
BYTES: Final = "bytes"
INTENSITY: Final = "intensity"
FLOPS_PER_S: Final = "flops_per_s"
BYTES_PER_S: Final = "bytes_per_s"
PEAK_FLOPS_PER_S: Final = "peak_flops_per_s"
PEAK_BYTES_PER_S: Final = "peak_bytes_per_s"
PEAK_SOURCE: Final = "peak_source"
SHARE_OF_PEAK: Final = "share_of_peak"
PEAK_KIND: Final = "peak_kind"
SPEEDUP: Final = "speedup"
SPEEDUP_LOW: Final = "speedup_low"
SPEEDUP_HIGH: Final = "speedup_high"
REL_ERROR: Final = "rel_error"
TOLERANCE: Final = "tolerance"
TENSOR_CORES: Final = "tensor_cores"
EFFICIENCY: Final = "scaling_efficiency"
SCALING: Final = "scaling"
PREDICTED: Final = "predicted_s"
BOUND: Final = "bound"
ENERGY: Final = "energy_j"
METHOD: Final = "method"
CACHE: Final = "cache"
STOPPED_BY: Final = "stopped_by"
FLAGS: Final = "flags"
STARTED_AT: Final = "started_at"
PARAM: Final = "param."
"""Prefix of the columns that hold parameters."""

COLUMNS: Final = (
    RUN_ID, RUN_LABEL, SUITE, KEY, BENCHMARK, CASE, WORKLOAD, PRECISION, DEVICE_TYPE, DEVICE,
    GPU_KEY, PROVENANCE, STATUS, REASON, FAILURE_KIND, TIME, TIME_LOW, TIME_HIGH, CI_LEVEL,
    REL_CI, REL_NOISE, MINIMUM, SAMPLES, SPOILED, HOST_ENQUEUE, FLOPS, BYTES, INTENSITY,
    FLOPS_PER_S, BYTES_PER_S, PEAK_FLOPS_PER_S, PEAK_BYTES_PER_S, PEAK_SOURCE, SHARE_OF_PEAK,
    PEAK_KIND, SPEEDUP, SPEEDUP_LOW, SPEEDUP_HIGH, REL_ERROR, TOLERANCE, TENSOR_CORES,
    EFFICIENCY, SCALING, PREDICTED, BOUND, ENERGY, METHOD, CACHE, STOPPED_BY, FLAGS, STARTED_AT,
)  # fmt: skip
"""Every column but the parameters, in order."""

_NUMBERS: Final = (
    TIME, TIME_LOW, TIME_HIGH, CI_LEVEL, REL_CI, REL_NOISE, MINIMUM, HOST_ENQUEUE, FLOPS, BYTES,
    INTENSITY, FLOPS_PER_S, BYTES_PER_S, PEAK_FLOPS_PER_S, PEAK_BYTES_PER_S, SHARE_OF_PEAK,
    SPEEDUP, SPEEDUP_LOW, SPEEDUP_HIGH, REL_ERROR, TOLERANCE, EFFICIENCY, PREDICTED, ENERGY,
)  # fmt: skip
_COUNTS: Final = (SAMPLES, SPOILED)


def frame(runs: Sequence[tuple[Run, Sequence[Record]]]) -> pd.DataFrame:
    """One row a record of every run; absent values are missing, never 0."""
    return from_results([r for run, records in runs for r in results(run, records)])


def from_results(rows: Sequence[Result]) -> pd.DataFrame:
    """Build the same from results that are already derived."""
    names = list(dict.fromkeys(name for r in rows for name in r.record.case.params))
    columns = [*COLUMNS, *(PARAM + name for name in names)]
    table = pd.DataFrame([_row(r) | s for r, s in zip(rows, _scaled(rows), strict=True)],
                         columns=columns)  # fmt: skip
    for name in _NUMBERS:
        table[name] = table[name].astype("float64")
    for name in _COUNTS:
        table[name] = table[name].astype("Int64")
    for name in columns[len(COLUMNS) :]:
        table[name] = _one_type(table[name])
    rest = [c for c in COLUMNS if c not in _NUMBERS and c not in _COUNTS]
    return table.astype(dict.fromkeys(rest, "string"))


def _scaled(rows: Sequence[Result]) -> Iterator[dict[str, object]]:
    """Efficiency of steps over ranks, each within its run."""
    runs: dict[str, list[Result]] = {}
    for r in rows:
        runs.setdefault(r.run.id, []).append(r)
    found = {run: efficiencies(members) for run, members in runs.items()}
    for r in rows:
        e = found[r.run.id].get(r.record.case.key)
        yield {EFFICIENCY: e.value, SCALING: e.kind} if e else {}


def _one_type(values: pd.Series[Any]) -> pd.Series[Any]:
    """Hold a parameter column in one type, as files with typed columns need it."""
    kinds = {type(v) for v in values if isinstance(v, str | bool | int | float) and v == v}
    if kinds == {bool}:
        return values.astype("boolean")
    if kinds == {int} and all(abs(int(v)) < 2**63 for v in values if isinstance(v, int)):
        return values.astype("Int64")
    if kinds and kinds <= {int, float}:
        return values.astype("float64")
    return values.map(str, na_action="ignore").astype("string")


def _row(result: Result) -> dict[str, object]:
    record = result.record
    case, outcome = record.case, record.outcome
    row: dict[str, object] = {
        RUN_ID: result.run.id,
        RUN_LABEL: result.run.label,
        SUITE: result.run.suite,
        KEY: case.key,
        BENCHMARK: case.benchmark,
        CASE: result.name,
        WORKLOAD: case.workload,
        PRECISION: case.precision,
        DEVICE_TYPE: record.device.type,
        DEVICE: record.device.name,
        GPU_KEY: record.device.gpu_key,
        PROVENANCE: result.provenance,
        STATUS: record.status,
        REASON: result.reason,
        FAILURE_KIND: outcome.kind if isinstance(outcome, Failure) else None,
        FLOPS: case.work.flops if case.work else None,
        BYTES: case.work.bytes if case.work else None,
        INTENSITY: case.work.intensity if case.work else None,
        PEAK_FLOPS_PER_S: record.peaks.flops_per_s,
        PEAK_BYTES_PER_S: record.peaks.bytes_per_s,
        PEAK_SOURCE: record.peaks.source,
        PREDICTED: record.model.predicted_s,
        BOUND: record.model.bound,
        ENERGY: record.energy.joules,
        FLAGS: ";".join(result.flags),
        STARTED_AT: record.started_at,
    }
    row.update((PARAM + name, value) for name, value in case.params.items())
    return row | _measured(result)


def _measured(result: Result) -> dict[str, object]:
    m, s = result.measurement, result.summary
    if m is None or s is None:
        return {}
    speedup, accuracy = result.speedup, m.accuracy
    return {
        TIME: s.median_s,
        TIME_LOW: s.ci_low_s,
        TIME_HIGH: s.ci_high_s,
        CI_LEVEL: s.ci_level,
        REL_CI: s.rel_ci,
        REL_NOISE: s.rel_noise,
        MINIMUM: s.min_s,
        SAMPLES: s.n,
        SPOILED: s.n_spoiled,
        HOST_ENQUEUE: s.host_enqueue_s,
        FLOPS_PER_S: result.flops_per_s.value if result.flops_per_s else None,
        BYTES_PER_S: result.bytes_per_s.value if result.bytes_per_s else None,
        SHARE_OF_PEAK: result.share_of_peak,
        PEAK_KIND: result.peak_kind,
        SPEEDUP: speedup.value if speedup else None,
        SPEEDUP_LOW: speedup.low if speedup else None,
        SPEEDUP_HIGH: speedup.high if speedup else None,
        REL_ERROR: accuracy.rel_error if accuracy else None,
        TOLERANCE: accuracy.tolerance if accuracy else None,
        TENSOR_CORES: m.tensor_cores.verdict if m.tensor_cores else None,
        METHOD: m.method,
        CACHE: m.cache,
        STOPPED_BY: m.stopped_by,
    }
