"""LSTM and GRU layers of a traced step as the one operator each that cuDNN makes of them.

On the meta device they would fall apart into a chain of small products and pointwise operators, a
launch each, which no GPU runs: cuDNN computes a whole layer in a few kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    import torch

GATES: Final = {"lstm": 4, "gru": 3}
BACKWARD: Final = {"lstm": 1.36, "gru": 2.4}
"""Backward pass (data and weights) over the forward: medians of DeepBench's rows on Pascal and
Volta, FP32 and FP16, where all three were timed (LSTM: 132 rows, quartiles 1.2 and 2.0; GRU: 114
rows, 1.5 and 2.5)."""
_DENSE: Final = 9
"""Arguments of the form that takes a dense batch; packed sequences have another."""


class Notes(Protocol):
    """What takes the operators down."""

    def precision(self, tensor: torch.Tensor) -> str:
        """The precision that products of this tensor run in."""

    def add(
        self, name: str, workload: str, precision: str, weight: float = 1.0, **params: Any
    ) -> None:
        """Record one operator."""


def understood(cell: str, args: Sequence[Any]) -> bool:
    """Whether a call of ``torch.lstm`` or ``torch.gru`` is of dense batches without projection."""
    if len(args) != _DENSE or not isinstance(args[2], list | tuple):
        return False
    weights, biases, layers, both = args[2], args[3], args[4], args[7]
    return len(weights) == (4 if biases else 2) * layers * (2 if both else 1) and all(
        w.shape[0] == GATES[cell] * weights[1].shape[1] for w in weights[:2]
    )


def recurrent(
    notes: Notes, cell: str, args: Sequence[Any], lower: Callable[[Any], Any]
) -> tuple[Any, ...]:
    """Layers of ``torch.lstm`` or ``torch.gru``, an operator each, with their backward.

    Args:
        args: (input, states, weights, has_biases, layers, dropout, training, bidirectional,
            batch_first), as torch passes them.
        lower: casts as autocast does, where it is on.

    Returns:
        (output, states ...), as torch returns them.
    """
    import torch

    given, states, weights, _biases, layers, _dropout, _training, both, first = args
    batch, steps = (given.shape[0], given.shape[1]) if first else (given.shape[1], given.shape[0])
    hidden, directions = weights[1].shape[1], 2 if both else 1
    x, held = lower(given), [lower(w) for w in weights]
    precision = notes.precision(x)
    last: list[tuple[str, str, float, dict[str, Any]]] = []
    for layer in range(layers):
        wide = given.shape[-1] if layer == 0 else directions * hidden
        for _ in range(directions):
            # The model of a layer takes inputs as wide as its states; others are a product apart.
            if wide != hidden:
                sizes = {"m": batch * steps, "n": GATES[cell] * hidden, "k": wide}
                last.append((f"{cell} inputs", "linear", 2.0, sizes))
            params = {
                "cell": cell, "batch": batch, "seq_len": steps, "hidden": hidden,
                "skip_input": "false" if wide == hidden else "true",
            }  # fmt: skip
            last.append((cell, "rnn", BACKWARD[cell], params))

    class Fused(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *tensors: Any) -> Any:
            ctx.shapes = tensors
            for name, workload, _, params in last:
                notes.add(name, workload, precision, **params)
            shape = (*tensors[0].shape[:-1], directions * hidden)
            return tensors[0].new_empty(shape)

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            del grads
            for name, workload, weight, params in reversed(last):
                notes.add(f"{name}_backward", workload, precision, weight, **params)
            return tuple(torch.empty_like(t) for t in ctx.shapes)

    out = Fused.apply(x, *held)  # type: ignore[no-untyped-call]
    ends = [torch.empty_like(lower(s)) for s in (states if cell == "lstm" else [states])]
    return (out, *ends)
