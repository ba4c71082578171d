"""What happened: samples, readings, outcomes. Statistics are functions of them elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from gpubench.spec import Case

Fact: TypeAlias = str | int | float | bool | None
"""A value in the captured environment."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Every sample that was taken, in order.

    Attributes:
        times_s: time of one call, per sample (a sample of k calls is divided by k).
        host_enqueue_s: host time to submit one call, per sample; empty on CPU, where
            submitting and running are the same.
        spoiled: sample index -> why it should not count (a throttle reason, say).
            Spoiled samples are kept and shown.
        calls_per_sample: calls timed together in one sample.
        launches: samples taken in each process launch, in order.
    """

    times_s: tuple[float, ...]
    host_enqueue_s: tuple[float, ...] = ()
    spoiled: Mapping[int, str] = field(default_factory=dict)
    calls_per_sample: int = 1
    launches: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of a sensor during a measurement.

    Attributes:
        time_s: monotonic time since the measurement began.
        values: metric name -> value, e.g. ``{"clock_hz": 1.41e9, "power_w": 250.0}``.
        reasons: clock event (throttle) reasons active then.
    """

    time_s: float
    values: Mapping[str, float]
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Range:
    """A named span of host time within a call, possibly nested by ``depth``.

    Attributes:
        device_time_s: of the kernels launched in it (on a CPU: operators), by a traced pass.
        energy_j: of the device while it did them.
        reason: why one of the two is absent.
    """

    name: str
    start_s: float
    end_s: float
    depth: int = 0
    device_time_s: float | None = None
    energy_j: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Kernel:
    """A device kernel (on CPU: an operator) that one call runs, from a traced pass.

    Attributes:
        count: launches per call.
        time_s: device time of all of them per call; on CPU an operator's own time.
        grid, block: launch shape; empty where there is none.
        module: the module that launched it, where the trace knows.
        range: the innermost captured range that launched it; None outside of all.
    """

    name: str
    count: float
    time_s: float
    grid: tuple[int, ...] = ()
    block: tuple[int, ...] = ()
    module: str | None = None
    range: str | None = None


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator that one step runs, from a traced pass.

    Attributes:
        name: as the framework calls it; a kernel's own name where nobody says who launched it.
        phase: ``forward``, ``backward`` or ``optimizer``; empty where none is told apart.
        count: calls per step.
        time_s: of all its calls per step: device time of the kernels it launched; on CPU its
            own time without the operators it calls.
    """

    name: str
    phase: str
    count: float
    time_s: float


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Outcome of the check against FP64 on fresh random inputs.

    Attributes:
        rel_error: ||out - ref|| / ||ref|| in the Frobenius norm.
        tolerance: largest ``rel_error`` that is right for this precision and size.
        reference: how the reference was made.
    """

    rel_error: float
    tolerance: float
    reference: str

    @property
    def ok(self) -> bool:
        """Whether the result is right; a NaN is not."""
        return self.rel_error <= self.tolerance


@dataclass(frozen=True, slots=True)
class TensorCoreUse:
    """Did Tensor Cores run?

    Attributes:
        verdict: ``used``, ``not_used``, ``unknown`` or ``not_applicable``.
        evidence: one line each: kernel names, rates, what is missing.
        kernels: raw kernel names as traced, since name lists rot.
    """

    verdict: str
    evidence: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Measurement:
    """A case that was measured.

    Attributes:
        method: ``loop`` (CPU clock), ``events`` (CUDA event pair per sample),
            ``graph_slope`` (CUDA graph of N and 2N calls) or ``stream_slope``.
        cache: ``cold``, ``rotating`` or ``hot``: what was really done.
        stopped_by: ``target_ci``, ``stable_noise``, ``max_time`` or ``max_samples``.
        warmup_calls: untimed calls before the first sample.
        floor_s: the smallest time this method can resolve, measured just before.
        measuring_s: wall time spent on warm-up and samples.
        input_sets: distinct input sets that the calls rotated over.
        facts: how the workload did it, in its own words: engine, workspace, backend.
        kernels: of one call, the longest first; only where it was profiled.
        operators: of one step of a model, the longest first.
    """

    samples: Samples
    method: str
    cache: str
    stopped_by: str
    warmup_calls: int = 0
    floor_s: float | None = None
    measuring_s: float = 0.0
    input_sets: int = 1
    accuracy: Accuracy | None = None
    tensor_cores: TensorCoreUse | None = None
    readings: tuple[Reading, ...] = ()
    ranges: tuple[Range, ...] = ()
    flags: tuple[str, ...] = ()
    facts: Mapping[str, Fact] = field(default_factory=dict)
    kernels: tuple[Kernel, ...] = ()
    operators: tuple[Operator, ...] = ()


@dataclass(frozen=True, slots=True)
class Skip:
    """A case that was not run on purpose."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that should have been measured and was not.

    Attributes:
        kind: ``error``, ``out_of_memory``, ``timeout``, ``crash`` or ``wrong_result``.
        reason: one line for people.
        traceback: of the foreign error, where there is one.
    """

    kind: str
    reason: str
    traceback: str | None = None


Outcome: TypeAlias = Measurement | Skip | Failure


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy of one call; None joules always come with a reason."""

    joules: float | None = None
    method: str | None = None
    reason: str | None = "not measured: energy is measured by `gpubench profile`"


@dataclass(frozen=True, slots=True)
class Modelled:
    """What the cost model expects of the case on this device.

    Attributes:
        predicted_s, low_s, high_s: from datasheet facts, with the 80 % band.
        bound: ``compute``, ``memory`` or ``launch``.
        calibrated_s: corrected by what `gpubench calibrate` measured on this very device.
        classes: class of operators -> seconds of a step, as in ``gpubench.model.classes``.
    """

    predicted_s: float | None = None
    low_s: float | None = None
    high_s: float | None = None
    bound: str | None = None
    calibrated_s: float | None = None
    classes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeviceRef:
    """The device a record belongs to."""

    type: str
    name: str
    gpu_key: str | None = None


@dataclass(frozen=True, slots=True)
class Peaks:
    """The ceilings a measurement is compared with, and where they come from.

    Attributes:
        flops_per_s: peak rate of the unit and precision that the case uses.
        bytes_per_s: peak memory bandwidth.
        source: e.g. ``datasheet: a100-sxm4-40gb, FP16 Tensor Core, dense``.
    """

    flops_per_s: float | None = None
    bytes_per_s: float | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """A case, the device and what came of it."""

    case: Case
    device: DeviceRef
    outcome: Outcome
    started_at: str | None = None
    peaks: Peaks = field(default_factory=Peaks)
    model: Modelled = field(default_factory=Modelled)
    energy: Energy = field(default_factory=Energy)

    @property
    def status(self) -> str:
        """``measured``, ``skipped`` or ``failed``."""
        match self.outcome:
            case Measurement():
                return "measured"
            case Skip():
                return "skipped"
            case Failure():
                return "failed"


@dataclass(frozen=True, slots=True)
class Environment:
    """Everything captured about the machine and the software, as flat dotted keys.

    Keys such as ``gpu.name``, ``torch.version`` or ``switch.NVIDIA_TF32_OVERRIDE``;
    ``gpubench.engine.environment.FACTS`` says what each means and its unit.
    A fact that could not be read is None, never an empty string.
    """

    facts: Mapping[str, Fact] = field(default_factory=dict)

    def get(self, key: str) -> Fact:
        """The fact, or None where it is not known."""
        return self.facts.get(key)


@dataclass(frozen=True, slots=True)
class Run:
    """One invocation of a suite on one machine.

    Attributes:
        id: unique, sortable by time of start.
        label: name given by the user.
        suite: suite name.
        started_at: ISO 8601, UTC.
        status: ``running``, ``finished`` or ``interrupted``.
        planned: number of cases and skips that the plan had.
        settings: seed, order, filter, quick and so on, as recorded for resuming.
    """

    id: str
    suite: str
    started_at: str
    label: str | None = None
    description: str = ""
    environment: Environment = field(default_factory=Environment)
    status: str = "running"
    finished_at: str | None = None
    planned: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fleet(self) -> str | None:
        """Name of the fleet this run is one device of; None for a run by itself."""
        name = self.settings.get("fleet")
        return str(name) if name else None


@dataclass(frozen=True, slots=True)
class Summary:
    """Statistics of one measurement; made by ``gpubench.stats.summarize``, never stored alone.

    Attributes:
        median_s: median time per call over the samples that count.
        ci_low_s, ci_high_s: nonparametric interval of the median.
        ci_level: coverage that interval really has (below 0.95 for few samples).
        rel_noise: interquartile range / median.
        n: samples that count; ``n_spoiled`` are kept but left out.
    """

    median_s: float
    ci_low_s: float
    ci_high_s: float
    ci_level: float
    rel_noise: float
    iqr_s: float
    min_s: float
    mean_s: float
    n: int
    n_spoiled: int = 0
    host_enqueue_s: float | None = None

    @property
    def rel_ci(self) -> float:
        """Half width of the interval / median."""
        return (self.ci_high_s - self.ci_low_s) / 2 / self.median_s if self.median_s else 0.0
