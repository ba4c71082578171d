"""CUDA timelines: the few calls that timers need, and the two timers made of them.

``CudaApi`` is the seam: tests script it, ``TorchCuda`` is the real one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final, Protocol

from gpubench.ports import Call, Timed
from gpubench.stats import quantile

SHORT_S: Final = 20e-6
"""Below this an event pair resolves too little (about 0.5 us): the graph slope is used."""
LONG_S: Final = 50e-3
"""Above this every sample is synchronised, so that budgets and Ctrl-C act in time."""
FLOOR_FACTOR: Final = 20
"""An event pair is used for calls at least this many times its own floor."""
BATCH_S: Final = 0.05
MAX_BATCH: Final = 64
HOST_CALLS: Final = 16
RECORD_HOST_S: Final = 10e-6
"""Host time that recording an event takes at most, usually a third of it."""
REPLAY_HOST_S: Final = 20e-6
"""Host time that launching a graph takes at most, usually about half of it."""


class CudaApi(Protocol):
    """What timers ask of CUDA."""

    def event(self) -> Any:
        """A new timing event."""

    def record(self, event: Any) -> None:
        """Record it in the current stream."""

    def elapsed_s(self, start: Any, end: Any) -> float:
        """Time between two recorded, finished events."""

    def synchronize(self) -> None:
        """Wait for the device."""

    def block(self, seconds: float) -> bool:
        """Keep the stream busy for about that long; False where that is not possible."""

    def flush(self) -> None:
        """Overwrite the L2 cache."""

    def graph(self, calls: Sequence[Call]) -> Call:
        """Capture calls into a CUDA graph; the result replays it."""

    def host_s(self) -> float:
        """Monotonic host time."""


def event_floor_s(api: CudaApi, pairs: int = 50) -> float:
    """Median of empty event pairs: the smallest time an event pair can tell."""
    made = [(api.event(), api.event()) for _ in range(pairs)]
    # Long enough that the host has submitted every pair: a gap of its own would be timed.
    api.block(pairs * 2 * RECORD_HOST_S)
    for start, end in made:
        api.record(start)
        api.record(end)
    api.synchronize()
    return quantile(sorted(api.elapsed_s(s, e) for s, e in made), 0.5)


def host_enqueue_s(api: CudaApi, calls: Sequence[Call]) -> float:
    """Host time to submit one call while the stream is blocked: nothing waits for the GPU.

    Few calls, so that the launch queue (1,024 deep) never fills.
    """
    todo = [calls[i % len(calls)] for i in range(HOST_CALLS)]
    api.block(2e-3)
    start = api.host_s()
    for call in todo:
        call()
    spent = api.host_s() - start
    api.synchronize()
    return spent / len(todo)


class EventTimer:
    """An event pair per call, after an L2 flush if cold; for calls above ``SHORT_S``.

    The stream is blocked before the start event, until the host has submitted start,
    call and end: otherwise a slow host would be timed as the GPU's work (nvbench's
    blocking kernel serves the same end).
    """

    method = "events"
    calls_per_sample = 1

    def __init__(
        self, api: CudaApi, calls: Sequence[Call], cache: str, estimate_s: float, floor_s: float
    ) -> None:
        self._api, self._calls, self.cache, self.floor_s = api, tuple(calls), cache, floor_s
        size = 1 if estimate_s > LONG_S else int(BATCH_S / max(estimate_s, 1e-6))
        self._pairs = [(api.event(), api.event()) for _ in range(max(1, min(MAX_BATCH, size)))]
        self._enqueue_s = host_enqueue_s(api, self._calls) if estimate_s < LONG_S else 1e-3
        self._next = 0

    def batch(self, most: int) -> Sequence[Timed]:
        """One sample per prepared event pair; one synchronisation at the end."""
        api, host, pairs = self._api, [], self._pairs[:most]
        for start, end in pairs:
            call = self._calls[self._next]
            self._next = (self._next + 1) % len(self._calls)
            if self.cache == "cold":
                api.flush()
            api.block(2 * self._enqueue_s + 20e-6)
            api.record(start)
            begun = api.host_s()
            call()
            host.append(api.host_s() - begun)
            api.record(end)
        api.synchronize()
        times = [api.elapsed_s(s, e) for s, e in pairs]
        return [Timed(t, h) for t, h in zip(times, host, strict=True)]


class SlopeTimer:
    """Time of N and of 2N calls; the slope has no launch and no event overhead in it.

    In a CUDA graph the host takes no part; where a call cannot be captured the same two
    loops are submitted to the stream, which is bound by the host for short kernels, and
    the method says so.
    """

    TARGET_S: Final = 1e-3

    def __init__(
        self, api: CudaApi, calls: Sequence[Call], cache: str, estimate_s: float, floor_s: float
    ) -> None:
        self._api, self.cache, self.floor_s = api, cache, floor_s
        sets = len(calls)
        n = max(16, min(2048, int(self.TARGET_S / max(estimate_s, 5e-7))))
        n += -n % sets  # whole rounds over the input sets
        self.calls_per_sample = n
        one, two = ([calls[i % sets] for i in range(count)] for count in (n, 2 * n))
        self._calls = tuple(calls)
        try:
            self._short, self._long = api.graph(one), api.graph(two)
            self.method = "graph_slope"
        except RuntimeError:
            api.synchronize()
            self._short, self._long = _loop(one), _loop(two)
            self.method = "stream_slope"
        self._short()
        self._long()
        api.synchronize()
        self._events = [(api.event(), api.event(), api.event()) for _ in range(8)]

    def batch(self, most: int) -> Sequence[Timed]:
        """Eight slopes and the host's time to submit single calls beside them."""
        api, samples, events = self._api, [], self._events[:most]
        # Until every replay is submitted: the first would otherwise hold its own launch.
        api.block(len(events) * 2 * REPLAY_HOST_S)
        for a, b, c in events:
            api.record(a)
            self._short()
            api.record(b)
            self._long()
            api.record(c)
        api.synchronize()
        enqueue_s = host_enqueue_s(api, self._calls)
        for a, b, c in events:
            slope = (api.elapsed_s(b, c) - api.elapsed_s(a, b)) / self.calls_per_sample
            # Interference in the shorter loop can turn a slope negative: the sample is
            # kept as the plain mean of the longer loop, an upper bound.
            if slope <= 0:
                slope = api.elapsed_s(b, c) / (2 * self.calls_per_sample)
            samples.append(Timed(slope, enqueue_s))
        return samples


def _loop(calls: Sequence[Call]) -> Call:
    def run() -> None:
        for call in calls:
            call()

    return run


def choose_timer(
    api: CudaApi, calls: Sequence[Call], cache: str, estimate_s: float
) -> EventTimer | SlopeTimer:
    """The timer for calls of that length.

    ``auto`` is ``cold`` for event pairs and, for slopes, where nothing can be flushed
    between calls, ``rotating`` if there are several input sets and ``hot`` if not. An
    explicit ``cold`` always gets event pairs.
    """
    floor_s = event_floor_s(api)
    short = estimate_s < max(SHORT_S, FLOOR_FACTOR * floor_s)
    if short and cache != "cold":
        state = "rotating" if len(calls) > 1 else "hot"
        return SlopeTimer(api, calls, state, estimate_s, floor_s)
    return EventTimer(api, calls, {"auto": "cold"}.get(cache, cache), estimate_s, floor_s)


class TorchCuda:
    """``CudaApi`` by ``torch.cuda``.

    Args:
        device: CUDA ordinal.
        l2_bytes: size of the flush buffer, the L2's own size as nvbench does.
        clock_hz: SM clock, for turning block times into cycles.
    """

    def __init__(self, device: int, l2_bytes: int, clock_hz: float) -> None:
        import torch

        self._torch, self._device, self._clock_hz = torch, device, clock_hz
        self._buffer = torch.empty(max(l2_bytes, 2**20), dtype=torch.int8, device=f"cuda:{device}")
        self._sleep = getattr(torch.cuda, "_sleep", None)

    def event(self) -> Any:
        """A new timing event."""
        return self._torch.cuda.Event(enable_timing=True)

    def record(self, event: Any) -> None:
        """Record it in the current stream."""
        event.record()

    def elapsed_s(self, start: Any, end: Any) -> float:
        """Time between two recorded, finished events (``elapsed_time`` is in ms)."""
        return float(start.elapsed_time(end)) * 1e-3

    def synchronize(self) -> None:
        """Wait for the device."""
        self._torch.cuda.synchronize(self._device)

    def block(self, seconds: float) -> bool:
        """A spin kernel of about that long (``torch.cuda._sleep``, in cycles)."""
        if self._sleep is None:
            return False
        self._sleep(int(seconds * self._clock_hz))
        return True

    def flush(self) -> None:
        """Overwrite the L2 cache."""
        self._buffer.zero_()

    def graph(self, calls: Sequence[Call]) -> Call:
        """Capture calls into a CUDA graph after a warm-up on a side stream.

        Raises:
            RuntimeError: a call cannot be captured.
        """
        torch = self._torch
        stream = torch.cuda.Stream(self._device)
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for call in calls[:3]:
                call()
        torch.cuda.current_stream(self._device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for call in calls:
                call()
        replay: Call = graph.replay
        return replay

    def host_s(self) -> float:
        """Monotonic host time."""
        return time.perf_counter()
