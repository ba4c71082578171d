"""Whose is a kernel? The range, the phase and the module that its launch lies in.

A kernel is led to its launch by the correlation id that CUPTI gives both; on a CPU an operator is
its own launch. The launch belongs to the ranges open on its thread at its beginning, and where
none is (PyTorch's backward pass launches from a thread of its own) to those open on the thread
that made the call. Its module is the innermost one whose forward was running; in a backward pass
that of the forward operator with the same sequence number, which autograd keeps.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

Event = Mapping[str, Any]
MODULE: Final = "module: "
"""Prefix of the annotation around the forward of a torch module."""
MARK: Final = "gpubench.mark: "
"""Prefix of the annotation at the end of a phase."""
BACKWARD: Final = " (backward)"
_LAUNCHES: Final = frozenset({"cuda_runtime", "cuda_driver"})
_INDEX: Final = re.compile(r"(?:(?<=\.)|^)\d+(?=\.)")
_ANY_INDEX: Final = re.compile(r"(?:(?<=\.)|^)\d+(?=\.|$)")


@dataclass(frozen=True, slots=True)
class Launch:
    """A kernel or operator at the place where it was launched; times in microseconds.

    Attributes:
        own_us: device time; on a CPU the operator's own time.
        module: the module that it is of, repeated layers as one: ``layer.*.attention``.
        range: the innermost captured range that it was launched in.
    """

    start_us: float
    thread: object
    own_us: float
    event: Event
    module: str | None = None
    range: str | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """A captured range on the axis of a trace."""

    name: str
    start_us: float
    end_us: float
    depth: int
    thread: object


def end_us(event: Event) -> float:
    """When an event of a trace ends."""
    return float(event["ts"]) + float(event["dur"])


def of_kernels(events: Sequence[Event], device: Sequence[Event]) -> list[Launch]:
    """Kernels at their launches; at their own start where no launch was recorded."""
    by_id = {
        e["args"]["correlation"]: e
        for e in events
        if e.get("cat") in _LAUNCHES and "correlation" in e.get("args", {})
    }
    found = []
    for kernel in device:
        at = by_id.get(kernel.get("args", {}).get("correlation"), kernel)
        thread = at.get("tid") if at is not kernel else None
        found.append(Launch(float(at["ts"]), thread, float(kernel["dur"]), kernel))
    return found


def with_modules(launches: Sequence[Launch], events: Sequence[Event]) -> list[Launch]:
    """The launches with their modules, where modules were annotated."""
    annotated = [e for e in events if str(e.get("name", "")).startswith(MODULE)]
    if not annotated:
        return list(launches)
    operators = [e for e in events if e.get("cat") == "cpu_op"]
    modules, enclosing = _Open(annotated), _Open(operators)
    by_sequence: dict[int, str] = {}
    for e in operators:
        sequence = e.get("args", {}).get("Sequence number")
        inside = modules.innermost(e.get("tid"), float(e["ts"]))
        if sequence is not None and not e["args"].get("Fwd thread id") and inside is not None:
            by_sequence[sequence] = _short(inside)
    found = []
    for one in launches:
        inside = modules.innermost(one.thread, one.start_us)
        module = _short(inside) if inside is not None else None
        if module is None:
            module = _of_backward(enclosing.all(one.thread, one.start_us), by_sequence)
        found.append(replace(one, module=module))
    return found


def module_name(name: str, is_leaf: bool) -> str:
    """A module's name with repeated layers as one.

    >>> module_name("encoder.layer.3.output", True), module_name("encoder.layer.3", False)
    ('encoder.layer.*.output', 'encoder.layer.*')
    >>> module_name("0.2", True)
    '*.2'
    """
    return (_INDEX if is_leaf else _ANY_INDEX).sub("*", name)


def _short(annotation: Event) -> str:
    return str(annotation["name"]).removeprefix(MODULE)


def _of_backward(operators: Iterable[Event], by_sequence: Mapping[int, str]) -> str | None:
    for e in operators:
        arguments = e.get("args", {})
        if arguments.get("Fwd thread id") and arguments.get("Sequence number") in by_sequence:
            return by_sequence[arguments["Sequence number"]] + BACKWARD
    return None


class _Open:
    """Which of some events are open on a thread at a time; they nest within a thread."""

    def __init__(self, events: Sequence[Event]) -> None:
        by_thread: dict[object, list[Event]] = defaultdict(list)
        for e in events:
            by_thread[e.get("tid")].append(e)
        self._starts: dict[object, list[float]] = {}
        self._events: dict[object, list[Event]] = {}
        self._parents: dict[object, list[int]] = {}
        for thread, group in by_thread.items():
            group.sort(key=lambda e: (float(e["ts"]), -float(e["dur"])))
            stack: list[int] = []
            parents = []
            for i, e in enumerate(group):
                while stack and end_us(group[stack[-1]]) <= float(e["ts"]):
                    stack.pop()
                parents.append(stack[-1] if stack else -1)
                stack.append(i)
            self._events[thread], self._parents[thread] = group, parents
            self._starts[thread] = [float(e["ts"]) for e in group]

    def all(self, thread: object, at_us: float) -> list[Event]:
        """Those open then, the innermost first."""
        group = self._events.get(thread)
        if group is None:
            return []
        i, found = bisect_right(self._starts[thread], at_us) - 1, []
        while i >= 0:
            if end_us(group[i]) > at_us:
                found.append(group[i])
            i = self._parents[thread][i]
        return found

    def innermost(self, thread: object, at_us: float) -> Event | None:
        """The innermost open then."""
        found = self.all(thread, at_us)
        return found[0] if found else None


@dataclass(slots=True)
class InRange:
    """What was launched in a range, its children's included; microseconds on the trace's axis.

    Attributes:
        first_us, last_us: when the device began the first and ended the last of it.
    """

    spent_us: float = 0.0
    first_us: float = float("inf")
    last_us: float = float("-inf")


def in_ranges(
    launches: Sequence[Launch], ranges: Sequence[Placed], caller: object
) -> tuple[list[InRange], list[Launch]]:
    """What was launched in each range; and the launches with the range that each lies in."""
    found = [InRange() for _ in ranges]
    led: list[Launch] = []
    by_thread: dict[object, list[int]] = defaultdict(list)
    for i, r in enumerate(ranges):
        by_thread[r.thread].append(i)
    for group in by_thread.values():
        group.sort(key=lambda i: ranges[i].start_us)
    sweeps = {thread: _Sweep(ranges, group) for thread, group in by_thread.items()}
    for one in sorted(launches, key=lambda x: x.start_us):
        open_now = [s for t in (one.thread, caller) if t in sweeps
                    and (s := sweeps[t].at(one.start_us))]  # fmt: skip
        inside = open_now[0] if open_now else []
        deepest = max(inside, key=lambda i: (ranges[i].depth, ranges[i].start_us), default=None)
        led.append(replace(one, range=None if deepest is None else ranges[deepest].name))
        for i in inside:
            found[i].spent_us += one.own_us
            found[i].first_us = min(found[i].first_us, float(one.event["ts"]))
            found[i].last_us = max(found[i].last_us, end_us(one.event))
    return found, led


class _Sweep:
    """The ranges of one thread that are open, as time goes on."""

    def __init__(self, ranges: Sequence[Placed], order: Sequence[int]) -> None:
        self._ranges, self._order, self._next = ranges, order, 0
        self._open: list[int] = []

    def at(self, time_us: float) -> list[int]:
        """Indices of those open then; times are asked for in order."""
        while self._next < len(self._order) and (
            self._ranges[self._order[self._next]].start_us <= time_us
        ):
            self._open.append(self._order[self._next])
            self._next += 1
        self._open = [i for i in self._open if self._ranges[i].end_us > time_us]
        return self._open


def time_in_phases(
    launches: Sequence[Launch], events: Sequence[Event], spans: Sequence[Event]
) -> dict[str, float]:
    """Phase -> device time in microseconds of all calls; phases are told apart by marks."""
    marks = sorted(
        (float(e["ts"]), str(e["name"]).removeprefix(MARK))
        for e in events
        if str(e.get("name", "")).startswith(MARK)
    )
    spent: dict[str, float] = dict.fromkeys((name for _, name in marks), 0.0)
    ends = [at for at, _ in marks]
    for one in launches:
        inside = any(float(s["ts"]) <= one.start_us <= end_us(s) for s in spans)
        i = bisect_right(ends, one.start_us)
        if inside and i < len(marks):
            spent[marks[i][1]] += one.own_us
    return spent
