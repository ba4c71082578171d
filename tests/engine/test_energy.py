"""Energy of a call on simulated boards, whose truth is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gpubench.engine.energy import MeterReading, edges_of, evaluate, measure_energy


class Board:
    """A clock, and a board whose power is ``idle_w``, and ``busy_w`` while a call runs.

    Args:
        update_s: period of the counter.
        counts: whether it has a counter.
        window_s: the power sensor's averaging window.
        duty: share of the sensor's period in which it looks at the board (0.25 on some).
    """

    def __init__(
        self, idle_w: float = 60.0, busy_w: float = 400.0, update_s: float = 0.1,
        counts: bool = True, window_s: float = 0.1, duty: float = 1.0, tells_power: bool = True,
    ) -> None:  # fmt: skip
        self.idle_w, self.busy_w, self.update_s = idle_w, busy_w, update_s
        self.counts, self.window_s, self.duty = counts, window_s, duty
        self.tells_power = tells_power
        self.t, self.busy = 0.0, [(0.0, 0.0)]
        self.true_j = 0.0

    # the clock
    def now_s(self) -> float:
        self.t += 2e-6  # looking takes time, too
        return self.t

    def sleep(self, seconds: float) -> None:
        self.t += seconds

    # the work
    def call(self, seconds: float) -> Callable[[], None]:
        def run() -> None:
            self.busy.append((self.t, self.t + seconds))
            self.t += seconds
            self.true_j += seconds * self.busy_w

        return run

    def joules(self, until: float, since: float = 0.0) -> float:
        worked = sum(
            max(0.0, min(b, until) - max(a, since)) for a, b in self.busy if b > since and a < until
        )
        return self.idle_w * (until - since) + (self.busy_w - self.idle_w) * worked

    # the sensors
    def energy_j(self) -> float | None:
        if not self.counts:
            return None
        tick = int(self.t / self.update_s) * self.update_s
        return round(self.joules(tick), 3)

    def power_w(self) -> float | None:
        if not self.tells_power:
            return None
        tick = int(self.t / self.window_s) * self.window_s
        start = tick - self.window_s * self.duty
        if start < 0:
            return self.idle_w
        return self.joules(tick, start) / (tick - start)


def measured(board: Board, call_s: float = 0.03, **more: object):
    return measure_energy(board.call(call_s), lambda: None, board, board, call_s=call_s, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("update_s", [0.02, 0.1])
@pytest.mark.parametrize("call_s", [0.003, 0.03, 0.2])
def test_the_counter_gives_the_joules_of_a_call(update_s: float, call_s: float) -> None:
    board = Board(update_s=update_s)
    found = measured(board, call_s)
    assert found.energy.method == "counter between edges, repeated"
    assert found.energy.joules == pytest.approx(400 * call_s, rel=0.02)
    assert found.idle_w == pytest.approx(60, rel=0.01)
    assert found.update_s == pytest.approx(update_s, rel=0.2)
    assert found.busy_s >= 3.0


def test_without_a_counter_power_is_integrated() -> None:
    found = measured(Board(counts=False, window_s=0.05))
    assert found.energy.method == "integrated power"
    assert found.energy.joules == pytest.approx(400 * 0.03, rel=0.02)


@pytest.mark.parametrize("period", [0.1, 0.12])
def test_a_sensor_that_looks_a_quarter_of_the_time_is_not_fooled_by_a_regular_call(
    period: float,
) -> None:
    """A call that takes as long as the sensor's period would always be seen in one phase."""
    board = Board(counts=False, window_s=0.1, duty=0.25)
    found = measured(board, call_s=period, work_s=12.0)
    assert found.energy.joules == pytest.approx(400 * period, rel=0.05)


def test_both_methods_are_compared_and_a_disagreement_is_told_not_averaged() -> None:
    agreed = measured(Board())
    assert agreed.disagreement is not None
    assert abs(agreed.disagreement) < 0.03
    assert agreed.energy.reason is None
    board = Board()
    board.power_w = lambda: 150.0 + (board.t % 0.1)  # type: ignore[method-assign,assignment]
    found = measured(board)
    assert found.energy.joules == pytest.approx(400 * 0.03, rel=0.02)
    assert "integrated power is -" in str(found.energy.reason)


def test_a_single_short_call_has_no_honest_energy() -> None:
    found = measured(Board(), call_s=0.03, work_s=0.03)
    assert found.energy.joules is None
    assert "shorter than 10 update periods of the sensor" in str(found.energy.reason)


def test_a_driver_that_tells_nothing_and_a_sensor_that_stands_still() -> None:
    found = measured(Board(counts=False, tells_power=False))
    assert found.energy.reason == "the driver tells neither energy nor power"
    still = Board(counts=False)
    still.power_w = lambda: 75.0  # type: ignore[method-assign]
    found = measured(still)
    assert found.energy.joules is None
    assert "did not move" in str(found.energy.reason)


def test_a_board_that_falls_off_the_bus_gives_a_reason() -> None:
    board = Board()
    alive, power = board.energy_j, board.power_w
    board.energy_j = lambda: alive() if board.t < 2 else None  # type: ignore[method-assign]
    board.power_w = lambda: power() if board.t < 2 else None  # type: ignore[method-assign]
    found = measured(board)
    assert found.energy.joules is None
    assert found.energy.reason


def test_edges_are_where_the_counter_moved() -> None:
    readings = [MeterReading(0.01 * i, float(i // 4), None) for i in range(12)]
    assert [e.energy_j for e in edges_of(readings)] == [1.0, 2.0]
    assert [e.time_s for e in edges_of(readings)] == [0.04, 0.08]


def test_nothing_ran() -> None:
    assert evaluate([], [], 0, 60.0).energy.reason == "nothing ran"
