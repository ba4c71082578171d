"""The power limit: the clock a board can hold under load, and the energy of a call.

Power = idle + rate x energy per operation(V) + traffic x energy per byte, with dynamic energy
going as the square of the voltage, and voltage as an affine function of the clock. A board at
its limit lowers the clock until that fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from gpubench.model.hardware import Hardware
from gpubench.model.terms import Array, Constants

DRAM_J_PER_BYTE_HBM: Final = 56e-12
DRAM_J_PER_BYTE_GDDR: Final = 110e-12
"""Device and interface together: about 7 pJ/bit for HBM2 and 14 pJ/bit for GDDR5/6
(O'Connor et al., Fine-Grained DRAM, MICRO 2017)."""

_NEWTON_STEPS: Final = 6


def core_joules(hw: Hardware, operations: Array, tensor: bool, c: Constants) -> Array:
    """Dynamic energy of ``operations`` FLOP at boost clock, in joules."""
    k = c["power"]
    if tensor:
        return operations * k["tensor_j_per_flop"] * hw.tensor_energy * _voltage(hw, k) ** 2
    return operations * k["j_per_flop"] * hw.energy * _voltage(hw, k) ** 2


def idle_watts(hw: Hardware, c: Constants) -> Array:
    """Power of an idle board at full clocks: regulators, memory, and leakage of every SM.

    Boards of 70 to 75 W idle at much the same 20-odd watts as boards of 250 W do, so the
    small ones have the smaller share of their limit left for work.
    """
    k = c["power"]
    return np.asarray(k["idle_w"] + k["idle_w_per_sm"] * hw.sm, dtype=np.float64)


def dram_joules(hw: Hardware, dram_bytes: Array) -> Array:
    """Energy of device-memory traffic in joules."""
    each = np.where(hw.hbm > 0, DRAM_J_PER_BYTE_HBM, DRAM_J_PER_BYTE_GDDR)
    return np.asarray(dram_bytes * each, dtype=np.float64)


def clock_share(
    hw: Hardware, core_j: Array, dram_bytes: Array, free_s: Array, c: Constants
) -> Array:
    """Clock under the power limit / boost clock, in (0, 1].

    Solves x (a + b x)^2 = q for x: core power at clock share x over core power at boost, where
    a + b = 1 splits the voltage into its floor and its part that follows the clock, and q is
    the budget left to the cores over what they would draw at boost.

    Args:
        core_j: energy of the call at boost clock.
        free_s: time of the call at boost clock.
    """
    k = c["power"]
    budget_w = hw.tdp_w - idle_watts(hw, c) - dram_joules(hw, dram_bytes) / free_s
    budget_w = np.maximum(budget_w, 0.1 * hw.tdp_w)
    q = budget_w * free_s / np.maximum(core_j, 1e-15)
    a = k["voltage_floor"] / _voltage(hw, k)
    b = 1.0 - a
    x = np.ones_like(q)
    for _ in range(_NEWTON_STEPS):
        volt = a + b * x
        x = np.clip(x - (x * volt**2 - q) / (volt**2 + 2 * b * x * volt), 0.05, 1.0)
    x = np.where((q >= 1) | np.isnan(q), 1.0, x)
    # A call shorter than the controller's averaging window runs on the credit of the pauses.
    within = (free_s / x / k["window_s"]) ** 2
    return np.asarray(1 - (1 - x) * within / (1 + within), dtype=np.float64)


def total_joules(hw: Hardware, time_s: Array, core_j: Array, dram_bytes: Array, x: Array,
                 c: Constants) -> Array:  # fmt: skip
    """Energy of a call: idle power x time + cores at their clock + memory; NaN if unknown."""
    k = c["power"]
    a = k["voltage_floor"] / _voltage(hw, k)
    dynamic = core_j * (a + (1 - a) * x) ** 2
    return np.asarray(
        idle_watts(hw, c) * time_s + dynamic + dram_joules(hw, dram_bytes),
        dtype=np.float64,
    )


def _voltage(hw: Hardware, k: Mapping[str, float]) -> Array:
    floor = k["voltage_floor"]
    return np.asarray(floor + (1 - floor) * hw.clock_ratio, dtype=np.float64)
