"""The user's own code: ``target: package.module:callable``."""

from __future__ import annotations

import importlib
import math
import pkgutil
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar, Final

from gpubench.errors import InputError, nearest
from gpubench.expression import compile_expression
from gpubench.ports import Call, Device
from gpubench.record import Accuracy
from gpubench.spec import ELEMENT_BYTES, DeviceInfo, Value, Work
from gpubench.workloads.kernel import OFFERED, Kernel
from gpubench.workloads.signature import Function

_PLACE: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_COUNT: Final = "a number, or arithmetic over the case's parameters such as 2*n*n*element_bytes"


@dataclass(frozen=True, slots=True)
class Custom:
    """A callable of the user's, with inputs from ``setup`` and counts as arithmetic.

    Nothing is imported before ``build``: a plan of strange code runs none of it.
    """

    name: ClassVar[str] = "custom"

    target: str
    setup: str | None = None
    reference: str | None = None
    flops: Value | None = None
    bytes: Value | None = None
    tolerance: float | None = None
    own: Mapping[str, Value] = field(default_factory=dict)
    precision: str = "fp32"

    @classmethod
    def parameters(cls) -> Mapping[str, str]:
        """Parameter name -> what it means; ``*`` stands for the user's own."""
        return {
            "target": "package.module:callable, what is measured",
            "setup": "package.module:callable that makes the inputs of a call",
            "reference": "package.module:callable that computes the same in FP64",
            "flops": "floating-point operations of a call: " + _COUNT,
            "bytes": "bytes a call has to move: " + _COUNT,
            "tolerance": "largest relative error against the reference (default by precision)",
            "*": "your own, passed by name to setup and target",
        }

    @classmethod
    def from_params(cls, params: Mapping[str, Value], precision: str) -> Custom:
        """Validate without importing anything.

        Raises:
            InputError: with ``key`` set to the parameter that does not fit.
        """
        given = dict(params)
        target = _place("target", given.pop("target", None))
        if target is None:
            raise InputError("custom needs a target", key="target", expected="module:callable")
        tolerance = given.pop("tolerance", None)
        made = cls(
            target=target,
            setup=_place("setup", given.pop("setup", None)),
            reference=_place("reference", given.pop("reference", None)),
            flops=given.pop("flops", None),
            bytes=given.pop("bytes", None),
            tolerance=None if tolerance is None else _amount("tolerance", tolerance),
            own={k: _own(k, v) for k, v in given.items()},
            precision=precision,
        )
        made.work()  # so that a wrong expression is an error of the suite
        return made

    def params(self) -> Mapping[str, Value]:
        """Every parameter that was given."""
        fixed = {
            "target": self.target, "setup": self.setup, "reference": self.reference,
            "flops": self.flops, "bytes": self.bytes, "tolerance": self.tolerance,
        }  # fmt: skip
        return {**{k: v for k, v in fixed.items() if v is not None}, **self.own}

    def identity(self) -> Mapping[str, Value]:
        """What decides the work: target, setup and own parameters, not what is said of them."""
        setup = {} if self.setup is None else {"setup": self.setup}
        return {"target": self.target, **setup, **self.own}

    def label(self) -> str:
        """E.g. ``rmsnorm rows=4096 cols=1024``."""
        own = [f"{k}={v}" for k, v in self.own.items()]
        return " ".join([self.target.partition(":")[2], *own])

    def work(self) -> Work | None:
        """The counts that were given; None if neither was. Bytes stand for the footprint too.

        Raises:
            InputError: an expression that is none, or has no sensible value.
        """
        if self.flops is None and self.bytes is None:
            return None
        moved = self._count("bytes", self.bytes)
        flops = self._count("flops", self.flops)
        return Work(flops, moved, moved, str(self.flops) if self.flops is not None else "not given")

    def _count(self, key: str, given: Value | None) -> float:
        """A number, or the value of an expression over own parameters and ``element_bytes``."""
        if not isinstance(given, str):
            return 0.0 if given is None else _amount(key, given)
        names = {**self.own, "element_bytes": ELEMENT_BYTES[self.precision]}
        try:
            value = compile_expression(given)(names)
        except InputError as error:
            problem = error.problem.replace("the condition", "the expression")
            problem = problem.replace("in a condition", f"in {given!r}")
            expected = error.expected if error.nearest else _COUNT
            raise InputError(problem, key=key, expected=expected, nearest=error.nearest) from None
        return _amount(key, value, given)

    def unsupported(self, device: DeviceInfo) -> str | None:
        """Whatever the device has; what the code cannot do, it says itself."""
        del device
        return None

    def build(self, device: Device, seed: int, data: str) -> Call:
        """Import the target, make an input set and return the call."""
        return self._kernel().build(device, seed, data)

    def check(self, device: Device, seed: int, data: str) -> Accuracy | None:
        """Compare with the reference on the same inputs in FP64; None without one."""
        return self._kernel().check(device, seed, data)

    def _kernel(self) -> Kernel:
        return Kernel(
            target=imported(self.target),
            setup=imported(self.setup) if self.setup else None,
            reference=imported(self.reference) if self.reference else None,
            own=self.own,
            precision=self.precision,
            tolerance=self.tolerance,
        )


def _place(key: str, value: Value | None) -> str | None:
    if value is None:
        return None
    text = str(value)
    if not isinstance(value, str) or not _PLACE.fullmatch(text):
        path, colon, name = text.removesuffix("()").partition(":")
        guess = f"{path.removesuffix('.py').strip('./').replace('/', '.')}:{name}"
        raise InputError(
            f"{value!r} is no place in a module", key=key, expected="package.module:callable",
            nearest=guess if colon and _PLACE.fullmatch(guess) else None,
        )  # fmt: skip
    if text.partition(":")[0].endswith(".py"):
        raise InputError(
            f"{value!r} names a file", key=key, expected="a module: package.module:callable",
            nearest=text.replace(".py:", ":"),
        )  # fmt: skip
    return text


def _amount(key: str, value: object, text: str | None = None) -> float:
    """A finite number that is not negative."""
    shown = f"{text!r} is {value!r}" if text else f"{value!r} found"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(shown, key=key, expected="a number" if key == "tolerance" else _COUNT)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or number < 0:
        raise InputError(shown, key=key, expected="a finite number, at least 0")
    return number


def _own(name: str, value: Value) -> Value:
    if name in OFFERED:
        raise InputError(
            f"{name!r} is given by gpubench: {OFFERED[name]}", key=name, expected="another name"
        )
    if not name.isidentifier():
        raise InputError(f"{name!r} cannot be passed by name", key=name, expected="a Python name")
    return value


# ---------------------------------------------------------------- importing


def imported(place: str) -> Function:
    """The callable that ``package.module:callable`` names.

    Raises:
        ModuleNotFoundError: no such module, with the nearest of those in the user's folders.
        AttributeError: the module has no such name.
        TypeError: it is not callable.
        Exception: whatever the module raises while it is imported.
    """
    path, _, attributes = place.partition(":")
    with _exit_is_an_error(path):
        try:
            found: object = importlib.import_module(path)
        except ModuleNotFoundError as error:
            # Only if it is the target that is missing, not something the target imports.
            if error.name is None or not (path + ".").startswith(error.name + "."):
                raise
            raise _missing(error.name) from error
    for attribute in attributes.split("."):
        owner = found
        try:
            found = getattr(owner, attribute)
        except AttributeError as error:
            close = nearest(attribute, [n for n in dir(owner) if not n.startswith("__")])
            hint = f"; did you mean {close!r}?" if close else ""
            raise AttributeError(f"{path!r} has no {attributes!r}{hint}") from error
    if not callable(found):
        raise TypeError(f"{place!r} is a {type(found).__name__} and cannot be called")
    return found


@contextmanager
def _exit_is_an_error(path: str) -> Iterator[None]:
    """A script without a main guard may exit while it is imported: that costs a case only."""
    try:
        yield
    except SystemExit as error:
        raise ImportError(f"{path!r} exits when it is imported (code {error.code})") from error


def _missing(name: str) -> ModuleNotFoundError:
    parent = name.rpartition(".")[0]
    package = sys.modules.get(parent)
    folders = sys.path if package is None else list(getattr(package, "__path__", ()))
    known = [f"{parent}.{m.name}" if parent else m.name for m in pkgutil.iter_modules(folders)]
    close = nearest(name, known)
    installed = (sys.prefix, sys.base_prefix)
    shown = [str(f) for f in folders if package or not str(f).startswith(installed)]
    return ModuleNotFoundError(
        f"no module {name!r} in {', '.join(shown) or 'any folder'}"
        + (f"; did you mean {close!r}?" if close else ""),
        name=name,
    )
