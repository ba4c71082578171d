"""Axes: what a group of cases is plotted against, and ticks that carry their unit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gpubench.analysis.results import Result
from gpubench.units import scaled

_DIMENSIONS: Final = ("m", "n", "k")
_MAX_TICKS: Final = 9


@dataclass(frozen=True, slots=True)
class Axis:
    """What cases are plotted against: a title, a value for each case, ticks as Plotly has them."""

    title: str
    value: Callable[[Result], float | None]
    ticks: dict[str, Any]
    lines: bool
    phrase: str


def sweep_axis(results: Sequence[Result]) -> Axis | None:
    """The axis of a benchmark: the one parameter it sweeps, or else the work of a call.

    ``lines`` says whether points of one precision follow each other on it.
    """
    name = _swept(results)
    if name:
        values = sorted({v for r in results if (v := _param(r, name)) is not None})
        title = "m = n = k" if name == "k" and _cubic(results) else name
        return Axis(title, lambda r: _param(r, name), value_ticks(values), True, title)
    return _work_axis(results)


def _swept(results: Sequence[Result]) -> str | None:
    if _cubic(results):
        return "k"
    names = {n for r in results for n in r.record.case.params}
    varying = [n for n in names if len({r.record.case.params.get(n) for r in results}) > 1]
    if len(varying) != 1:
        return None
    values = [_param(r, varying[0]) for r in results]
    return varying[0] if all(v is not None and v > 0 for v in values) else None


def _cubic(results: Sequence[Result]) -> bool:
    """Whether size is all that varies: m = n = k everywhere and nothing else moves."""
    rest = set()
    for r in results:
        params = r.record.case.params
        shape = {params.get(d) for d in _DIMENSIONS}
        if len(shape) != 1 or None in shape:
            return False
        rest.add(
            tuple(sorted((k, str(v)) for k, v in params.items() if k not in (*_DIMENSIONS, "size")))
        )
    sizes = [r.record.case.params["k"] for r in results]
    return len(rest) == 1 and len(set(sizes)) > 1 and all(_param(r, "k") for r in results)


def _param(result: Result, name: str) -> float | None:
    value = result.record.case.params.get(name)
    if isinstance(value, bool | str) or value is None:
        return None
    return float(value)


def _work_axis(results: Sequence[Result]) -> Axis | None:
    for unit, title, pick in (
        ("FLOP", "FLOPs per call", _flops),
        ("B", "Bytes per call", _bytes),
    ):
        values = [v for r in results if (v := pick(r))]
        if len(values) == len(results) and _sweeps(results, pick):
            ticks = log_ticks(min(values), max(values), unit)
            return Axis(title, pick, ticks, False, "the work of a call")
    return None


def _sweeps(results: Sequence[Result], pick: Callable[[Result], float | None]) -> bool:
    """Whether some precision has points at two places; else there is nothing to draw against."""
    places = {(r.record.case.precision, pick(r)) for r in results}
    return len(places) > len({precision for precision, _ in places})


def _flops(result: Result) -> float | None:
    work = result.record.case.work
    return work.flops or None if work else None


def _bytes(result: Result) -> float | None:
    work = result.record.case.work
    return work.bytes or None if work else None


def value_ticks(values: Sequence[float]) -> dict[str, Any]:
    """A log axis with ticks at the values that were measured, where there is room for them."""
    first, last = math.log10(values[0]), math.log10(values[-1])
    room = (last - first) / _MAX_TICKS
    shown: list[float] = []
    for v in values:
        if not shown or math.log10(v / shown[-1]) >= room:
            shown.append(v)
    pad = 0.06 * ((last - first) or 1)
    return {
        "type": "log",
        "tickvals": shown,
        "ticktext": [f"{v:g}" if v < 1e6 else scaled(v, "").strip() for v in shown],
        "range": [first - pad, last + pad],
    }


def log_ticks(low: float, high: float, unit: str, pad: float = 0.06) -> dict[str, Any]:
    """A log axis from ``low`` to ``high`` with ticks written in ``unit``."""
    first, last = math.log10(low), math.log10(high)
    margin = pad * max(last - first, 0.5)
    first, last = first - margin, last + margin
    span = last - first
    mantissas: tuple[int, ...] = (1, 2, 5) if span < 2.4 else (1,)
    decades = range(math.floor(first), math.ceil(last) + 1)
    values = [m * 10.0**e for e in decades for m in mantissas]
    # A span without a round number in it (a single point) still gets one tick.
    inside = [v for v in values if first <= math.log10(v) <= last] or [10 ** ((first + last) / 2)]
    step = math.ceil(len(inside) / _MAX_TICKS)
    shown = inside[::step]
    text = [_tick(v, unit) for v in shown]
    return {"type": "log", "tickvals": shown, "ticktext": text, "range": [first, last]}


def linear_ticks(high: float, unit: str) -> dict[str, Any]:
    """A linear axis from zero with ticks written in ``unit``."""
    top = high * 1.08
    raw = top / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw)
    shown = [i * step for i in range(int(top / step) + 1)]
    return {"tickvals": shown, "ticktext": [_tick(v, unit) for v in shown], "range": [0, top]}


def rate_ticks(values: Sequence[float], unit: str) -> dict[str, Any]:
    """An axis of rates: from zero, or logarithmic where they span much."""
    low, high = min(values), max(values)
    return log_ticks(low, high, unit) if high / low > 30 else linear_ticks(high, unit)


def _tick(value: float, unit: str) -> str:
    if unit == "" and (value < 0.1 or value >= 1e4):
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    text = scaled(value, unit)
    number, space, rest = text.partition(" ")
    if unit == "x":
        number, rest = text[:-1], "x"
    if "." in number:
        number = number.rstrip("0").rstrip(".")
    return f"{number}{space}{rest}"
