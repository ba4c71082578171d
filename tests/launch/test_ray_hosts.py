"""Two hosts with a cable between them: network namespaces, each with a name of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpubench.store import Store
from tests import ray_cluster
from tests.cli.command import write
from tests.launch.test_ray import RAY, SUITE, hosts
from tests.ray_cluster import until


def missing() -> str | None:
    if ray_cluster.missing() is not None:
        return ray_cluster.missing()
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        return "ip and unshare are not installed"
    try:
        done = subprocess.run(
            ["unshare", "--net", "--uts", "true"], capture_output=True, check=False
        )
    except OSError as error:
        return str(error)
    return "no rights for network namespaces" if done.returncode else None


pytestmark = [
    pytest.mark.slow, pytest.mark.skipif(missing() is not None, reason=str(missing())),
]  # fmt: skip

HEAD, NODE, PORT = "10.231.7.1", "10.231.7.2", "6401"


def sh(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, text=True)


def inside(space: str, host: str, *words: str) -> list[str]:
    """A command on one of the hosts."""
    script = 'hostname "$0" && exec "$@"'
    return ["ip", "netns", "exec", space, "unshare", "--uts", "sh", "-c", script, host, *words]


def ray_start(space: str, host: str, *words: str) -> subprocess.Popen[bytes]:
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats",
           "--object-store-memory", str(ray_cluster.STORE_BYTES)]  # fmt: skip
    return subprocess.Popen(
        inside(space, host, *ray, *words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip


@pytest.fixture
def two_hosts(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    # `ray start` lets nobody in without a token; this one is made here.
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    # Ten seconds until a silent node counts as lost, not a minute.
    monkeypatch.setenv("RAY_health_check_period_ms", "1000")
    monkeypatch.setenv("RAY_health_check_timeout_ms", "3000")
    monkeypatch.setenv("RAY_health_check_failure_threshold", "3")
    a, b = f"gb{os.getpid()}a", f"gb{os.getpid()}b"
    started: list[subprocess.Popen[bytes]] = []
    try:
        for space in (a, b):
            sh("ip", "netns", "add", space)
            sh("ip", "-n", space, "link", "set", "lo", "up")
        sh("ip", "link", "add", "eth0", "netns", a, "type", "veth", "peer", "eth0", "netns", b)
        for space, address in ((a, HEAD), (b, NODE)):
            sh("ip", "-n", space, "address", "add", f"{address}/24", "dev", "eth0")
            sh("ip", "-n", space, "link", "set", "eth0", "up")
        started.append(ray_start(
            a, "host-a", "--head", "--node-ip-address", HEAD, "--port", PORT, "--num-cpus", "0",
            "--include-dashboard", "false",
        ))  # fmt: skip
        look = inside(a, "host-a", "sh", "-c", f"ss -ltn | grep -q :{PORT}")
        until(lambda: subprocess.run(look, check=False).returncode == 0, "the head")
        started.append(ray_start(
            b, "host-b", "--address", f"{HEAD}:{PORT}", "--node-ip-address", NODE,
            "--num-cpus", "1",
        ))  # fmt: skip
        yield a, b
    finally:
        for process in started:
            os.killpg(process.pid, signal.SIGTERM)
        for space in (a, b):
            left = subprocess.run(["ip", "netns", "pids", space], capture_output=True, text=True)
            for pid in left.stdout.split():
                os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "delete", space], capture_output=True)
        for process in started:
            process.wait(30)


def test_a_host_whose_cable_is_pulled(
    two_hosts: tuple[str, str], tmp_path: Path, store_url: str
) -> None:
    a, b = two_hosts
    Store(store_url).close()
    gpubench = [
        sys.executable, "-m", "gpubench", "run", write(tmp_path, SUITE % "1.5"), *RAY,
        "--address", f"{HEAD}:{PORT}", "--fleet", "f",
    ]  # fmt: skip

    def joined() -> bool:
        """Until the node is there, the cluster has nothing to measure on."""
        probe = "import ray,sys; ray.init(address=sys.argv[1], log_to_driver=False)\n" \
            "sys.exit(sum(n['Alive'] for n in ray.nodes()) < 2)"  # fmt: skip
        words = inside(a, "host-a", sys.executable, "-c", probe, f"{HEAD}:{PORT}")
        return subprocess.run(words, check=False, capture_output=True).returncode == 0

    until(joined, "the second host")
    process = subprocess.Popen(
        inside(a, "host-a", *gpubench), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=tmp_path,
    )  # fmt: skip
    until(lambda: hosts(store_url, "f").get("host-b", ("", 0))[1] >= 1, "a record over the cable")
    sh("ip", "-n", b, "link", "set", "eth0", "down")
    _, said = process.communicate(timeout=180)
    assert process.returncode == 3, said
    assert "not measured whole: host-b: the node is lost" in said
    status, kept = hosts(store_url, "f")["host-b"]
    assert (status, 1 <= kept < 4) == ("interrupted", True)
