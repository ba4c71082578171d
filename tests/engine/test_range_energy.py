"""Energy of ranges within a call, on simulated boards whose truth is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gpubench.engine.energy import MeterReading
from gpubench.engine.range_energy import evaluate_ranges, measure_ranges

IDLE_W = 60.0
PARTS = ((0.03, 400.0), (0.05, 200.0))
"""A call: (seconds, watts) of two ranges, one after the other."""
EXTENTS = ((0.0, 3 / 8), (3 / 8, 1.0), (0.0, 1.0))


class Board:
    """A clock and a board of changing power, looked at every 2 ms beside the work."""

    def __init__(self, update_s: float, counts: bool = True) -> None:
        self.update_s, self.counts = update_s, counts
        self.t, self.joules, self.shown = 0.0, 0.0, 0.0
        self.look: Callable[[], object] = lambda: None

    def now_s(self) -> float:
        return self.t

    def sleep(self, seconds: float) -> None:
        self.work(seconds, IDLE_W)

    def work(self, seconds: float, watts: float) -> None:
        left = seconds
        while left > 1e-9:
            step = min(left, self.update_s - self.t % self.update_s + 1e-9, 0.002)
            before = int(self.t / self.update_s)
            self.t, left = self.t + step, left - step
            self.joules += watts * step
            if int(self.t / self.update_s) != before:
                self.shown = self.joules
            self.look()

    def call(self) -> None:
        for seconds, watts in PARTS:
            self.work(seconds, watts)

    def energy_j(self) -> float | None:
        return round(self.shown, 3) if self.counts else None

    def power_w(self) -> float | None:
        return None

    def watch(self, look: Callable[[], object]) -> Board:
        self.look = look
        return self

    def stop(self) -> None:
        self.look = lambda: None


def measured(board: Board, work_s: float = 6.0, extents=EXTENTS):  # type: ignore[no-untyped-def]
    return measure_ranges(
        board.call, lambda: None, board, board, extents, idle_w=IDLE_W,
        update_s=board.update_s, work_s=work_s, poll=board.watch,
    )  # fmt: skip


@pytest.mark.parametrize("update_s", [0.02, 0.05, 0.1])
def test_two_ranges_of_a_repeated_call_are_told_apart(update_s: float) -> None:
    first, second, whole = measured(Board(update_s))
    assert first.joules == pytest.approx(0.03 * 400, rel=0.02)
    assert second.joules == pytest.approx(0.05 * 200, rel=0.02)
    assert whole.joules == pytest.approx(22.0, rel=0.02)
    assert first.error_j is not None
    assert 0 < first.error_j < 0.03 * first.joules


def test_a_single_call_has_no_energy_by_range() -> None:
    for found in measured(Board(0.1), work_s=0.08):
        assert found.joules is None
        assert "too few" in str(found.reason)


def test_without_a_counter_there_is_none() -> None:
    assert "no energy counter" in str(measured(Board(0.05, counts=False))[0].reason)


def test_a_range_in_which_the_device_did_nothing() -> None:
    first, none = measured(Board(0.05), extents=((0.0, 1.0), None))
    assert first.joules == pytest.approx(22.0, rel=0.02)
    assert "did nothing" in str(none.reason)


def test_too_many_parts_are_refused() -> None:
    found = measured(
        Board(0.05), work_s=0.2, extents=tuple((i / 20, (i + 1) / 20) for i in range(20))
    )
    assert "too many" in str(found[0].reason)


def test_calls_far_shorter_than_the_window_look_all_alike() -> None:
    """Back to back without pauses, each window holds both halves in equal shares."""
    readings = [MeterReading(0.1 * i, 30.0 * i, None) for i in range(40)]
    calls = [(0.001 * i, 0.001 * (i + 1)) for i in range(4000)]
    for found in evaluate_ranges(readings, calls, [(0.0, 0.5), (0.5, 1.0)], IDLE_W):
        assert found.joules is None
        assert "same mixture" in str(found.reason)
