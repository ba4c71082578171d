"""Fit the constants of the model to the measured rows; reproducible, a few minutes.

    python benchmarks/model/fit.py            fit to every GPU, write gpubench/model/constants.json
    python benchmarks/model/score.py          the same leaving one GPU out at a time, and score

The loss is a soft L1 of log(predicted / measured): relative, symmetric, robust. Cards of 75 W
and less count 0.4: their rows differ up to twofold with the clock state, which no model of
sizes can know. Rows under the scoring floor count 0.3.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import measured
import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from gpubench.catalogue import find
from gpubench.model.constants import described
from gpubench.model.hardware import Hardware, columns
from gpubench.model.operators import evaluate
from gpubench.model.rows import Rows
from gpubench.model.terms import Terms

CONSTANTS = Path(__file__).parents[2] / "gpubench" / "model" / "constants.json"
STAGES: tuple[tuple[tuple[str, ...], tuple[str, ...], int], ...] = (
    # (groups of constants, classes fitted to, rows a GPU)
    (("elementwise",), ("elementwise",), 1500),
    (("gemm", "power"), ("gemm_batched", "linear"), 1000),
    (("softmax",), ("softmax",), 1500),
    (("layernorm",), ("layernorm",), 1500),
    (("conv2d",), ("conv2d",), 1500),
    (("gemm_tensor",), ("gemm_tensor",), 200),
    (("conv2d_tensor",), ("conv2d_tensor",), 300),
    (("rnn",), ("rnn",), 200),
    (("rnn_tensor",), ("rnn_tensor",), 200),
    (("memcpy",), ("memcpy",), 300),
    (("collective",), ("collective",), 300),
)
Values = dict[str, dict[str, float]]
_DONE: dict[tuple[object, ...], Values] = {}
"""Fits of this run by the stages before them and the GPU they left out."""


@dataclass
class Prepared:
    """Rows of one class, ready to be predicted again and again."""

    table: pd.DataFrame
    hw: Hardware
    workload: str
    params: dict[str, list[object]]

    def terms(self, c: Mapping[str, Mapping[str, float]]) -> Terms:
        """Terms of every row with these constants."""
        ((_, terms),) = evaluate(self.workload, self.hw, Rows(self.params, len(self.table)), c)
        return terms


def prepare(name: str, table: pd.DataFrame) -> Prepared:
    kind = measured.CLASSES[name]
    keys = table.gpu.unique()
    index = {k: i for i, k in enumerate(keys)}
    hw = columns([(find(k), kind.precision) for k in keys])
    params = {p: table[p].tolist() for p in kind.params}
    return Prepared(table, hw.take(table.gpu.map(index).to_numpy()), kind.workload, params)


def weights(name: str, table: pd.DataFrame) -> np.ndarray:
    w = np.where(table.time_s < measured.CLASSES[name].floor_s, 0.3, 1.0)
    light = table.gpu.map({k: (find(k).tdp_w or 999) <= 75 for k in table.gpu.unique()})
    return w * np.where(light, 0.4, 1.0)


def fit_stage(
    values: Values,
    groups: tuple[str, ...],
    classes: tuple[str, ...],
    per_gpu: int,
    leave_out: str | None,
) -> None:
    """Fit the free constants of ``groups``; updates ``values`` in place."""
    meta = described()
    free = [(g, n) for g in groups for n, d in meta[g].items() if d["fitted"]]
    parts = []
    for name in classes:
        table = measured.load(name)
        table = table[table.gpu != leave_out]
        if len(table):
            table = measured.sample(table, per_gpu, measured.CLASSES[name].floor_s)
            parts.append((prepare(name, table), weights(name, table)))
    if not parts:
        return
    search(values, free, parts, any(measured.CLASSES[n].drifts for n in classes))


def search(
    values: Values,
    free: list[tuple[str, str]],
    parts: list[tuple[Prepared, np.ndarray]],
    drifts: bool,
) -> None:
    """Least squares over ``free``; with ``drifts`` also a host time per GPU that grows with
    the order of the rows, which is dropped, and ``launch_s`` is fitted alone at the end.
    """
    meta = described()
    gpus = sorted({g for p, _ in parts for g in p.table.gpu.unique()}) if drifts else []
    if drifts:
        launch = [f for f in free if f[1] == "launch_s"]
        free = [f for f in free if f[1] != "launch_s"]
        put(values, launch, np.zeros(len(launch)))
    low = np.array([meta[g][n]["low"] for g, n in free])
    high = np.array([meta[g][n]["high"] for g, n in free])

    def residuals(z: np.ndarray) -> np.ndarray:
        put(values, free, low + z[: len(free)] * (high - low))
        out = []
        for p, w in parts:
            host = host_time(p.table, gpus, z[len(free) :]) if drifts else 0.0
            out.append((np.log(p.terms(values).time_s + host) - np.log(p.table.time_s)) * w)
        return np.concatenate(out)

    # From the middle of the bounds, never from the shipped values: those have seen every GPU.
    z0 = np.concatenate([np.full(len(free), 0.4), np.full(2 * len(gpus), 0.4)])
    found = least_squares(residuals, z0, bounds=(0, 1), loss="soft_l1", f_scale=0.08,
                          diff_step=2e-3, max_nfev=40)  # fmt: skip
    put(values, free, low + found.x[: len(free)] * (high - low))
    if drifts:
        search(values, launch, parts, False)


def host_time(table: pd.DataFrame, gpus: list[str], z: np.ndarray) -> np.ndarray:
    """Seconds at the start (up to 0.2 ms) and their growth over the run (up to 1 ms)."""
    index = table.gpu.map({g: i for i, g in enumerate(gpus)}).to_numpy()
    first, growth = z[: len(gpus)] * 2e-4, z[len(gpus) :] * 1e-3
    return first[index] + growth[index] * table.order.to_numpy()


def put(values: Values, free: list[tuple[str, str]], x: np.ndarray) -> None:
    for (group, name), v in zip(free, x, strict=True):
        values[group][name] = float(v)


def fit(leave_out: str | None = None, only: Callable[[str], bool] = lambda _: True) -> Values:
    """All constants, without the rows of one GPU."""
    values: Values = {g: {n: float(d["value"]) for n, d in names.items()}
                      for g, names in described().items()}  # fmt: skip
    history: tuple[object, ...] = ()
    for groups, classes, per_gpu in STAGES:
        if not any(only(g) for g in groups):
            continue
        # A stage without rows of that GPU ends the same after the same stages before it.
        touched = any((measured.load(n).gpu == leave_out).any() for n in classes)
        history = (*history, groups, leave_out if touched else None)
        if history not in _DONE:
            fit_stage(values, groups, classes, per_gpu, leave_out)
            _DONE[history] = {g: dict(values[g]) for g in groups}
        values.update({g: dict(v) for g, v in _DONE[history].items()})
    return values


def write(values: Values) -> None:
    """Write ``constants.json``, marking what sits on a bound."""
    meta = json.loads(CONSTANTS.read_text())
    for group, names in meta.items():
        for name, d in names.items():
            if not d["fitted"]:
                continue
            v = values[group][name]
            span = d["high"] - d["low"]
            d["value"] = float(f"{v:.4g}")
            d["on_bound"] = bool(min(v - d["low"], d["high"] - v) < 0.005 * span)
    CONSTANTS.write_text(json.dumps(meta, indent=1) + "\n")


if __name__ == "__main__":
    chosen = set(sys.argv[1:])
    write(fit(only=lambda g: not chosen or g in chosen))
