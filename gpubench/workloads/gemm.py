"""Dense matrix product, single or batched: C = op(A) op(B)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from gpubench.errors import InputError, UnknownName
from gpubench.ports import Call, Device
from gpubench.record import Accuracy
from gpubench.spec import ELEMENT_BYTES, DeviceInfo, Value, Work
from gpubench.workloads.operands import checkable, filled, seeded, sum_tolerance
from gpubench.workloads.parameters import refuse_rest, whole

if TYPE_CHECKING:
    import torch

TRANSPOSES: Final = ("nn", "nt", "tn", "tt")
CHECK_ROWS: Final = 64


@dataclass(frozen=True, slots=True)
class Gemm:
    """C = op(A) op(B) with C of batch x m x n, row-major as in torch.

    ``transpose`` has one letter an operand: ``n`` as multiplied (A is m x k, B is k x n),
    ``t`` stored transposed (A is k x m, B is n x k) and read through a transposed view.
    ``fp32`` is computed on CUDA cores, ``tf32`` from FP32 operands rounded by the Tensor
    Cores; ``fp16`` and ``bf16`` accumulate in FP32.
    """

    name: ClassVar[str] = "gemm"

    m: int
    n: int
    k: int
    precision: str = "fp32"
    batch: int = 1
    transpose: str = "nn"

    @classmethod
    def parameters(cls) -> Mapping[str, str]:
        """Parameter name -> what it means."""
        return {
            "m": "rows of C",
            "n": "columns of C",
            "k": "length of the sums",
            "size": "m, n and k at once",
            "batch": "independent products in one call (default 1)",
            "transpose": "storage of A and B: nn, nt, tn or tt (default nn)",
        }

    @classmethod
    def from_params(cls, params: Mapping[str, Value], precision: str) -> Gemm:
        """Validate and normalise; ``size`` stands for m, n and k.

        Raises:
            InputError: with ``key`` set to the parameter that does not fit.
        """
        given = dict(params)
        size = given.pop("size", None)
        transpose = given.pop("transpose", "nn")
        if transpose not in TRANSPOSES:
            raise UnknownName("transpose", str(transpose), TRANSPOSES).at(key="transpose")
        numbers: dict[str, int] = {}
        for name in ("m", "n", "k"):
            value = given.pop(name, size)
            if value is None:
                raise InputError(f"gemm needs {name!r}", key=name, expected="m, n and k, or size")
            numbers[name] = whole(name if size is None else "size", value)
        batch = whole("batch", given.pop("batch", 1))
        refuse_rest("gemm", given, cls.parameters())
        return cls(**numbers, precision=precision, batch=batch, transpose=str(transpose))

    def params(self) -> Mapping[str, Value]:
        """Canonical parameters with defaults filled in."""
        return {"m": self.m, "n": self.n, "k": self.k, "batch": self.batch,
                "transpose": self.transpose}  # fmt: skip

    def identity(self) -> Mapping[str, Value]:
        """Parameters that differ from their defaults."""
        defaults = {"batch": 1, "transpose": "nn"}
        return {k: v for k, v in self.params().items() if defaults.get(k) != v}

    def label(self) -> str:
        """E.g. ``1024x1024x1024`` or ``8x 512x512x64 nt``."""
        text = f"{self.m}x{self.n}x{self.k}"
        text = f"{self.batch}x {text}" if self.batch > 1 else text
        return text if self.transpose == "nn" else f"{text} {self.transpose}"

    def work(self) -> Work:
        """2 m n k FLOPs a product; operands and result moved once each."""
        element = ELEMENT_BYTES[self.precision]
        moved = self.batch * element * (
            self.m * self.k + self.k * self.n + self.m * self.n
        )  # fmt: skip
        return Work(
            flops=2.0 * self.batch * self.m * self.n * self.k,
            bytes=float(moved),
            footprint_bytes=float(moved),
            formula="2 * batch * m * n * k",
        )

    def unsupported(self, device: DeviceInfo) -> str | None:
        """FP8 needs scaled operands, which this workload does not offer."""
        del device
        if self.precision == "fp8":
            return "gemm does not offer fp8: its operands need scale factors"
        return None

    def build(self, device: Device, seed: int, data: str) -> Call:
        """Operands on the device and a call that multiplies them into a fixed output.

        The output is allocated once, so that no sample pays for the allocator.
        """
        import torch

        a, b, out = self._operands(device, seed, data)
        if self.batch == 1:
            mm = torch.mm
            return lambda: mm(a, b, out=out)
        bmm = torch.bmm
        return lambda: bmm(a, b, out=out)

    def check(self, device: Device, seed: int, data: str) -> Accuracy:
        """Frobenius-norm error of sampled rows of C against FP64 on fresh inputs.

        The output is poisoned with NaN first: an element nobody wrote shows. Random rows
        stand for all of them (at most ``CHECK_ROWS`` a product), so that the check costs
        little next to the measurement; each row takes part in every column.
        """
        import torch

        a, b, out = self._operands(device, seed, checkable(data))
        out.fill_(math.nan)
        (torch.mm if self.batch == 1 else torch.bmm)(a, b, out=out)
        device.synchronize()
        if self.batch == 1:
            a, b, out = a[None], b[None], out[None]
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randperm(self.m, generator=generator)[:CHECK_ROWS].to(a.device)
        products = torch.randperm(self.batch, generator=generator)[:8].tolist()
        error = norm = spread = 0.0
        order = torch.randperm(self.k, generator=generator).to(a.device)
        for p in products:
            # Summed in another order: the same kernel in the same order would make the
            # same rounding errors, and FP64 would be compared with itself.
            left, right = a[p, rows][:, order].double(), b[p, order].double()
            reference = left @ right
            error += float((out[p, rows].double() - reference).square().sum())
            norm += float(reference.square().sum())
            spread += float((left.square() @ right.square()).sum())
        return Accuracy(
            rel_error=math.sqrt(error / norm) if norm > 0 else math.nan,
            tolerance=self.tolerance() * max(1.0, math.sqrt(spread / norm) if norm > 0 else 1.0),
            reference="FP64 product of the same operands, summed in random order:"
            f" {len(rows)} of {self.m} rows"
            + (f" of {len(products)} of {self.batch} products" if self.batch > 1 else ""),
        )

    def tolerance(self) -> float:
        """Largest relative error that is right for well-conditioned data; see ``check``.

        Where terms cancel, errors stay as large as the terms while the sums get small: the
        bound then grows as sqrt(sum of squared terms) / |sum|, taken over the rows checked.
        """
        return sum_tolerance(self.precision, self.k)

    def _operands(
        self, device: Device, seed: int, data: str
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        import torch

        generator = seeded(device, seed)
        kind = "normal" if data == "cancelling" else data

        def matrix(rows: int, columns: int, stored_transposed: bool) -> torch.Tensor:
            shape = (columns, rows) if stored_transposed else (rows, columns)
            full = shape if self.batch == 1 else (self.batch, *shape)
            values = filled(device, full, self.precision, kind, generator)
            return values.transpose(-1, -2) if stored_transposed else values

        a = matrix(self.m, self.k, self.transpose[0] == "t")
        b = matrix(self.k, self.n, self.transpose[1] == "t")
        if data == "cancelling":
            cancel(a, b)
        shape = (self.m, self.n) if self.batch == 1 else (self.batch, self.m, self.n)
        return a, b, torch.empty(shape, dtype=a.dtype, device=a.device)


def cancel(a: torch.Tensor, b: torch.Tensor) -> None:
    """Make the sums of a b cancel, in place, all but a part of about 1 in 64.

    The second half of the sum repeats the first with the opposite sign and a little noise;
    a last odd term is zero.
    """
    half = a.shape[-1] // 2
    if half == 0:
        return
    first, second = slice(0, half), slice(half, 2 * half)
    noise = b[..., second, :] * 2.0**-6
    a[..., second] = a[..., first]
    b[..., second, :] = noise - b[..., first, :]
    a[..., 2 * half :] = 0
