"""Fully connected layer: y = x Wᵀ + b, as ``torch.nn.Linear``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gpubench.errors import InputError
from gpubench.ports import Call, Device
from gpubench.record import Accuracy
from gpubench.spec import ELEMENT_BYTES, DeviceInfo, Value, Work
from gpubench.workloads.gemm import CHECK_ROWS, cancel
from gpubench.workloads.operands import checkable, filled, rel_error, seeded, sum_tolerance
from gpubench.workloads.parameters import Declared, sized

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear(Declared):
    """x is m x k, W is n x k as torch stores it, b has n elements, y is m x n."""

    name: ClassVar[str] = "linear"

    precision: str
    m: int = sized("rows of x: tokens or samples")
    n: int = sized("output features")
    k: int = sized("input features")

    @classmethod
    def parameters(cls) -> Mapping[str, str]:
        """Parameter name -> what it means."""
        return {**super(Linear, cls).parameters(), "size": "m, n and k at once"}

    @classmethod
    def from_params(cls, params: Mapping[str, Value], precision: str) -> Linear:
        """Validate and normalise; ``size`` stands for m, n and k.

        Raises:
            InputError: with ``key`` set to the parameter that does not fit.
        """
        given = dict(params)
        size = given.pop("size", None)
        if size is not None:
            given = {**dict.fromkeys("mnk", size), **given}
        try:
            return super(Linear, cls).from_params(given, precision)
        except InputError as error:
            if size is not None and error.key in ("m", "n", "k") and error.key not in params:
                error.key = "size"
            raise

    def label(self) -> str:
        """E.g. ``512x4096x1024``."""
        return f"{self.m}x{self.n}x{self.k}"

    def work(self) -> Work:
        """2 m n k FLOPs and one addition a result; operands and result moved once."""
        m, n, k = self.m, self.n, self.k
        moved = float(ELEMENT_BYTES[self.precision] * (m * k + n * k + n + m * n))
        return Work(
            flops=2.0 * m * n * k + m * n, bytes=moved, footprint_bytes=moved,
            formula="2 * m * n * k + m * n",
        )  # fmt: skip

    def unsupported(self, device: DeviceInfo) -> str | None:
        """FP8 needs scaled operands, which this workload does not offer."""
        del device
        if self.precision == "fp8":
            return "linear does not offer fp8: its operands need scale factors"
        return None

    def build(self, device: Device, seed: int, data: str) -> Call:
        """The layer on the device; torch allocates the result, as it does in a model."""
        import torch

        x, w, b = self._operands(device, seed, data)
        linear = torch.nn.functional.linear
        return lambda: linear(x, w, b)

    def check(self, device: Device, seed: int, data: str) -> Accuracy:
        """Frobenius-norm error of sampled rows against FP64 on fresh inputs."""
        import torch

        x, w, b = self._operands(device, seed, checkable(data))
        out = torch.nn.functional.linear(x, w, b)
        device.synchronize()
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randperm(self.m, generator=generator)[:CHECK_ROWS].to(x.device)
        order = torch.randperm(self.k, generator=generator).to(x.device)
        left, right = x[rows][:, order].double(), w[:, order].double().t()
        reference = left @ right + b.double()
        norm = float(reference.square().sum())
        terms = float((left.square() @ right.square()).sum()) + float(b.double().square().sum())
        spread = math.sqrt(terms / norm) if norm > 0 else 1.0
        return Accuracy(
            rel_error(out[rows], reference),
            sum_tolerance(self.precision, self.k) * max(1.0, spread),
            f"FP64 of the same operands, summed in random order: {len(rows)} of {self.m} rows",
        )

    def _operands(
        self, device: Device, seed: int, data: str
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        generator = seeded(device, seed)
        kind = "normal" if data == "cancelling" else data
        x, w, b = (
            filled(device, shape, self.precision, kind, generator)
            for shape in ((self.m, self.k), (self.n, self.k), (self.n,))
        )
        if data == "cancelling":
            cancel(x, w.t())
            b.mul_(2.0**-6)
        return x, w, b
