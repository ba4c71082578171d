"""Work on every device of a Ray cluster: one task a GPU, or one a node.

Ray schedules, carries messages and notices what died; what is measured and what becomes of
the messages is the caller's. Nothing here is imported before `--launcher ray` is used.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from gpubench.errors import GpubenchError, InputError
from gpubench.launch import ray_task

PROBE_TIMEOUT_S: Final = 60.0
WAIT_S: Final = 0.2
CONNECT_S: Final = 10.0
LOOK_S: Final = 5.0
"""How often to look which nodes are alive."""
RACK_LABEL: Final = "rack"
"""Label of a Ray node (`ray start --labels rack=r7`) that names its rack."""
MEND: Final = "pip install 'gpubench[ray]'"


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the cluster.

    Attributes:
        id: Ray's.
        host: its name, as the node itself tells it; Ray's until it was asked.
        gpus, cpus: what Ray has to give there.
        rack: ``GPUBENCH_RACK`` of the node, or its Ray label ``rack``.
        problem: why it cannot measure, with the mend; None if it can.
    """

    id: str
    host: str
    gpus: int
    cpus: float
    rack: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Slot:
    """One task's place: a GPU of a node, all of them, or a CPU node.

    Attributes:
        name: ``node-7/0`` or ``node-7``.
        device: what ``--device`` is for the task: ``cuda`` or ``cpu``.
        gpus, cpus: what the task holds, so that nothing else of Ray runs there.
    """

    name: str
    node: Node
    device: str
    gpus: int
    cpus: float


@dataclass(frozen=True, slots=True)
class Event:
    """A message of a task, or its end.

    Attributes:
        message: what the task yielded; None when it ended.
        problem: why it ended before it was done.
        node_lost: its whole node is gone, so that a retry there is in vain.
        retry: whether another attempt may help.
    """

    slot: Slot
    message: Mapping[str, Any] | None = None
    problem: str | None = None
    node_lost: bool = False
    retry: bool = False


@dataclass
class RayLauncher:
    """A connection to a Ray cluster; a context manager.

    Args:
        address: of the cluster; None for ``RAY_ADDRESS``, else a Ray of this machine alone.

    Raises:
        InputError: Ray is not installed, or no cluster answers at the address.
    """

    address: str | None = None
    _running: dict[Any, Slot] = field(default_factory=dict)
    _ray: Any = None
    _looked: float = 0.0

    def __enter__(self) -> RayLauncher:
        # Before Ray is imported: nothing is reported to anybody.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as error:
            raise InputError(
                f"--launcher ray: Ray is not installed ({error})", expected=MEND
            ) from error
        address = self.address or os.environ.get("RAY_ADDRESS")
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
        if address:
            _reachable(address)
        alone: dict[str, Any] = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        try:
            ray.init(address=address, **quiet) if address else ray.init("local", **alone, **quiet)
        except (RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            raise InputError(
                f"--launcher ray: no cluster at {address or 'this machine'}: {first}",
                expected="`ray start --head` there, its HOST:PORT as --address, and its token"
                " where it has one (RAY_AUTH_MODE=token)",
            ) from error
        self._ray = ray
        self._ray.cloudpickle.register_pickle_by_value(ray_task)
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()
        self._ray.shutdown()

    # ---- who is there

    def nodes(self, known: Sequence[str] = ()) -> list[Node]:
        """Every living node but the ``known`` ids, asked who it is, in order of its host."""
        found = [
            Node(
                n["NodeID"], n["NodeManagerHostname"], int(n["Resources"].get("GPU", 0)),
                n["Resources"].get("CPU", 0.0), n.get("Labels", {}).get(RACK_LABEL),
            )
            for n in self._ray.nodes() if n["Alive"] and n["NodeID"] not in known
        ]  # fmt: skip
        task = self._ray.remote(ray_task.probe)
        asked = [
            task.options(num_cpus=0, max_retries=0, scheduling_strategy=self._on(n)).remote()
            for n in found
        ]
        self._ray.wait(asked, num_returns=len(asked), timeout=PROBE_TIMEOUT_S) if asked else None
        return sorted(map(self._told, found, asked), key=lambda n: (n.host, n.id))

    def _told(self, node: Node, asked: Any) -> Node:
        import gpubench

        try:
            found = self._ray.get(asked, timeout=0.1)
        except Exception as error:
            self._ray.cancel(asked, force=True)
            first = str(error).strip().splitlines()[:1]
            return replace(node, problem=f"does not answer: {' '.join(first)}")
        node = replace(node, host=found["host"], rack=found["rack"] or node.rack)
        ours, mend = gpubench.__version__, f"pip install 'gpubench[ray]=={gpubench.__version__}'"
        if found["problem"]:
            return replace(node, problem=f"no gpubench there ({found['problem']}): {mend}")
        if found["version"] != ours:
            text = f"gpubench {found['version']} there, {ours} here: {mend}"
            return replace(node, problem=text)
        return node

    def _on(self, node: Node) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return NodeAffinitySchedulingStrategy(node.id, soft=False)

    # ---- tasks

    def start(self, slot: Slot, target: str, payload: bytes) -> None:
        """Begin a task at a slot; what it yields comes by ``events``."""
        task = self._ray.remote(ray_task.measure).options(
            num_returns="streaming", max_retries=0, num_cpus=slot.cpus, num_gpus=slot.gpus,
            scheduling_strategy=self._on(slot.node),
        )  # fmt: skip
        made = task.remote(target, payload, slot.cpus, slot.node.rack)
        self._running[made] = slot

    @property
    def busy(self) -> int:
        """Tasks that have not ended."""
        return len(self._running)

    def events(self) -> Iterator[Event]:
        """What the tasks have to say now; waits a moment where they say nothing."""
        if not self._running:
            time.sleep(WAIT_S)
            return
        yield from self._silent()
        everything = list(self._running)
        ready, _ = self._ray.wait(everything, num_returns=len(everything), timeout=WAIT_S)
        for task in ready:
            slot = self._running[task]
            try:
                yield Event(slot, self._ray.get(next(task)))
            except StopIteration:
                del self._running[task]
                yield Event(slot)
            except Exception as error:
                del self._running[task]
                yield self._ended(slot, error)

    def _silent(self) -> Iterator[Event]:
        """Tasks whose node Ray has given up: where a cable is pulled, no error comes for them."""
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        alive = {n["NodeID"] for n in self._ray.nodes() if n["Alive"]}
        for task, slot in list(self._running.items()):
            if slot.node.id not in alive:
                del self._running[task]
                yield Event(slot, problem="the node is lost", node_lost=True, retry=True)

    def _ended(self, slot: Slot, error: Exception) -> Event:
        """Why a task ended before it was done: the code's fault, its worker's or its node's."""
        gone = not any(n["Alive"] for n in self._ray.nodes() if n["NodeID"] == slot.node.id)
        text = " ".join(str(error).split())
        if gone:
            return Event(slot, problem="the node is lost", node_lost=True, retry=True)
        if isinstance(error, self._ray.exceptions.RayTaskError):
            cause = error.cause if isinstance(error.cause, GpubenchError) else None
            last = text if cause is None else str(cause)
            return Event(slot, problem=last[-500:])
        return Event(slot, problem=f"the worker is lost: {text[:300]}", retry=True)

    def cancel(self) -> None:
        """End every task at once; the cluster is free for others then."""
        for task in self._running:
            with contextlib.suppress(Exception):
                self._ray.cancel(task, force=True)
        until = time.monotonic() + 10
        while self._running and time.monotonic() < until:
            for event in self.events():
                del event
        self._running.clear()


def _reachable(address: str) -> None:
    """Look whether anybody answers, which Ray itself tries for minutes.

    Raises:
        InputError: nobody does, or it is no address.
    """
    if address in ("auto", "local") or "://" in address:
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except ValueError as error:
        raise InputError(
            f"{address!r} is no address of a cluster", key="--address", expected="HOST:PORT"
        ) from error
    except OSError as error:
        raise InputError(
            f"--launcher ray: no cluster at {address}: {error.strerror or error}",
            expected="`ray start --head` there, and its HOST:PORT as --address",
        ) from error


def slots_of(nodes: Sequence[Node], device: str, per_node: bool) -> list[Slot]:
    """A slot for every GPU, or for every node; CPU nodes only where no node has a GPU.

    Args:
        nodes: those that can measure.
        device: as in ``--device``; ``cpu`` takes every node as a CPU.
        per_node: one task a node, which holds all its GPUs.

    Raises:
        InputError: nothing to measure, or a device that means nothing on a cluster.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(
            f"--launcher ray: {device!r} is the device of one machine", key="--device",
            expected="auto, cpu or cuda",
        )  # fmt: skip
    with_gpus = [n for n in nodes if n.gpus and device != "cpu"]
    if device == "cuda" and not with_gpus:
        raise InputError("--launcher ray: no node has a GPU", expected="--device cpu")
    if not with_gpus:
        # All of its CPUs, so that nothing else of Ray runs there meanwhile.
        found = [Slot(n.host, n, "cpu", 0, n.cpus) for n in nodes if n.cpus >= 1]
        if not found:
            raise InputError("--launcher ray: no node offers a CPU or a GPU")
        return found
    if per_node:
        return [Slot(n.host, n, "cuda", n.gpus, min(1.0, n.cpus)) for n in with_gpus]
    return [
        Slot(f"{n.host}/{i}", n, "cuda", 1, min(1.0, n.cpus / n.gpus))
        for n in with_gpus for i in range(n.gpus)
    ]  # fmt: skip
