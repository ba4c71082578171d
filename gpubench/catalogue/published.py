"""Reference measurements that others published, shipped with the package.

``data/published.csv.gz`` holds one measurement a row with the repository, commit, file and
row it was taken from. They are never mixed with measurements of this program: libraries are
of their time, methods differ, and ``note`` says how.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

_DEFAULTS: Final[Mapping[str, Mapping[str, object]]] = {
    "gemm": {"batch": 1, "transpose": "nn"},
    "conv2d": {"batch": 1, "kernel_size": 3, "stride": 1, "padding": 0, "direction": "fprop"},
    "rnn": {"cell": "lstm", "skip_input": False},
    "elementwise": {"function": "add"},
    "memcpy": {"direction": "d2d"},
}
_IDENTITY: Final[Mapping[str, tuple[str, ...]]] = {
    "gemm": ("m", "n", "k", "batch", "transpose"),
    "linear": ("m", "n", "k"),
    "elementwise": ("function", "inputs", "rows", "cols"),
    "softmax": ("rows", "cols"),
    "layernorm": ("rows", "cols"),
    "memcpy": ("bytes", "direction"),
    "conv2d": ("batch", "c_in", "c_out", "size", "kernel_size", "stride", "padding", "direction"),
    "rnn": ("cell", "batch", "seq_len", "hidden", "skip_input"),
    "collective": ("op", "bytes", "world_size"),
}
"""Parameters that make two cases the same work; the rest is how it was done."""


@dataclass(frozen=True, slots=True)
class Published:
    """One published measurement.

    Attributes:
        gpu_key: catalogue row.
        workload, precision, params: as in a suite file; ``model`` rows also give task and mode.
        time_s: seconds of one call; None where a throughput is given.
        throughput: items per second in ``unit``; None where a time is given.
        unit: ``s``, or the items, e.g. ``sequences/s``.
        tensor_cores: whether the source used Tensor Cores.
        source: repository and licence.
        where: file, commit and row or line in it.
        note: what limits comparing it: libraries, padding, method, batch.
    """

    gpu_key: str
    workload: str
    precision: str
    params: Mapping[str, object]
    time_s: float | None
    throughput: float | None
    unit: str
    tensor_cores: bool
    source: str
    where: str
    note: str


def published(
    *, gpu: str | None = None, workload: str | None = None, precision: str | None = None
) -> tuple[Published, ...]:
    """Every published measurement of that GPU key, workload and precision; None means any."""
    return tuple(
        p
        for p in _load()
        if gpu in (None, p.gpu_key)
        and workload in (None, p.workload)
        and precision in (None, p.precision)
    )


def same_work(
    workload: str, precision: str, params: Mapping[str, object], gpu: str
) -> tuple[Published, ...]:
    """Published measurements of exactly this work on one GPU, sorted by source.

    Args:
        params: parameters as in a suite file; absent ones have their defaults, and parameters
            that do not change the work (algorithm, layout, backend) are ignored.
        gpu: catalogue key; variants are not substituted for each other.
    """
    identity = _identity(workload, params)
    if identity is None:
        return ()
    return _index().get((gpu, workload, "" if workload == "memcpy" else precision, identity), ())


def comparability(p: Published) -> str:
    """One sentence on how far this measurement compares with one taken today."""
    unit = "Tensor Cores" if p.tensor_cores else "CUDA cores"
    precision = p.precision or "bytes"
    return f"{p.source}: {precision} on {unit}; {p.note}" if p.note else f"{p.source}: {unit}"


@cache
def _load() -> tuple[Published, ...]:
    path = resources.files("gpubench.catalogue") / "data" / "published.csv.gz"
    text = gzip.decompress(path.read_bytes()).decode("utf-8")
    return tuple(_row(r) for r in csv.DictReader(io.StringIO(text)))


@cache
def _index() -> dict[tuple[str, str, str, frozenset[tuple[str, str]]], tuple[Published, ...]]:
    found: dict[tuple[str, str, str, frozenset[tuple[str, str]]], tuple[Published, ...]] = {}
    for p in _load():
        identity = _identity(p.workload, p.params)
        if identity is not None:
            key = (p.gpu_key, p.workload, p.precision, identity)
            found[key] = (*found.get(key, ()), p)
    return found


def _identity(workload: str, params: Mapping[str, object]) -> frozenset[tuple[str, str]] | None:
    names = _IDENTITY.get(workload)
    if names is None:
        return None
    given = {**_DEFAULTS.get(workload, {}), **params}
    if "size" in given and workload in ("gemm", "linear"):
        given = {**dict.fromkeys("mnk", given["size"]), **given}
    return frozenset((n, _canonical(given.get(n))) for n in names)


def _canonical(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _row(r: Mapping[str, str]) -> Published:
    value = float(r["value"])
    timed = r["metric"] == "time"
    return Published(
        gpu_key=r["gpu"],
        workload=r["workload"],
        precision=r["precision"],
        params=json.loads(r["params"]),
        time_s=value if timed else None,
        throughput=None if timed else value,
        unit=r["unit"],
        tensor_cores=r["tensor_cores"] == "yes",
        source=r["source"],
        where=r["where"],
        note=r["note"],
    )
