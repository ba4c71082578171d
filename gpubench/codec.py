"""Record and Run to JSON and back: one versioned format for pipe, file and database.

The layout is the exported JSON of the contract. Statistics are written for readers and
ignored when read: they are made anew from the samples.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, Final, TypeVar

from gpubench.errors import InputError
from gpubench.record import (
    Accuracy,
    DeviceRef,
    Energy,
    Environment,
    Failure,
    Kernel,
    Measurement,
    Modelled,
    Operator,
    Outcome,
    Peaks,
    Range,
    Reading,
    Record,
    Run,
    Samples,
    Skip,
    TensorCoreUse,
)
from gpubench.spec import Case, Policy, Work
from gpubench.stats import joules_per, summarize

SCHEMA_VERSION: Final = 1

Json = dict[str, Any]
T = TypeVar("T")

UPGRADES: Final[dict[int, Callable[[Json], Json]]] = {}
"""version -> function that turns a document of that version into the next one."""


def dumps(value: object, *, indent: int | None = None) -> str:
    """Strict JSON: NaN and infinities as the strings ``"NaN"``, ``"Infinity"``."""
    return json.dumps(_finite(value), allow_nan=False, ensure_ascii=False, indent=indent)


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value


# ---------------------------------------------------------------- encoding


def encode_case(case: Case) -> Json:
    """A case with its policy; ``work`` stands in the record."""
    return {
        "key": case.key,
        "benchmark": case.benchmark,
        "workload": case.workload,
        "precision": case.precision,
        "params": dict(case.params),
        "label": case.label,
        "baseline": case.baseline,
        "policy": asdict(case.policy),
    }


def encode_record(record: Record) -> Json:
    """One record in the exported layout."""
    outcome, work = record.outcome, record.case.work
    body: Json = {
        "case": encode_case(record.case),
        "device": {
            "type": record.device.type,
            "gpu_key": record.device.gpu_key,
            "name": record.device.name,
        },
        "status": record.status,
        "reason": None if isinstance(outcome, Measurement) else outcome.reason,
        "started_at": record.started_at,
        "times_s": [],
        "summary": None,
        "work": asdict(work) if work else None,
        "peaks": asdict(record.peaks),
        "model": asdict(record.model),
        # Per what is for readers, as a summary is: made anew from joules and work.
        "energy": asdict(record.energy)
        | {f"joules_per_{unit.lower()}": j for unit, j in joules_per(record).items()},
        "ranges": [],
        "flags": [],
    }
    if isinstance(outcome, Measurement):
        body.update(_encode_measurement(outcome))
    if isinstance(outcome, Failure):
        body["failure"] = {"kind": outcome.kind, "traceback": outcome.traceback}
    return body


def _encode_measurement(m: Measurement) -> Json:
    summary = asdict(summarize(m.samples))
    summary |= {"method": m.method, "cache": m.cache, "stopped_by": m.stopped_by}
    # For readers, as all of the summary: what a step holds, by its median time.
    for name in ("samples", "tokens", "flops"):
        amount = m.facts.get(f"{name}_per_step")
        if isinstance(amount, int | float) and summary["median_s"] > 0:
            summary[f"{name}_per_s"] = amount / summary["median_s"]
    return {
        "times_s": list(m.samples.times_s),
        "samples": {
            "host_enqueue_s": list(m.samples.host_enqueue_s),
            "spoiled": {str(i): why for i, why in m.samples.spoiled.items()},
            "calls_per_sample": m.samples.calls_per_sample,
            "launches": list(m.samples.launches),
        },
        "summary": summary,
        "measurement": {
            "warmup_calls": m.warmup_calls,
            "floor_s": m.floor_s,
            "measuring_s": m.measuring_s,
            "input_sets": m.input_sets,
        },
        "accuracy": {**asdict(m.accuracy), "ok": m.accuracy.ok} if m.accuracy else None,
        "tensor_cores": asdict(m.tensor_cores) if m.tensor_cores else None,
        "readings": [asdict(r) for r in m.readings],
        "ranges": [asdict(r) for r in m.ranges],
        "flags": list(m.flags),
        "facts": dict(m.facts),
        "kernels": [asdict(k) for k in m.kernels],
        "operators": [asdict(o) for o in m.operators],
    }


def encode_run(run: Run) -> Json:
    """The head of a document."""
    return {
        "id": run.id,
        "label": run.label,
        "suite": run.suite,
        "description": run.description,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "status": run.status,
        "planned": run.planned,
        "settings": dict(run.settings),
        "environment": dict(run.environment.facts),
    }


def encode_document(run: Run, records: Sequence[Record]) -> Json:
    """A whole run, as exported and imported."""
    return {
        "schema_version": SCHEMA_VERSION,
        "run": encode_run(run),
        "records": [encode_record(r) for r in records],
    }


# ---------------------------------------------------------------- decoding


class _Reader:
    """Typed access to a JSON object that knows the key path it is at."""

    def __init__(self, data: object, path: str) -> None:
        if not isinstance(data, dict):
            raise InputError(f"{_kind(data)} found", key=path, expected="an object")
        self._data, self._path = data, path

    def _at(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def _typed(self, key: str, kinds: tuple[type, ...], expected: str) -> Any:
        if key not in self._data:
            raise InputError("missing", key=self._at(key), expected=expected)
        value = self._data[key]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise InputError(f"{_kind(value)} found", key=self._at(key), expected=expected)
        return value

    def absent(self, key: str) -> bool:
        return self._data.get(key) is None

    def text(self, key: str) -> str:
        return str(self._typed(key, (str,), "a string"))

    def opt_text(self, key: str) -> str | None:
        return None if self.absent(key) else self.text(key)

    def integer(self, key: str) -> int:
        return int(self._typed(key, (int,), "an integer"))

    def number(self, key: str) -> float:
        value = self._typed(key, (int, float, str), "a number")
        return self._number(value, self._at(key))

    @staticmethod
    def _number(value: object, path: str) -> float:
        if value in ("NaN", "Infinity", "-Infinity"):
            return float(str(value))
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{_kind(value)} found", key=path, expected="a number")
        return float(value)

    def opt_number(self, key: str) -> float | None:
        return None if self.absent(key) else self.number(key)

    def reader(self, key: str) -> _Reader:
        return _Reader(self._typed(key, (dict,), "an object"), self._at(key))

    def items(self, key: str) -> list[tuple[str, object]]:
        """The items of an object that may be missing."""
        if self.absent(key):
            return []
        return list(self._typed(key, (dict,), "an object").items())

    def values(self, key: str) -> list[tuple[str, object]]:
        """(path, value) of a list that may be missing."""
        if self.absent(key):
            return []
        found = self._typed(key, (list,), "a list")
        return [(f"{self._at(key)}[{i}]", v) for i, v in enumerate(found)]

    def numbers(self, key: str) -> tuple[float, ...]:
        return tuple(self._number(v, p) for p, v in self.values(key))

    def texts(self, key: str) -> tuple[str, ...]:
        found = self.values(key)
        for path, value in found:
            if not isinstance(value, str):
                raise InputError(f"{_kind(value)} found", key=path, expected="a string")
        return tuple(str(v) for _, v in found)

    def scalars(self, key: str) -> dict[str, Any]:
        found = self.items(key)
        for name, value in found:
            if not isinstance(value, str | int | float | bool | None):
                raise InputError(
                    f"{_kind(value)} found", key=f"{self._at(key)}.{name}", expected="a scalar"
                )
        return dict(found)


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return "null" if value is None else names.get(type(value), f"{type(value).__name__}")


def decode_case(data: object, work: Work | None, path: str = "case") -> Case:
    """A case from its JSON object.

    Raises:
        InputError: with the key path of what does not fit.
    """
    r = _Reader(data, path)
    return Case(
        key=r.text("key"),
        benchmark=r.text("benchmark"),
        workload=r.text("workload"),
        precision=r.text("precision"),
        params=r.scalars("params"),
        label=r.opt_text("label") or "",
        baseline=r.opt_text("baseline"),
        policy=_decode_policy(r),
        work=work,
    )


def _decode_policy(r: _Reader) -> Policy:
    known = {f.name: f.default for f in fields(Policy)}
    given = r.scalars("policy")
    for name, value in given.items():
        default = known.get(name)
        wrong = isinstance(default, str) != isinstance(value, str)
        if default is not None and (wrong or value is None or isinstance(value, bool)):
            raise InputError(f"{_kind(value)} found", key=f"{r._at('policy')}.{name}")
    return Policy(**{k: v for k, v in given.items() if k in known})


def decode_work(data: object, path: str = "work") -> Work | None:
    """FLOPs and bytes from their JSON object; None for null."""
    if data is None:
        return None
    r = _Reader(data, path)
    return Work(
        flops=r.number("flops"),
        bytes=r.number("bytes"),
        footprint_bytes=r.opt_number("footprint_bytes") or 0.0,
        formula=r.opt_text("formula") or "",
    )


def decode_record(data: object, path: str = "record") -> Record:
    """One record from its JSON object.

    Raises:
        InputError: with the key path of what does not fit.
    """
    r = _Reader(data, path)
    device, energy = r.reader("device"), None
    if not r.absent("energy"):
        e = r.reader("energy")
        energy = Energy(e.opt_number("joules"), e.opt_text("method"), e.opt_text("reason"))
    raw = data if isinstance(data, dict) else {}
    return Record(
        case=decode_case(
            raw.get("case"), decode_work(raw.get("work"), f"{path}.work"), f"{path}.case"
        ),
        device=DeviceRef(device.text("type"), device.text("name"), device.opt_text("gpu_key")),
        outcome=_decode_outcome(r),
        started_at=r.opt_text("started_at"),
        peaks=_decode_peaks(r),
        model=_decode_model(r),
        energy=energy or Energy(),
    )


def _decode_peaks(r: _Reader) -> Peaks:
    if r.absent("peaks"):
        return Peaks()
    p = r.reader("peaks")
    return Peaks(p.opt_number("flops_per_s"), p.opt_number("bytes_per_s"), p.opt_text("source"))


def _decode_model(r: _Reader) -> Modelled:
    if r.absent("model"):
        return Modelled()
    m = r.reader("model")
    return Modelled(
        m.opt_number("predicted_s"),
        m.opt_number("low_s"),
        m.opt_number("high_s"),
        m.opt_text("bound"),
        m.opt_number("calibrated_s"),
        {
            name: m._number(value, f"{m._at('classes')}.{name}")
            for name, value in m.items("classes")
        },
    )


def _decode_outcome(r: _Reader) -> Outcome:
    status = r.text("status")
    if status == "measured":
        return _decode_measurement(r)
    reason = r.opt_text("reason") or "no reason recorded"
    if status == "skipped":
        return Skip(reason)
    if status == "failed":
        failure = r.reader("failure") if not r.absent("failure") else None
        kind = (failure.opt_text("kind") if failure else None) or "error"
        return Failure(kind, reason, failure.opt_text("traceback") if failure else None)
    raise InputError(
        f"unknown status {status!r}", key=r._at("status"), expected="measured, skipped or failed"
    )


def _decode_samples(r: _Reader) -> Samples:
    times = r.numbers("times_s")
    if not times:
        raise InputError("no samples", key=r._at("times_s"), expected="at least one number")
    if not all(math.isfinite(t) and t >= 0 for t in times):
        raise InputError("a sample is negative or not finite", key=r._at("times_s"))
    if r.absent("samples"):
        return Samples(times_s=times, launches=(len(times),))
    s = r.reader("samples")
    spoiled = {}
    for index, why in s.items("spoiled"):
        if not index.isdigit() or int(index) >= len(times):
            raise InputError(
                f"sample {index!r} is not there", key=s._at("spoiled"), expected="a sample index"
            )
        spoiled[int(index)] = str(why)
    return Samples(
        times_s=times,
        host_enqueue_s=s.numbers("host_enqueue_s"),
        spoiled=spoiled,
        calls_per_sample=1 if s.absent("calls_per_sample") else s.integer("calls_per_sample"),
        launches=tuple(int(n) for n in s.numbers("launches")),
    )


def _decode_measurement(r: _Reader) -> Measurement:
    s = r.reader("summary")
    m = r.reader("measurement") if not r.absent("measurement") else None
    return Measurement(
        samples=_decode_samples(r),
        method=s.text("method"),
        cache=s.text("cache"),
        stopped_by=s.text("stopped_by"),
        warmup_calls=m.integer("warmup_calls") if m and not m.absent("warmup_calls") else 0,
        floor_s=m.opt_number("floor_s") if m else None,
        measuring_s=(m.opt_number("measuring_s") if m else None) or 0.0,
        input_sets=m.integer("input_sets") if m and not m.absent("input_sets") else 1,
        accuracy=_optional(r, "accuracy", _decode_accuracy),
        tensor_cores=_optional(r, "tensor_cores", _decode_tensor_cores),
        readings=tuple(_decode_reading(v, p) for p, v in r.values("readings")),
        ranges=tuple(_decode_range(v, p) for p, v in r.values("ranges")),
        flags=r.texts("flags"),
        facts=r.scalars("facts"),
        kernels=tuple(_decode_kernel(v, p) for p, v in r.values("kernels")),
        operators=tuple(_decode_operator(v, p) for p, v in r.values("operators")),
    )


def _optional(r: _Reader, key: str, decode: Callable[[_Reader], T]) -> T | None:
    return None if r.absent(key) else decode(r.reader(key))


def _decode_accuracy(r: _Reader) -> Accuracy:
    return Accuracy(r.number("rel_error"), r.number("tolerance"), r.text("reference"))


def _decode_tensor_cores(r: _Reader) -> TensorCoreUse:
    return TensorCoreUse(r.text("verdict"), r.texts("evidence"), r.texts("kernels"))


def _decode_reading(data: object, path: str) -> Reading:
    r = _Reader(data, path)
    values = r.reader("values")
    return Reading(
        time_s=r.number("time_s"),
        values={name: values.number(name) for name, _ in r.items("values")},
        reasons=r.texts("reasons"),
    )


def _decode_kernel(data: object, path: str) -> Kernel:
    r = _Reader(data, path)
    return Kernel(
        name=r.text("name"),
        count=r.number("count"),
        time_s=r.number("time_s"),
        grid=tuple(int(n) for n in r.numbers("grid")),
        block=tuple(int(n) for n in r.numbers("block")),
        module=r.opt_text("module"),
        range=r.opt_text("range"),
    )


def _decode_operator(data: object, path: str) -> Operator:
    r = _Reader(data, path)
    return Operator(r.text("name"), r.text("phase"), r.number("count"), r.number("time_s"))


def _decode_range(data: object, path: str) -> Range:
    r = _Reader(data, path)
    return Range(
        name=r.text("name"),
        start_s=r.number("start_s"),
        end_s=r.number("end_s"),
        depth=0 if r.absent("depth") else r.integer("depth"),
        device_time_s=r.opt_number("device_time_s"),
        energy_j=r.opt_number("energy_j"),
        reason=r.opt_text("reason"),
    )


def decode_run(data: object, path: str = "run") -> Run:
    """The head of a document.

    Raises:
        InputError: with the key path of what does not fit.
    """
    r = _Reader(data, path)
    return Run(
        id=r.text("id"),
        suite=r.text("suite"),
        started_at=r.text("started_at"),
        label=r.opt_text("label"),
        description=r.opt_text("description") or "",
        environment=Environment(r.scalars("environment")),
        status=r.opt_text("status") or "finished",
        finished_at=r.opt_text("finished_at"),
        planned=None if r.absent("planned") else r.integer("planned"),
        settings=dict(r.items("settings")),
    )


def decode_document(data: object) -> tuple[Run, list[Record]]:
    """A whole run as exported, by this or an older version of gpubench.

    Raises:
        InputError: not such a document, one from a newer gpubench, or a wrong value.
    """
    if not isinstance(data, dict) or "schema_version" not in data:
        raise InputError(
            "not a gpubench result", key="schema_version", expected="a file from `results export`"
        )
    version = data["schema_version"]
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InputError(f"{version!r} is no version", key="schema_version", expected="an integer")
    if version > SCHEMA_VERSION:
        raise InputError(
            f"written by a newer gpubench (schema {version}, this one reads up to"
            f" {SCHEMA_VERSION})",
            key="schema_version",
            expected="an upgraded gpubench: pip install -U gpubench",
        )
    while version < SCHEMA_VERSION:
        data, version = UPGRADES[version](data), version + 1
    found = _Reader(data, "").values("records")
    return decode_run(data.get("run")), [decode_record(v, p) for p, v in found]
