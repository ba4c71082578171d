"""Recurrent layers: LSTM, GRU and vanilla, as torch (and by it cuDNN) runs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from gpubench.ports import Call, Device
from gpubench.record import Accuracy
from gpubench.spec import ELEMENT_BYTES, DeviceInfo, Work
from gpubench.workloads.operands import (
    checkable,
    filled,
    rel_error,
    seeded,
    seeded_weights,
    sum_tolerance,
    torch_dtype,
)
from gpubench.workloads.parameters import Declared, chosen, flagged, sized

if TYPE_CHECKING:
    import torch

GATES: Final = {"vanilla": 1, "gru": 3, "lstm": 4}
DIRECTIONS: Final = ("forward", "forward_backward")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rnn(Declared):
    """One layer of ``hidden`` units over sequences of ``hidden`` features, from state zero.

    ``forward_backward`` adds the gradients of the input and of the weights.
    ``skip_input`` is cuDNN's mode without the input product, as DeepBench measured; torch
    does not offer it.
    """

    name: ClassVar[str] = "rnn"

    precision: str
    cell: str = chosen("lstm, gru or vanilla", GATES, "lstm")
    batch: int = sized("sequences", 1)
    seq_len: int = sized("time steps", 1)
    hidden: int = sized("hidden units and input features")
    direction: str = chosen("forward or forward_backward", DIRECTIONS, "forward")
    skip_input: bool = flagged("leave the input product out", default=False)

    def label(self) -> str:
        """E.g. ``lstm 64x25x1024``: batch, time steps, hidden."""
        text = f"{self.cell} {self.batch}x{self.seq_len}x{self.hidden}"
        text += "" if self.direction == "forward" else " fwd+bwd"
        return f"{text} skip-input" if self.skip_input else text

    def work(self) -> Work:
        """Products of input and state with their weights; gates' pointwise work not counted."""
        gates, products = GATES[self.cell], 1 if self.skip_input else 2
        flops = 2.0 * products * self.seq_len * self.batch * gates * self.hidden**2
        element = ELEMENT_BYTES[self.precision]
        weights = float(element * products * gates * self.hidden**2)
        states = float(element * self.seq_len * self.batch * self.hidden)
        both = self.direction == "forward_backward"
        return Work(
            flops=flops * (3 if both else 1),
            bytes=(weights + 2 * states) * (3 if both else 1),
            footprint_bytes=weights * (2 if both else 1) + states * (2 + 2 * gates if both else 2),
            formula=f"2 * {products} * seq_len * batch * {gates} * hidden^2"
            + (", * 3 with the backward pass" if both else ""),
        )

    def unsupported(self, device: DeviceInfo) -> str | None:
        """What torch does not offer."""
        del device
        if self.precision == "fp8":
            return "rnn does not offer fp8"
        if self.skip_input:
            return "torch has no recurrent layer without the input product (skip_input)"
        return None

    def build(self, device: Device, seed: int, data: str) -> Call:
        """Layer and input on the device, and the call."""
        layer, x, g = self._operands(device, seed, data)
        return self._call(layer, x, g)

    def check(self, device: Device, seed: int, data: str) -> Accuracy:
        """All outputs (and the input's gradient) against the same layer in FP64."""
        import copy

        layer, x, g = self._operands(device, seed, checkable(data))
        out: Any = self._call(layer, x, g)()
        device.synchronize()
        wide = copy.deepcopy(layer).double()
        expected: Any = self._call(wide, x.detach().double().requires_grad_(), g.double())()
        if self.direction == "forward":
            out, expected = (out,), (expected,)
        error = max(rel_error(a.detach(), b.detach()) for a, b in zip(out, expected, strict=True))
        return Accuracy(error, self.tolerance(), "the same layer in FP64")

    def tolerance(self) -> float:
        """Largest right error: errors of a step feed the next, but tanh and gates damp them."""
        return 16 * sum_tolerance(self.precision, 2 * self.hidden)

    def _operands(
        self, device: Device, seed: int, data: str
    ) -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
        import torch

        kinds: dict[str, type[torch.nn.RNNBase]] = {
            "lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "vanilla": torch.nn.RNN,
        }  # fmt: skip
        where = {"device": device.info.torch_name, "dtype": torch_dtype(self.precision)}
        with seeded_weights(device, seed):
            layer = kinds[self.cell](self.hidden, self.hidden, **where)  # type: ignore[arg-type]
        both = self.direction == "forward_backward"
        layer.train(both).requires_grad_(both)
        generator = seeded(device, seed)
        shape = (self.seq_len, self.batch, self.hidden)
        x, g = (filled(device, shape, self.precision, data, generator) for _ in range(2))
        return layer, x.requires_grad_(both), g

    def _call(self, layer: torch.nn.Module, x: torch.Tensor, g: torch.Tensor) -> Call:
        import torch

        if self.direction == "forward":

            def forward() -> torch.Tensor:
                with torch.no_grad():
                    out: torch.Tensor = layer(x)[0]
                return out

            return forward
        wanted = (x, *layer.parameters())

        def both() -> tuple[torch.Tensor, ...]:
            out: torch.Tensor = layer(x)[0]
            return (out, *torch.autograd.grad(out, wanted, g))

        return both
