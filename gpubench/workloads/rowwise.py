"""Row-wise normalisations: softmax and layer norm over the columns of a matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gpubench.ports import Call, Device
from gpubench.record import Accuracy
from gpubench.spec import DeviceInfo, Work
from gpubench.workloads.operands import ROUNDOFF, checkable, filled, rel_error, seeded
from gpubench.workloads.parameters import Declared, sized
from gpubench.workloads.streams import NO_FP8, moving


@dataclass(frozen=True, slots=True, kw_only=True)
class Softmax(Declared):
    """exp(x) / sum(exp(x)) along each row of a rows x cols matrix."""

    name: ClassVar[str] = "softmax"

    precision: str
    rows: int = sized("rows")
    cols: int = sized("columns, summed over")

    def label(self) -> str:
        """E.g. ``4096x1024``."""
        return f"{self.rows}x{self.cols}"

    def work(self) -> Work:
        """The matrix read and written once."""
        return moving(2 * self.rows * self.cols, self.precision)

    def unsupported(self, device: DeviceInfo) -> str | None:
        """No FP8."""
        del device
        return f"softmax {NO_FP8}" if self.precision == "fp8" else None

    def build(self, device: Device, seed: int, data: str) -> Call:
        """The matrix and a call into a fixed output."""
        import torch

        x = filled(device, (self.rows, self.cols), self.precision, data, seeded(device, seed))
        out = torch.empty_like(x)
        return lambda: torch.softmax(x, -1, out=out)

    def check(self, device: Device, seed: int, data: str) -> Accuracy:
        """Every element against FP64, into a poisoned output."""
        import torch

        shape = (self.rows, self.cols)
        x = filled(device, shape, self.precision, checkable(data), seeded(device, seed))
        out = torch.full_like(x, torch.nan)
        torch.softmax(x, -1, out=out)
        device.synchronize()
        # The exponent's error is that of x in units of 1, not relative: a few u more.
        return Accuracy(
            rel_error(out, torch.softmax(x.double(), -1)), 16 * ROUNDOFF[self.precision],
            "FP64 softmax of the same matrix",
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerNorm(Declared):
    """(x - mean) / sqrt(variance + 1e-5) * weight + bias along each row of a matrix."""

    name: ClassVar[str] = "layernorm"

    precision: str
    rows: int = sized("rows: tokens")
    cols: int = sized("columns: features, normalised over")

    def label(self) -> str:
        """E.g. ``4096x1024``."""
        return f"{self.rows}x{self.cols}"

    def work(self) -> Work:
        """The matrix read and written once; weight and bias read once."""
        return moving(2 * self.rows * self.cols + 2 * self.cols, self.precision)

    def unsupported(self, device: DeviceInfo) -> str | None:
        """No FP8."""
        del device
        return f"layernorm {NO_FP8}" if self.precision == "fp8" else None

    def build(self, device: Device, seed: int, data: str) -> Call:
        """Operands and the call; torch allocates the result, as it does in a model."""
        import torch

        generator = seeded(device, seed)
        x = filled(device, (self.rows, self.cols), self.precision, data, generator)
        w, b = (filled(device, (self.cols,), self.precision, data, generator) for _ in range(2))
        norm = torch.nn.functional.layer_norm
        return lambda: norm(x, (self.cols,), w, b)

    def check(self, device: Device, seed: int, data: str) -> Accuracy:
        """Every element against FP64."""
        import torch

        generator, kind = seeded(device, seed), checkable(data)
        x = filled(device, (self.rows, self.cols), self.precision, kind, generator)
        w, b = (filled(device, (self.cols,), self.precision, kind, generator) for _ in range(2))
        norm = torch.nn.functional.layer_norm
        out = norm(x, (self.cols,), w, b)
        device.synchronize()
        reference = norm(x.double(), (self.cols,), w.double(), b.double())
        return Accuracy(
            rel_error(out, reference), 16 * ROUNDOFF[self.precision],
            "FP64 layer norm of the same operands",
        )  # fmt: skip
