"""What to run: inert descriptions. Building one touches no device, file or network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Final, TypeAlias

PRECISIONS: Final = ("fp64", "fp32", "tf32", "fp16", "bf16", "fp8")
"""Precisions by their standard names. ``fp32`` always means true FP32 on CUDA cores."""

ELEMENT_BYTES: Final[Mapping[str, int]] = {
    "fp64": 8, "fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2, "fp8": 1,
}  # fmt: skip
"""Bytes of one stored element; TF32 is a compute format, stored as FP32."""

Value: TypeAlias = str | int | float | bool
"""A parameter's value."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How carefully a case is measured.

    Attributes:
        min_time_s: measuring time before a case may stop on its own statistics.
        max_time_s: measuring time after which it stops in any case.
        target_rel_ci: half width of the median's 95 % interval / median to reach.
        min_samples: samples before a case may stop.
        max_samples: samples after which it stops.
        warmup_s: time of untimed calls first.
        timeout_s: wall time of the whole case, set-up included, before it is killed.
        cache: ``auto``, ``cold`` (flushed before every sample), ``rotating`` (input sets
            that together exceed the last-level cache) or ``hot``.
        launches: fresh processes over which the samples are spread.
        data: distribution of the inputs: ``normal``, ``uniform``, ``positive``, ``wide``,
            ``cancelling`` (gemm and linear) or ``zeros``; see ``workloads.operands.fill``.
    """

    min_time_s: float = 0.3
    max_time_s: float = 5.0
    target_rel_ci: float = 0.01
    min_samples: int = 10
    max_samples: int = 10_000
    warmup_s: float = 0.05
    timeout_s: float = 120.0
    cache: str = "auto"
    launches: int = 1
    data: str = "normal"


@dataclass(frozen=True, slots=True)
class Work:
    """What one call has to do, counted from its definition.

    Attributes:
        flops: floating-point operations, a multiply-add as two.
        bytes: compulsory traffic, each input read once and each output written once.
        footprint_bytes: device memory the operands take.
        formula: how ``flops`` was counted, for the report.
    """

    flops: float
    bytes: float
    footprint_bytes: float
    formula: str

    @property
    def intensity(self) -> float | None:
        """Arithmetic intensity in FLOP per byte; None where nothing is moved."""
        return self.flops / self.bytes if self.bytes else None


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A device as far as planning needs to know it.

    Attributes:
        type: ``cpu`` or ``cuda``.
        index: CUDA ordinal; None on CPU.
        name: as the driver or the operating system reports it.
        gpu_key: row of the catalogue, where it matches one.
        architecture: ``Ampere``, ``x86_64``, ...
        compute_capability: (major, minor) on CUDA.
        memory_bytes: memory that cases may use.
        cache_bytes: last-level cache (L2 on CUDA, L3 on CPU).
        sm_count: streaming multiprocessors, or CPU cores in use.
        unsupported: precision -> why this device does not have it.
        note: one line on how this device came to be chosen.
        world_size: ranks that run together, each with such a device.
    """

    type: str
    name: str
    index: int | None = None
    uuid: str | None = None
    gpu_key: str | None = None
    architecture: str | None = None
    compute_capability: tuple[int, int] | None = None
    memory_bytes: int | None = None
    cache_bytes: int | None = None
    sm_count: int | None = None
    unsupported: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    world_size: int = 1

    @property
    def torch_name(self) -> str:
        """The device string of torch: ``cpu`` or ``cuda:N``."""
        return self.type if self.index is None else f"{self.type}:{self.index}"


MANY_RANKS: Final = 2**20
"""Ranks of a device that nobody has, for asking what it would do."""


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to measure.

    Attributes:
        key: identity of the work, equal across runs and machines; see ``plan.case_key``.
        benchmark: the entry of the suite it came from.
        workload: workload name.
        precision: one of ``PRECISIONS``.
        params: canonical parameters, defaults filled in, without the precision.
        policy: how to measure it.
        work: FLOPs and bytes of one call; None where the workload cannot count them.
        baseline: key of the case that speed-ups are against.
    """

    key: str
    benchmark: str
    workload: str
    precision: str
    params: Mapping[str, Value]
    policy: Policy = field(default_factory=Policy)
    work: Work | None = None
    baseline: str | None = None
    label: str = ""


@dataclass(frozen=True, slots=True)
class PlannedSkip:
    """A case that this device cannot or need not run, with the reason."""

    case: Case
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A suite laid out for one device.

    Attributes:
        cases: what will run, in the suite's order.
        skips: what will not, each with its reason.
        seed: seed of the random order and of the inputs.
        order: keys of cases and skips as they stand in the suite.
        folder: where the suite's own code lies; None where it names none.
    """

    suite: str
    description: str
    device: DeviceInfo
    cases: tuple[Case, ...]
    skips: tuple[PlannedSkip, ...]
    seed: int
    quick: bool = False
    order: tuple[str, ...] = ()
    folder: str | None = None


@dataclass(frozen=True, slots=True)
class Profiling:
    """What `gpubench profile` adds to every case.

    Attributes:
        folder: where a trace a case is written; None for none.
        work_s: work per case for its energy; 0 for no energy.
        no_capture: why NVTX ranges of others cannot be captured; empty where they can.
    """

    folder: str | None = None
    work_s: float = 3.0
    no_capture: str = ""


@dataclass(frozen=True, slots=True)
class Condition:
    """A ``skip`` or ``only`` clause: an expression and, for people, the reason."""

    expression: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Override:
    """What replaces parts of a benchmark on CPU (``cpu:``) or with ``--quick`` (``quick:``).

    ``params``, ``matrix``, ``zip`` and ``policy`` replace single keys, ``cases`` the whole
    list; ``skip`` is a reason for which none of the benchmark's cases run there.
    """

    params: Mapping[str, Value] = field(default_factory=dict)
    matrix: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    zip: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    cases: tuple[Mapping[str, Value], ...] | None = None
    policy: Mapping[str, Value] = field(default_factory=dict)
    skip: str | None = None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One entry of a suite: a workload and the parameters it is run with.

    ``matrix`` is a cartesian product, ``zip`` are parallel lists, ``cases`` an explicit
    list; where several are given the product of the three is run.
    ``key_path`` is where it stands in the file, e.g. ``benchmarks[0]``, for messages.
    """

    name: str
    workload: str
    params: Mapping[str, Value] = field(default_factory=dict)
    matrix: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    zip: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    cases: tuple[Mapping[str, Value], ...] | None = None
    skip: tuple[Condition, ...] = ()
    only: tuple[Condition, ...] = ()
    baseline: Mapping[str, Value] = field(default_factory=dict)
    policy: Mapping[str, Value] = field(default_factory=dict)
    cpu: Override | None = None
    quick: Override | None = None
    key_path: str = ""


@dataclass(frozen=True, slots=True)
class Suite:
    """A validated suite file."""

    name: str
    description: str
    benchmarks: tuple[Benchmark, ...]
    policy: Policy = field(default_factory=Policy)
    source: str | None = None
    places: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    @property
    def folder(self) -> str | None:
        """The folder of the file, where a benchmark names code of the user's; else None."""
        if self.source is None or all(b.workload != "custom" for b in self.benchmarks):
            return None
        return str(PurePath(self.source).parent)

    def place(self, key: str) -> tuple[str | None, int | None]:
        """(file, line) of a key path, or of the nearest enclosing one that is known."""
        return self.places.get(known_key(self.places, key), (self.source, None))


def known_key(places: Mapping[str, tuple[str, int]], key: str) -> str:
    """A key path if its place is known, else the nearest enclosing one; empty for the file."""
    while key and key not in places:
        cut = max(key.rfind("."), key.rfind("["))
        key = key[:cut] if cut > 0 else ""
    return key
