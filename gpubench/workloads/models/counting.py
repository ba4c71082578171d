"""What a step takes: FLOPs by torch's own counter, and memory by what it is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gpubench.ports import Device
from gpubench.record import Fact
from gpubench.workloads.models.assembly import answering, assemble

if TYPE_CHECKING:
    import torch

    from gpubench.workloads.models.step import Step
    from gpubench.workloads.models.workload import Model


def facts_of(step: Step, device: Device) -> dict[str, Fact]:
    """Facts of a step for its record; what cannot be told is left out."""
    spec, module = step.spec, step.made.module
    weights = list(module.parameters())
    trained = [p for p in weights if p.requires_grad] if spec.trains else []
    facts: dict[str, Fact] = {
        "samples_per_step": spec.samples,
        "tokens_per_step": spec.samples * spec.length if spec.length else None,
        "flops_per_step": flops_per_step(counted(spec)),
        "parameters": sum(p.numel() for p in weights),
        "trained_parameters": sum(p.numel() for p in trained),
        "weights_bytes": _bytes([*weights, *module.buffers()]),
        "gradients_bytes": _bytes(trained),
        "optimizer_state_bytes": _state_bytes(step.optimizer),
        "activations_bytes": activations_bytes(step, device),
        "peak_memory_bytes": peak_bytes(step, device),
        "first_step_s": step.first_s,
    }
    return {name: value for name, value in facts.items() if value is not None}


def counted(spec: Model) -> Model:
    """The same work as arithmetic sees it: what is computed twice counts once, as in MFU."""
    plain: dict[str, Any] = {}
    if spec.trains:
        plain = {"mode": "training", "corpus": "", "learning_rate": 1e-3, "steps": 1, "seed": 0}
    return replace(
        spec, checkpointing=False, compile=False, checkpoint="", precision="fp32", **plain
    )


@lru_cache(maxsize=64)
def flops_per_step(spec: Model) -> float | None:
    """Matrix products, convolutions and attention of a step; None where it cannot be traced.

    Counted by ``torch.utils.flop_counter`` on the meta device, where attention and recurrent
    layers fall into the products they are made of, and fused kernels hide nothing.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    try:
        made = assemble(spec, "meta")
        batch = {
            name: torch.zeros(
                spec.batch, *shape, dtype=torch.int64 if is_ids else torch.float32, device="meta"
            )
            for name, (shape, is_ids, _) in made.shapes.items()
        }
        for i, (shape, _) in enumerate(made.targets):
            batch[f"target{i}"] = torch.zeros(spec.batch, *shape, dtype=torch.int64, device="meta")
        with FlopCounterMode(display=False) as counter, answering():
            with torch.set_grad_enabled(spec.trains):
                outputs = made.forward(batch)
            if spec.trains:
                made.loss(outputs, batch).backward()
    except (RuntimeError, NotImplementedError, TypeError, ValueError, AttributeError):
        return None  # an architecture that looks at values cannot be traced
    return float(counter.get_total_flops()) * spec.accumulate


def _bytes(tensors: Sequence[torch.Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def held_bytes(step: Step) -> int:
    """What a step holds whatever its batch: weights, gradients, the optimizer's state."""
    weights = list(step.made.module.parameters())
    trained = [p for p in weights if p.requires_grad] if step.spec.trains else []
    return _bytes(weights) + _bytes(trained) + _state_bytes(step.optimizer)


def _state_bytes(optimizer: torch.optim.Optimizer | None) -> int:
    import torch

    if optimizer is None:
        return 0
    found = [v for state in optimizer.state.values() for v in state.values()]
    return _bytes([v for v in found if isinstance(v, torch.Tensor)])


def activations_bytes(step: Step, device: Device) -> int | None:
    """What one forward pass leaves for the backward pass.

    On a GPU by the allocator; on CPU by the tensors that autograd saves, which cannot be
    seen where kernels are compiled or activations computed again.
    """
    import torch

    if not step.spec.trains:
        return 0
    if device.info.type == "cuda":
        device.synchronize()
        before = torch.cuda.memory_allocated()
        loss = step.loss()
        device.synchronize()
        held = torch.cuda.memory_allocated() - before
        del loss
        return held
    if step.spec.compile or step.spec.checkpointing:
        return None
    kept = {_place(t) for t in [*step.made.module.parameters(), *step.made.module.buffers()]}
    saved: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if _place(tensor) not in kept:
            saved[_place(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, _same):
        loss = step.loss()
    del loss
    return sum(saved.values())


def _same(tensor: Any) -> Any:
    return tensor


def _place(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def peak_bytes(step: Step, device: Device) -> int | None:
    """Most memory that torch's allocator held during one step; None on CPU, which has none."""
    import torch

    if device.info.type != "cuda":
        return None
    device.synchronize()
    torch.cuda.reset_peak_memory_stats()
    step()
    device.synchronize()
    return int(torch.cuda.max_memory_allocated())
