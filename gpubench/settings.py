"""``--set key=value`` on a suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from pydantic import ValidationError as PydanticError

from gpubench import yamlfile
from gpubench.errors import InputError, UnknownName
from gpubench.registry import workload
from gpubench.schema import PolicyModel, describe
from gpubench.spec import Benchmark, Override, Policy, Suite, Value
from gpubench.suite import check, parameter_names


def with_settings(suite: Suite, settings: Sequence[str]) -> Suite:
    """The suite with ``--set key=value`` applied, in order.

    ``policy.KEY=V`` changes the policy of every case; ``BENCHMARK.PARAM=V`` one
    benchmark's parameter; ``PARAM=V`` that parameter wherever it stands. A list
    (``size=[256,512]``) becomes a matrix axis. Values are read as YAML.

    Raises:
        InputError: not ``key=value``, or a key that nothing has.
    """
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.strip()
        if not equals or not key:
            raise InputError(f"--set {setting!r} is not KEY=VALUE", expected="e.g. size=[256,512]")
        data, _ = yamlfile.parse(f"value: {text}", "--set")
        suite = _with_setting(suite, key, data["value"], setting)
    check(suite)
    return suite


def _with_setting(suite: Suite, key: str, value: object, setting: str) -> Suite:
    head, _, rest = key.partition(".")
    if head == "policy":
        return _with_policy(suite, rest, value)
    names = [b.name for b in suite.benchmarks]
    wanted = [head] if rest and head in names else names
    param = rest if rest and head in names else key
    changed, values = [], _axis(value, setting)
    known: set[str] = set(names)
    for b in suite.benchmarks:
        known |= {*b.params, *b.matrix, *b.zip}
        hit = b.name in wanted and (param in known and param in {*b.params, *b.matrix, *b.zip})
        allowed = b.name in wanted and rest and param in parameter_names(workload(b.workload))
        changed.append(_with_param(b, param, values) if hit or allowed else b)
    if all(a is b for a, b in zip(changed, suite.benchmarks, strict=True)):
        raise UnknownName("--set key", key, known | {f"policy.{f.name}" for f in fields(Policy)})
    return replace(suite, benchmarks=tuple(changed))


def _with_policy(suite: Suite, name: str, value: object) -> Suite:
    known = {f.name for f in fields(Policy)}
    if name not in known:
        raise UnknownName("policy key", name, known)
    try:
        PolicyModel.model_validate({name: value})
    except PydanticError as error:
        text, expected, near = describe(error.errors(include_url=False)[0], [], ["policy", name])
        raise InputError(
            text, file="--set", key=f"policy.{name}", expected=expected, nearest=near
        ) from None
    # The command line wins over what single benchmarks say.
    drop = tuple(
        replace(
            b,
            policy={k: v for k, v in b.policy.items() if k != name},
            cpu=_without_policy(b.cpu, name),
            quick=_without_policy(b.quick, name),
        )
        for b in suite.benchmarks
    )
    policy = replace(suite.policy, **{name: value})  # type: ignore[arg-type]
    return replace(suite, policy=policy, benchmarks=drop)


def _without_policy(override: Override | None, name: str) -> Override | None:
    if override is None:
        return None
    return replace(override, policy={k: v for k, v in override.policy.items() if k != name})


def _axis(value: object, setting: str) -> tuple[Value, ...]:
    values = value if isinstance(value, list) else [value]
    for v in values:
        if not isinstance(v, str | int | float | bool):
            raise InputError(f"--set {setting!r}: {v!r} is no value", expected="a scalar or list")
    if not values:
        raise InputError(f"--set {setting!r}: the list is empty", expected="at least one value")
    return tuple(values)


def _with_param(b: Benchmark, name: str, values: tuple[Value, ...]) -> Benchmark:
    def swap(group: Mapping[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in group.items() if k != name}

    def clear(o: Override | None) -> Override | None:
        return o and replace(o, params=swap(o.params), matrix=swap(o.matrix), zip=swap(o.zip))

    return replace(
        b,
        params=swap(b.params),
        matrix={**swap(b.matrix), name: values},
        zip=swap(b.zip),
        cpu=clear(b.cpu),
        quick=clear(b.quick),
    )
