"""Series: which cases of a benchmark belong to one line, and how that line is drawn.

Precision is one distinction; parameters that the benchmark crosses with everything else
(backend, cache, layout, function) are others. With several precisions a colour is a
precision and the marker tells the rest apart; with one, colours tell the rest apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gpubench.analysis.results import MEASURED_CPU, Result
from gpubench.spec import PRECISIONS, Value

MOST: Final = 12
"""Series a figure can tell apart; beyond that its lines are by precision alone."""

SYMBOLS: Final = {
    "fp64": "diamond",
    "fp32": "circle",
    "tf32": "square",
    "fp16": "triangle-up",
    "bf16": "triangle-down",
    "fp8": "pentagon",
}
_CYCLE: Final = ("circle", "square", "triangle-up", "diamond", "triangle-down", "pentagon",
                 "star", "hexagon", "cross", "star-square", "bowtie", "hourglass")  # fmt: skip
_DASHES: Final = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_TINTS: Final = ("fp32", "bf16", "tf32", "fp64", "fp16", "other", "fp8")
_SIZES: Final = {"fp16": 13.0, "bf16": 9.5}
"""Marker sizes: FP16 and BF16 often coincide, and a small one on a large one shows both."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a figure and its cases.

    Attributes:
        name: for the legend.
        symbol: of a filled marker; measured on CPU it is drawn open.
    """

    name: str
    color: str
    symbol: str
    dash: str
    size: float
    results: tuple[Result, ...]

    @property
    def on_cpu(self) -> bool:
        """Whether its cases were measured on CPU."""
        return self.results[0].provenance == MEASURED_CPU


def color(precision: str) -> str:
    """The CSS variable that colours a precision."""
    return f"var(--c-{precision if precision in SYMBOLS else 'other'})"


def param(result: Result, name: str) -> Value | None:
    """A parameter of a case; ``cache`` and ``data`` are those of its policy."""
    case = result.record.case
    if name in ("cache", "data"):
        return str(getattr(case.policy, name))
    return case.params.get(name)


def varying(results: Sequence[Result]) -> tuple[str, ...]:
    """Parameters that are not the same in all cases, in the workload's order."""
    names = dict.fromkeys(n for r in results for n in (*r.record.case.params, "cache", "data"))
    return tuple(n for n in names if len({param(r, n) for r in results}) > 1)


def is_number(results: Sequence[Result], name: str) -> bool:
    """Whether a parameter is a positive number in every case, so that it can be an axis."""
    values = [param(r, name) for r in results]
    return all(isinstance(v, int | float) and not isinstance(v, bool) and v > 0 for v in values)


def crossed(results: Sequence[Result]) -> tuple[str, ...]:
    """Parameters, no sizes, that at least half of the cases come in several values of."""
    names = varying(results)
    found = []
    for name in names:
        if is_number(results, name):
            continue
        groups: dict[tuple[object, ...], set[object]] = defaultdict(set)
        for r in results:
            rest = (r.record.case.precision, *(param(r, n) for n in names if n != name))
            groups[rest].add(param(r, name))
        if 2 * sum(len(g) > 1 for g in groups.values()) >= len(groups):
            found.append(name)
    return tuple(found)


def series_of(
    results: Sequence[Result], axis: str | None = None, keys: Sequence[str] | None = None
) -> list[Series]:
    """The lines of a figure.

    Args:
        results: the cases it draws.
        axis: the parameter that is its horizontal axis, and so tells no lines apart.
        keys: parameters that do; by default those that the benchmark crosses.
    """
    keys = tuple(k for k in (crossed(results) if keys is None else keys) if k != axis)
    groups = _grouped(results, keys)
    if len(groups) > MOST:
        keys, groups = (), _grouped(results, ())
    precisions = list(dict.fromkeys(p for p, _ in groups))
    rests = list(dict.fromkeys(rest for _, rest in groups))
    return [
        _series(precision, rest, tuple(group), keys, precisions, rests.index(rest))
        for (precision, rest), group in groups.items()
    ]


def precision_series(results: Sequence[Result]) -> list[Series]:
    """Lines by precision alone."""
    groups = _grouped(results, ())
    return [_series(p, (), tuple(g), (), (), 0) for (p, _), g in groups.items()]


def _series(
    precision: str, rest: tuple[object, ...], group: tuple[Result, ...], keys: Sequence[str],
    precisions: Sequence[str], place: int,
) -> Series:  # fmt: skip
    words = [_word(k, v) for k, v in zip(keys, rest, strict=True)]
    name = " ".join([precision, *words])
    plain = SYMBOLS.get(precision, "hexagon")
    if not keys:
        size = _SIZES.get(precision, 9.0)
        return Series(name, color(precision), plain, "solid", size, group)
    tint = color(precision) if len(precisions) > 1 else color(_TINTS[place % len(_TINTS)])
    symbol = _CYCLE[place % len(_CYCLE)]
    return Series(name, tint, symbol, _DASHES[place % len(_DASHES)], 9.0, group)


def _grouped(
    results: Sequence[Result], keys: Sequence[str]
) -> dict[tuple[str, tuple[object, ...]], list[Result]]:
    groups: dict[tuple[str, tuple[object, ...]], list[Result]] = defaultdict(list)
    for r in results:
        groups[r.record.case.precision, tuple(param(r, k) for k in keys)].append(r)
    order = {p: i for i, p in enumerate(PRECISIONS)}
    return dict(sorted(groups.items(), key=lambda item: order.get(item[0][0], len(order))))


def _word(name: str, value: object) -> str:
    """E.g. ``flash``, ``causal``, ``not causal``, ``axis=0``."""
    if isinstance(value, bool):
        return name if value else f"not {name}"
    return str(value) if isinstance(value, str) else f"{name}={value}"
