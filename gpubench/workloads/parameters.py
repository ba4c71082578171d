"""Reading parameters of workloads, with errors that name the parameter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, field, fields
from typing import Any, ClassVar, Final, Self, cast

from gpubench.errors import InputError, UnknownName, nearest
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


def sized(meaning: str, default: object = MISSING, least: int = 1, most: int = MOST) -> Any:
    """A field that is a whole number; without a default it must be given."""
    return field(default=default, metadata={
        "meaning": meaning, "read": lambda name, value: whole(name, value, least, most),
    })  # fmt: skip


def chosen(meaning: str, names: Iterable[str], default: object = MISSING) -> Any:
    """A field that is one of a few names."""
    known = tuple(names)

    def read(name: str, value: Value | None) -> str:
        if value not in known:
            raise UnknownName(name, str(value), known).at(key=name)
        return str(value)

    return field(default=default, metadata={"meaning": meaning, "read": read})


def flagged(meaning: str, default: bool) -> Any:
    """A field that is true or false."""

    def read(name: str, value: Value | None) -> bool:
        if not isinstance(value, bool):
            raise InputError(f"{value!r} found", key=name, expected="true or false")
        return value

    return field(default=default, metadata={"meaning": meaning, "read": read})


def read_field(meaning: str, read: Callable[[str, Value | None], Value], default: object) -> Any:
    """A field read by a function of (name, value) that refuses what does not fit."""
    return field(default=default, metadata={"meaning": meaning, "read": read})


class Declared:
    """Reading and telling parameters, for workloads that declare them as fields.

    A frozen dataclass whose fields are made by ``sized``, ``chosen`` and ``flagged``, beside
    ``precision``, gets the pure half of ``gpubench.ports.Workload`` from here.
    """

    __slots__ = ()
    name: ClassVar[str]

    @classmethod
    def parameters(cls) -> Mapping[str, str]:
        """Parameter name -> what it means."""
        return {f.name: f.metadata["meaning"] + _default_text(f) for f in declared(cls)}

    @classmethod
    def from_params(cls, params: Mapping[str, Value], precision: str) -> Self:
        """Validate and normalise.

        Raises:
            InputError: with ``key`` set to the parameter that does not fit.
        """
        given, values = dict(params), {}
        for f in declared(cls):
            if f.name in given:
                values[f.name] = f.metadata["read"](f.name, given.pop(f.name))
            elif f.default is MISSING:
                raise InputError(
                    f"{cls.name} needs {f.name!r}", key=f.name, expected=f.metadata["meaning"]
                )
        refuse_rest(cls.name, given, cls.parameters())
        work = cast(Any, cls)(precision=precision, **values)
        work.refuse_impossible()
        return cast(Self, work)

    def refuse_impossible(self) -> None:
        """Refuse parameters that fit one by one but not together.

        Raises:
            InputError: with ``key`` set to one of them.
        """

    def params(self) -> Mapping[str, Value]:
        """Canonical parameters with defaults filled in."""
        return {f.name: getattr(self, f.name) for f in declared(type(self))}

    def identity(self) -> Mapping[str, Value]:
        """Parameters that differ from their defaults."""
        return {
            f.name: getattr(self, f.name)
            for f in declared(type(self))
            if getattr(self, f.name) != f.default
        }


def declared(kind: type) -> tuple[Field[Any], ...]:
    """The fields of a workload that are parameters."""
    return tuple(f for f in fields(kind) if "read" in f.metadata)


def _default_text(f: Field[Any]) -> str:
    if f.default is MISSING or f.default == "":
        return ""
    shown = str(f.default).lower() if isinstance(f.default, bool) else f.default
    return f" (default {shown})"
