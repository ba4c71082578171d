"""Axes: what a group of cases is plotted against, and ticks that carry their unit."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gpubench.analysis.naming import value_text
from gpubench.analysis.results import Result
from gpubench.report.series import crossed, is_number, param, varying
from gpubench.units import bytes_iec, scaled

_DIMENSIONS: Final = ("m", "n", "k")
_MAX_TICKS: Final = 9
_MAX_CATEGORIES: Final = 16


@dataclass(frozen=True, slots=True)
class Axis:
    """What cases are plotted against: a title, a value for each case, ticks as Plotly has them.

    Attributes:
        lines: whether points of one series follow each other on it.
        param: the parameter it is, where it is one.
    """

    title: str
    value: Callable[[Result], float | None]
    ticks: dict[str, Any]
    lines: bool
    phrase: str
    param: str | None = None


def sweep_axis(results: Sequence[Result]) -> Axis | None:
    """The axis of a benchmark.

    The one size it sweeps; or, where shapes move as a whole, the work of a call; or, where
    no size moves, the parameter with most values as categories. None where nothing varies.
    """
    name = _swept(results)
    if name:
        values = sorted({v for r in results if (v := _param(r, name)) is not None})
        title = "m = n = k" if name == "k" and _cubic(results) else name
        ticks = value_ticks(values)
        if name == "bytes":
            ticks["ticktext"] = [bytes_iec(v) for v in ticks["tickvals"]]
        return Axis(title, lambda r: _param(r, name), ticks, True, title, name)
    if not _sizes(results):
        return _category_axis(results) or _work_axis(results)
    return _work_axis(results) or _category_axis(results)


def _swept(results: Sequence[Result]) -> str | None:
    if _cubic(results):
        return "k"
    sizes = _sizes(results)
    others = {n for n in varying(results) if not is_number(results, n)} - set(crossed(results))
    return sizes[0] if len(sizes) == 1 and not others else None


def _sizes(results: Sequence[Result]) -> list[str]:
    """Numbers that vary by themselves; not such as the operands that a function takes."""
    numbers = [n for n in varying(results) if is_number(results, n)]
    return [n for n in numbers if not any(_follows(results, n, k) for k in crossed(results))]


def _follows(results: Sequence[Result], name: str, key: str) -> bool:
    """Whether the value of ``key`` decides that of ``name``."""
    pairs = {(param(r, key), param(r, name)) for r in results}
    return len(pairs) == len({k for k, _ in pairs})


def _category_axis(results: Sequence[Result]) -> Axis | None:
    """The crossed parameter with most values, its values side by side."""
    names = crossed(results)
    counts = {n: list(dict.fromkeys(param(r, n) for r in results)) for n in names}
    if not counts:
        return None
    name = max(counts, key=lambda n: len(counts[n]))
    places = {v: float(i) for i, v in enumerate(counts[name])}
    if len(places) > _MAX_CATEGORIES:
        return None
    ticks = {
        "tickvals": list(places.values()),
        "ticktext": [html.escape(value_text(v) if v is not None else "–") for v in places],
        "range": [-0.6, len(places) - 0.4],
    }
    return Axis(name, lambda r: places.get(param(r, name)), ticks, False, name, name)


def _cubic(results: Sequence[Result]) -> bool:
    """Whether m = n = k everywhere, several of them, and all else that moves is crossed."""
    for r in results:
        shape = {r.record.case.params.get(d) for d in _DIMENSIONS}
        if len(shape) != 1 or None in shape:
            return False
    rest = set(varying(results)) - {*_DIMENSIONS, "size"} - set(crossed(results))
    sizes = {_param(r, "k") for r in results}
    return not rest and len(sizes) > 1 and None not in sizes


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


def linear_ticks(high: float, unit: str, most: int = 5) -> dict[str, Any]:
    """A linear axis from zero with about ``most`` ticks, written in ``unit``."""
    top = high * 1.08
    raw = top / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw)
    shown = [i * step for i in range(int(top / step) + 1)]
    return {"tickvals": shown, "ticktext": [_tick(v, unit) for v in shown], "range": [0, top]}


def rate_ticks(values: Sequence[float], unit: str) -> dict[str, Any]:
    """An axis of rates: from zero, or logarithmic where they span much."""
    low, high = min(values), max(values)
    return log_ticks(low, high, unit) if high / low > 30 else linear_ticks(high, unit)


def _tick(value: float, unit: str) -> str:
    if unit == "" and value and (value < 0.1 or value >= 1e4):
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    text = scaled(value, unit)
    number, space, rest = text.partition(" ")
    if unit == "x":
        number, rest = text[:-1], "x"
    if "." in number:
        number = number.rstrip("0").rstrip(".")
    return f"{number}{space}{rest}"
