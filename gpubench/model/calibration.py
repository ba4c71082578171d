"""A device as it was measured: a few anchors, and predictions corrected by them.

On a GPU of the catalogue the analytic model stays and each of its terms is scaled by what
an anchor showed of it: arithmetic by the GEMM of the same precision, traffic by the copy.
On any other device (a CPU) the anchors are the model: a roofline of measured ceilings.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from gpubench.catalogue import find
from gpubench.errors import InputError
from gpubench.model.prediction import predict
from gpubench.record import Measurement, Record
from gpubench.spec import Case
from gpubench.stats import summarize

SMOOTH: Final = 4.0
"""Exponent of the p-norm that joins arithmetic and traffic: they overlap, not fully."""
RATE, COPY, LAUNCH, CHECK = "anchor-gemm", "anchor-copy", "anchor-launch", "check"
"""Benchmarks of the `calibrate` suite, by what they are for; ``check-*`` are not used."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a device was measured to do.

    Attributes:
        device: identity of the device, see ``device_id``.
        name: the device's name.
        gpu_key: its row in the catalogue; None for a CPU or an unknown GPU.
        taken_at: ISO 8601, UTC.
        run_id: the run that the anchors are in.
        rates: precision -> FLOP/s of a large product.
        bandwidth_bytes_per_s: of a large copy, reading and writing counted; None if unknown.
        launch_s: time of the smallest product: what any call costs; None if unknown.
        clock_hz: median SM clock during the products, under the power limit.
        scales: ``compute:PRECISION`` and ``memory`` -> measured / predicted of the anchor.
    """

    device: str
    name: str
    taken_at: str
    run_id: str
    gpu_key: str | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    bandwidth_bytes_per_s: float | None = None
    launch_s: float | None = None
    clock_hz: float | None = None
    scales: Mapping[str, float] = field(default_factory=dict)


def calibrate(records: Iterable[Record], device: str, run_id: str, taken_at: str) -> Calibration:
    """Turn the anchors among ``records`` into a calibration.

    Raises:
        InputError: no anchor was measured.
    """
    rates: dict[str, float] = {}
    scales: dict[str, float] = {}
    clocks: list[float] = []
    bandwidth = launch = name = gpu_key = None
    for record in records:
        time_s, work = time_of(record), record.case.work
        if time_s is None or work is None:
            continue
        name, gpu_key = record.device.name, record.device.gpu_key
        ratio = scale(record, time_s)
        if record.case.benchmark == RATE:
            rates[record.case.precision] = work.flops / time_s
            clocks += clocks_of(record)
            if ratio:
                scales[f"compute:{record.case.precision}"] = ratio
        elif record.case.benchmark == COPY:
            bandwidth = work.bytes / time_s
            if ratio:
                scales["memory"] = ratio
        elif record.case.benchmark == LAUNCH:
            launch = time_s
    if not rates or name is None:
        raise InputError("nothing to calibrate with: no anchor was measured")
    clock = sorted(clocks)[len(clocks) // 2] if clocks else None
    return Calibration(
        device, name, taken_at, run_id, gpu_key, rates, bandwidth, launch, clock, scales
    )


def time_of(record: Record) -> float | None:
    """Median time of a measured record; None for others."""
    if not isinstance(record.outcome, Measurement):
        return None
    return summarize(record.outcome.samples).median_s


def clocks_of(record: Record) -> list[float]:
    """SM clocks read during a record."""
    readings = getattr(record.outcome, "readings", ())
    return [r.values["clock_hz"] for r in readings if "clock_hz" in r.values]


def scale(record: Record, time_s: float) -> float | None:
    """Measured / predicted of a record; None where the model has no word on it."""
    expected = datasheet_s(record.case, record.device.gpu_key)
    return time_s / expected if expected else None


def datasheet_s(case: Case, gpu_key: str | None) -> float | None:
    """Predicted time from datasheet facts; None for a device outside the catalogue."""
    if gpu_key is None:
        return None
    try:
        return predict(find(gpu_key), case.workload, case.precision, case.params).predicted_s
    except InputError:
        return None


def calibrated_s(calibration: Calibration, case: Case) -> float | None:
    """Expected time of a case on a calibrated device, in seconds.

    On a GPU: the predicted time, each term times its anchor's measured / predicted, joined
    in the shares the model gives them. Elsewhere launch + (compute^p + memory^p)^(1/p)
    with p = 4 over measured ceilings.

    Returns:
        None where an anchor is missing (a precision that was not measured, say).
    """
    if calibration.gpu_key is not None:
        return _scaled(calibration, case)
    work, rate = case.work, calibration.rates.get(case.precision)
    bandwidth, launch = calibration.bandwidth_bytes_per_s, calibration.launch_s or 0.0
    if work is None or bandwidth is None or (work.flops and rate is None):
        return None
    compute = work.flops / rate if rate and work.flops else 0.0
    memory = work.bytes / bandwidth
    return launch + float((compute**SMOOTH + memory**SMOOTH) ** (1 / SMOOTH))


def _scaled(calibration: Calibration, case: Case) -> float | None:
    try:
        p = predict(find(str(calibration.gpu_key)), case.workload, case.precision, case.params)
    except InputError:
        return None
    compute = calibration.scales.get(f"compute:{case.precision}")
    memory = calibration.scales.get("memory")
    terms = [(p.compute_s, compute), (p.memory_s, memory), (p.launch_s, 1.0)]
    # A term whose anchor is missing counts as it was predicted; without any, no answer.
    if compute is None and memory is None:
        return None
    total = sum(t for t, _ in terms)
    if total <= 0:
        return None
    # Weighted by the terms' own shares in the log, so that the ratio of a case that is
    # bound by one thing is the ratio of that thing's anchor.
    log_ratio = sum(t / total * math.log(s or 1.0) for t, s in terms)
    return p.predicted_s * math.exp(log_ratio)


@dataclass(frozen=True, slots=True)
class ModelErrors:
    """Mean absolute percentage errors over cases that were not anchors.

    Attributes:
        datasheet: of the prediction from datasheet facts; None where there is none.
        calibrated: of the calibrated prediction; None where there is none.
        cases: how many cases the second is over.
    """

    datasheet: float | None
    calibrated: float | None
    cases: int


def model_errors(calibration: Calibration, records: Iterable[Record]) -> ModelErrors:
    """Errors of both models over every measured record that is no anchor."""
    datasheet: list[float] = []
    calibrated: list[float] = []
    for record in records:
        time_s = time_of(record)
        if time_s is None or record.case.benchmark in (RATE, COPY, LAUNCH):
            continue
        for expected, into in (
            (datasheet_s(record.case, record.device.gpu_key), datasheet),
            (calibrated_s(calibration, record.case), calibrated),
        ):
            if expected is not None:
                into.append(abs(expected / time_s - 1))
    return ModelErrors(
        math.fsum(datasheet) / len(datasheet) if datasheet else None,
        math.fsum(calibrated) / len(calibrated) if calibrated else None,
        len(calibrated),
    )
