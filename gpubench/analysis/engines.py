"""The engine atlas: which cuDNN plan won on each layer, and what the heuristic's choice cost.

The *pick* is the heuristic's most preferred plan among those that were measured; the
*regret* is how much longer it takes than the fastest. Under a limit on workspace both are
chosen among the plans that keep to it.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from gpubench.analysis.results import Result
from gpubench.record import Fact


@dataclass(frozen=True, slots=True)
class Engine:
    """One plan that was measured on a layer.

    Attributes:
        rank: place in the heuristic's list, from 0; None for an engine beyond it.
        notes: cuDNN's numerical notes, in its words.
    """

    result: Result
    number: int
    rank: int | None
    workspace_bytes: int
    notes: tuple[str, ...]
    time_s: float


@dataclass(frozen=True, slots=True)
class Choice:
    """Winner and pick under a limit on workspace.

    Attributes:
        limit_bytes: None for no limit.
        regret: time of the pick / time of the best - 1; None where the heuristic names no
            measured plan within the limit.
    """

    limit_bytes: int | None
    best: Engine
    pick: Engine | None

    @property
    def regret(self) -> float | None:
        """How much longer the pick takes than the best."""
        return None if self.pick is None else self.pick.time_s / self.best.time_s - 1


@dataclass(frozen=True, slots=True)
class LayerAtlas:
    """What cuDNN offers for one layer in one precision and layout.

    Attributes:
        name: shape, direction and layout.
        engines: measured plans, the fastest first.
        refused: reason -> plans (or groups of engines) that could not run for it.
        torch: algorithm -> the result of what torch chose itself, where it was measured.
    """

    name: str
    precision: str
    engines: tuple[Engine, ...]
    refused: dict[str, int] = field(default_factory=dict)
    torch: dict[str, Result] = field(default_factory=dict)

    def choice(self, limit_bytes: int | None = None) -> Choice | None:
        """Winner and pick among plans that need no more workspace; None where there is none."""
        fitting = [
            e for e in self.engines if limit_bytes is None or e.workspace_bytes <= limit_bytes
        ]
        if not fitting:
            return None
        ranked = [e for e in fitting if e.rank is not None]
        pick = min(ranked, key=lambda e: e.rank or 0, default=None)
        return Choice(limit_bytes, fitting[0], pick)


def atlas(results: Sequence[Result]) -> list[LayerAtlas]:
    """One entry a layer, direction, layout and precision that engines were measured on."""
    groups: dict[str, list[Result]] = defaultdict(list)
    for r in results:
        if r.record.case.workload == "conv2d":
            groups[_layer_key(r)].append(r)
    found = [_layer(group) for group in groups.values()]
    return [layer for layer in found if layer.engines]


def _layer_key(result: Result) -> str:
    """What is equal for every way of doing one layer."""
    case = result.record.case
    rest = sorted((k, str(v)) for k, v in case.params.items() if k != "algorithm")
    return json.dumps([case.precision, case.policy.cache, case.policy.data, rest])


def _algorithm(result: Result) -> str:
    return str(result.record.case.params.get("algorithm", "auto"))


def _layer(group: Sequence[Result]) -> LayerAtlas:
    engines = [e for r in group if (e := _engine(r))]
    case = group[0].record.case
    name = case.label.removesuffix(f" {_algorithm(group[0])}")
    refused = Counter(
        r.reason or "no reason recorded"
        for r in group
        if _algorithm(r).startswith("eng") and r.summary is None
    )
    torch = {_algorithm(r): r for r in group if r.summary and not _algorithm(r).startswith("eng")}
    ordered = tuple(sorted(engines, key=lambda e: e.time_s))
    return LayerAtlas(name, case.precision, ordered, dict(refused), torch)


def _engine(result: Result) -> Engine | None:
    m, s = result.measurement, result.summary
    if m is None or s is None or not isinstance(m.facts.get("cudnn.engine"), int):
        return None
    if "wrong_result" in result.flags:
        return None  # the fastest way to a wrong result wins nothing
    rank = m.facts.get("cudnn.heuristic_rank")
    notes = str(m.facts.get("cudnn.numerical_notes") or "")
    return Engine(
        result=result,
        number=_int(m.facts["cudnn.engine"]),
        rank=rank if isinstance(rank, int) else None,
        workspace_bytes=_int(m.facts.get("cudnn.workspace_bytes")),
        notes=tuple(n for n in notes.split(", ") if n),
        time_s=s.median_s,
    )


def _int(value: Fact) -> int:
    return int(value) if isinstance(value, int | float) else 0
