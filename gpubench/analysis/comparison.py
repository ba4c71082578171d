"""GPUs and runs side by side: for every case what was measured, published and predicted.

The three kinds of values never meet in one number: a speed-up is measured over measured,
published over published or predicted over predicted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gpubench.analysis.flags import flag_info
from gpubench.catalogue import GpuSpec
from gpubench.catalogue.published import comparability, same_work
from gpubench.model.classes import by_class
from gpubench.model.cost import Prices
from gpubench.model.prediction import Predicted, predict_cases
from gpubench.record import Measurement, Record, Run
from gpubench.spec import Case
from gpubench.stats import summarize

PROVENANCES: Final = ("measured", "published", "predicted")
"""Kinds of values, the most direct first."""


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
        classes: of a whole step: class of operators -> its seconds.
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
    classes: Mapping[str, float] = field(default_factory=dict)

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
class Comparison:
    """Everything a comparison report shows.

    Attributes:
        prices: per GPU hour, by which work has a cost; None without a price list.
    """

    suite: str
    description: str
    subjects: tuple[Subject, ...]
    rows: tuple[Row, ...]
    prices: Prices | None = None

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
    prices: Prices | None = None,
) -> Comparison:
    """Gather everything known of every case on every subject.

    Args:
        cases: the work to compare; of equal keys the first counts.
        unsupported: why a subject cannot run a case; None where it can.
        prices: per GPU hour, for the cost of the work.
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
        prices,
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
        classes=by_class((o.name, o.time_s) for o in record.outcome.operators),
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
    got = predict_cases([
        (spec, case.workload, precision, case.params) for _, spec, case, precision in asked
    ])  # fmt: skip
    return {
        (i, case.key): got.errors[row] if row in got.errors else _expectation(got, row)
        for row, (i, _, case, _) in enumerate(asked)
    }


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
        classes=got.classes.get(row, {}),
    )
