"""What every operator model returns, and how its parts are put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
"""One number a case; shape (cases,)."""

Constants: TypeAlias = Mapping[str, Mapping[str, float]]
"""Fitted constants: class -> name -> value; see ``constants.json``."""


@dataclass(frozen=True, slots=True)
class Detail:
    """One intermediate quantity, for ``--explain``.

    Attributes:
        value: shape (cases,).
        unit: SI unit, or "" for a pure number.
        formula: how it came about, in the names of other details and parameters.
    """

    value: Array
    unit: str
    formula: str


@dataclass(frozen=True, slots=True)
class Terms:
    """The predicted time of some cases, part by part. Arrays of shape (cases,).

    Attributes:
        time_s: the prediction.
        compute_s: time the arithmetic units alone would take, at the clock the power allows.
        memory_s: time the memory traffic alone would take.
        launch_s: fixed cost of the call: launch, driver, synchronisation.
        core_j: energy of arithmetic and on-chip movement; NaN where not supportable.
        dram_bytes: device-memory traffic.
        clock_share: clock that the power limit allows / boost clock.
        details: name -> intermediate quantity, in the order of the derivation.
    """

    time_s: Array
    compute_s: Array
    memory_s: Array
    launch_s: Array
    core_j: Array
    dram_bytes: Array
    clock_share: Array
    details: Mapping[str, Detail]


def combine(p: float, *parts: Array) -> Array:
    """Overlap of parts that run side by side: (sum of t^p)^(1/p), seconds.

    p = 1 is no overlap (the sum), p = infinity perfect overlap (the roofline's maximum).
    """
    largest = np.maximum.reduce(parts)
    safe = np.where(largest > 0, largest, 1.0)
    total = np.zeros_like(safe)
    for part in parts:
        total = total + (part / safe) ** p
    return np.asarray(largest * total ** (1.0 / p), dtype=np.float64)


def ceil_div(a: Array, b: float | Array) -> Array:
    """Smallest whole number of tiles ``b`` that cover ``a``."""
    return np.asarray(np.ceil(a / b), dtype=np.float64)


def step(x: Array, sharpness: float) -> Array:
    """A smooth step from 0 (x << 1) to 1 (x >> 1): x^q / (1 + x^q)."""
    powered = np.minimum(x, 1e6) ** sharpness
    return np.asarray(powered / (1.0 + powered), dtype=np.float64)
