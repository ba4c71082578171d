"""A fine-tune step over several ranks: DistributedDataParallel, or fully sharded (FSDP2).

Every rank has a batch of its own; gradients are averaged. Beside the time of the slowest rank
three more are measured, each the median of a few, of the slowest rank:

    compute_s        the same step without any communication
    communication_s  what is sent, alone, in the pieces that the strategy sends
    exposed_s        = step - compute: the communication that nothing hides

so that 1 - exposed / communication is the part hidden behind the backward pass.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from statistics import median
from typing import TYPE_CHECKING, Any, ClassVar, Final

from gpubench.errors import InputError, Unsupported
from gpubench.model.networks import BUILT_IN
from gpubench.ports import Call, Device, Ranks, ranks_of
from gpubench.record import Accuracy, Fact
from gpubench.spec import DeviceInfo, Work
from gpubench.workloads.parameters import Declared, chosen, sized

if TYPE_CHECKING:
    import torch

    from gpubench.workloads.models.step import Step
    from gpubench.workloads.models.workload import Model

STRATEGIES: Final = ("ddp", "fsdp")
PRECISIONS: Final = ("fp32", "tf32", "fp16", "bf16")
BUCKET_BYTES: Final = 25 * 2**20
"""DistributedDataParallel's ``bucket_cap_mb``."""
ROUNDS: Final = 5
SAMPLE_STRIDE: Final = 7919
"""Between the seeds of two ranks' samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataParallel(Declared):
    """A training step of the first ``world_size`` ranks; the others look on.

    ``batch`` is of one rank. Weak scaling keeps it as ranks are added, strong scaling divides
    it. With one rank nothing is wrapped: that is what efficiency is measured against.
    """

    name: ClassVar[str] = "data_parallel"

    precision: str
    model: str = chosen("a built-in model", BUILT_IN, "bert-base")
    strategy: str = chosen("ddp, or fsdp (fully sharded)", STRATEGIES, "ddp")
    batch: int = sized("samples of one rank", 8)
    seq_len: int = sized("tokens of a sample; 0: the model's usual", 0, least=0)
    optimizer: str = chosen("sgd or adamw", ("sgd", "adamw"), "adamw")
    world_size: int = sized("ranks that take part", 2, most=2**20)

    def refuse_impossible(self) -> None:
        """Refuse what the model of one rank would.

        Raises:
            InputError: with ``key`` set to the parameter.
        """
        if self.precision in PRECISIONS:
            self.of_one_rank().refuse_impossible()
        if self.strategy == "fsdp" and self.precision == "fp16":
            raise InputError(
                "sharded gradients are not scaled here, and fp16 needs that", key="strategy",
                expected="ddp, or another precision",
            )  # fmt: skip

    def of_one_rank(self) -> Model:
        """What each rank would run alone."""
        from gpubench.workloads.models.workload import Model

        return Model.from_params(
            {
                "model": self.model, "mode": "training", "batch": self.batch,
                "seq_len": self.seq_len, "optimizer": self.optimizer,
            },
            self.precision,
        )  # fmt: skip

    def label(self) -> str:
        """E.g. ``bert-base ddp 8x512 adamw x4``."""
        spec = self.of_one_rank()
        size = f"{self.batch}x{spec.length}" if spec.length else f"{self.batch}"
        return f"{self.model} {self.strategy} {size} {self.optimizer} x{self.world_size}"

    def work(self) -> Work | None:
        """Not known before the network is there; FLOPs are among the facts."""
        return None

    def unsupported(self, device: DeviceInfo) -> str | None:
        """Too few ranks, missing extras."""
        if self.precision not in PRECISIONS:
            return f"data_parallel offers {', '.join(PRECISIONS)}"
        if device.world_size < self.world_size:
            return (
                f"needs {self.world_size} ranks, has {device.world_size}:"
                f" --nproc {self.world_size}, torchrun or srun"
            )
        if self.of_one_rank().is_text and find_spec("transformers") is None:
            return "transformers is not installed: pip install 'gpubench[models]'"
        return None

    def build(self, device: Device, seed: int, data: str) -> Call:
        """The part of the step that this rank does."""
        return Part(self, device, seed, data)

    def check(self, device: Device, seed: int, data: str) -> Accuracy:
        """Averaged gradients against FP64 over the samples of all ranks; the worst rank."""
        from gpubench.workloads.models.checking import TOLERANCES, small

        del data
        ranks, spec = ranks_of(device), small(self.of_one_rank())
        error = 0.0
        if ranks is None or ranks.rank < self.world_size:
            error = _gradient_error(self, spec, device, seed)
        elif self.world_size > 1:
            ranks.data(self.world_size)
        (worst,) = ranks.max([error]) if ranks else [error]
        said = f"FP64 gradients over {self.world_size} x {spec.batch} samples, without dropout"
        return Accuracy(worst, TOLERANCES[self.precision], said)


def wrapped(
    spec: DataParallel, device: Device
) -> Callable[[torch.nn.Module], torch.nn.Module] | None:
    """What makes of a network one of several ranks; None for one rank alone."""
    ranks = ranks_of(device)
    if spec.world_size == 1 or ranks is None:
        if spec.world_size > 1:
            raise Unsupported("several ranks are needed: --nproc 2, torchrun or srun")
        return None
    group = ranks.data(spec.world_size)
    return lambda module: _distribute(spec, module, group, device.info.type)


def _distribute(spec: DataParallel, module: torch.nn.Module, group: Any, kind: str) -> Any:
    if spec.strategy == "ddp":
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(module, process_group=group)
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.fsdp import fully_shard

    mesh = DeviceMesh.from_group(group, kind)
    for part in units_of(module):
        fully_shard(part, mesh=mesh)
    fully_shard(module, mesh=mesh)
    return module


def units_of(module: torch.nn.Module) -> list[torch.nn.Module]:
    """The parts that are gathered one by one: layers of a stack; the rest goes with the root."""
    from torch import nn

    stacks = [m for m in module.modules() if isinstance(m, nn.ModuleList) and len(m) > 1]
    return [layer for stack in stacks[:1] for layer in stack]


class Part:
    """One rank's part of a step; calling it does the step together with the others."""

    def __init__(self, spec: DataParallel, device: Device, seed: int, data: str) -> None:
        self._spec, self._device, self._seed, self._data = spec, device, seed, data
        self._ranks: Ranks | None = ranks_of(device)
        self._step: Step | None = None
        if self._ranks is None or self._ranks.rank < spec.world_size:
            self._step = self._made(wrapped(spec, device))
        elif spec.world_size > 1:  # a group is made by all ranks or by none
            self._ranks.data(spec.world_size)

    def _made(self, wrap: Callable[[Any], Any] | None) -> Step:
        from gpubench.workloads.models.step import Step

        rank = self._ranks.rank if self._ranks else 0
        return Step(
            self._spec.of_one_rank(), self._device, self._seed, self._data, wrap,
            self._seed + SAMPLE_STRIDE * rank,
        )  # fmt: skip

    def __call__(self) -> object:
        """The step; nothing on a rank that looks on."""
        return self._step() if self._step is not None else None

    def observe(self, device: Device) -> Mapping[str, Fact]:
        """Samples and FLOPs of a step, and where the communication goes."""
        from gpubench.workloads.models.counting import counted, flops_per_step

        spec = self._spec
        one = spec.of_one_rank()
        facts: dict[str, Fact] = {
            "samples_per_step": spec.batch * spec.world_size,
            "tokens_per_step": spec.batch * spec.world_size * one.length if one.length else None,
            # Of one rank, as the peak that MFU compares with is one device's.
            "flops_per_step": flops_per_step(counted(one)),
            "parallel.ranks": spec.world_size,
        }
        if spec.world_size > 1:
            facts |= self._communication(device)
        return {name: value for name, value in facts.items() if value is not None}

    def _communication(self, device: Device) -> dict[str, Fact]:
        step_s = self._median(self, device)
        compute_s = self._median(self._silent(), device)
        sizes = self._pieces()
        sent_s = self._median(self._exchange(sizes), device)
        exposed_s = max(0.0, step_s - compute_s)
        hidden = min(1.0, max(0.0, 1 - exposed_s / sent_s)) if sent_s > 0 else None
        return {
            "parallel.step_s": step_s,
            "parallel.compute_s": compute_s,
            "parallel.communication_s": sent_s,
            "parallel.exposed_s": exposed_s,
            "parallel.communication_share": exposed_s / step_s if step_s > 0 else None,
            "parallel.hidden_share": hidden,
            "parallel.sent_bytes": sum(sizes) or None,
        }

    def _silent(self) -> Call:
        """The same step without communication.

        DDP keeps its gradients to itself (``no_sync``); sharded parameters cannot, so a plain
        copy of the network stands in, which takes the memory that sharding saves.
        """
        step = self._step
        if step is None:
            return _nothing
        if self._spec.strategy == "ddp":
            module = step.run_module

            def silent() -> object:
                with module.no_sync():
                    return step()

            return silent
        return self._made(None)

    def _pieces(self) -> list[int]:
        """Bytes of each piece that is sent, as the strategy cuts the gradients."""
        if self._step is None:
            return []
        module = self._step.made.module
        if self._spec.strategy == "ddp":
            whole = sum(p.numel() * p.element_size() for p in module.parameters())
            full, rest = divmod(whole, BUCKET_BYTES)
            return [BUCKET_BYTES] * full + ([rest] if rest else [])
        units = [_bytes(part) for part in units_of(module)]
        return [*units, _bytes(module) - sum(units)]

    def _exchange(self, sizes: Sequence[int]) -> Call:
        """What a step sends, and nothing else."""
        import torch
        import torch.distributed as dist

        assert self._ranks is not None
        group = self._ranks.data(self._spec.world_size)
        if self._step is None:
            return _nothing
        where, n = self._device.info.torch_name, self._spec.world_size
        buffers = [torch.ones(max(n, size // 4) // n * n, device=where) for size in sizes]
        shards = [torch.ones(len(b) // n, device=where) for b in buffers]
        if self._spec.strategy == "ddp":

            def reduce() -> object:
                waiting = [dist.all_reduce(b, group=group, async_op=True) for b in buffers]
                return [w.wait() for w in waiting]

            return reduce

        def gather_and_scatter() -> object:
            for b, s in zip(buffers, shards, strict=True):
                dist.all_gather_into_tensor(b, s, group=group)  # forward
                dist.all_gather_into_tensor(b, s, group=group)  # backward
                dist.reduce_scatter_tensor(s, b, group=group)
            return shards

        return gather_and_scatter

    def _median(self, call: Call, device: Device) -> float:
        """Seconds of a call on the slowest rank, the median of a few."""
        assert self._ranks is not None
        call()
        device.synchronize()
        found = []
        for _ in range(ROUNDS):
            self._ranks.barrier()
            start = time.perf_counter()
            call()
            device.synchronize()
            found.append(time.perf_counter() - start)
        return median(self._ranks.max(found))


def _nothing() -> None:
    """The call of a rank that looks on."""


def _bytes(module: torch.nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in module.parameters())


def _gradient_error(spec: DataParallel, one: Model, device: Device, seed: int) -> float:
    """||found - reference|| / ||reference|| of the gradients that a rank sees."""
    import copy

    import torch

    from gpubench.workloads.models.assembly import assemble, random_batch, to_device
    from gpubench.workloads.models.checking import SCALE, noise
    from gpubench.workloads.models.step import autocast_type
    from gpubench.workloads.operands import seeded_weights

    ranks = ranks_of(device)
    rank = ranks.rank if ranks else 0
    with seeded_weights(device, seed):
        made = assemble(one, device.info.torch_name)
    made.module.eval()
    wide = replace(made, module=copy.deepcopy(made.module).double())
    floats = [n for n, (_, is_ids, _w) in made.shapes.items() if not is_ids]
    wrap = wrapped(spec, device)
    running = replace(made, module=wrap(made.module)) if wrap else made
    half = autocast_type(one)

    def backward(of: Any, batch: Any) -> None:
        with noise():
            outputs = of.forward(batch)
            with torch.autocast(device.info.type, enabled=False):
                (of.loss(outputs, batch) * SCALE).backward()

    def batch_of(r: int, kind: Any) -> Any:
        batch = random_batch(made, one.batch, seed + SAMPLE_STRIDE * r, "normal")
        return to_device(batch, device.info.torch_name, floats, kind)

    with torch.autocast(device.info.type, dtype=half, enabled=half is not None):
        backward(running, batch_of(rank, None))
    for r in range(spec.world_size):
        backward(wide, batch_of(r, torch.float64))
    wrong = right = 0.0
    pairs = zip(made.module.parameters(), wide.module.parameters(), strict=True)
    for p, q in pairs:
        if p.grad is None or q.grad is None:
            continue
        grad: Any = p.grad
        found = grad.full_tensor() if hasattr(grad, "full_tensor") else grad
        wanted = q.grad / spec.world_size
        wrong += float((found.double() - wanted).square().sum())
        right += float(wanted.square().sum())
    return math.sqrt(wrong / right) if right > 0 else math.nan
