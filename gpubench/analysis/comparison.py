"""GPUs and runs side by side: for every case what was measured, published and predicted.

The three kinds of values never meet in one number: a speed-up is measured over measured,
published over published or predicted over predicted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from gpubench.analysis.flags import flag_info
from gpubench.catalogue import GpuSpec
from gpubench.catalogue.published import comparability, same_work
from gpubench.model.operators import PARAMETERS
from gpubench.model.prediction import Predicted, predict_columns
from gpubench.record import Measurement, Record, Run
from gpubench.spec import Case
from gpubench.stats import geometric_mean, summarize

PROVENANCES: Final = ("measured", "published", "predicted")
"""Kinds of values, the most direct first."""
TENSOR_PRECISIONS: Final = ("tf32", "fp16", "bf16", "fp8")


@dataclass(frozen=True, slots=True)
class Subject:
    """One name of a comparison.

    Attributes:
        name: as it was given.
        title: for people.
        kind: ``gpu`` (a row of the catalogue) or ``run`` (a stored run).
        spec: datasheet facts; None for a run on a CPU or an unknown GPU.
        run: the stored run that measured values come from; None where there is none.
        records: case key -> record of that run.
    """

    name: str
    title: str
    kind: str
    spec: GpuSpec | None
    run: Run | None
    records: Mapping[str, Record]


@dataclass(frozen=True, slots=True)
class Value:
    """Time of one call from one source.

    Attributes:
        provenance: one of ``PROVENANCES``.
        low_s, high_s: 95 % interval of a measured median, 80 % band of a prediction;
            equal to ``time_s`` for a published value, whose spread nobody gives.
        source: the run, the publication, or the model.
        note: what limits comparing it.
        bound: what the model says limits it; predictions only.
        compute_s, memory_s, launch_s: the model's terms; predictions only.
        on_tensor_cores: whether Tensor Cores do the arithmetic; None where not known.
        flags: of a measurement.
    """

    provenance: str
    time_s: float
    low_s: float
    high_s: float
    source: str
    note: str = ""
    bound: str | None = None
    compute_s: float | None = None
    memory_s: float | None = None
    launch_s: float | None = None
    energy_j: float | None = None
    on_tensor_cores: bool | None = None
    flags: tuple[str, ...] = ()

    @property
    def doubtful(self) -> bool:
        """Whether a flag says not to rely on it: then it makes no speed-up."""
        return any(flag_info(f).severity == "bad" for f in self.flags)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one case on one subject.

    Attributes:
        values: provenance -> value; published is the newest source where there are several.
        others: further published values of the same work.
        reason: why there is nothing, or why a part is missing; None where all is there.
    """

    values: Mapping[str, Value]
    others: tuple[Value, ...] = ()
    reason: str | None = None

    @property
    def model_error(self) -> float | None:
        """Predicted / measured - 1; against the published value where nothing is measured."""
        known, expected = self.best_known, self.values.get("predicted")
        return expected.time_s / known.time_s - 1 if known and expected else None

    @property
    def best_known(self) -> Value | None:
        """The measured value, else the published one."""
        return self.values.get("measured") or self.values.get("published")

    @property
    def outside_band(self) -> bool:
        """Whether what is known lies outside the prediction's band."""
        known, expected = self.best_known, self.values.get("predicted")
        return bool(known and expected and not expected.low_s <= known.time_s <= expected.high_s)


@dataclass(frozen=True, slots=True)
class Speedup:
    """How many times faster than the reference, from values of one provenance."""

    provenance: str
    ratio: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Row:
    """One case over all subjects, in their order; the last is the reference."""

    case: Case
    entries: tuple[Entry, ...]

    def speedup(self, index: int, provenance: str | None = None) -> Speedup | None:
        """Of one subject over the reference.

        Args:
            index: which subject.
            provenance: from which values; by default the most direct that both have.
        """
        for kind in PROVENANCES if provenance is None else (provenance,):
            a, b = self.entries[index].values.get(kind), self.entries[-1].values.get(kind)
            if a and b and not (a.doubtful or b.doubtful):
                # Opposite ends: conservative, since errors of one model on two GPUs agree
                # in part, and intervals of two runs do not meet at their ends.
                return Speedup(kind, b.time_s / a.time_s, b.low_s / a.high_s, b.high_s / a.low_s)
        return None


@dataclass(frozen=True, slots=True)
class ClassSpeedup:
    """Geometric mean of the speed-ups of a class of cases, of one provenance."""

    subject: int
    workload: str
    precision: str
    provenance: str
    cases: int
    ratio: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything a comparison report shows."""

    suite: str
    description: str
    subjects: tuple[Subject, ...]
    rows: tuple[Row, ...]

    @property
    def reference(self) -> Subject:
        """What speed-ups are against: the last subject named."""
        return self.subjects[-1]


def compare(
    suite: str,
    description: str,
    subjects: Sequence[Subject],
    cases: Iterable[Case],
    unsupported: Callable[[Subject, Case], str | None] = lambda _s, _c: None,
) -> Comparison:
    """Gather everything known of every case on every subject.

    Args:
        cases: the work to compare; of equal keys the first counts.
        unsupported: why a subject cannot run a case; None where it can.
    """
    unique: dict[str, Case] = {}
    for case in cases:
        unique.setdefault(case.key, case)
    reasons = {
        (i, case.key): unsupported(s, case)
        for i, s in enumerate(subjects) for case in unique.values()
    }  # fmt: skip
    expected = expectations(
        [
            (i, s.spec, case, case.precision)
            for i, s in enumerate(subjects) for case in unique.values()
            if s.spec is not None and reasons[i, case.key] is None
        ]
    )  # fmt: skip
    rows = tuple(
        Row(
            case,
            tuple(
                entry(s, case, reasons[i, case.key], expected.get((i, case.key)))
                for i, s in enumerate(subjects)
            ),
        )
        for case in unique.values()
    )
    return Comparison(
        suite,
        description,
        tuple(subjects),
        tuple(r for r in rows if any(e.values for e in r.entries)),
    )


def entry(subject: Subject, case: Case, why_not: str | None, expected: Value | str | None) -> Entry:
    """What is known of a case on a subject.

    Args:
        why_not: why the subject cannot run the case.
        expected: the model's value, or why it has none; None where it was not asked.
    """
    values: dict[str, Value] = {}
    others: tuple[Value, ...] = ()
    reason = why_not
    record = subject.records.get(case.key)
    if record is not None:
        found = measured(record, subject)
        if found:
            values["measured"] = found
        else:
            reason = getattr(record.outcome, "reason", None)
    if subject.spec is not None:
        known = publications(case, subject.spec)
        if known:
            values["published"], others = known[0], known[1:]
        if isinstance(expected, Value):
            values["predicted"] = expected
        elif expected:
            reason = reason or expected
    if not values and reason is None:
        reason = "not in this run" if subject.run else "nothing is known"
    return Entry(values, others, reason)


def measured(record: Record, subject: Subject) -> Value | None:
    """The value of a record; None where it was not measured."""
    if not isinstance(record.outcome, Measurement):
        return None
    s = summarize(record.outcome.samples)
    use = record.outcome.tensor_cores
    run = subject.run
    return Value(
        provenance="measured",
        time_s=s.median_s,
        low_s=s.ci_low_s,
        high_s=s.ci_high_s,
        source=f"run {run.id}" if run else "a stored run",
        note=f"on {record.device.type.upper()}, cache {record.outcome.cache}",
        energy_j=record.energy.joules,
        on_tensor_cores={"used": True, "not_used": False}.get(use.verdict) if use else None,
        flags=_flags(record.outcome),
    )


def _flags(outcome: Measurement) -> tuple[str, ...]:
    """The flags, and the one that follows from a failed check."""
    wrong = outcome.accuracy is not None and not outcome.accuracy.ok
    return tuple(dict.fromkeys([*outcome.flags, *(["wrong_result"] if wrong else [])]))


def publications(case: Case, spec: GpuSpec) -> tuple[Value, ...]:
    """Published times of the same work on the same GPU."""
    return tuple(
        Value(
            provenance="published",
            time_s=p.time_s,
            low_s=p.time_s,
            high_s=p.time_s,
            source=f"{p.source}, {p.where}",
            note=comparability(p),
            on_tensor_cores=p.tensor_cores,
        )
        for p in same_work(case.workload, case.precision, case.params, spec.key)
        if p.time_s is not None
    )


Asked = tuple[int, GpuSpec, Case, str]
"""A question to the model: subject, its datasheet facts, case, precision."""


def expectations(asked: Sequence[Asked]) -> dict[tuple[int, str], Value | str]:
    """The cost model's values, all at once: (subject, case key) -> value, or why there is none."""
    if not asked:
        return {}
    names = dict.fromkeys(n for _, _, case, _ in asked for n in case.params)
    got = predict_columns(
        [spec for _, spec, _, _ in asked],
        [case.workload for _, _, case, _ in asked],
        [precision for _, _, _, precision in asked],
        {n: [_lowered(case.params.get(n)) for _, _, case, _ in asked] for n in names},
        _unknown(asked),
    )
    return {
        (i, case.key): got.errors[row] if row in got.errors else _expectation(got, row)
        for row, (i, _, case, _) in enumerate(asked)
    }


def _unknown(asked: Sequence[Asked]) -> dict[int, str]:
    """Rows of workloads that the model does not know, a stranger's plugin say."""
    return {
        row: f"the model does not know the workload {case.workload}"
        for row, (_, _, case, _) in enumerate(asked) if case.workload not in PARAMETERS
    }  # fmt: skip


def _lowered(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _expectation(got: Predicted, row: int) -> Value:
    energy = float(got.energy_j[row])
    return Value(
        provenance="predicted",
        time_s=float(got.predicted_s[row]),
        low_s=float(got.low_s[row]),
        high_s=float(got.high_s[row]),
        source="cost model, datasheet facts",
        note="80 % band from GPUs left out of the fit",
        bound=str(got.bound[row]) or None,
        compute_s=float(got.compute_s[row]),
        memory_s=float(got.memory_s[row]),
        launch_s=float(got.launch_s[row]),
        energy_j=None if math.isnan(energy) else energy,
        on_tensor_cores=bool(got.on_tensor_cores[row]),
    )


def class_speedups(comparison: Comparison) -> tuple[ClassSpeedup, ...]:
    """Geometric means by workload and precision, apart for each provenance.

    The ends are the geometric means of the cases' ends: errors of a model are shared by
    the cases of a class, so the mean of many is no better known than one.
    """
    found = []
    for index in range(len(comparison.subjects) - 1):
        groups: dict[tuple[str, str, str], list[Speedup]] = {}
        for row in comparison.rows:
            for kind in PROVENANCES:
                speedup = row.speedup(index, kind)
                if speedup:
                    key = (row.case.workload, row.case.precision, kind)
                    groups.setdefault(key, []).append(speedup)
        for (workload, precision, kind), speedups in groups.items():
            found.append(
                ClassSpeedup(
                    index, workload, precision, kind, len(speedups),
                    *(geometric_mean([getattr(s, end) for s in speedups])
                      for end in ("ratio", "low", "high")),
                )
            )  # fmt: skip
    return tuple(found)


def why(comparison: Comparison, row: Row, index: int) -> str:
    """Why a subject is that much faster on a case: what bounds both, and the facts behind.

    From the model's terms and the datasheets; empty where the model has no word on both.
    """
    a, b = row.entries[index].values.get("predicted"), row.entries[-1].values.get("predicted")
    x, y = comparison.subjects[index].spec, comparison.reference.spec
    if not (a and b and x and y):
        return ""
    precision = row.case.precision
    parts = [
        f"{a.bound}-bound"
        if a.bound == b.bound
        else f"{a.bound}-bound here, {b.bound}-bound on {y.name}"
    ]
    if "compute" in (a.bound, b.bound):
        here, there = x.peak_flops(precision), y.peak_flops(precision)
        if here and there:
            parts.append(f"{here / there:.2g}x the {precision} {_units(a, b)}")
    if "memory" in (a.bound, b.bound):
        parts.append(f"{x.memory_bw_bytes_per_s / y.memory_bw_bytes_per_s:.2g}x the bandwidth")
    if a.bound == b.bound == "launch":
        parts.append("too short for either GPU's size to matter")
    return ", ".join(parts)


def _units(a: Value, b: Value) -> str:
    """The peaks, by the units of the two GPUs."""
    if a.on_tensor_cores == b.on_tensor_cores:
        return "Tensor Core peak" if a.on_tensor_cores else "CUDA core peak"
    names = {True: "Tensor Cores", False: "CUDA cores", None: "unknown units"}
    return f"peak, {names[a.on_tensor_cores]} against {names[b.on_tensor_cores]}"


@dataclass(frozen=True, slots=True)
class TensorCoreGain:
    """The article's two terms for one case on one subject, by the model.

    Attributes:
        tensor_core_s: C_TC, time of the arithmetic on Tensor Cores.
        other_s: C_T, everything else: memory traffic that is not hidden, and launch.
        total_s: the predicted time, their sum.
        cuda_core_s: predicted time of the same product in FP32 on CUDA cores.
    """

    subject: int
    case: Case
    tensor_core_s: float
    other_s: float
    total_s: float
    cuda_core_s: float

    @property
    def gain(self) -> float:
        """How many times faster the Tensor Cores make the case."""
        return self.cuda_core_s / self.total_s


def tensor_core_gains(comparison: Comparison) -> tuple[TensorCoreGain, ...]:
    """C_TC and C_T of every case that runs on Tensor Cores, beside FP32 on CUDA cores."""
    asked: list[tuple[Asked, Value]] = []
    for row in comparison.rows:
        if row.case.precision not in TENSOR_PRECISIONS:
            continue
        for index, e in enumerate(row.entries):
            p, spec = e.values.get("predicted"), comparison.subjects[index].spec
            if p and spec and p.on_tensor_cores and p.compute_s is not None:
                asked.append(((index, spec, row.case, "fp32"), p))
    plain = expectations([question for question, _ in asked])
    found = []
    for (index, _, case, _), p in asked:
        cores = plain[index, case.key]
        if isinstance(cores, Value) and p.compute_s is not None:
            on_tensor = min(p.compute_s, p.time_s)
            found.append(
                TensorCoreGain(index, case, on_tensor, p.time_s - on_tensor, p.time_s, cores.time_s)
            )
    return tuple(found)


def disagreements(comparison: Comparison) -> tuple[tuple[int, Row], ...]:
    """(subject, row) where model and knowledge disagree by more than the band, worst first."""
    found = [
        (index, row)
        for row in comparison.rows
        for index, e in enumerate(row.entries)
        if e.outside_band
    ]
    return tuple(sorted(found, key=lambda f: -abs(_log_error(f[1].entries[f[0]]))))


def _log_error(e: Entry) -> float:
    error = e.model_error
    return math.log1p(error) if error is not None else 0.0


@dataclass(frozen=True, slots=True)
class Caveat:
    """Something that limits the comparison.

    Attributes:
        severity: ``info``, ``warn`` or ``bad`` (not comparable).
        text: one sentence.
    """

    severity: str
    text: str


FACTS_THAT_MATTER: Final = (
    ("gpu.driver", "driver", "warn"), ("torch.version", "torch", "warn"),
    ("torch.cuda", "CUDA", "warn"), ("cudnn.version", "cuDNN", "warn"),
    ("gpu.power_limit_w", "power limit (W)", "warn"), ("gpu.ecc", "ECC", "warn"),
    ("gpu.clock_locked", "locked clocks", "warn"), ("gpu.mig", "MIG", "bad"),
    ("gpubench.version", "gpubench", "info"), ("cpu.model", "CPU", "info"),
    ("cpu.threads_used", "threads", "warn"),
)  # fmt: skip
"""Facts of two runs that must agree for their times to compare, and how much it matters."""


def caveats(comparison: Comparison) -> tuple[Caveat, ...]:
    """What limits the comparison, the gravest first."""
    found: list[Caveat] = []
    runs = [(s.title, s.run) for s in comparison.subjects if s.run is not None and s.records]
    for (title, run), (other_title, other) in pairwise(runs):
        found += _differences(title, run, other_title, other)
    kinds = {r.device.type for s in comparison.subjects for r in s.records.values()}
    if kinds == {"cpu", "cuda"}:
        found.append(Caveat("bad", "CPU and GPU measurements stand side by side."))
    elif "cpu" in kinds and any(s.kind == "gpu" for s in comparison.subjects):
        found.append(Caveat("bad", "A run on a CPU is compared with GPUs."))
    bad = sum(v.doubtful for r in comparison.rows for e in r.entries for v in e.values.values())
    if bad:
        results = "1 measured result is" if bad == 1 else f"{bad} measured results are"
        text = f"{results} wrong, impossible or otherwise not to rely on: no speed-up uses them."
        found.append(Caveat("warn", text))
    published = {
        e.values["published"].note for r in comparison.rows for e in r.entries
        if "published" in e.values
    }  # fmt: skip
    found += [Caveat("info", f"Published values: {note}.") for note in sorted(published)[:4]]
    if any("predicted" in e.values for r in comparison.rows for e in r.entries):
        found.append(
            Caveat("info", "Predicted values come from datasheet facts; about 80 % of"
                   " measurements on GPUs the model had not seen fall into the band.")
        )  # fmt: skip
    order = ("bad", "warn", "info")
    return tuple(sorted(dict.fromkeys(found), key=lambda c: order.index(c.severity)))


def _differences(title: str, run: Run, other_title: str, other: Run) -> list[Caveat]:
    found = []
    for key, name, severity in FACTS_THAT_MATTER:
        a, b = run.environment.get(key), other.environment.get(key)
        if a != b and None not in (a, b):
            found.append(Caveat(severity, f"{name}: {a} in {title}, {b} in {other_title}."))
    names = set(run.environment.facts) | set(other.environment.facts)
    for key in sorted(n for n in names if n.startswith("switch.")):
        a, b = run.environment.get(key), other.environment.get(key)
        if a != b:
            name = key.removeprefix("switch.")
            found.append(Caveat("warn", f"{name}: {a} in {title}, {b} in {other_title}."))
    if run.settings.get("quick") != other.settings.get("quick"):
        found.append(Caveat("warn", "One of the runs was taken with --quick."))
    return found


def verdict(comparison: Comparison) -> str:
    """``comparable``, ``comparable with caveats`` or ``not comparable``."""
    worst = {c.severity for c in caveats(comparison)}
    if "bad" in worst:
        return "not comparable"
    return "comparable with caveats" if "warn" in worst else "comparable"
