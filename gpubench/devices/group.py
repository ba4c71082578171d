"""Ranks of one job: the same device code on each, timed together.

Every rank runs the same code in step. What decides how it goes on (the clock of the budget,
times of samples) is rank 0's, or the slowest rank's, on all of them: a rank that stopped a
sample earlier than the others would leave them waiting in a collective for ever.

Two process groups do the work. Control messages and barriers go over Gloo, which tells who is
missing; what is measured goes over NCCL on GPUs and Gloo on CPU.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from statistics import median
from typing import Any, Final

import torch
import torch.distributed as dist

from gpubench.errors import CaseFailed, InputError
from gpubench.ports import Call, Device, Timed, Timer
from gpubench.record import Fact
from gpubench.spec import DeviceInfo

IDLE: Final = timedelta(days=7)
"""Waiting for the next case takes as long as it takes."""
SAMPLE_S: Final = 2e-3
MOST_CALLS: Final = 1000
BATCH: Final = 4
FAILED: Final = "gpubench/failed"


@dataclass(slots=True)
class Group:
    """The ranks of a job, as one of them sees it.

    Attributes:
        rank, world: of all nodes.
        local_rank, local_world: of this node.
        backend: of what is measured: ``nccl`` or ``gloo``.
        timeout_s: after which a rank that does not come is missing.
    """

    rank: int
    world: int
    local_rank: int
    local_world: int
    backend: str = "gloo"
    timeout_s: float = 60.0
    _data: dict[int, Any] = field(default_factory=dict)

    @classmethod
    def join(cls) -> Group:
        """Join the ranks that ``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR`` and so on name."""
        dist.init_process_group("gloo", timeout=IDLE)
        rank, world = dist.get_rank(), dist.get_world_size()
        return cls(
            rank, world, int(os.environ.get("LOCAL_RANK", "0")),
            int(os.environ.get("LOCAL_WORLD_SIZE", str(world))),
        )  # fmt: skip

    def use(self, device_type: str) -> None:
        """Choose the backend for a kind of device; on every rank."""
        self.backend = "nccl" if device_type == "cuda" else "gloo"

    def data(self, size: int) -> Any:
        """The process group of the first ``size`` ranks, for what is measured; on every rank."""
        limit = timedelta(seconds=max(1.0, self.timeout_s))
        if size not in self._data:
            self._data[size] = dist.new_group(
                list(range(size)), backend=self.backend, timeout=limit
            )
        elif self.rank < size:
            # Cases differ in how long they may take; connections are made once.
            dist.distributed_c10d._set_pg_timeout(limit, self._data[size])
        return self._data[size]

    def broadcast(self, value: Any) -> Any:
        """Rank 0's value, on every rank."""
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks, on every rank.

        Raises:
            CaseFailed: a rank does not answer.
        """
        self.barrier()
        found: list[Any] = [None] * self.world
        dist.all_gather_object(found, value)
        return found

    def max(self, values: Sequence[float]) -> list[float]:
        """The largest over all ranks, one by one, on every rank."""
        tensor = torch.tensor(list(values), dtype=torch.float64)
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return [float(x) for x in tensor]

    def barrier(self) -> None:
        """Wait for all ranks.

        Raises:
            CaseFailed: one does not come within ``timeout_s``; it is named.
        """
        try:
            dist.monitored_barrier(timeout=timedelta(seconds=self.timeout_s), wait_all_ranks=True)
        except RuntimeError as error:
            raise CaseFailed("crash", missing_ranks(str(error)), sticky=True) from error

    def tell_failure(self, case: int, kind: str, reason: str) -> None:
        """Leave word of a failure where rank 0 finds it though it waits in a collective."""
        _store().set(f"{FAILED}/{case}", f"{self.rank}\t{kind}\t{reason}")

    def failure(self, case: int) -> tuple[int, str, str] | None:
        """(rank, kind, reason) that some rank left word of; None so far."""
        store, key = _store(), f"{FAILED}/{case}"
        if not store.check([key]):
            return None
        rank, kind, reason = store.get(key).decode().split("\t", 2)
        return int(rank), kind, reason

    def facts(self) -> dict[str, Fact]:
        """What kind of job it is."""
        hosts = dict.fromkeys(self.gather(os.uname().nodename))
        return {
            "group.ranks": self.world, "group.backend": self.backend, "group.nodes": len(hosts),
            "group.hosts": " ".join(map(str, hosts)),
        }  # fmt: skip

    def leave(self) -> None:
        """End the job's connections."""
        if dist.is_initialized():
            dist.destroy_process_group()


def _store() -> Any:
    """The key-value store by which the ranks found each other."""
    return dist.distributed_c10d._get_default_store()


def missing_ranks(text: str) -> str:
    """Which ranks did not come, from what the barrier said."""
    first = text.strip().splitlines()[0] if text.strip() else "no message"
    return f"the ranks did not meet: {first}"


def device_request(request: str, group: Group) -> str:
    """The device of a rank for what ``--device`` asks.

    Raises:
        InputError: more ranks than GPUs, or one GPU for all of them.
    """
    kind, _, index = request.partition(":")
    if index and group.world > 1:
        raise InputError(f"{request} is one device", expected=f"{kind}: each rank takes its own")
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    if kind != "cuda":
        return kind
    count = torch.cuda.device_count()
    if group.local_world > count:
        raise InputError(
            f"{group.local_world} ranks on a node with {count} GPU{'s' if count != 1 else ''}",
            expected=f"--nproc {count} at most" if count else "a node with GPUs, or --device cpu",
        )
    return f"cuda:{group.local_rank}"


class GroupDevice:
    """The device of this rank, keeping time with all the others."""

    def __init__(self, inner: Device, group: Group) -> None:
        self.inner, self.group = inner, group
        self.info: DeviceInfo = replace(inner.info, world_size=group.world)

    def prepare(self, precision: str) -> None:
        """As the rank's own device."""
        self.inner.prepare(precision)

    def switches(self) -> Mapping[str, Fact]:
        """As the rank's own device."""
        return self.inner.switches()

    def synchronize(self) -> None:
        """Wait for this rank's device."""
        self.inner.synchronize()

    def release(self) -> None:
        """Give cached memory back."""
        self.inner.release()

    def wall_s(self) -> float:
        """Rank 0's clock on every rank, so that all of them take the same decisions."""
        return float(self.group.broadcast(self.inner.wall_s()))

    def input_sets(self, footprint_bytes: float, cache: str, estimate_s: float) -> int:
        """One: buffers of collectives stay where they are registered."""
        del footprint_bytes, cache, estimate_s
        return 1

    def estimate(self, call: Call) -> tuple[float, int]:
        """(seconds per call of the slowest rank, calls made)."""
        call()
        self.synchronize()
        found = []
        for _ in range(3):
            self.group.barrier()
            start = time.perf_counter()
            call()
            self.synchronize()
            found.append(time.perf_counter() - start)
        return median(self.group.max(found)), 4

    def timer(self, calls: Sequence[Call], cache: str, estimate_s: float) -> Timer:
        """A timer of the slowest rank; buffers stay in cache where they fit."""
        del cache
        repeat = max(1, min(MOST_CALLS, round(SAMPLE_S / max(estimate_s, 1e-7))))
        return GroupTimer(self, calls[0], repeat)


class GroupTimer:
    """Calls between barriers; a sample is the time of the slowest rank.

    As nccl-tests: the ranks meet, each times ``calls_per_sample`` calls on its own (events on a
    GPU), and the longest counts.
    """

    method = "ranks"
    cache = "hot"

    def __init__(self, device: GroupDevice, call: Call, repeat: int) -> None:
        self._device, self._call, self.calls_per_sample = device, call, repeat
        self._clock = (
            _on_cuda if device.info.type == "cuda" else _on_host  # the same on every rank
        )
        empty = [self._one(lambda: None) for _ in range(5)]
        self.floor_s = median(device.group.max(empty))

    def batch(self, most: int) -> Sequence[Timed]:
        """Up to ``BATCH`` samples."""
        times = [self._one(self._call) for _ in range(max(1, min(BATCH, most)))]
        return [Timed(t) for t in self._device.group.max(times)]

    def _one(self, call: Call) -> float:
        self._device.group.barrier()
        return self._clock(call, self.calls_per_sample) / self.calls_per_sample


def _on_host(call: Call, repeat: int) -> float:
    start = time.perf_counter()
    for _ in range(repeat):
        call()
    return time.perf_counter() - start


def _on_cuda(call: Call, repeat: int) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(repeat):
        call()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) * 1e-3  # milliseconds


def run_ranks(count: int, entry: Callable[..., None], *args: object) -> None:
    """Run ``entry`` in ``count`` processes of this machine by torchrun's own engine.

    Raises:
        CaseFailed: a rank died; the reason names it.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=count, run_id=f"gpubench-{os.getpid()}",
        rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=0, monitor_interval=0.1,
    )  # fmt: skip
    try:
        elastic_launch(config, entry)(*args)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        name = failure.signal_name()
        how = f"of {name}" if name and name != "<N/A>" else f"with status {failure.exitcode}"
        raise CaseFailed("crash", f"rank {rank} died {how}; the others were ended") from error
