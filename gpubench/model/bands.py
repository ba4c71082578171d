"""Prediction bands: the spread of leave-one-GPU-out residuals by class and regime.

``bands.json`` holds, for each class and regime, the 10 % and 90 % quantiles of measured /
predicted over GPUs that the constants had not seen (``benchmarks/model/score.py`` writes it).
Where no such residuals exist the class has a stated guess, and predictions for kinds of
hardware that no fitting row is of are wider by ``unseen_factor``.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gpubench.model.hardware import Hardware
from gpubench.model.terms import Array, Terms

REGIMES: Final = ("compute", "memory", "power", "launch")
_LIKE: Final = dict.fromkeys(("triad", "reduction", "embedding"), "elementwise")
"""Streams that no measured row is of, and the class whose band they borrow."""
_POWER_LIMITED: Final = 0.90
"""Clock share under which a prediction counts as limited by power."""


@cache
def _bands() -> dict[str, Any]:
    path = resources.files("gpubench.model") / "bands.json"
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def class_of(workload: str, on_tensor: bool) -> str:
    """The class of residuals that a workload's predictions belong to."""
    known = _bands()["classes"]
    workload = _LIKE.get(workload, workload)
    name = f"{workload}_tensor"
    return name if on_tensor and name in known else workload


def bound(t: Terms) -> NDArray[np.str_]:
    """What limits each case: ``compute``, ``memory`` or ``launch``, shape (cases,)."""
    stacked = np.stack([np.nan_to_num(x) for x in (t.compute_s, t.memory_s, t.launch_s)])
    names: NDArray[np.str_] = np.array(["compute", "memory", "launch"])
    return np.asarray(names[np.argmax(stacked, axis=0)])


def regime(t: Terms) -> NDArray[np.intp]:
    """Index into ``REGIMES`` of each case."""
    limits = bound(t)
    return np.select(
        [t.launch_s > 0.5 * t.time_s, (limits == "compute") & (t.clock_share < _POWER_LIMITED),
         limits == "memory"],
        [3, 2, 1], 0,
    ).astype(np.intp)  # fmt: skip


def band(workload: str, on_tensor: bool, hw: Hardware, t: Terms) -> tuple[Array, Array]:
    """(low_s, high_s) that about 80 % of measured values should fall between."""
    stored = _bands()
    ranges = stored["classes"][class_of(workload, on_tensor)]
    table = np.array([ranges.get(r, ranges["any"]) for r in REGIMES], dtype=np.float64)
    low, high = np.log(table[regime(t)]).T
    wider = np.where(_unseen(hw), stored["unseen_factor"], 1.0)
    return t.time_s * np.exp(low * wider), t.time_s * np.exp(high * wider)


def evidence(workload: str, on_tensor: bool) -> str:
    """What the band rests on, in one line."""
    note: str = _bands()["evidence"][class_of(workload, on_tensor)]
    like = _LIKE.get(workload)
    return note if like is None else f"no rows of its own; as {like}: {note}"


def _unseen(hw: Hardware) -> NDArray[np.bool_]:
    """Hardware of a kind no fitting row is of: 128 lanes behind single issue, or pre-Pascal."""
    return np.asarray((hw.cc > 8.05) | (hw.cc < 6))
