"""Work that streams memory: pointwise functions, triad, reductions, row lookups.

FLOPs are not counted: bandwidth is what these reach or miss, and the report shows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from gpubench.ports import Call, Device
from gpubench.record import Accuracy
from gpubench.spec import ELEMENT_BYTES, DeviceInfo, Work
from gpubench.units import bytes_iec
from gpubench.workloads.operands import (
    ROUNDOFF,
    checkable,
    filled,
    rel_error,
    seeded,
    sum_tolerance,
)
from gpubench.workloads.parameters import Declared, chosen, sized

if TYPE_CHECKING:
    import torch

BINARY: Final = ("add", "sub", "mul", "div", "pow")
UNARY: Final = ("relu", "gelu", "tanh", "exp", "sigmoid", "silu", "sqrt", "neg")
REDUCTIONS: Final = ("sum", "mean", "max")
NOT_COUNTED: Final = "none counted: memory traffic is what takes the time"
NO_FP8: Final = "does not offer fp8: torch has no arithmetic on it"


def moving(elements: float, precision: str, extra_bytes: float = 0.0) -> Work:
    """Work that moves ``elements`` once, all of them in memory at once."""
    moved = elements * ELEMENT_BYTES[precision] + extra_bytes
    return Work(flops=0.0, bytes=moved, footprint_bytes=moved, formula=NOT_COUNTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Elementwise(Declared):
    """A pointwise function of one tensor, or of two of the same shape, into a third.

    The base of ``pow``, the argument of ``sqrt`` and the divisor of ``div`` are in [0.5, 1.5);
    a function of two inputs given one uses the number 2 as the second.
    """

    name: ClassVar[str] = "elementwise"

    precision: str
    function: str = chosen("add, mul, relu, gelu, tanh, ...", (*BINARY, *UNARY), "add")
    rows: int = sized("rows")
    cols: int = sized("columns", 1)
    inputs: int = sized("tensors read: 1 or 2; 0: as the function takes", 0, least=0, most=2)

    def __post_init__(self) -> None:
        """Fill in what ``inputs`` 0 means, so that equal work has equal parameters."""
        if not self.inputs:
            object.__setattr__(self, "inputs", 2 if self.function in BINARY else 1)

    def label(self) -> str:
        """E.g. ``gelu 4096x1024``."""
        scalar = " scalar" if self.function in BINARY and self.inputs == 1 else ""
        return f"{self.function}{scalar} {self.rows}x{self.cols}"

    def work(self) -> Work:
        """Each input read and the output written once."""
        return moving((self.inputs + 1) * self.rows * self.cols, self.precision)

    def unsupported(self, device: DeviceInfo) -> str | None:
        """No FP8, and no function of one tensor takes two."""
        del device
        if self.function in UNARY and self.inputs == 2:
            return f"{self.function} takes one input"
        return f"elementwise {NO_FP8}" if self.precision == "fp8" else None

    def build(self, device: Device, seed: int, data: str) -> Call:
        """Operands and a call into a fixed output."""
        inputs, out = self._operands(device, seed, data)
        function = _pointwise(self.function)
        return lambda: function(*inputs, out=out)

    def check(self, device: Device, seed: int, data: str) -> Accuracy:
        """Every element against FP64, on fresh inputs into a poisoned output."""
        inputs, out = self._operands(device, seed, checkable(data))
        out.fill_(math.nan)
        function = _pointwise(self.function)
        function(*inputs, out=out)
        device.synchronize()
        wide = [x.double() if hasattr(x, "double") else x for x in inputs]
        reference = out.double()
        function(*wide, out=reference)
        return Accuracy(
            rel_error(out, reference), 8 * ROUNDOFF[self.precision], "FP64 of the same operands"
        )

    def _operands(self, device: Device, seed: int, data: str) -> tuple[list[Any], torch.Tensor]:
        generator = seeded(device, seed)
        shape = (self.rows, self.cols)

        def tensor(away_from_zero: bool) -> torch.Tensor:
            if not away_from_zero or data == "zeros":
                return filled(device, shape, self.precision, data, generator)
            return filled(device, shape, self.precision, "positive", generator).add_(0.5)

        first = tensor(self.function in ("pow", "sqrt"))
        found: list[Any] = [first]
        if self.inputs == 2:
            found.append(tensor(self.function == "div"))
        elif self.function in BINARY:
            found.append(2.0)
        return found, first.new_empty(shape)


def _pointwise(function: str) -> Callable[..., object]:
    """The operation with an ``out`` argument, so that no call pays for the allocator."""
    import torch

    if function in ("relu", "gelu", "silu"):
        return {  # torch.nn.functional has these without ``out``
            "relu": torch.ops.aten.relu.out,
            "gelu": torch.ops.aten.gelu.out,
            "silu": torch.ops.aten.silu.out,
        }[function]
    found: Callable[..., object] = getattr(torch, function)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Triad(Declared):
    """STREAM's triad a = b + s c on three vectors (McCalpin, 1995)."""

    name: ClassVar[str] = "triad"

    precision: str
    elements: int = sized("elements of each vector", most=2**40)

    def label(self) -> str:
        """E.g. ``3x 64 MiB``."""
        return f"3x {bytes_iec(self.elements * ELEMENT_BYTES[self.precision])}"

    def work(self) -> Work:
        """Two vectors read, one written."""
        return moving(3 * self.elements, self.precision)

    def unsupported(self, device: DeviceInfo) -> str | None:
        """No FP8."""
        del device
        return f"triad {NO_FP8}" if self.precision == "fp8" else None

    def build(self, device: Device, seed: int, data: str) -> Call:
        """Three vectors and the call."""
        import torch

        a, b, c = self._vectors(device, seed, data)
        return lambda: torch.add(b, c, alpha=3.0, out=a)

    def check(self, device: Device, seed: int, data: str) -> Accuracy:
        """Every element against FP64."""
        import torch

        a, b, c = self._vectors(device, seed, checkable(data))
        a.fill_(math.nan)
        torch.add(b, c, alpha=3.0, out=a)
        device.synchronize()
        reference = b.double().add_(c.double(), alpha=3.0)
        return Accuracy(
            rel_error(a, reference), 4 * ROUNDOFF[self.precision], "FP64 of the same operands"
        )

    def _vectors(self, device: Device, seed: int, data: str) -> list[torch.Tensor]:
        generator = seeded(device, seed)
        return [filled(device, (self.elements,), self.precision, data, generator) for _ in range(3)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduction(Declared):
    """A rows x cols matrix reduced to one value a row (axis 1) or a column (axis 0)."""

    name: ClassVar[str] = "reduction"

    precision: str
    function: str = chosen("sum, mean or max", REDUCTIONS, "sum")
    rows: int = sized("rows")
    cols: int = sized("columns")
    axis: int = sized("axis that disappears: 0 or 1", 1, least=0, most=1)

    def label(self) -> str:
        """E.g. ``sum 4096x1024 axis 1``."""
        return f"{self.function} {self.rows}x{self.cols} axis {self.axis}"

    def work(self) -> Work:
        """The matrix read, the result written once."""
        kept = self.rows if self.axis == 1 else self.cols
        return moving(self.rows * self.cols + kept, self.precision)

    def unsupported(self, device: DeviceInfo) -> str | None:
        """No FP8."""
        del device
        return f"reduction {NO_FP8}" if self.precision == "fp8" else None

    def build(self, device: Device, seed: int, data: str) -> Call:
        """The matrix and the call."""
        x = self._matrix(device, seed, data)
        return self._call(x)

    def check(self, device: Device, seed: int, data: str) -> Accuracy:
        """Every result against FP64; on positive data, whose sums do not cancel."""
        data = "positive" if data in ("normal", "uniform", "zeros") else data
        x = self._matrix(device, seed, data)
        out = self._call(x)()
        device.synchronize()
        reference = self._call(x.double())()
        terms = self.cols if self.axis == 1 else self.rows
        return Accuracy(
            rel_error(out, reference), sum_tolerance(self.precision, terms),
            "FP64 reduction of the same matrix",
        )  # fmt: skip

    def _matrix(self, device: Device, seed: int, data: str) -> torch.Tensor:
        return filled(device, (self.rows, self.cols), self.precision, data, seeded(device, seed))

    def _call(self, x: torch.Tensor) -> Callable[[], torch.Tensor]:
        import torch

        named: dict[str, Any] = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax}
        function, axis = named[self.function], self.axis
        out = x.new_full((self.rows if axis == 1 else self.cols,), math.nan)
        return lambda: function(x, axis, out=out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding(Declared):
    """Rows of a table looked up by random indices, as an embedding layer does."""

    name: ClassVar[str] = "embedding"

    precision: str
    tokens: int = sized("rows looked up")
    dim: int = sized("elements of a row")
    vocab: int = sized("rows of the table")

    def label(self) -> str:
        """E.g. ``16384 of 50257x768``."""
        return f"{self.tokens} of {self.vocab}x{self.dim}"

    def work(self) -> Work:
        """Each looked-up row read and written, its index read; a repeated row read again."""
        element = ELEMENT_BYTES[self.precision]
        moved = self.tokens * (2.0 * self.dim * element + 8)
        return Work(
            flops=0.0, bytes=moved, formula=NOT_COUNTED,
            footprint_bytes=moved - self.tokens * self.dim * element
            + self.vocab * self.dim * element,
        )  # fmt: skip

    def unsupported(self, device: DeviceInfo) -> str | None:
        """No FP8."""
        del device
        return f"embedding {NO_FP8}" if self.precision == "fp8" else None

    def build(self, device: Device, seed: int, data: str) -> Call:
        """Table, indices and the call into a fixed output."""
        import torch

        table, ids, out = self._operands(device, seed, data)
        return lambda: torch.index_select(table, 0, ids, out=out)

    def check(self, device: Device, seed: int, data: str) -> Accuracy:
        """Every row must be the table's, bit for bit."""
        import torch

        table, ids, out = self._operands(device, seed, checkable(data))
        out.fill_(math.nan)
        torch.index_select(table, 0, ids, out=out)
        device.synchronize()
        step = max(1, 2**26 // self.dim)
        wrong = sum(
            int((out[i : i + step] != table[ids[i : i + step]]).sum())
            for i in range(0, self.tokens, step)
        )
        return Accuracy(wrong / (self.tokens * self.dim), 0.0, "the rows of the table, bit by bit")

    def _operands(
        self, device: Device, seed: int, data: str
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        import torch

        generator = seeded(device, seed)
        table = filled(device, (self.vocab, self.dim), self.precision, data, generator)
        ids = torch.randint(
            self.vocab, (self.tokens,), generator=generator, device=device.info.torch_name
        )
        return table, ids, table.new_empty((self.tokens, self.dim))
