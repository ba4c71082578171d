"""Where did the level of a series change? Pure statistics.

A series is one case on one machine: one median a night. Change points are found by ruptures
(kernel change point detection with a linear kernel, that is least squares with a penalty;
Celisse et al., JMLR 19, 2018), in logarithms, so that a change is a ratio.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

USUAL_NOISE: Final = 0.01
"""Relative night-to-night noise of a series too short to tell its own."""


def change_points(logs: Sequence[float] | Floats) -> tuple[int, ...]:
    """Indexes at which a new level begins; empty for a series of one level.

    The penalty is 3 ln n in units of the noise variance: above the 2 ln n of BIC for a step
    (Yao 1988), since a spurious level costs more here than a late one.
    """
    values = np.asarray(logs, dtype=np.float64)
    if len(values) < 6:
        return ()
    from ruptures import KernelCPD

    scaled = (values - np.median(values)) / robust_noise(values)
    # One wild night is no level: beyond six noises it says no more than at six.
    scaled = _clipped_alone(scaled)
    found = KernelCPD(kernel="linear", min_size=2).fit(scaled.reshape(-1, 1))
    return tuple(int(i) for i in found.predict(pen=3 * math.log(len(values)))[:-1])


def _clipped_alone(scaled: Floats) -> Floats:
    """Nights far from both neighbours, brought back to them: outliers, not levels."""
    out = scaled.copy()
    around = np.stack([scaled[:-2], scaled[2:]])
    middle = scaled[1:-1]
    low, high = around.min(0), around.max(0)
    alone = (middle > high + 5) | (middle < low - 5)
    out[1:-1][alone] = np.clip(middle, low, high)[alone]
    return out


def robust_noise(logs: Floats) -> float:
    """Standard deviation of nights from the differences of neighbours, wild ones clipped.

    Differences do not see levels; the root of two undoes the difference. Their MAD (1.4826
    makes it that of a normal distribution) says where to clip, and the mean square of what is
    clipped at three of those is the estimate: it scatters half as much as the MAD, and change
    points are told by it. 0.995 is the mean of min(x^2, 9) of a standard normal. At least
    1e-4: clocks resolve no better.
    """
    if len(logs) < 3:
        return USUAL_NOISE
    steps = np.abs(np.diff(logs))
    wild = 3 * 1.4826 * float(np.median(steps))
    squares = np.minimum(steps, wild) ** 2 if wild else steps * 0
    return max(math.sqrt(float(np.mean(squares)) / 0.995 / 2), 1e-4)
