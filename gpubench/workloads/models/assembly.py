"""Network, loss and data of a step, made from its parameters."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gpubench.model.adapting import adapted
from gpubench.model.networks import build
from gpubench.workloads.operands import fill

if TYPE_CHECKING:
    import torch

    from gpubench.workloads.models.workload import Model

LOGITS: Final = ("logits", "prediction_logits", "seq_relationship_logits")
POOL_BATCHES: Final = 2
"""Batches' worth of samples in host memory, from which the ranges' batches are drawn."""

Batch = dict[str, Any]
"""Inputs by name, and targets as ``target0``, ``target1``, ..., first dimension the sample."""


@dataclass(frozen=True, slots=True)
class Assembled:
    """A network ready to be run.

    Attributes:
        shapes: input -> (shape of one sample, whether it is token ids, largest id).
        targets: for each head that is trained: (shape of a sample's targets, classes).
        own_loss: the loss of a network that needs no targets.
    """

    module: torch.nn.Module
    shapes: Mapping[str, tuple[tuple[int, ...], bool, int]]
    targets: tuple[tuple[tuple[int, ...], int], ...]
    own_loss: Callable[[Any], torch.Tensor] | None

    def forward(self, batch: Batch) -> Any:
        """Outputs for the inputs of a batch."""
        return self.module(**{name: batch[name] for name in self.shapes})

    def loss(self, outputs: Any, batch: Batch) -> torch.Tensor:
        """Mean loss in FP32, outside autocast: half formats would lose what matters here."""
        import torch.nn.functional as F  # noqa: N812

        if self.own_loss is not None:
            first = next(iter(self.shapes))
            wide = tuple(_wide(t) for t in outputs)
            return self.own_loss(wide) / len(batch[first])
        found = [
            F.cross_entropy(
                _wide(logits).reshape(-1, logits.shape[-1]), batch[f"target{i}"].reshape(-1)
            )
            for i, logits in enumerate(logits_of(outputs))
        ]
        return sum(found[1:], found[0])


def _wide(t: torch.Tensor) -> torch.Tensor:
    return t.float() if t.element_size() < 4 else t


def assemble(spec: Model, device: str) -> Assembled:
    """The network of a spec on a device, with random weights; ``meta`` takes no memory.

    Raises:
        InputError: a configuration that does not fit; see ``model.networks.build``.
    """
    import torch

    # From configurations alone; a library that would ask a server for more must not.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    network = build(
        spec.model, batch=1, seq_len=spec.length or None, head=spec.head or None,
        attention=spec.attention, device=device,
    )  # fmt: skip
    inputs = dict(network.inputs)
    if not spec.is_text and "input" in inputs:
        inputs["input"] = inputs["input"].new_zeros(1, 3, spec.image_size, spec.image_size)
    if spec.checkpoint and device != "meta":
        from gpubench.workloads.models.checkpoint import load_weights

        load_weights(network.module, spec.checkpoint)
    targets: tuple[tuple[tuple[int, ...], int], ...] = ()
    if spec.model != "vae":
        # One sample tells the shapes; nothing but them is taken from it.
        network.module.eval()
        with torch.no_grad(), answering():
            found = logits_of(network.module(**inputs))
        targets = tuple((tuple(t.shape[1:-1]), int(t.shape[-1])) for t in found)
    words = _vocabulary(network.module)
    module = adapted(
        network.module, adapter=spec.adapter, frozen_backbone=spec.frozen_backbone,
        checkpointing=spec.checkpointing,
    ).train(spec.trains)  # fmt: skip
    if spec.precision in ("fp16", "bf16") and not spec.trains:
        module.to({"fp16": torch.float16, "bf16": torch.bfloat16}[spec.precision])
    return Assembled(
        module=module,
        shapes={
            name: (tuple(t.shape[1:]), not t.is_floating_point(), words)
            for name, t in inputs.items()
        },
        targets=targets,
        own_loss=network.loss if spec.model == "vae" else None,
    )


def answering() -> Any:
    """On the meta device nobody knows a value; checks of inputs hear that all is well."""
    from gpubench.model.trace import Recorder, recording

    return recording(Recorder())


def logits_of(outputs: Any) -> list[torch.Tensor]:
    """The scores over classes among the outputs of a network."""
    import torch

    if isinstance(outputs, torch.Tensor):
        return [outputs]
    return [t for n in LOGITS if (t := getattr(outputs, n, None)) is not None]


def _vocabulary(module: Any) -> int:
    from torch import nn

    if hasattr(module, "get_input_embeddings"):
        return int(module.get_input_embeddings().num_embeddings)
    # Others have one table, or none.
    sizes = [m.num_embeddings for m in module.modules() if isinstance(m, nn.Embedding)]
    return sizes[0] if sizes else 1


def random_batch(made: Assembled, samples: int, seed: int, data: str) -> Batch:
    """A batch in host memory; ``data`` is the distribution of images."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    batch: Batch = {}
    for name, (shape, is_ids, words) in made.shapes.items():
        if is_ids:
            batch[name] = torch.randint(words, (samples, *shape), generator=generator)
            continue
        values = torch.empty(samples, *shape)
        # What is to be reconstructed are intensities between 0 and 1.
        fill(values, "positive" if made.own_loss and data != "zeros" else data, generator)
        batch[name] = values
    for i, (shape, classes) in enumerate(made.targets):
        batch[f"target{i}"] = torch.randint(classes, (samples, *shape), generator=generator)
    return batch


class Pool:
    """Samples in host memory from which batches are drawn, as a data loader does."""

    def __init__(self, made: Assembled, batch: int, seed: int, data: str, pinned: bool) -> None:
        import torch

        self._samples = random_batch(made, POOL_BATCHES * batch, seed, data)
        self._batch, self._pinned = batch, pinned
        self._generator = torch.Generator().manual_seed(seed + 1)

    def draw(self) -> Batch:
        """Random samples gathered into a batch, in page-locked memory for a GPU."""
        import torch

        chosen = torch.randint(
            POOL_BATCHES * self._batch, (self._batch,), generator=self._generator
        )
        drawn = {name: values[chosen] for name, values in self._samples.items()}
        return {n: v.pin_memory() for n, v in drawn.items()} if self._pinned else drawn


def to_device(batch: Batch, device: str, floats: Sequence[str], half: Any) -> Batch:
    """The batch on the device; ``floats`` are the inputs that take the type ``half``."""
    moved = {n: t.to(device, non_blocking=True) for n, t in batch.items()}
    if half is None:
        return moved
    return {n: t.to(half) if n in floats else t for n, t in moved.items()}
