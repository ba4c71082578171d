"""The seams of gpubench: what a device, a workload, a probe and a launcher must offer.

Implementations are found by name through ``gpubench.registry``; third parties add
theirs as entry points in the groups named there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from gpubench.record import (
    Accuracy,
    Fact,
    Range,
    Reading,
    Record,
    TensorCoreUse,
)
from gpubench.spec import Case, DeviceInfo, Plan, Value, Work

Call = Callable[[], object]
"""One unit of work, submitted to the device by calling it. It may carry an attribute
``footprint_bytes``: the memory of its inputs, where ``Work`` cannot know it."""


class Buildable(Protocol):
    """The part of a workload that runs."""

    def build(self, device: Device, seed: int, data: str) -> Call:
        """Allocate inputs on the device and return one call of the work."""

    def check(self, device: Device, seed: int, data: str) -> Accuracy | None:
        """Run once on fresh inputs and compare with FP64; None where there is no reference."""


@dataclass(frozen=True, slots=True)
class Timed:
    """One timed sample.

    Attributes:
        time_s: time per call on the device.
        host_enqueue_s: host time per call to submit it; None where that is the same.
    """

    time_s: float
    host_enqueue_s: float | None = None


@runtime_checkable
class Timer(Protocol):
    """Takes samples of one case on one device.

    Attributes:
        method: as in ``Measurement.method``.
        cache: the cache state this timer really brings about.
        calls_per_sample: calls timed together.
        floor_s: smallest time per call it can resolve.
    """

    method: str
    cache: str
    calls_per_sample: int
    floor_s: float

    def batch(self, most: int) -> Sequence[Timed]:
        """Take a few samples, at most ``most``."""


class Ranks(Protocol):
    """The ranks that run a case together, as one of them sees it."""

    rank: int
    world: int

    def data(self, size: int) -> Any:
        """Torch's process group of the first ``size`` ranks; asked for on every rank."""

    def max(self, values: Sequence[float]) -> list[float]:
        """The largest over all ranks, one by one, on every rank."""

    def barrier(self) -> None:
        """Wait for all ranks."""


def ranks_of(device: Device) -> Ranks | None:
    """The ranks that a device is one of; None for a device alone."""
    found: Ranks | None = getattr(device, "group", None)
    return found


class Device(Protocol):
    """A device: describes itself, keeps time, prepares precisions."""

    info: DeviceInfo

    def prepare(self, precision: str) -> None:
        """Set every switch so that ``precision`` is really what runs."""

    def switches(self) -> Mapping[str, Fact]:
        """The switches that decide the precision of a case, as they stand now."""

    def synchronize(self) -> None:
        """Wait until submitted work is done; raises the device's error if it failed."""

    def input_sets(self, footprint_bytes: float, cache: str, estimate_s: float) -> int:
        """How many input sets the cache policy needs for calls of that length."""

    def timer(self, calls: Sequence[Call], cache: str, estimate_s: float) -> Timer:
        """A timer for calls that take about ``estimate_s``, one per input set."""

    def estimate(self, call: Call) -> tuple[float, int]:
        """(seconds per call, calls made): warm, for choosing the method."""

    def wall_s(self) -> float:
        """Monotonic host time in seconds."""

    def release(self) -> None:
        """Give cached memory back."""


class Workload(Protocol):
    """A kind of work. Implementations are frozen dataclasses of their parameters.

    ``build`` and ``check`` are the only methods that may import torch.
    """

    name: ClassVar[str]
    precision: str

    @classmethod
    def from_params(cls, params: Mapping[str, Value], precision: str) -> Workload:
        """Validate and normalise; shorthands such as ``size`` are resolved here.

        Raises:
            InputError: unknown, missing or impossible parameter, ``key`` set to its name.
        """

    @classmethod
    def parameters(cls) -> Mapping[str, str]:
        """Parameter name -> what it means, with its unit; shorthands included."""

    def params(self) -> Mapping[str, Value]:
        """Canonical parameters with defaults filled in."""

    def identity(self) -> Mapping[str, Value]:
        """Canonical parameters that differ from their defaults: what the key is made of."""

    def label(self) -> str:
        """Short text for people, e.g. ``1024x1024x1024``."""

    def work(self) -> Work | None:
        """FLOPs and bytes of one call; None where they cannot be counted."""

    def unsupported(self, device: DeviceInfo) -> str | None:
        """Why this device cannot run it, beyond its precisions; None if it can."""

    def build(self, device: Device, seed: int, data: str) -> Call:
        """Allocate inputs on the device and return one call of the work."""

    def check(self, device: Device, seed: int, data: str) -> Accuracy | None:
        """Run once on fresh inputs and compare with FP64; None where there is no reference."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way of doing the work of a case, found on the device.

    Attributes:
        params: parameters of the case that runs it.
        reason: why it cannot run; None if it can.
    """

    params: Mapping[str, Value]
    reason: str | None = None


@runtime_checkable
class Expandable(Protocol):
    """A workload that may stand for several cases which only the device can name."""

    @property
    def expands(self) -> bool:
        """Whether this very case does; pure."""

    def expand(self, device: Device) -> Sequence[Variant]:
        """The cases it stands for.

        Raises:
            Unsupported: there are none; the reason becomes the reason of the skip.
        """


@runtime_checkable
class Observable(Protocol):
    """A workload, or a call it built, that can say how a call was done.

    The engine, its workspace, the backend; what a call holds of memory.
    """

    def observe(self, device: Device) -> Mapping[str, Fact]:
        """Facts for the record, asked after the measurement in the same process."""


@runtime_checkable
class Ranged(Protocol):
    """A call that knows the phases it is made of."""

    def ranges(self, device: Device) -> Sequence[Range]:
        """Where its time goes, asked after the measurement, in a pass of its own."""


Tell = Callable[[str, int, int], None]
"""Told what goes on in a case beside the samples: (text for people, done, of how many); 0 of 0
where nobody knows how long it takes."""


def unheard(_text: str, _done: int, _total: int) -> None:
    """Where nobody listens."""


@runtime_checkable
class Telling(Protocol):
    """A call that does more than a second's work outside the samples, and says how far it is."""

    tell: Tell


@runtime_checkable
class Marked(Protocol):
    """A call that can say, while it runs, where its phases end."""

    def run(self, mark: Callable[[str], None]) -> object:
        """One unit of work; ``mark`` is called at the end of each phase with its name."""


@runtime_checkable
class Repeatable(Protocol):
    """A call whose phases can each be repeated alone, for their energy."""

    def repeatable(self) -> Mapping[str, Call]:
        """Phase -> a call that does it and nothing else."""


class Probe(Protocol):
    """Watches the device beside the cases that are measured."""

    def facts(self) -> Mapping[str, Fact]:
        """Environment facts this probe knows."""

    def between(self, start_s: float, end_s: float) -> Sequence[Reading]:
        """What it read in that time, in order; times are of ``Device.wall_s``."""


class KernelTracer(Protocol):
    """Traces one call in a separate pass and says which unit it used."""

    def tensor_core_use(self, call: Call, case: Case, time_s: float) -> TensorCoreUse:
        """Verdict and evidence for one call of ``case`` that took ``time_s``."""


class Profiler(Protocol):
    """Adds to a record what only passes of their own can tell: energy, kernels."""

    def profile(self, record: Record, build: Callable[[], Call]) -> Record:
        """The record with energy and kernels of the call that ``build`` makes."""


class Launcher(Protocol):
    """Runs a plan somewhere and yields records as they finish."""

    def run(self, plan: Plan) -> Iterator[Record]:
        """Run every case; a failing case yields a record and never stops the run."""


Json = dict[str, Any]
"""A JSON object."""
