"""Where a step goes: a clock with marks between phases, and ranges made of its readings."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from gpubench.record import Range
from gpubench.stats import quantile

HOST: Final = frozenset({"data"})
"""Phases in which the device has nothing to do."""

Mark = Callable[[str], None]
"""Called at the end of a phase with its name."""


def unmarked(_phase: str) -> None:
    """The mark of a step that is not taken apart."""


class PhaseClock:
    """Time of each phase of one step; a phase that comes again is added up.

    On a GPU an event is recorded at each mark and nothing waits within a step; a phase then
    has the time from one event to the next, waiting for the host included.

    Args:
        event: makes a timing event; None where the host's clock is the device's.
        synchronize: waits for the device.
    """

    def __init__(self, event: Callable[[], Any] | None, synchronize: Callable[[], None]) -> None:
        self._event, self._synchronize = event, synchronize
        self._marks: list[tuple[str, float, Any]] = []

    def start(self) -> None:
        """Begin a step with an idle device."""
        self._synchronize()
        self._marks = []
        self.mark("")

    def mark(self, phase: str) -> None:
        """End a phase."""
        event = None
        if self._event is not None:
            event = self._event()
            event.record()
        self._marks.append((phase, time.perf_counter(), event))

    def stop(self) -> dict[str, float]:
        """Seconds of each phase, in the order in which they first came."""
        self._synchronize()
        spent: dict[str, float] = {}
        for before, (phase, host_s, event) in zip(self._marks, self._marks[1:], strict=False):
            if event is None or phase in HOST:
                took_s = host_s - before[1]
            else:
                took_s = float(before[2].elapsed_time(event)) * 1e-3  # milliseconds
            spent[phase] = spent.get(phase, 0.0) + took_s
        return spent


def ranges_of(steps: Sequence[Mapping[str, float]]) -> list[Range]:
    """One range a phase, one after the other, each as long as its median over the steps."""
    found: list[Range] = []
    at = 0.0
    for phase in steps[0]:
        took_s = quantile(sorted(s[phase] for s in steps), 0.5)
        device_s = None if phase in HOST else took_s
        found.append(Range(phase, at, at + took_s, device_time_s=device_s))
        at += took_s
    return found
