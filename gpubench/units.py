"""Metrics, their units and direction of better; the only formatter of numbers.

Values are held in SI base units everywhere (``_s``, ``_j``, ``_hz``, ``_bytes``);
scaling to ms, TFLOP/s or GB happens here and nowhere else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Metric:
    """What a number means.

    Attributes:
        name: the key the value is stored under.
        unit: SI unit as written after a value (``s``, ``FLOP/s``); empty for ratios.
        title: heading in a table.
        better: ``"lower"``, ``"higher"`` or ``"none"``.
        hint: one sentence on how it was made.
    """

    name: str
    unit: str
    title: str
    better: str
    hint: str


METRICS: Final[dict[str, Metric]] = {
    m.name: m
    for m in (
        Metric("time_s", "s", "Time", "lower", "Median over the samples, per call."),
        Metric("host_enqueue_s", "s", "Host enqueue", "lower", "Host time to submit one call."),
        Metric("flops_per_s", "FLOP/s", "Throughput", "higher", "FLOPs counted / median time."),
        Metric("bytes_per_s", "B/s", "Bandwidth", "higher", "Compulsory bytes / median time."),
        Metric(
            "samples_per_s",
            "sample/s",
            "Samples per second",
            "higher",
            "Samples of a step / median time.",
        ),
        Metric(
            "tokens_per_s",
            "token/s",
            "Tokens per second",
            "higher",
            "Tokens of a step / median time.",
        ),
        Metric(
            "candidates_per_s",
            "candidate/s",
            "Candidates per second",
            "higher",
            "Candidates of all users / median time.",
        ),
        Metric("intensity", "FLOP/B", "Arithmetic intensity", "none", "FLOPs / compulsory bytes."),
        Metric("share_of_peak", "", "Share of peak", "higher", "Throughput / datasheet peak."),
        Metric("speedup", "x", "Speed-up", "higher", "Baseline median time / median time."),
        Metric("rel_noise", "", "Noise", "lower", "Interquartile range / median."),
        Metric("rel_error", "", "Error", "lower", "||out - ref64|| / ||ref64||, Frobenius norm."),
        Metric("energy_j", "J", "Energy", "lower", "Energy per call."),
        Metric("power_w", "W", "Power", "none", "Board power, instant where it is told."),
        Metric("power_average_w", "W", "Power, averaged by the driver", "none", "Board power."),
        Metric("energy_counter_j", "J", "Energy counter", "none", "Since the driver was loaded."),
        Metric("utilisation", "", "Utilisation", "none", "Share of time in which a kernel ran."),
        Metric("tensor_activity", "", "Tensor pipe active", "none", "By NVML GPM, Hopper on."),
        Metric("memory_clock_hz", "Hz", "Memory clock", "none", "During the measurement."),
        Metric("cpu_clock_hz", "Hz", "CPU clock", "none", "Mean over the CPUs read."),
        Metric("memory_used_bytes", "B", "Memory in use", "none", "On the device, by everybody."),
        Metric("foreign_processes", "", "Other processes", "none", "That compute on the GPU."),
        Metric("foreign_cpus", "", "CPUs in use by others", "none", "Averaged between readings."),
        Metric("clock_hz", "Hz", "SM clock", "none", "SM clock during the measurement."),
        Metric("temperature_c", "°C", "Temperature", "none", "Of the GPU's core or the CPU."),
        Metric("bytes", "B", "Bytes", "none", "Bytes."),
    )
}

_SI_UP: Final = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_SI_DOWN: Final = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"))


def significant(value: float, digits: int = 3) -> str:
    """``value`` with that many significant digits and no exponent, e.g. ``12.3``."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:.{decimals}f}"
    # 9.996 rounds up to 10.00: one digit too many once the exponent has moved.
    if len(text.lstrip("-").replace(".", "").lstrip("0")) > digits and decimals > 0:
        text = f"{value:.{decimals - 1}f}"
    return text


def scaled(value: float, unit: str, digits: int = 3) -> str:
    """``value`` in an SI-prefixed unit: ``scaled(3.1e-5, "s")`` is ``"31.0 µs"``.

    A ratio (empty unit) is given as is, ``"x"`` without a space.
    """
    if not math.isfinite(value):
        return str(value)
    if unit in ("", "x"):
        return significant(value, digits) + unit
    if unit == "°C":
        return f"{value:.0f} °C"
    magnitude = abs(value)
    # Rounding first, so that 999.96 becomes 1.00 k and never 1000.
    rounded = float(f"{magnitude:.{digits - 1}e}") if magnitude else 0.0
    # Nobody says kiloseconds.
    for factor, prefix in _SI_UP if unit != "s" else ():
        if rounded >= factor:
            return f"{significant(value / factor, digits)} {prefix}{unit}"
    if rounded == 0:
        return f"0 {unit}"
    for factor, prefix in _SI_DOWN:
        if rounded >= factor:
            return f"{significant(value / factor, digits)} {prefix}{unit}"
    return f"{value:.{digits - 1}e} {unit}"


def percent(ratio: float, digits: int = 2) -> str:
    """A ratio as a percentage: ``percent(0.0123)`` is ``"1.2 %"``."""
    return f"{significant(ratio * 100, digits)} %"


def bytes_iec(count: float) -> str:
    """A byte count in binary multiples, as memory sizes are quoted: ``"40.0 GiB"``."""
    value = float(count)
    for prefix in ("", "Ki", "Mi", "Gi"):
        if abs(value) < 1024:
            return f"{value:.0f} B" if not prefix else f"{significant(value)} {prefix}B"
        value /= 1024
    return f"{significant(value)} TiB"


def show(name: str, value: float | None) -> str:
    """A metric's value for people; an absent one is an en dash."""
    if value is None:
        return "–"
    metric = METRICS[name]
    if name in ("share_of_peak", "rel_noise", "utilisation", "tensor_activity"):
        return percent(value)
    if name == "rel_error":
        return f"{value:.1e}"
    return scaled(value, metric.unit)
