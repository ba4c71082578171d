"""A user's kernel as callables: how inputs are made, called, and compared with a reference.

The contract, for suites, ``gpubench.measure`` and the pytest fixture alike:

- ``setup`` makes the inputs of one input set. It gets the case's own parameters, and of
  ``OFFERED`` those it names. A tuple it returns becomes positional arguments, a dict
  keywords, None no arguments, anything else the one argument.
- ``target`` is called with these inputs and, by name, with own parameters that it declares
  and that the inputs leave open. Without ``setup`` it gets all own parameters by name.
- An own parameter that nobody declares is an error: it would label work it does not change.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from gpubench.errors import CaseFailed, nearest
from gpubench.ports import Call, Device
from gpubench.record import Accuracy
from gpubench.spec import Value
from gpubench.workloads.signature import Function, Signature

if TYPE_CHECKING:
    import torch

OFFERED: Final[Mapping[str, str]] = {
    "device": "torch.device to put inputs on",
    "dtype": "torch.dtype in which the precision is stored",
    "precision": "its name, fp32 say",
    "seed": "a number of this input set's own; torch's generators are seeded with it already",
    "data": "distribution of the inputs that the policy asks for",
}
"""What ``setup``, and a ``target`` without one, may name in their signatures."""

TOLERANCES: Final[Mapping[str, float]] = {
    "fp64": 1e-12, "fp32": 1e-5, "tf32": 2e-3, "fp16": 2e-3, "bf16": 1.6e-2, "fp8": 0.25,
}  # fmt: skip
"""Largest relative error by default. Formats that are rounded to once or twice: four unit
roundoffs. FP32 and FP64 accumulate in themselves and get room for long sums, but not so
much that TF32 (error of some 3e-4) passes for FP32."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Arguments of one call."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, made: object) -> Inputs:
        """Arguments from what ``setup`` returned."""
        match made:
            case Inputs():
                return made
            case None:
                return cls()
            case tuple():
                return cls(made)
            case dict():
                return cls((), made)
        return cls((made,))

    def in_fp64(self) -> Inputs:
        """A copy that shares no memory, with every floating-point tensor and module in FP64."""
        args, kwargs = _in_fp64((self.args, dict(self.kwargs)))
        return Inputs(args, kwargs)

    def footprint_bytes(self) -> float:
        """Memory of the tensors in the arguments, shared storage counted once."""
        storages = {}
        for tensor in tensors_in((self.args, dict(self.kwargs))):
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        return float(sum(storages.values()))


@dataclass(frozen=True, slots=True)
class Kernel:
    """What is called, with what, and what its result should be.

    Attributes:
        own: the case's own parameters.
        reference: computes the same in FP64; None where there is nothing to compare with.
        given: fixed arguments in place of ``setup``. They are one input set, whatever the
            cache policy asks for.
    """

    target: Function
    setup: Function | None = None
    reference: Function | None = None
    own: Mapping[str, Value] = field(default_factory=dict)
    precision: str = "fp32"
    tolerance: float | None = None
    given: Inputs | None = None

    def build(self, device: Device, seed: int, data: str) -> Call:
        """Make an input set; returns the call, which carries its ``footprint_bytes``."""
        inputs = self.inputs(device, seed, data)
        if not inputs.args and not inputs.kwargs:
            return self.target
        call = functools.partial(self.target, *inputs.args, **inputs.kwargs)
        # Fixed arguments are one set: rotating over copies of one call would not be rotating.
        call.footprint_bytes = inputs.footprint_bytes() if self.setup else 0.0  # type: ignore[attr-defined]
        return call

    def check(self, device: Device, seed: int, data: str) -> Accuracy | None:
        """Compare one call with the reference on the same inputs; None without a reference.

        Raises:
            CaseFailed: the results cannot be compared.
        """
        if self.reference is None:
            return None
        inputs = self.inputs(device, seed, data)
        exact = inputs.in_fp64()  # before the call, which may write into its arguments
        found = self.target(*inputs.args, **inputs.kwargs)
        device.synchronize()
        wanted = self.reference(*exact.args, **exact.kwargs)
        bound = TOLERANCES[self.precision] if self.tolerance is None else self.tolerance
        name = getattr(self.reference, "__name__", repr(self.reference))
        return Accuracy(relative_error(found, wanted), bound, f"{name} on the same inputs in FP64")

    def inputs(self, device: Device, seed: int, data: str) -> Inputs:
        """One input set, complete: what ``target`` is called with.

        Raises:
            TypeError: an own parameter that nobody takes.
        """
        if self.given is not None:
            return self.given
        import torch

        # So that inputs made without a generator differ between sets and not between runs.
        torch.default_generator.manual_seed(seed)
        if device.info.type == "cuda":
            torch.cuda.manual_seed(seed)
        offered = {
            "device": torch.device(device.info.torch_name), "dtype": stored_dtype(self.precision),
            "precision": self.precision, "seed": seed, "data": data,
        }  # fmt: skip
        takers = [Signature.of(f) for f in (self.setup, self.target) if f is not None]
        self._refuse_untaken(takers)
        first = takers[0]
        keywords = first.named(offered) | {k: v for k, v in self.own.items() if first.takes(k)}
        if self.setup is None:
            return Inputs((), keywords)
        made = Inputs.of(self.setup(**keywords))
        target = takers[1]
        left = {
            k: v for k, v in self.own.items()
            if (k in target.names or (target.takes(k) and not first.takes(k)))
            and k not in target.filled(made.args, made.kwargs)
        }  # fmt: skip
        return Inputs(made.args, {**made.kwargs, **left})

    def _refuse_untaken(self, takers: list[Signature]) -> None:
        for name in self.own:
            if not any(t.takes(name) for t in takers):
                known = sorted({n for t in takers for n in t.names} - set(OFFERED))
                close = nearest(name, known)
                raise TypeError(
                    f"nobody takes the parameter {name!r}: "
                    + " and ".join(t.described() for t in takers)
                    + (f"; did you mean {close!r}?" if close else "")
                )


def relative_error(found: object, wanted: object) -> float:
    """||found - wanted|| / ||wanted|| in the Frobenius norm over all tensors of two results.

    Raises:
        CaseFailed: nothing to compare, or results of different structure.
    """
    import torch

    ours, theirs = _results(found), _results(wanted)
    for who, values in (("target", ours), ("reference", theirs)):
        if not values:
            raise CaseFailed("error", f"the {who} returned no tensor and no number to compare")
    shapes = [[tuple(t.shape) for t in side] for side in (ours, theirs)]
    if shapes[0] != shapes[1]:
        raise CaseFailed(
            "wrong_result",
            f"the target returned shapes {shapes[0]}, the reference {shapes[1]}",
        )
    error = norm = 0.0
    for a, b in zip(ours, theirs, strict=True):
        exact = b.detach().to(torch.complex128 if b.is_complex() else torch.float64)
        error += float((a.detach().to(exact) - exact).abs().square().sum())
        norm += float(exact.abs().square().sum())
    if norm == 0:
        return 0.0 if error == 0 else math.inf
    return math.sqrt(error / norm)


def stored_dtype(precision: str) -> torch.dtype:
    """The storage type of a precision, FP8 included."""
    import torch

    from gpubench.workloads.operands import torch_dtype

    return torch.float8_e4m3fn if precision == "fp8" else torch_dtype(precision)


def tensors_in(value: object) -> Iterator[torch.Tensor]:
    """Every tensor in nested tuples, lists, dicts and modules."""
    import torch

    match value:
        case torch.Tensor():
            yield value
        case torch.nn.Module():
            yield from value.parameters()
            yield from value.buffers()
        case list() | tuple():
            for item in value:
                yield from tensors_in(item)
        case dict():
            for item in value.values():
                yield from tensors_in(item)


def _results(value: object) -> list[torch.Tensor]:
    import torch

    if isinstance(value, bool | int | float | complex):
        return [torch.as_tensor(value)]
    return list(tensors_in(value))


def _in_fp64(value: Any) -> Any:
    import torch

    match value:
        case torch.Tensor():
            copied = value.detach().clone()
            return copied.double() if copied.is_floating_point() else copied
        case torch.nn.Module():
            return copy.deepcopy(value).double()
        case tuple() | list():
            items = [_in_fp64(item) for item in value]
            # A named tuple takes its fields one by one.
            return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
        case dict():
            return {k: _in_fp64(v) for k, v in value.items()}
    return value
