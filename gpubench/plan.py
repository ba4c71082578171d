"""Suite x DeviceInfo -> Plan: every case with its key, every skip with its reason."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from gpubench.errors import InputError, UnknownName
from gpubench.expression import (
    Expression,
    MissingName,
    compile_expression,
    compile_filter,
    names_of,
)
from gpubench.ports import Expandable, Variant, Workload
from gpubench.registry import workload
from gpubench.spec import (
    PRECISIONS,
    Benchmark,
    Case,
    Condition,
    DeviceInfo,
    Override,
    Plan,
    PlannedSkip,
    Policy,
    Suite,
    Value,
)
from gpubench.units import bytes_iec

MAX_CASES: Final = 100_000
"""More cases than this in one suite are a mistake in its matrix."""

QUICK: Final[Mapping[str, Any]] = {
    "min_time_s": 0.05, "max_time_s": 0.5, "target_rel_ci": 0.05, "warmup_s": 0.02,
}  # fmt: skip
"""What ``--quick`` makes of every policy; results carry the flag ``quick``."""

CACHES: Final = ("auto", "cold", "rotating", "hot")
DATA: Final = ("normal", "uniform", "positive", "wide", "cancelling", "zeros")


def case_key(workload_name: str, precision: str, identity: Mapping[str, Value]) -> str:
    """Identity of a piece of work, equal on every machine and in every version.

    A hash over workload, precision and the parameters that differ from their defaults,
    so that a new parameter with a default does not change the keys there are.
    """
    text = json.dumps([workload_name, precision, dict(sorted(identity.items()))])
    return f"{workload_name}-{precision}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def make_plan(
    suite: Suite,
    device: DeviceInfo,
    *,
    filter_text: str | None = None,
    quick: bool = False,
    seed: int = 0,
    timeout_s: float | None = None,
) -> Plan:
    """Lay a suite out for a device.

    Args:
        filter_text: ``--filter``; cases it does not match are left out silently.
        quick: less careful policies and the benchmarks' ``quick:`` overrides.
        seed: seed of the random order and of the inputs, recorded with the run.
        timeout_s: replaces every policy's ``timeout_s``.

    Raises:
        InputError: a parameter that does not fit, an empty product, a duplicate case or
            a filter that matches nothing; with file, line and key path.
    """
    matches = compile_filter(filter_text) if filter_text else None
    cases: list[Case] = []
    skips: list[PlannedSkip] = []
    seen: dict[str, str] = {}
    for benchmark in suite.benchmarks:
        for planned, names in _Layout(suite, benchmark, device, quick, timeout_s).lay_out():
            case = planned.case if isinstance(planned, PlannedSkip) else planned
            _refuse_duplicate(suite, benchmark, case, seen)
            if matches is not None and not matches(case, names):
                continue
            if isinstance(planned, PlannedSkip):
                skips.append(planned)
            else:
                cases.append(planned)
            if len(seen) > MAX_CASES:
                raise _too_many(suite, benchmark, len(seen))
    if filter_text and not cases and not skips:
        raise InputError(f"--filter {filter_text!r} matches none of {len(seen)} cases")
    return Plan(
        suite=suite.name,
        description=suite.description,
        device=device,
        cases=_with_baselines(cases),
        skips=tuple(skips),
        seed=seed,
        quick=quick,
        order=tuple(seen),
        folder=suite.folder,
    )


def expanded(plan: Plan, ask: Callable[[Case], Sequence[Variant] | str]) -> Plan:
    """Replace every case that stands for several by those the device names.

    Args:
        ask: variants of a case, or the reason why there are none.
    """
    several = {c.key for c in plan.cases if _expands(c)}
    if not several:
        return plan
    cases: list[Case] = []
    skips = list(plan.skips)
    order = {key: [key] for key in plan.order}
    for case in plan.cases:
        if case.key not in several:
            cases.append(case)
            continue
        found = ask(case)
        if isinstance(found, str):
            skips.append(PlannedSkip(case, found))
            continue
        variants = [(variant_of(case, v.params), v.reason) for v in found]
        cases += [c for c, reason in variants if reason is None]
        skips += [PlannedSkip(c, reason) for c, reason in variants if reason is not None]
        order[case.key] = [c.key for c, _ in variants]
    keys = dict.fromkeys(key for group in order.values() for key in group)
    return replace(plan, cases=tuple(_once(cases)), skips=tuple(skips), order=tuple(keys))


def _expands(case: Case) -> bool:
    work = workload(case.workload).from_params(case.params, case.precision)
    return isinstance(work, Expandable) and work.expands


def _once(cases: Sequence[Case]) -> list[Case]:
    """Two cases may name the same variant; it is measured once."""
    return list({c.key: c for c in cases}.values())


def variant_of(case: Case, params: Mapping[str, Value]) -> Case:
    """The case that does the work of ``case`` in the way ``params`` says."""
    work = workload(case.workload).from_params(params, case.precision)
    return replace(
        case,
        key=case_key(case.workload, case.precision, {**work.identity(), **_axes(case)}),
        params=work.params(),
        label=work.label(),
        work=work.work(),
    )


def _axes(case: Case) -> dict[str, Value]:
    """Which of ``cache`` and ``data`` are part of a case's key: what its key was made with."""
    identity = workload(case.workload).from_params(case.params, case.precision).identity()
    policy = {"cache": case.policy.cache, "data": case.policy.data}
    for names in ((), ("cache",), ("data",), ("cache", "data")):
        axes: dict[str, Value] = {name: policy[name] for name in names}
        if case_key(case.workload, case.precision, {**identity, **axes}) == case.key:
            return axes
    return {}


def _with_baselines(cases: Sequence[Case]) -> tuple[Case, ...]:
    """A baseline that will not run here is no baseline; nor is the case itself."""
    running = {c.key for c in cases}
    return tuple(
        c if c.baseline is None or (c.baseline in running and c.baseline != c.key)
        else replace(c, baseline=None)
        for c in cases
    )  # fmt: skip


def _refuse_duplicate(suite: Suite, b: Benchmark, case: Case, seen: dict[str, str]) -> None:
    where = f"{b.name}: {case.label} {case.precision}"
    if case.key in seen:
        earlier = seen[case.key]
        file, line = suite.place(b.key_path)
        raise InputError(
            f"duplicate case: {where!r} is the same work as {earlier!r}",
            file=file, line=line, key=b.key_path,
        )  # fmt: skip
    seen[case.key] = where


def _too_many(suite: Suite, b: Benchmark, count: int) -> InputError:
    file, line = suite.place(f"{b.key_path}.matrix")
    return InputError(
        f"{count:,} cases", file=file, line=line, key=f"{b.key_path}.matrix",
        expected=f"at most {MAX_CASES:,} in a suite",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Layout:
    """One benchmark being laid out on one device."""

    suite: Suite
    benchmark: Benchmark
    device: DeviceInfo
    quick: bool
    timeout_s: float | None

    def lay_out(self) -> Iterator[tuple[Case | PlannedSkip, Mapping[str, Any]]]:
        """Every case or skip, with the names that conditions see."""
        b, why_not = self._effective()
        policy = self._policy(b)
        kind = workload(b.workload)
        skips = [(c, compile_expression(c.expression)) for c in b.skip]
        onlys = [(c, compile_expression(c.expression)) for c in b.only]
        baselines: dict[str, str] = {}
        for index, params in self._products(b):
            case, work = self._case(b, kind, params, policy, index)
            if b.baseline:
                case = replace(case, baseline=self._baseline(b, kind, params, baselines))
            names = {**params, **names_of(case, self.device)}
            reason = (
                why_not or self._condition(names, skips, onlys) or self._unsupported(case, work)
            )
            yield (PlannedSkip(case, reason) if reason else case), names

    def _effective(self) -> tuple[Benchmark, str | None]:
        """The benchmark with the overrides of ``--quick`` and of CPU, in that order."""
        b, why_not = self.benchmark, None
        chosen: list[Override | None] = [b.quick if self.quick else None]
        chosen.append(b.cpu if self.device.type == "cpu" else None)
        for o in chosen:
            if o is None:
                continue
            why_not = o.skip or why_not
            named = {*o.params, *o.matrix, *o.zip}

            def keep(
                group: Mapping[str, Any], own: Mapping[str, Any], drop: set[str] = named
            ) -> dict[str, Any]:
                return {**{k: v for k, v in group.items() if k not in drop}, **own}

            # A replaced axis stays in its place, so that the order of cases does too.
            matrix = {k: o.matrix.get(k, v) for k, v in b.matrix.items()
                      if k not in {*o.params, *o.zip}}  # fmt: skip
            b = replace(
                b,
                params=keep(b.params, o.params),
                matrix={**matrix, **o.matrix},
                zip=keep(b.zip, o.zip),
                cases=b.cases if o.cases is None else o.cases,
                policy={**b.policy, **o.policy},
            )
        return b, why_not

    def _policy(self, b: Benchmark) -> Policy:
        policy = replace(self.suite.policy, **b.policy)  # type: ignore[arg-type]  # checked by suite
        if self.quick:
            policy = replace(policy, **QUICK)
        if self.timeout_s is not None:
            policy = replace(policy, timeout_s=self.timeout_s)
        return policy

    def _products(self, b: Benchmark) -> Iterator[tuple[int | None, dict[str, Value]]]:
        lengths = {k: len(v) for k, v in b.zip.items()}
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f"{k} has {n}" for k, n in lengths.items())
            raise self._error(InputError(f"zip lists differ in length: {shown}"), "zip")
        rows = [
            dict(zip(b.zip, values, strict=True)) for values in zip(*b.zip.values(), strict=True)
        ]
        explicit: list[tuple[int | None, Mapping[str, Value]]] = [(None, {})]
        if b.cases is not None:
            explicit = list(enumerate(b.cases))
        count = math.prod(len(v) for v in b.matrix.values()) * max(1, len(rows)) * len(explicit)
        if count == 0:
            raise self._error(InputError("no cases: the product is empty"), "cases")
        if count > MAX_CASES:
            raise _too_many(self.suite, b, count)
        grid = [dict(zip(b.matrix, v, strict=True)) for v in itertools.product(*b.matrix.values())]
        for index, case in explicit:
            for row in rows or [{}]:
                for point in grid:
                    yield index, {**b.params, **row, **point, **case}

    def _case(
        self, b: Benchmark, kind: type[Workload], params: dict[str, Value], policy: Policy,
        index: int | None,
    ) -> tuple[Case, Workload]:  # fmt: skip
        key, precision, work, policy = self._identify(b, kind, params, policy, index)
        return Case(
            key=key,
            benchmark=b.name,
            workload=b.workload,
            precision=precision,
            params=work.params(),
            label=work.label(),
            policy=policy,
            work=work.work(),
        ), work

    def _identify(
        self, b: Benchmark, kind: type[Workload], params: Mapping[str, Value], policy: Policy,
        index: int | None = None,
    ) -> tuple[str, str, Workload, Policy]:  # fmt: skip
        """Key, precision, workload and policy of a point; axes of the policy are in the key."""
        own = dict(params)
        precision = str(own.pop("precision", "fp32"))
        axes: dict[str, Value] = {}
        try:
            if precision not in PRECISIONS:
                raise UnknownName("precision", precision, PRECISIONS).at(key="precision")
            for axis, known in (("cache", CACHES), ("data", DATA)):
                if axis in own:
                    axes[axis] = value = str(own.pop(axis))
                    if value not in known:
                        raise UnknownName(axis, value, known).at(key=axis)
            work = kind.from_params(own, precision)
        except InputError as error:
            raise self._misfit(b, error, index) from None
        key = case_key(b.workload, precision, {**work.identity(), **axes})
        return key, precision, work, replace(policy, **axes)  # type: ignore[arg-type]

    def _baseline(
        self, b: Benchmark, kind: type[Workload], params: Mapping[str, Value],
        known: dict[str, str],
    ) -> str:  # fmt: skip
        point = {**params, **b.baseline}
        memo = json.dumps(point, sort_keys=True)
        if memo not in known:
            known[memo] = self._identify(b, kind, point, Policy())[0]
        return known[memo]

    def _misfit(self, b: Benchmark, error: InputError, index: int | None) -> InputError:
        """Say where in the file the parameter of an error stands."""
        name = error.key or ""
        override = "cpu" if self.device.type == "cpu" and b.cpu else None
        candidates = []
        if index is not None:
            candidates += (
                [f"{override}.cases[{index}]"] if override and b.cpu and b.cpu.cases else []
            )
            candidates += [f"cases[{index}]"]
        candidates += [f"{override}.{g}.{name}" for g in ("matrix", "zip", "params") if override]
        candidates += [f"{g}.{name}" for g in ("matrix", "zip", "params")]
        for candidate in candidates:
            path = f"{b.key_path}.{candidate}"
            if path in self.suite.places:
                file, line = self.suite.places[path]
                key = f"{path}.{name}" if "cases[" in candidate and name else path
                return _moved(error, file, line, key)
        place = self.suite.place(b.key_path)
        return _moved(error, *place, f"{b.key_path}.{name}" if name else b.key_path)

    def _error(self, error: InputError, key: str) -> InputError:
        file, line = self.suite.place(f"{self.benchmark.key_path}.{key}")
        return error.at(file=file, line=line, key=f"{self.benchmark.key_path}.{key}")

    def _condition(
        self,
        names: Mapping[str, Any],
        skips: Sequence[tuple[Condition, Expression]],
        onlys: Sequence[tuple[Condition, Expression]],
    ) -> str | None:
        for group, wanted, conditions in (("skip", True, skips), ("only", False, onlys)):
            for i, (condition, holds) in enumerate(conditions):
                try:
                    if bool(holds(names)) is wanted:
                        return condition.reason or f"{group}: {condition.expression}"
                except (InputError, MissingName) as error:
                    raise self._error(error, f"{group}[{i}]") from None
        return None

    def _unsupported(self, case: Case, work: Workload) -> str | None:
        reason = self.device.unsupported.get(case.precision) or work.unsupported(self.device)
        if reason:
            return reason
        if case.work is None or self.device.memory_bytes is None:
            return None
        if case.work.footprint_bytes > self.device.memory_bytes:
            return (
                f"needs {bytes_iec(case.work.footprint_bytes)}"
                f" ({case.work.footprint_bytes:,.0f} bytes) for its operands,"
                f" the device has {bytes_iec(self.device.memory_bytes)}"
            )
        return None


def _moved(error: InputError, file: str | None, line: int | None, key: str) -> InputError:
    return InputError(
        error.problem, file=file, line=line, key=key,
        expected=error.expected, nearest=error.nearest,
    )  # fmt: skip
