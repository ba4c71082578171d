"""Several ranks: collectives that are right, ranks that die, hang or fail alone, real jobs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gpubench import suite as suites
from gpubench.launch.child import Child, WorkerRefused
from gpubench.launch.job import Job, current
from gpubench.launch.local import LocalLauncher
from gpubench.plan import make_plan
from gpubench.record import Failure, Measurement, Record
from gpubench.spec import DeviceInfo, Plan
from tests.conftest import PLUGIN, ROOT

pytestmark = pytest.mark.slow

FAST = "policy: {min_time_s: 0.01, max_time_s: 0.1, warmup_s: 0, timeout_s: 20, min_samples: 3}\n"


@pytest.fixture(autouse=True)
def plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PLUGIN), str(ROOT)]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def plan_of(launcher: LocalLauncher, workload: str, cases: str) -> Plan:
    info, _ = launcher.connect()
    text = (
        f"schema: 1\nsuite: t\n{FAST}benchmarks:\n"
        f"  - {{name: b, workload: {workload}, params: {{precision: fp32}}, cases: [{cases}]}}\n"
    )
    return make_plan(suites.parse(text), info, seed=4)


def living(mark: str) -> dict[int, str]:
    """Processes, orphans too, whose environment holds a mark: id -> command line."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if mark.encode() in (entry / "environ").read_bytes():
                found[int(entry.name)] = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def bad_day() -> dict[str, Record]:
    """One run of two ranks in which one of them goes wrong again and again."""
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", os.pathsep.join([str(PLUGIN), str(ROOT)]))
    patch.setenv("OMP_NUM_THREADS", "1")
    cases = ", ".join(
        f"{{behaviour: {kind}, rank: {rank}}}"
        for kind, rank in (("segfault", 1), ("raise", 1), ("hang", 1), ("exit", 0), ("ok", 1))
    )
    mark = f"RANKS_OF_TEST={os.urandom(8).hex()}"
    patch.setenv(*mark.split("="))
    with LocalLauncher("cpu", nproc=2) as launcher:
        plan = plan_of(launcher, "hostile", cases)
        assert living(mark)
        found = {str(r.case.params["behaviour"]): r for r in launcher.run(plan)}
    patch.undo()
    until = time.monotonic() + 10
    while living(mark) and time.monotonic() < until:
        time.sleep(0.1)
    assert living(mark) == {}, "a process was left behind"
    return found


def failure(found: dict[str, Record], behaviour: str) -> Failure:
    outcome = found[behaviour].outcome
    assert isinstance(outcome, Failure), outcome
    return outcome


def test_a_rank_that_dies_is_named_with_its_signal(bad_day: dict[str, Record]) -> None:
    found = failure(bad_day, "segfault")
    assert found.kind == "crash"
    assert "rank 1 died of SIGSEGV" in found.reason


def test_a_rank_that_fails_alone_is_named_though_the_others_wait(
    bad_day: dict[str, Record],
) -> None:
    found = failure(bad_day, "raise")
    assert (found.kind, found.reason) == ("error", "rank 1: ValueError: the kernel is unhappy")


def test_a_rank_that_hangs_is_named_before_the_timeout(bad_day: dict[str, Record]) -> None:
    found = failure(bad_day, "hang")
    assert found.kind == "crash"
    assert "did not meet" in found.reason
    assert "1" in found.reason.split("did not meet")[1]


def test_rank_zero_is_a_rank_like_others(bad_day: dict[str, Record]) -> None:
    assert "rank 0 died with status 7" in failure(bad_day, "exit").reason


def test_what_works_is_measured_all_the_same(bad_day: dict[str, Record]) -> None:
    outcome = bad_day["ok"].outcome
    assert isinstance(outcome, Measurement)
    assert outcome.method == "ranks"
    assert "functional_only" in outcome.flags


def test_collectives_arrive_right_on_every_rank() -> None:
    """Three ranks, of which some take part; each result against FP64."""
    ops = ["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "reduce"]
    cases = ", ".join(
        f"{{op: {op}, bytes: {size}, world_size: {n}}}"
        for op in ops for size, n in ((64, 3), (40_000, 2))
    )  # fmt: skip
    with LocalLauncher("cpu", nproc=3) as launcher:
        found = list(launcher.run(plan_of(launcher, "collective", cases)))
        assert launcher.worker_starts == 1
    assert len(found) == 12
    for r in found:
        assert isinstance(r.outcome, Measurement), r.outcome
        accuracy = r.outcome.accuracy
        assert accuracy is not None
        assert accuracy.ok, (r.case.label, accuracy)


def test_a_wrong_sum_on_another_rank_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check is of every rank: what rank 1 got wrong fails the case, though rank 0 is right."""
    from gpubench.workloads import collectives
    from gpubench.workloads.collectives import Collective

    class Ranks:
        rank, world = 0, 2

        def data(self, size: int) -> None:
            return None

        def max(self, values: list[float]) -> list[float]:
            return [max(v, 0.5) for v in values]  # rank 1 says 0.5

        def barrier(self) -> None:
            return None

    class Alone:
        group = Ranks()

        info = DeviceInfo(type="cpu", name="a CPU")

        def synchronize(self) -> None:
            return None

    monkeypatch.setattr(collectives, "_call", lambda *_: lambda: None)
    found = Collective(precision="fp32", op="broadcast").check(Alone(), 1, "normal")  # type: ignore[arg-type]
    assert not found.ok
    assert found.rel_error == 0.5


def test_more_ranks_than_gpus_are_refused_with_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    child = Child(command=("gpubench.engine.group", "--nproc", "2"))
    with pytest.raises(WorkerRefused, match="rank 0: 2 ranks on a node with 0 GPUs") as caught:
        child.hello("cuda", False, 120)
    assert "--device cpu" in str(caught.value.expected)
    child.close()


# ---------------------------------------------------------------- jobs of others


def test_outside_a_job_there_is_none() -> None:
    assert current({}) is None
    # The script of a batch job has Slurm's variables, and is alone.
    assert current({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}) is None
    assert current({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}) is None


def test_a_job_of_torchrun() -> None:
    env = {"RANK": "3", "WORLD_SIZE": "8", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
    assert current(env) == Job("torchrun", 3, 8)


def test_a_step_of_slurm_gets_what_torch_needs() -> None:
    job = current({
        "SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1",
        "SLURM_NODEID": "1", "SLURM_STEP_TASKS_PER_NODE": "4(x2)", "SLURM_JOB_ID": "123456",
        "SLURM_STEP_ID": "2", "SLURM_STEP_NODELIST": "gpu01,gpu02",
    })  # fmt: skip
    assert job is not None
    assert dict(job.environment) == {
        "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4",
        "MASTER_ADDR": "gpu01", "MASTER_PORT": str(20_000 + 123458 % 20_000),
    }  # fmt: skip


SUITE = f"""schema: 1
suite: both
{FAST}benchmarks:
  - name: b
    workload: collective
    params: {{precision: fp32, world_size: 2}}
    matrix: {{op: [all_reduce, broadcast], bytes: [256, 4096]}}
"""


def started(tmp_path: Path, command: list[str], **more: str) -> subprocess.Popen[str]:
    env = {**os.environ, "GPUBENCH_STORE": str(tmp_path / "store.db"), **more}
    return subprocess.Popen(
        command, cwd=tmp_path, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_within_a_job_of_torchrun_rank_zero_stores(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(SUITE)
    torchrun = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "-m", "gpubench", "run", "s.yaml", "--device", "cpu", "--json", "out.json",
    ]  # fmt: skip
    out, err = started(tmp_path, torchrun).communicate(timeout=240)
    assert out.count("report: ") == 1, err
    document: Any = json.loads((tmp_path / "out.json").read_text())
    assert [r["status"] for r in document["records"]] == ["measured"] * 4
    assert document["run"]["environment"]["group.ranks"] == 2
    assert document["run"]["environment"]["group.backend"] == "gloo"


def test_within_a_step_of_slurm_every_task_runs_the_same_command(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(SUITE)
    command = [sys.executable, "-m", "gpubench", "run", "s.yaml", "--device", "cpu", "-q"]
    ranks = [
        started(
            tmp_path, command, SLURM_PROCID=str(rank), SLURM_STEP_NUM_TASKS="2",
            SLURM_LOCALID=str(rank), SLURM_JOB_ID=str(os.getpid()), SLURM_STEP_ID="0",
            SLURM_STEP_NODELIST="localhost", SLURM_STEP_TASKS_PER_NODE="2",
        )
        for rank in range(2)
    ]  # fmt: skip
    told = [r.communicate(timeout=240) for r in ranks]
    assert [r.returncode for r in ranks] == [0, 0], told
    assert told[0][0].startswith("report: ")
    assert told[1][0] == ""


def test_nproc_within_a_job_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(SUITE)
    command = [sys.executable, "-m", "gpubench", "run", "s.yaml", "--nproc", "2"]
    env = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    done = started(tmp_path, command, **env)
    _, err = done.communicate(timeout=60)
    assert done.returncode == 2
    assert err.strip() == (
        "gpubench: error: --nproc within a job of torchrun with 2 ranks; expected no --nproc"
    )
