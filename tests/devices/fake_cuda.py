"""A scripted CUDA timeline: the host submits, the device works in order, events look on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class FakeEvent:
    time_s: float | None = None


@dataclass
class FakeCuda:
    """``CudaApi`` on virtual time.

    Attributes:
        floor_s: device time that recording an event takes.
        flush_s: device time of a flush.
        record_host_s: host time that recording an event takes.
        can_block: whether ``block`` works.
        can_capture: whether graphs can be captured.
    """

    floor_s: float = 1e-6
    flush_s: float = 20e-6
    record_host_s: float = 0.0
    can_block: bool = True
    can_capture: bool = True
    host: float = 0.0
    free: float = 0.0
    log: list[str] = field(default_factory=list)
    capturing: list[float] | None = None

    def submit(self, device_s: float, host_s: float = 0.0) -> None:
        """Enqueue device work; it starts when the device is free and the host has sent it."""
        self.host += host_s
        if self.capturing is not None:
            self.capturing.append(device_s)
            return
        self.free = max(self.free, self.host) + device_s

    def kernel(
        self, device_s: float | Callable[[], float], host_s: float = 5e-6
    ) -> Callable[[], None]:
        def call() -> None:
            self.log.append("call")
            self.submit(device_s() if callable(device_s) else device_s, host_s)

        return call

    def event(self) -> FakeEvent:
        return FakeEvent()

    def record(self, event: FakeEvent) -> None:
        self.log.append("record")
        self.submit(self.floor_s, self.record_host_s)
        event.time_s = self.free

    def elapsed_s(self, start: Any, end: Any) -> float:
        assert self.host >= end.time_s, "read before it finished"
        return float(end.time_s - start.time_s)

    def synchronize(self) -> None:
        self.log.append("sync")
        self.host = max(self.host, self.free)

    def block(self, seconds: float) -> bool:
        self.log.append("block")
        if self.can_block:
            self.submit(seconds)
        return self.can_block

    def flush(self) -> None:
        self.log.append("flush")
        self.submit(self.flush_s)

    def graph(self, calls: Sequence[Callable[[], object]]) -> Callable[[], None]:
        if not self.can_capture:
            raise RuntimeError("operation not permitted when stream is capturing")
        self.capturing = []
        for call in calls:
            call()
        kernels, self.capturing = self.capturing, None

        def replay() -> None:
            self.log.append("replay")
            self.submit(sum(kernels), 10e-6)

        return replay

    def host_s(self) -> float:
        return self.host
