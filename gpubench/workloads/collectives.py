"""Collectives between ranks: all_reduce, all_gather, reduce_scatter, all_to_all, broadcast, reduce.

Sizes and rates are those of nccl-tests (doc/PERFORMANCE.md there): ``bytes`` is the whole
buffer S, algbw = S / t, and busbw = algbw x factor is what the links carry, so that it can be
compared with their bandwidth whatever the number of ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from gpubench.errors import UnknownName, Unsupported
from gpubench.ports import Call, Device, Ranks, ranks_of
from gpubench.record import Accuracy
from gpubench.spec import DeviceInfo, Value, Work
from gpubench.units import bytes_iec
from gpubench.workloads.operands import torch_dtype
from gpubench.workloads.parameters import Declared, read_field, sized

if TYPE_CHECKING:
    import torch

OPS: Final[Mapping[str, str]] = {
    "allreduce": "all_reduce", "allgather": "all_gather", "reducescatter": "reduce_scatter",
    "alltoall": "all_to_all", "broadcast": "broadcast", "reduce": "reduce",
}  # fmt: skip
"""Name in parameters -> name in torch.distributed."""
ELEMENT_BYTES: Final = {"fp64": 8, "fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2}
PRECISIONS: Final = ("fp32", "fp16", "bf16", "fp64")
CHECKED_BYTES: Final = 1 << 16
"""A check takes at most so much of the buffer: it is made anew in FP64 for every rank."""
TOLERANCES: Final = {"fp64": 1e-14, "fp32": 1e-6, "fp16": 5e-3, "bf16": 4e-2}


def bus_factor(op: str, ranks: int) -> float:
    """Busbw / algbw, as nccl-tests: AllReduce 2(n-1)/n, Broadcast and Reduce 1, others (n-1)/n."""
    ring = (ranks - 1) / ranks
    return {"allreduce": 2 * ring, "broadcast": 1.0, "reduce": 1.0}.get(op, ring)


def _op(name: str, value: Value | None) -> str:
    text = str(value).replace("_", "")
    if text not in OPS:
        raise UnknownName(name, str(value), OPS.values()).at(key=name)
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Collective(Declared):
    """One collective over the first ``world_size`` ranks; the others look on.

    A sum where something is reduced; rank 0 is the root where there is one. The time is that of
    the slowest rank.
    """

    name: ClassVar[str] = "collective"

    precision: str
    op: str = read_field(f"one of {', '.join(OPS.values())}", _op, "allreduce")
    bytes: int = sized("bytes of the whole buffer, as in nccl-tests", 1 << 20, least=4, most=2**40)
    world_size: int = sized("ranks that take part", 2, least=2, most=2**20)

    def label(self) -> str:
        """E.g. ``all_reduce 64 MiB x8``."""
        return f"{OPS[self.op]} {bytes_iec(self.bytes)} x{self.world_size}"

    @property
    def elements(self) -> int:
        """Elements of the whole buffer: a multiple of the ranks, at least one a rank."""
        wanted = self.bytes // ELEMENT_BYTES[self.precision]
        return max(1, wanted // self.world_size) * self.world_size

    def work(self) -> Work | None:
        """What the links carry (so throughput is busbw); sums are not counted."""
        if self.precision not in ELEMENT_BYTES:
            return None
        moved = self.elements * ELEMENT_BYTES[self.precision]
        factor = bus_factor(self.op, self.world_size)
        return Work(
            flops=0.0, bytes=moved * factor, footprint_bytes=2.0 * moved,
            formula=f"none; bytes on the bus: S x {factor:.4g} (busbw of nccl-tests)",
        )  # fmt: skip

    def unsupported(self, device: DeviceInfo) -> str | None:
        """Too few ranks, or a format that is not sent."""
        if self.precision not in PRECISIONS:
            return f"collective sends {', '.join(PRECISIONS)}"
        if device.world_size < self.world_size:
            return (
                f"needs {self.world_size} ranks, has {device.world_size}:"
                f" --nproc {self.world_size}, torchrun or srun"
            )
        return None

    def build(self, device: Device, seed: int, data: str) -> Call:
        """Buffers on every rank, and a call that does the collective."""
        del data  # links carry all values alike
        ranks = _ranks(device)
        group = ranks.data(self.world_size)
        if ranks.rank >= self.world_size:
            return _nothing
        made = self._buffers(device, self._random(ranks.rank, seed, self.elements))
        return _call(self.op, *made, group)

    def check(self, device: Device, seed: int, data: str) -> Accuracy:
        """What arrived on this rank against the same in FP64, from every rank's own numbers."""
        import torch

        del data
        ranks = _ranks(device)
        group = ranks.data(self.world_size)
        size = ELEMENT_BYTES[self.precision]
        count = max(1, min(self.elements, CHECKED_BYTES // size) // self.world_size)
        count *= self.world_size
        error = 0.0
        if ranks.rank < self.world_size:
            own = self._random(ranks.rank, seed, count)
            sent, received = self._buffers(device, own)
            _call(self.op, sent, received, group)()
            device.synchronize()
            inputs = [self._random(r, seed, count).double() for r in range(self.world_size)]
            wanted = self._expected(ranks.rank, inputs)
            if wanted is not None:
                found = (sent if self.op in IN_PLACE else received).double().cpu()
                norm = float(torch.linalg.vector_norm(wanted)) or 1.0
                error = float(torch.linalg.vector_norm(found - wanted)) / norm
        (worst,) = ranks.max([error])
        return Accuracy(
            worst, TOLERANCES[self.precision],
            f"FP64 from every rank's numbers; the worst of {self.world_size} ranks",
        )  # fmt: skip

    def _random(self, rank: int, seed: int, count: int) -> torch.Tensor:
        """What a rank holds: a whole buffer, or its part where parts are gathered."""
        import torch

        generator = torch.Generator().manual_seed((seed + 7919 * rank) % 2**31)
        part = count // self.world_size if self.op == "allgather" else count
        return torch.rand(part, generator=generator).to(torch_dtype(self.precision))

    def _buffers(self, device: Device, own: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(what is sent, what is received); in place, the latter is empty."""
        import torch

        sent = own.to(device.info.torch_name)
        parts = {
            "allgather": len(own) * self.world_size, "alltoall": len(own),
            "reducescatter": len(own) // self.world_size,
        }  # fmt: skip
        return sent, torch.empty(parts.get(self.op, 0), dtype=sent.dtype, device=sent.device)

    def _expected(self, rank: int, inputs: list[torch.Tensor]) -> torch.Tensor | None:
        """What a rank should hold afterwards, in FP64; None where it is left undefined."""
        import torch

        n = self.world_size
        part = slice(rank * (len(inputs[0]) // n), (rank + 1) * (len(inputs[0]) // n))
        if self.op == "allreduce" or (self.op == "reduce" and rank == 0):
            return torch.stack(inputs).sum(0)
        if self.op == "allgather":
            return torch.cat(inputs)
        if self.op == "reducescatter":
            return torch.stack(inputs).sum(0)[part]
        if self.op == "alltoall":
            return torch.cat([one[part] for one in inputs])
        return inputs[0] if self.op == "broadcast" else None


IN_PLACE: Final = frozenset({"allreduce", "broadcast", "reduce"})


def _ranks(device: Device) -> Ranks:
    found = ranks_of(device)
    if found is None:
        raise Unsupported("a collective needs several ranks: --nproc 2, torchrun or srun")
    return found


def _nothing() -> None:
    """The call of a rank that looks on."""


def _call(op: str, sent: torch.Tensor, received: torch.Tensor, group: Any) -> Call:
    import torch.distributed as dist

    calls: dict[str, Callable[[], object]] = {
        "allreduce": lambda: dist.all_reduce(sent, group=group),
        "allgather": lambda: dist.all_gather_into_tensor(received, sent, group=group),
        "reducescatter": lambda: dist.reduce_scatter_tensor(received, sent, group=group),
        "alltoall": lambda: dist.all_to_all_single(received, sent, group=group),
        "broadcast": lambda: dist.broadcast(sent, src=0, group=group),
        "reduce": lambda: dist.reduce(sent, dst=0, group=group),
    }
    return calls[op]
