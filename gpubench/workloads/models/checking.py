"""Is a step right? Its gradients, or outputs, for a few samples against the same in FP64."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from gpubench.ports import Device
from gpubench.record import Accuracy
from gpubench.workloads.models.assembly import Assembled, Batch, assemble, random_batch, to_device
from gpubench.workloads.models.step import autocast_type, weights_type
from gpubench.workloads.operands import checkable, seeded_weights

if TYPE_CHECKING:
    import torch

    from gpubench.workloads.models.workload import Model

SAMPLES: Final = 2
TOKENS: Final = 32
BYTES_A_PARAMETER: Final = 24
"""Weights and gradients in FP32 and in FP64."""
MEMORY_SHARE: Final = 0.5
MOST_ON_CPU: Final = 2e8
"""Parameters beyond which a check on CPU would take longer than the measurement."""
SCALE: Final = 1024.0
"""Of the loss: small gradients of FP16 would vanish, as they would without a GradScaler."""
TOLERANCES: Final = {"fp32": 1e-4, "tf32": 1e-1, "fp16": 1e-1, "bf16": 2e-1}
"""Largest right relative error of all gradients, or outputs, together. FP32 shows 1e-6 and
less on the networks here; TF32 in its place would show."""
DRAWS: Final = 3
"""Rounding may push a unit over its kink (ReLU, pooling), and its gradient is another one
then. That is chance: with other samples it does not happen. What is wrong is wrong each time."""


def checked(spec: Model, device: Device, seed: int, data: str) -> Accuracy | None:
    """Compare with FP64 on the same inputs, without dropout; None where too large."""
    spec = small(spec)
    cuda = device.info.type == "cuda"
    with seeded_weights(device, seed):
        made = assemble(spec, device.info.torch_name)
    count = sum(p.numel() for p in made.module.parameters())
    memory = device.info.memory_bytes
    if (memory and count * BYTES_A_PARAMETER > MEMORY_SHARE * memory) or (
        not cuda and count > MOST_ON_CPU
    ):
        return None
    # Dropout draws other numbers in FP64; the rest of a step is the same without it.
    made.module.eval()
    error, tolerance = math.inf, TOLERANCES[spec.precision]
    for draw in range(DRAWS):
        batch = random_batch(made, spec.batch, seed + draw, checkable(data))
        error = difference(spec, made, batch, device)
        if error <= tolerance:
            break
    what = "gradients" if spec.trains else "outputs"
    said = f"FP64 {what} of {spec.batch} samples, without dropout"
    return Accuracy(error, tolerance, said + (f"; draw {draw + 1} of {DRAWS}" if draw else ""))


def small(spec: Model) -> Model:
    """The same step with few samples, short ones, and nothing that only changes its speed."""
    length = min(spec.length, TOKENS)
    return replace(
        spec, batch=min(spec.batch, SAMPLES), accumulate=1, compile=False, checkpointing=False,
        seq_len=0 if length == spec.usual_len else length,
    )  # fmt: skip


def difference(spec: Model, made: Assembled, batch: Batch, device: Device) -> float:
    """||found - reference|| / ||reference|| over everything that the step computes."""
    import torch

    where = device.info.torch_name
    floats = [n for n, (_, is_ids, _w) in made.shapes.items() if not is_ids]
    wide = replace(made, module=copy.deepcopy(made.module).float().double())
    half = autocast_type(spec)
    with torch.autocast(device.info.type, dtype=half, enabled=half is not None), noise():
        found = _computed(spec, made, to_device(batch, where, floats, weights_type(spec)))
    with noise():
        reference = _computed(spec, wide, to_device(batch, where, floats, torch.float64))
    wrong = right = 0.0
    for a, b in zip(found, reference, strict=True):
        wrong += float((a.double() - b).square().sum())
        right += float(b.square().sum())
    return math.sqrt(wrong / right) if right > 0 else math.nan


def _computed(spec: Model, made: Assembled, batch: Batch) -> list[torch.Tensor]:
    """The gradients of a training step, or the outputs of inference."""
    import torch

    from gpubench.workloads.models.assembly import logits_of

    if not spec.trains:
        with torch.no_grad():
            outputs = made.forward(batch)
        return logits_of(outputs) or list(outputs)[1:]
    outputs = made.forward(batch)
    with torch.autocast(next(iter(batch.values())).device.type, enabled=False):
        loss = made.loss(outputs, batch)
    trained = [p for p in made.module.parameters() if p.requires_grad]
    # A parameter that has no part in the loss (a pooler, say) has no gradient.
    found = torch.autograd.grad(loss * SCALE, trained, allow_unused=True)
    return [g.detach() / SCALE for g in found if g is not None]


def noise() -> Any:
    """A context in which ``randn_like`` draws the same numbers in every precision."""
    import torch
    from torch.overrides import TorchFunctionMode

    class Same(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if func is torch.randn_like:
                generator = torch.Generator().manual_seed(0)
                return torch.randn(args[0].shape, generator=generator).to(args[0])
            return func(*args, **(kwargs or {}))

    return Same()
