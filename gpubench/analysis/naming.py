"""Short names for cases: what tells one case of a benchmark from another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from gpubench.record import Record
from gpubench.spec import Case, Value
from gpubench.units import significant

_DIMENSIONS: Final = ("m", "n", "k")


def value_text(value: Value) -> str:
    """Write a parameter's value for people: ``1048576``, ``0.5``, ``yes``, ``nn``."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return significant(value, 4)
    return str(value)


def params_text(params: Mapping[str, Value]) -> str:
    """Parameters on one line; equal m, n and k are said once."""
    rest = dict(params)
    parts = []
    shape = [rest.get(d) for d in _DIMENSIONS]
    if None not in shape and len(set(shape)) == 1:
        parts.append("m=n=k=" + value_text(rest["m"]))
        for name in _DIMENSIONS:
            del rest[name]
        if rest.get("size") == shape[0]:
            del rest["size"]
    parts += [f"{name}={value_text(value)}" for name, value in rest.items()]
    return " ".join(parts)


def case_names(records: Sequence[Record]) -> dict[str, str]:
    """Names of the records' cases; see ``names_of_cases``."""
    return names_of_cases([record.case for record in records])


def names_of_cases(given: Sequence[Case]) -> dict[str, str]:
    """Case key -> the shortest name that is unique among equal precisions of its benchmark.

    A case's own label wins; otherwise the parameters that vary within the benchmark.
    """
    groups: dict[str, list[Case]] = defaultdict(list)
    workloads: dict[str, list[Case]] = defaultdict(list)
    for one in given:
        groups[one.benchmark].append(one)
        workloads[one.workload].append(one)
    # A benchmark of one shape is named by what tells it from the rest of the run.
    wider = {workload: _varying(cases) for workload, cases in workloads.items()}
    return {
        case.key: _name(case, varying or wider[case.workload]) + _axes(case, cases)
        for cases in groups.values()
        for varying in [_varying(cases)]
        for case in cases
    }


def _axes(case: Case, cases: Sequence[Case]) -> str:
    """Cache state and data, where they tell cases of a benchmark apart."""
    words = []
    for axis in ("cache", "data"):
        if len({getattr(c.policy, axis) for c in cases}) > 1:
            words.append(f" {getattr(case.policy, axis)}")
    return "".join(words)


def _varying(cases: Sequence[Case]) -> frozenset[str]:
    seen: dict[str, set[object]] = defaultdict(set)
    for case in cases:
        for name in case.params:
            seen[name].add(case.params[name])
    some = {name for name in seen if any(name not in case.params for case in cases)}
    varying = some | {name for name, values in seen.items() if len(values) > 1}
    # A GEMM's shape is read as one thing: where one dimension moves, show all three.
    if varying & set(_DIMENSIONS):
        varying |= set(_DIMENSIONS) & set(seen)
    return frozenset(varying)


def _name(case: Case, varying: frozenset[str]) -> str:
    if case.label:
        return case.label
    shown = {k: v for k, v in case.params.items() if k in varying} or dict(case.params)
    return params_text(shown) or case.benchmark or case.workload
