"""Conditions over parameters and device: the language of ``skip``, ``only`` and ``--filter``.

A subset of Python expressions: names, ``device.type`` and its siblings, literals,
comparisons, ``and or not in``, ``+ - * / // %``. No calls, no attributes of anything else,
so an expression from a stranger's file cannot reach anything.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from gpubench.errors import InputError, nearest
from gpubench.spec import Case, DeviceInfo

Expression = Callable[[Mapping[str, Any]], Any]
"""Evaluates against names; raises ``MissingName`` for one that is not there."""

_COMPARE: Final[dict[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le,
    ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b,
}  # fmt: skip
_BINARY: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip
_EXPECTED: Final = "a condition such as \"precision == 'fp32' and m >= 1024\""


class MissingName(InputError):
    """A name in an expression that nothing provides."""


def compile_expression(text: str) -> Expression:
    """Parse a condition.

    Raises:
        InputError: not an expression, or one that uses more than the language has.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
        return _node(tree.body, text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"cannot read the condition {text!r}", expected=_EXPECTED) from error


def _node(node: ast.expr, text: str) -> Expression:
    match node:
        case ast.Constant(value=value) if isinstance(value, str | int | float | bool | None):
            return lambda _names: value
        case ast.Name(id=name):
            return _lookup(name)
        case ast.Attribute(value=ast.Name(id="device"), attr=attribute):
            return _lookup(f"device.{attribute}")
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
            parts = [_node(i, text) for i in items]
            return lambda names: [p(names) for p in parts]
        case ast.BoolOp(op=op, values=values):
            return _bool(op, [_node(v, text) for v in values])
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = _node(operand, text)
            return lambda names: not inner(names)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _node(operand, text)
            return lambda names: _apply(operator.neg, text, inner(names))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            do, a, b = _of_numbers(_BINARY[type(op)]), _node(left, text), _node(right, text)
            return lambda names: _apply(do, text, a(names), b(names))
        case ast.Compare(left=left, ops=ops, comparators=rest):
            return _compare(text, _node(left, text), ops, [_node(r, text) for r in rest])
    raise InputError(
        f"{ast.unparse(node)!r} is not allowed in the condition {text!r}", expected=_EXPECTED
    )


def _of_numbers(do: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Arithmetic on numbers alone: a text times a large number would fill the memory."""

    def apply(a: Any, b: Any) -> Any:
        if not (isinstance(a, int | float) and isinstance(b, int | float)):
            raise TypeError("only numbers can be calculated with")
        return do(a, b)

    return apply


def _apply(do: Callable[..., Any], text: str, *values: Any) -> Any:
    try:
        return do(*values)
    except (TypeError, ZeroDivisionError, OverflowError) as error:
        shown = " and ".join(repr(v) for v in values)
        raise InputError(f"the condition {text!r} cannot use {shown}: {error}") from error


def _lookup(name: str) -> Expression:
    def value(names: Mapping[str, Any]) -> Any:
        if name in names:
            return names[name]
        raise MissingName(
            f"unknown name {name!r} in a condition",
            expected="one of " + ", ".join(sorted(names)),
            nearest=nearest(name, names),
        )

    return value


def _bool(op: ast.boolop, parts: list[Expression]) -> Expression:
    if isinstance(op, ast.And):
        return lambda names: all(p(names) for p in parts)
    return lambda names: any(p(names) for p in parts)


def _compare(
    text: str, first: Expression, ops: list[ast.cmpop], rest: list[Expression]
) -> Expression:
    for op in ops:
        if type(op) not in _COMPARE:
            raise InputError(f"'is' is not allowed in the condition {text!r}", expected=_EXPECTED)

    def compare(names: Mapping[str, Any]) -> bool:
        left = first(names)
        for op, part in zip(ops, rest, strict=True):
            right = part(names)
            # An absent fact (None) compares unequal to everything and orders with nothing.
            if None in (left, right) and not isinstance(op, ast.Eq | ast.NotEq):
                return False
            if not _apply(_COMPARE[type(op)], text, left, right):
                return False
            left = right
        return True

    return compare


def names_of(case: Case, device: DeviceInfo) -> dict[str, Any]:
    """The names a condition may use for one case on one device."""
    cc = device.compute_capability
    return {
        **case.params,
        "precision": case.precision,
        "workload": case.workload,
        "benchmark": case.benchmark,
        "label": case.label,
        "key": case.key,
        "device.type": device.type,
        "device.name": device.name,
        "device.gpu_key": device.gpu_key,
        "device.architecture": device.architecture,
        "device.compute_capability": cc[0] + cc[1] / 10 if cc else None,
        "device.memory_bytes": device.memory_bytes,
        "device.sm_count": device.sm_count,
    }


def compile_filter(text: str) -> Callable[[Case, Mapping[str, Any]], bool]:
    """A ``--filter``: a glob over benchmark names and labels, or a condition.

    In a condition, a parameter that a case does not have makes it not match, so one
    filter serves suites of several workloads.
    """
    pattern = text.strip()
    if pattern and all(c.isalnum() or c in "_-*?./[]" for c in pattern):
        return lambda case, _names: any(
            fnmatchcase(name, pattern) for name in (case.benchmark, case.label, case.key)
        )
    expression = compile_expression(text)

    def matches(_case: Case, names: Mapping[str, Any]) -> bool:
        try:
            return bool(expression(names))
        except MissingName:
            return False

    return matches
