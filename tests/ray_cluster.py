"""A local Ray cluster whose nodes are processes that take themselves for hosts."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STORE_BYTES = 80 * 2**20
ADDRESS = "127.0.0.2"
"""Ray takes 127.0.0.1 for "whatever address this machine has" and means another one then."""

_CLONE_NEWNET = 0x40000000


@contextmanager
def network_of_its_own() -> Iterator[bool]:
    """A network namespace with a loopback alone, for this process and what it starts.

    Ray listens on every address of a machine; there is only one in here. Without the rights
    for it the tests run in the network that there is.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        alone = libc.unshare(_CLONE_NEWNET) == 0
        if alone:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        try:
            yield alone
        finally:
            if alone:
                assert libc.setns(before, _CLONE_NEWNET) == 0
    finally:
        os.close(before)


def missing() -> str | None:
    """Why no cluster can be started here; None if one can."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # noqa: F401
    except ImportError as error:
        return f"Ray is not installed (pip install 'gpubench[ray]'): {error}"
    return None


class LocalCluster:
    """A head that measures nothing, and nodes by the name of their host."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.nodes: dict[str, Any] = {}
        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0, "include_dashboard": False, "node_ip_address": ADDRESS,
                "object_store_memory": STORE_BYTES,
            },
        )  # fmt: skip

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def add(self, host: str, rack: str = "r1", **environment: str) -> None:
        self.nodes[host] = self._cluster.add_node(
            wait=True, num_cpus=1, node_ip_address=ADDRESS, object_store_memory=STORE_BYTES,
            env_vars={"GPUBENCH_HOST": host, "GPUBENCH_RACK": rack, **environment},
        )  # fmt: skip

    def lose(self, host: str) -> None:
        """End a node as a machine that loses power does."""
        self._cluster.remove_node(self.nodes.pop(host), allow_graceful=False)

    def close(self) -> None:
        self._cluster.shutdown()


def workers_of(host: str) -> list[int]:
    """Process ids of the gpubench workers that measure on a node."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            command = (folder / "cmdline").read_bytes()
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if (b"gpubench.engine.worker" in command
                and f"GPUBENCH_HOST={host}".encode() in environment):  # fmt: skip
            found.append(int(folder.name))
    return found


def kill_task_of(host: str) -> None:
    """Kill the Ray worker that runs the task of a node, as the memory killer would."""
    (worker,) = workers_of(host)
    parent = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
    assert b"ray::" in Path(f"/proc/{parent}/cmdline").read_bytes()
    os.kill(parent, signal.SIGKILL)


def until(condition: Callable[[], bool], what: str, timeout_s: float = 120) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.1)
