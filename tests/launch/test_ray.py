"""Fleets on a real Ray cluster of this machine: nodes slow, broken, killed and lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpubench.store import Store
from tests import ray_cluster
from tests.cli.command import gpubench, start, write
from tests.ray_cluster import LocalCluster, kill_task_of, until, workers_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(ray_cluster.missing() is not None, reason=str(ray_cluster.missing())),
]

SUITE = """\
schema: 1
suite: fleet
policy: {min_time_s: %s, max_time_s: 2, warmup_s: 0, min_samples: 3, target_rel_ci: 0.9}
benchmarks:
  - name: b
    workload: hostile
    cases:
      - {behaviour: slow, index: 1}
      - {behaviour: slow, index: 2}
      - {behaviour: slow, index: 3}
      - {behaviour: slow, index: 4}
"""
RAY = ("--launcher", "ray", "--device", "cpu", "--no-report")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCluster]:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with ray_cluster.network_of_its_own():
        made = LocalCluster()
        yield made
        made.close()


def hosts(store_url: str, fleet: str) -> dict[str, tuple[str, int]]:
    """Host -> (status, records) of the runs of a fleet, each of which may stand there once."""
    found: dict[str, tuple[str, int]] = {}
    with Store(store_url) as store:
        for run in store.fleet(fleet):
            host = str(run.environment.get("host.name"))
            assert host not in found
            found[host] = (run.status, len(store.records(run.id)))
    return found


def test_one_slow_and_two_without_what_they_need(
    cluster: LocalCluster, tmp_path: Path, store_url: str
) -> None:
    for host in "abcd":
        cluster.add(f"node-{host}")
    cluster.add("node-slow", rack="r2", HOSTILE_SLOWNESS="3")
    for module in ("torch", "gpubench"):
        folder = tmp_path / f"no-{module}"
        folder.mkdir()
        missing = f"raise ModuleNotFoundError(\"No module named '{module}'\", name='{module}')\n"
        (folder / f"{module}.py").write_text(missing)
        path = os.pathsep.join([str(folder), os.environ["PYTHONPATH"]])
        cluster.add(f"node-no-{module}", PYTHONPATH=path)

    done = gpubench(
        "run", write(tmp_path, SUITE % "0.05"), *RAY, "--address", cluster.address, "--fleet", "f1",
        "--json", "-", cwd=tmp_path, timeout=200,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    told = [x for x in done.stderr.splitlines() if x.startswith("not measured whole")]
    assert len(told) == 2, done.stderr
    assert "node-no-gpubench: no gpubench there" in told[0]
    assert "pip install 'gpubench[ray]==" in told[0]
    assert "node-no-torch: the worker did not start" in told[1]
    assert "No module named 'torch': pip install torch" in told[1]
    assert {d["run"]["settings"]["slot"] for d in json.loads(done.stdout)} == {
        "node-a", "node-b", "node-c", "node-d", "node-slow",
    }  # fmt: skip
    found = hosts(store_url, "f1")
    assert found == dict.fromkeys(
        ["node-a", "node-b", "node-c", "node-d", "node-slow"], ("finished", 4)
    )

    # The slow one is the odd one; the runs are runs like any other.
    report = gpubench("report", "--fleet", "f1", "--format", "json", "--fail-on-outlier")
    assert report.returncode == 1, report.stderr
    judged = json.loads(report.stdout)
    # Times are real: on a busy machine another may seem odd beside it.
    (slow,) = [o for o in judged["odd"] if o["host"] == "node-slow"]
    assert (slow["kind"], slow["rack"]) == ("slow", "r2")
    assert slow["ratio"] == max(o["ratio"] for o in judged["odd"])
    assert "node-slow" in [d["host"] for d in judged["drain"]]
    with Store(store_url) as store:
        run = store.fleet("f1")[0]
    assert gpubench("report", run.id, "-o", str(tmp_path / "r.html")).returncode == 0
    assert gpubench("track", "check", run.id).returncode == 0

    again = gpubench(
        "run", str(tmp_path / "s.yaml"), *RAY, "--address", cluster.address, "--fleet", "f1"
    )
    assert (again.returncode, "there is a fleet 'f1' already" in again.stderr) == (2, True)


def stored(url: str, host: str) -> int:
    return hosts(url, "f").get(host, ("", 0))[1]


def test_a_killed_worker_a_lost_node_and_resuming(
    cluster: LocalCluster, tmp_path: Path, store_url: str
) -> None:
    cluster.add("node-a")
    cluster.add("node-b")
    Store(store_url).close()
    arguments = ("--address", cluster.address)
    process = start(
        "run", write(tmp_path, SUITE % "1.5"), *RAY, *arguments, "--fleet", "f", cwd=tmp_path
    )
    until(lambda: stored(store_url, "node-a") >= 1, "a record of node-a")
    kill_task_of("node-a")
    until(lambda: 1 <= stored(store_url, "node-b") <= 3, "some records of node-b")
    cluster.add("node-c")
    cluster.lose("node-b")
    _, said = process.communicate(timeout=300)
    assert process.returncode == 3, said
    assert "node-a: the worker is lost" in said
    assert "attempt 2 of 3" in said
    assert "measured in its place: node-c" in said
    assert "not measured whole: node-b: the node is lost" in said
    found = hosts(store_url, "f")
    assert found["node-a"] == ("finished", 4)
    assert found["node-c"] == ("finished", 4)
    status, kept = found["node-b"]
    assert (status, 1 <= kept < 4) == ("interrupted", True)

    with Store(store_url) as store:
        before = {r.id: [x.started_at for x in store.records(r.id)] for r in store.fleet("f")}
    cluster.add("node-b")
    done = gpubench("run", "--resume", "f", *RAY, *arguments, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    assert hosts(store_url, "f") == dict.fromkeys(["node-a", "node-b", "node-c"], ("finished", 4))
    with Store(store_url) as store:
        for run_id, times in before.items():
            # What was measured was not measured again.
            assert set(times) <= {x.started_at for x in store.records(run_id)}


def test_cancelling_frees_the_cluster(
    cluster: LocalCluster, tmp_path: Path, store_url: str
) -> None:
    cluster.add("node-a")
    Store(store_url).close()
    arguments = (*RAY, "--address", cluster.address)
    slow = SUITE.replace("max_time_s: 2", "max_time_s: 4") % "3"
    process = start("run", write(tmp_path, slow), *arguments, "--fleet", "f", cwd=tmp_path)
    until(lambda: stored(store_url, "node-a") >= 1, "a record")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "gpubench run --launcher ray --resume f" in said
    until(lambda: not workers_of("node-a"), "the end of the workers")
    status, kept = hosts(store_url, "f")["node-a"]
    assert (status, 1 <= kept < 4) == ("interrupted", True)

    # The one CPU of the node is free again: another fleet gets it.
    done = gpubench("run", "--resume", "f", *arguments, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    assert hosts(store_url, "f") == {"node-a": ("finished", 4)}
    assert "0 slots to go" in done.stderr


def test_no_cluster_there_is_one_message(tmp_path: Path) -> None:
    done = gpubench(
        "run", write(tmp_path, SUITE % "0.05"), *RAY, "--address", "127.0.0.1:1", timeout=60
    )
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "--launcher ray: no cluster at 127.0.0.1:1" in line


def test_nothing_of_ray_is_left() -> None:
    """Last: what the tests of this file started is gone."""
    found = subprocess.run(["pgrep", "-f", "raylet"], capture_output=True, text=True)
    ours = [p for p in found.stdout.split() if _child_of_this(int(p))]
    assert ours == []


def _child_of_this(pid: int) -> bool:
    try:
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return False
    return parent == os.getpid()
