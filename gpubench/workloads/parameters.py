"""Reading parameters of workloads, with errors that name the parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gpubench.errors import InputError, nearest
from gpubench.spec import Value

MOST: Final = 2**31 - 1


def whole(name: str, value: Value | None, least: int = 1, most: int = MOST) -> int:
    """A whole number within bounds; 1e6 is one.

    Raises:
        InputError: with ``key`` set to ``name``.
    """
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(number, bool) or not isinstance(number, int):
        raise InputError(f"{value!r} is no size", key=name, expected="a positive integer")
    if not least <= number <= most:
        raise InputError(f"{number} is out of range", key=name, expected=f"{least} to {most}")
    return number


def refuse_rest(workload: str, rest: Mapping[str, object], known: Mapping[str, str]) -> None:
    """Refuse parameters that nobody has read.

    Raises:
        InputError: with ``key`` set to the first of them and its nearest match.
    """
    for name in rest:
        raise InputError(
            f"{workload} has no parameter {name!r}", key=name, nearest=nearest(name, known)
        )
