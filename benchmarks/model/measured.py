"""The measured rows that the model is fitted to and scored on, as one table a class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Class:
    """A class of operators.

    Attributes:
        name: as in the scores.
        workload, precision: what to ask the model.
        params: columns that are parameters.
        groups: constants this class is fitted with, jointly with others naming them.
        floor_s: rows below are fitted with less weight and not scored.
        drifts: the host time of a call grew steadily as these rows were measured, on every
            GPU; it is fitted apart, by GPU and ``order``, so that it does not bend the rest.
    """

    name: str
    workload: str
    precision: str
    params: tuple[str, ...]
    floor_s: float = 2e-4
    drifts: bool = False


CLASSES = {
    c.name: c
    for c in (
        Class("gemm_batched", "gemm", "fp32", ("batch", "m", "n", "k")),
        Class("linear", "linear", "fp32", ("m", "n", "k")),
        Class("elementwise", "elementwise", "fp32", ("function", "inputs", "rows", "cols")),
        Class("softmax", "softmax", "fp32", ("rows", "cols")),
        Class("layernorm", "layernorm", "fp32", ("rows", "cols")),
        Class("conv2d", "conv2d", "fp32",
              ("batch", "c_in", "c_out", "kernel_size", "size", "stride", "padding"),
              drifts=True),
        Class("gemm_tensor", "gemm", "fp16", ("m", "n", "k", "transpose"), 1e-4),
        Class("rnn", "rnn", "fp32", ("cell", "batch", "seq_len", "hidden", "skip_input")),
        Class("rnn_tensor", "rnn", "fp16", ("cell", "batch", "seq_len", "hidden", "skip_input")),
        Class("conv2d_deepbench", "conv2d", "fp32",
              ("batch", "c_in", "c_out", "kernel_size", "size", "stride", "padding", "direction")),
        Class("conv2d_tensor", "conv2d", "fp16",
              ("batch", "c_in", "c_out", "kernel_size", "size", "stride", "padding", "direction")),
        Class("collective", "collective", "fp32", ("op", "bytes", "world_size"), 0.0),
        Class("memcpy", "memcpy", "fp32", ("bytes", "direction"), 0.0),
    )
}  # fmt: skip


def load(name: str) -> pd.DataFrame:
    """Rows of one class: parameters, ``gpu``, ``split`` and ``time_s``; duplicates averaged."""
    kind = CLASSES[name]
    table = pd.read_csv(DATA / f"{name}.csv.gz")
    keys = ["gpu", "split", *kind.params]
    values = ["time_s", "order"] if kind.drifts else ["time_s"]
    return table.groupby(keys, as_index=False, sort=False)[values].mean()


def sample(table: pd.DataFrame, per_gpu: int, floor_s: float, seed: int = 0) -> pd.DataFrame:
    """At most ``per_gpu`` rows of each GPU, one in five under the floor; always the same ones."""
    rng = np.random.default_rng(seed)
    parts = []
    for _, rows in table.groupby("gpu", sort=True):
        for small, share in ((True, 0.2), (False, 0.8)):
            some = rows[(rows.time_s < floor_s) == small]
            take = min(int(per_gpu * share), len(some))
            parts.append(some.iloc[np.sort(rng.choice(len(some), take, replace=False))])
    return pd.concat(parts, ignore_index=True)
