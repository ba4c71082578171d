"""What more ranks buy: bandwidth and latency of collectives, efficiency of a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import nnls

from gpubench.analysis.applications import number
from gpubench.analysis.results import Result

LEAST_SIZES: Final = 3


@dataclass(frozen=True, slots=True)
class Line:
    """Time of a collective against its size: t = latency_s + bytes / bytes_per_s.

    Attributes:
        latency_s: of an empty message.
        bytes_per_s: algorithm bandwidth of an endless one; None where size does not show.
        worst: largest |fitted / measured - 1| over the sizes.
    """

    latency_s: float
    bytes_per_s: float | None
    worst: float


def fitted(points: Sequence[tuple[float, float]]) -> Line | None:
    """The line through (bytes, seconds) with the least squares of relative errors.

    Both terms are held at zero and above. None for fewer than three sizes.
    """
    if len({size for size, _ in points}) < LEAST_SIZES:
        return None
    sizes, times = np.array([p[0] for p in points]), np.array([p[1] for p in points])
    scale = float(sizes.max())
    matrix = np.stack([1 / times, sizes / scale / times], axis=1)
    (latency, slope), _ = nnls(matrix, np.ones(len(times)))
    worst = float(np.abs(matrix @ np.array([latency, slope]) - 1).max())
    return Line(float(latency), scale / float(slope) if slope > 0 else None, worst)


def collective_bytes(result: Result) -> float | None:
    """The whole buffer of a collective; None for anything else."""
    case = result.record.case
    value = case.params.get("bytes") if case.workload == "collective" else None
    return float(value) if isinstance(value, int | float) and result.summary else None


def algbw(result: Result) -> float | None:
    """Algorithm bandwidth S / t in bytes a second, as nccl-tests defines it."""
    size, s = collective_bytes(result), result.summary
    return size / s.median_s if size and s and s.median_s > 0 else None


@dataclass(frozen=True, slots=True)
class Efficiency:
    """How well a step scales.

    Attributes:
        kind: ``weak`` (each rank keeps its batch) or ``strong`` (the whole batch is divided).
        base: ranks that it is measured against, the fewest.
        value: 1 where more ranks cost nothing: t(base) / t(n), strong times base / n.
    """

    kind: str
    ranks: int
    base: int
    value: float


def efficiencies(results: Sequence[Result]) -> Mapping[str, Efficiency]:
    """Case key -> efficiency of data-parallel steps, against the fewest ranks of their kind.

    Steps belong together if they differ in ranks alone (weak), or in ranks and in a batch
    whose sum over the ranks stays (strong).
    """
    steps = [r for r in results if r.record.case.workload == "data_parallel" and r.summary]
    found: dict[str, Efficiency] = {}
    for kind in ("strong", "weak"):
        groups: dict[object, list[Result]] = {}
        for r in steps:
            groups.setdefault(_line(r, kind), []).append(r)
        for group in groups.values():
            found |= _against_the_fewest(group, kind)
    return found


def _line(result: Result, kind: str) -> object:
    """What steps of one line have in common."""
    case = result.record.case
    rest = {k: v for k, v in case.params.items() if k not in ("world_size", "batch")}
    batch = _int(case.params.get("batch"))
    whole = batch * ranks(result) if kind == "strong" else batch
    return (
        case.benchmark,
        case.precision,
        whole,
        tuple(sorted((k, str(v)) for k, v in rest.items())),
    )


def _against_the_fewest(group: Sequence[Result], kind: str) -> dict[str, Efficiency]:
    base = min(group, key=ranks)
    if base.summary is None or len({ranks(r) for r in group}) < 2:
        return {}
    found = {}
    for r in group:
        if r.summary is None or r.summary.median_s <= 0:
            continue
        value = base.summary.median_s / r.summary.median_s
        if kind == "strong":
            value *= ranks(base) / ranks(r)
        found[r.record.case.key] = Efficiency(kind, ranks(r), ranks(base), value)
    return found


def ranks(result: Result) -> int:
    """Ranks that took part."""
    return _int(result.record.case.params.get("world_size"))


def _int(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 1


def communication(result: Result) -> tuple[float, float] | None:
    """(share of the step that communication adds, part of it that is hidden); None elsewhere."""
    share = number(result, "parallel.communication_share")
    hidden = number(result, "parallel.hidden_share")
    return (share, hidden) if share is not None and hidden is not None else None
