"""One step that runs: forward, backward, optimizer, with or without marks between them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from gpubench.errors import CaseFailed
from gpubench.ports import Call, Device, Tell, unheard
from gpubench.record import Fact, Range
from gpubench.workloads.models.assembly import Assembled, Batch, Pool, assemble, to_device
from gpubench.workloads.models.phases import Mark, PhaseClock, ranges_of, unmarked
from gpubench.workloads.operands import seeded_weights

if TYPE_CHECKING:
    import torch

    from gpubench.workloads.models.workload import Model

LEARNING_RATE: Final = 1e-5
MARKED_STEPS: Final = 9
MARKED_S: Final = 2.0
"""Steps taken apart: at most so many, after one that does not count, for about so long."""


class Step:
    """A network, a batch on the device and an optimizer; calling it does one step.

    It knows where its time goes (``ranges``) and what it takes (``observe``), both asked
    after the timing in passes of their own.

    Args:
        seed: of weights, dropout and samples.
        wrap: makes of the network what is run, before the optimizer sees its parameters.
        samples_seed: of the samples, where ranks with equal weights draw others.
    """

    def __init__(
        self, spec: Model, device: Device, seed: int, data: str,
        wrap: Callable[[torch.nn.Module], torch.nn.Module] | None = None,
        samples_seed: int | None = None,
    ) -> None:  # fmt: skip
        import torch

        self.spec, self._where = spec, device.info.torch_name
        self.tell: Tell = unheard
        cuda = device.info.type == "cuda"
        with seeded_weights(device, seed):
            self.made: Assembled = assemble(spec, self._where)
        self._halved = tuple(n for n, (_, is_ids, _w) in self.made.shapes.items() if not is_ids)
        self._run_module: Any = wrap(self.made.module) if wrap else self.made.module
        drawn = seed if samples_seed is None else samples_seed
        self.pool = Pool(self.made, spec.batch, drawn, data, pinned=cuda)
        self._batches = [self._moved(self.pool.draw()) for _ in range(spec.accumulate)]
        self.optimizer = optimizer_of(spec, self.made.module)
        self._scaler = torch.amp.GradScaler(
            device.info.type, enabled=spec.trains and spec.precision == "fp16"
        )
        self._type = device.info.type
        if spec.compile:
            self._run_module = torch.compile(self.made.module)
        begun = time.perf_counter()
        self._first(device)
        self.first_s = time.perf_counter() - begun

    @property
    def run_module(self) -> Any:
        """What is run: the network, wrapped where it was asked for."""
        return self._run_module

    def __call__(self) -> object:
        """One step on the batches that lie on the device."""
        return self.run(unmarked)

    def run(self, mark: Mark) -> torch.Tensor:
        """One step; ``mark`` hears where its phases end."""
        import torch

        if not self.spec.trains:
            with torch.inference_mode():
                outputs = self.forward(self._batches[0])
            mark("forward")
            return first_tensor(outputs)
        total: torch.Tensor | None = None
        for batch in self._batches:
            loss = self.loss(batch)
            mark("forward")
            self._scaler.scale(loss / self.spec.accumulate).backward()
            mark("backward")
            total = loss.detach() if total is None else total + loss.detach()
        if self.optimizer is not None:
            self._scaler.step(self.optimizer)
            self._scaler.update()
        self.made.module.zero_grad(set_to_none=True)
        mark("optimizer")
        assert total is not None
        return total / self.spec.accumulate

    def forward(self, batch: Batch) -> Any:
        """Outputs, in the precision of the case."""
        import torch

        half = autocast_type(self.spec)
        inputs = {name: batch[name] for name in self.made.shapes}
        with torch.autocast(self._type, dtype=half, enabled=half is not None):
            return self._run_module(**inputs)

    def loss(self, batch: Batch | None = None) -> torch.Tensor:
        """The loss of a batch, by default of the first one on the device."""
        batch = self._batches[0] if batch is None else batch
        return self.made.loss(self.forward(batch), batch)

    def _moved(self, batch: Batch) -> Batch:
        return to_device(batch, self._where, self._halved, weights_type(self.spec))

    def _first(self, device: Device) -> None:
        """The first step: it compiles, allocates the optimizer's state, and must be finite."""
        found = self.run(unmarked)
        device.synchronize()
        if self.spec.trains and not math.isfinite(float(found)):
            raise CaseFailed("wrong_result", f"the loss of the first step is {float(found)}")

    def ranges(self, device: Device) -> Sequence[Range]:
        """Data, transfer and the phases of a step, each the median over a few steps."""
        import torch

        def event() -> Any:
            return torch.cuda.Event(enable_timing=True)

        cuda = device.info.type == "cuda"
        clock = PhaseClock(event if cuda else None, device.synchronize)
        kept: list[dict[str, float]] = []
        begun, turn = device.wall_s(), 0
        while turn < 2 or (turn <= MARKED_STEPS and device.wall_s() - begun < MARKED_S):
            clock.start()
            drawn = [self.pool.draw() for _ in self._batches]
            clock.mark("data")
            self._batches = [self._moved(batch) for batch in drawn]
            clock.mark("host_to_device")
            self.run(clock.mark)
            spent = clock.stop()
            if turn:
                kept.append(spent)
            turn += 1
        return ranges_of(kept)

    @property
    def torch_module(self) -> torch.nn.Module | None:
        """The network whose modules a traced pass tells apart; not where it is compiled."""
        return None if self.spec.compile else self.made.module

    def repeatable(self) -> Mapping[str, Call]:
        """Transfer and the phases of a step, each alone.

        The backward pass is repeated over one kept graph, so that it adds to gradients that are
        there, as with accumulation; the optimizer steps again with the same gradients.
        """
        batch, optimizer = self._batches[0], self.optimizer
        kept: list[torch.Tensor] = []
        found: dict[str, Call] = {"host_to_device": lambda: self._moved(self.pool.draw())}
        if not self.spec.trains:
            found["forward"] = self
            return found
        found["forward"] = lambda: self.loss(batch)

        def backward() -> None:
            if not kept:
                kept.append(self._scaler.scale(self.loss(batch) / self.spec.accumulate))
            kept[0].backward(retain_graph=True)

        found["backward"] = backward
        if optimizer is not None:

            def update() -> None:
                if not kept:
                    backward()
                self._scaler.step(optimizer)
                self._scaler.update()

            found["optimizer"] = update
        return found

    def observe(self, device: Device) -> Mapping[str, Fact]:
        """Samples, FLOPs and memory of one step."""
        from gpubench.workloads.models.counting import facts_of

        facts = facts_of(self, device)
        if self.spec.mode == "train_to_quality":
            from gpubench.workloads.ner.training import quality

            facts |= quality(self.spec, device, self.spec.seed, self.tell)
        return facts


def autocast_type(spec: Model) -> Any:
    """The type that autocast computes in; None where it is off."""
    return _half(spec) if spec.trains else None


def weights_type(spec: Model) -> Any:
    """The type that weights and inputs are stored in, if other than FP32."""
    return None if spec.trains else _half(spec)


def _half(spec: Model) -> Any:
    import torch

    return {"fp16": torch.float16, "bf16": torch.bfloat16}.get(spec.precision)


def optimizer_of(
    spec: Model, module: torch.nn.Module, rate: float = LEARNING_RATE
) -> torch.optim.Optimizer | None:
    """The optimizer over what is trained, in its fused form; None for none."""
    import torch

    trained = [p for p in module.parameters() if p.requires_grad]
    if spec.optimizer == "sgd":
        return torch.optim.SGD(trained, lr=rate, fused=True)
    if spec.optimizer == "adamw":
        return torch.optim.AdamW(trained, lr=rate, fused=True)
    return None


def first_tensor(outputs: Any) -> torch.Tensor:
    """Any tensor among the outputs, to be returned."""
    from gpubench.workloads.models.assembly import logits_of

    found = logits_of(outputs)
    tensor: torch.Tensor = found[0] if found else outputs[1]
    return tensor
