"""Histories of nightly medians with known truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gpubench.analysis.level import Night

NOISE = 0.01
"""Night-to-night noise, relative."""

LEVEL_S = 1.0e-3


@dataclass(frozen=True)
class History:
    """Medians of the nights, and from where on they are really slower (None: never)."""

    times_s: npt.NDArray[np.float64]
    slower_from: int | None = None
    clocks_hz: npt.NDArray[np.float64] | None = None


def make(kind: str, rng: np.random.Generator, nights: int = 365) -> History:
    """One history: stationary, step, large_step, drift, spike, outlier, bimodal, missing."""
    log = rng.normal(0, NOISE, nights)
    at = int(rng.integers(60, nights - 30))
    slower_from: int | None = at
    clocks = None
    if kind in ("step", "missing"):
        log[at:] += np.log(1.03)
    elif kind == "large_step":
        log[at:] += np.log(1.10)
    elif kind == "drift":  # 6 % over 60 nights, then it stays
        log += np.log(1.06) * np.clip((np.arange(nights) - at) / 60, 0, 1)
    elif kind == "spike":  # three bad nights, and well again
        log[at : at + 3] += np.log(1.08)
    elif kind == "outlier":
        log[at] += np.log(1.08)
        slower_from = None
    elif kind == "bimodal":  # the clock sits at one of two steps, and the time follows
        high = rng.random(nights) < 0.6
        clocks = np.where(high, 1.41e9, 1.34e9)
        log += np.log(1.41e9 / clocks)
        slower_from = None
    elif kind == "stationary":
        slower_from = None
    times = LEVEL_S * np.exp(log)
    if kind == "missing":
        kept = rng.random(nights) < 0.7
        slower_from = int(np.sum(kept[:at]))
        times = times[kept]
    return History(times, slower_from, clocks)


def nights_of(times_s: npt.ArrayLike, half_width: float = 0.003) -> list[Night]:
    """Nights with an interval of their samples as narrow as on a quiet machine."""
    return [
        Night(float(t), float(t) * (1 - half_width), float(t) * (1 + half_width))
        for t in np.asarray(times_s)
    ]
