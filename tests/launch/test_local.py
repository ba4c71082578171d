"""Real worker processes: crashes, hangs, memory, the order of cases, several launches."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator

import pytest

from gpubench import suite as suites
from gpubench.errors import GpubenchError
from gpubench.launch.child import Child, WorkerRefused, resident_bytes
from gpubench.launch.local import LocalLauncher, merged, mode_of, share_of, shuffled
from gpubench.plan import make_plan
from gpubench.record import Failure, Measurement, Record, Samples
from gpubench.spec import Plan, Policy
from tests.builders import CPU, gemm_case, measurement, record

pytestmark = pytest.mark.slow

FAST = "policy: {min_time_s: 0.005, max_time_s: 0.05, warmup_s: 0, timeout_s: 60, min_samples: 3}\n"


def plan_of(launcher: LocalLauncher, cases: str, policy: str = FAST) -> Plan:
    info, _ = launcher.connect()
    text = (
        f"schema: 1\nsuite: t\n{policy}benchmarks:\n"
        f"  - {{name: b, workload: hostile, cases: [{cases}]}}\n"
    )
    return make_plan(suites.parse(text), info, seed=4)


def outcomes(found: Iterator[Record]) -> dict[str, Record]:
    return {str(r.case.params["behaviour"]): r for r in found}


def failure(found: dict[str, Record], behaviour: str) -> Failure:
    outcome = found[behaviour].outcome
    assert isinstance(outcome, Failure), outcome
    return outcome


@pytest.fixture(scope="module")
def bad_day(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    """One run in which nearly everything goes wrong, and one case does not."""
    kinds = ("segfault", "exit", "sigkill", "print", "raise", "ok", "eat", "hang")
    cases = ", ".join(f"{{behaviour: {k}}}" for k in kinds)
    # Twice what a worker with torch takes: enough to start, little enough to fill soon.
    patch = pytest.MonkeyPatch()
    from tests.conftest import PLUGIN, ROOT

    patch.setenv("PYTHONPATH", os.pathsep.join([str(PLUGIN), str(ROOT)]))
    policy = FAST.replace("timeout_s: 60", "timeout_s: 12")
    with LocalLauncher("cpu", memory_limit_bytes=900 * 2**20) as launcher:
        plan = plan_of(launcher, cases, policy)
        found = outcomes(launcher.run(plan))
        starts = launcher.worker_starts
    patch.undo()
    # One worker, and a fresh one after each of the five that died or were killed.
    assert starts == 6
    return found


def test_the_good_case_is_measured(bad_day: dict[str, Record]) -> None:
    assert bad_day["ok"].status == "measured"


def test_a_segfault_is_a_failed_case_with_the_end_of_stderr(bad_day: dict[str, Record]) -> None:
    found = failure(bad_day, "segfault")
    assert (found.kind, "SIGSEGV" in found.reason) == ("crash", True)
    assert found.traceback
    assert "about to read address 0" in found.traceback


def test_an_exit_is_a_crash_with_its_status(bad_day: dict[str, Record]) -> None:
    assert failure(bad_day, "exit").reason == "the worker ended with status 7"


def test_sigkill_is_taken_for_the_memory_killer(bad_day: dict[str, Record]) -> None:
    found = failure(bad_day, "sigkill")
    assert found.kind == "out_of_memory"
    assert "SIGKILL" in found.reason


def test_a_hang_is_killed_at_the_timeout(bad_day: dict[str, Record]) -> None:
    found = failure(bad_day, "hang")
    assert found.kind == "timeout"
    assert "12 s" in found.reason


def test_eating_memory_is_stopped_at_the_limit(bad_day: dict[str, Record]) -> None:
    found = failure(bad_day, "eat")
    assert found.kind == "out_of_memory"
    assert "limit of 900 MiB" in found.reason


def test_an_exception_keeps_its_traceback(bad_day: dict[str, Record]) -> None:
    found = failure(bad_day, "raise")
    assert found.kind == "error"
    assert "do_raise" in str(found.traceback)


def test_printing_to_stdout_cannot_forge_a_record(bad_day: dict[str, Record]) -> None:
    assert bad_day["print"].status == "measured"


def test_no_worker_outlives_the_launcher() -> None:
    launcher = LocalLauncher("cpu")
    launcher.connect()
    assert launcher._child is not None
    pid = launcher._child.pid
    launcher.close()
    launcher.close()
    assert resident_bytes(pid) is None


def test_a_worker_dies_with_its_parent() -> None:
    """The parent is killed with SIGKILL while its worker hangs in a case."""
    read, write = os.pipe()
    parent = os.fork()
    if parent == 0:  # pragma: no cover - killed from outside
        child = Child()
        child.hello("cpu", False, 120)
        os.write(write, str(child.pid).encode())
        time.sleep(600)
    worker = int(os.read(read, 20))
    assert resident_bytes(worker)
    os.kill(parent, 9)
    os.waitpid(parent, 0)
    until = time.monotonic() + 20
    while resident_bytes(worker) and time.monotonic() < until:
        time.sleep(0.05)
    assert not resident_bytes(worker)


def test_an_unusable_device_is_refused_with_advice() -> None:
    with pytest.raises(WorkerRefused, match="unknown device 'gpu'") as caught:
        LocalLauncher("gpu").connect()
    assert "cuda:N" in str(caught.value)


def test_a_worker_that_cannot_start_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(GpubenchError, match="did not start"):
        LocalLauncher("cpu").connect()


def test_several_launches_are_spread_over_processes() -> None:
    policy = FAST.replace("{", "{launches: 3, ")
    with LocalLauncher("cpu") as launcher:
        plan = plan_of(launcher, "{behaviour: ok}, {behaviour: slow}", policy)
        found = list(launcher.run(plan))
        assert launcher.worker_starts == 3
    assert len(found) == 6
    last = {str(r.case.params["behaviour"]): r.outcome for r in found}["ok"]
    assert isinstance(last, Measurement)
    assert len(last.samples.launches) == 3
    assert sum(last.samples.launches) == len(last.samples.times_s)
    assert last.samples.times_s[: last.samples.launches[0]] == _first(found).samples.times_s


def _first(found: list[Record]) -> Measurement:
    outcome = next(r.outcome for r in found if r.case.params["behaviour"] == "ok")
    assert isinstance(outcome, Measurement)
    return outcome


class TestPure:
    def test_order_is_random_but_of_recorded_seed(self) -> None:
        cases = [gemm_case(size=n) for n in range(1, 40)]
        assert shuffled(cases, 1) == shuffled(cases, 1)
        assert shuffled(cases, 1) != shuffled(cases, 2) != cases
        assert sorted(c.key for c in shuffled(cases, 1)) == sorted(c.key for c in cases)

    def test_tf32_cases_never_share_a_process_with_others(self) -> None:
        cases = [gemm_case(p, n) for n in range(1, 20) for p in ("fp32", "tf32", "bf16")]
        modes = [mode_of(c) for c in shuffled(cases, 3)]
        assert sum(a != b for a, b in itertools.pairwise(modes)) == 1

    def test_launches_share_the_budgets(self) -> None:
        p = share_of(Policy(launches=4, min_time_s=0.4, max_time_s=8, min_samples=12))
        assert (p.min_time_s, p.max_time_s, p.min_samples) == (0.1, 2.0, 3)
        assert share_of(Policy()) == Policy()

    def test_merging_shifts_spoiled_samples_and_keeps_the_worse_accuracy(self) -> None:
        from dataclasses import replace

        from gpubench.record import Accuracy

        a = replace(measurement(), samples=Samples((1.0, 2.0), spoiled={1: "x"}, launches=(2,)))
        b = replace(
            measurement(accuracy=Accuracy(1.0, 0.1, "")),
            samples=Samples((3.0, 4.0), spoiled={0: "y"}, launches=(2,)),
        )
        plan = Plan("t", "", CPU, (), (), 1)
        both = merged(record(outcome=a), record(outcome=b), plan).outcome
        assert isinstance(both, Measurement)
        assert both.samples.times_s == (1.0, 2.0, 3.0, 4.0)
        assert both.samples.spoiled == {1: "x", 2: "y"}
        assert both.samples.launches == (2, 2)
        assert "wrong_result" in both.flags

    def test_a_failed_launch_fails_the_case(self) -> None:
        plan = Plan("t", "", CPU, (), (), 1)
        failed = record(outcome=Failure("crash", "x"))
        assert merged(record(), failed, plan) == failed
        assert merged(failed, record(), plan) == failed
