from __future__ import annotations

import pytest
from hostile_workload import Hostile

from gpubench.devices.cpu import CpuDevice
from gpubench.devices.opening import translate_cuda
from gpubench.engine import peaks
from gpubench.engine.runner import Runner
from gpubench.errors import CaseFailed
from gpubench.plan import case_key
from gpubench.record import Failure, Measurement, Skip
from gpubench.spec import Case, Policy
from tests.builders import A100, CPU, gemm_case

FAST = {"min_time_s": 0.01, "max_time_s": 0.1, "warmup_s": 0.0}


@pytest.fixture(scope="module")
def runner() -> Runner:
    return Runner(CpuDevice(), translate=translate_cuda)


def hostile(behaviour: str) -> Case:
    work = Hostile(behaviour)
    return Case(
        key=case_key("hostile", "fp32", work.identity()), benchmark="h", workload="hostile",
        precision="fp32", params=work.params(), policy=Policy(**FAST), work=work.work(),
        label=work.label(),
    )  # fmt: skip


def test_a_measured_case_has_everything(runner: Runner) -> None:
    told: list[int] = []
    record, sticky = runner.run(gemm_case(**FAST), 7, lambda n, _t: told.append(n))
    m = record.outcome
    assert isinstance(m, Measurement)
    assert not sticky
    assert m.accuracy is not None
    assert m.accuracy.ok
    assert m.samples.times_s
    assert m.measuring_s >= 0.01
    assert record.peaks.source
    assert told


@pytest.mark.parametrize(
    ("behaviour", "kind", "words"),
    [
        ("raise", "error", "ValueError: the kernel is unhappy"),
        ("memory_error", "out_of_memory", ""),
    ],
)
def test_failures_are_records_with_a_traceback(
    runner: Runner, behaviour: str, kind: str, words: str
) -> None:
    outcome = runner.run(hostile(behaviour), 1)[0].outcome
    assert isinstance(outcome, Failure)
    assert outcome.kind == kind
    assert words in outcome.reason
    assert "\n" not in outcome.reason
    assert outcome.traceback
    assert "do_" + behaviour in outcome.traceback


def test_unsupported_at_run_time_is_a_skip(runner: Runner) -> None:
    outcome = runner.run(hostile("unsupported"), 1)[0].outcome
    assert outcome == Skip("this device lacks what the kernel wants")


@pytest.mark.parametrize("behaviour", ["wrong", "nan"])
def test_a_wrong_result_is_flagged_first(runner: Runner, behaviour: str) -> None:
    outcome = runner.run(hostile(behaviour), 1)[0].outcome
    assert isinstance(outcome, Measurement)
    assert outcome.flags[0] == "wrong_result"


def test_a_sticky_error_condemns_the_process() -> None:
    class Broken(CpuDevice):
        def synchronize(self) -> None:
            raise CaseFailed("error", "CUDA error: an illegal memory access", sticky=True)

        def release(self) -> None:
            raise RuntimeError("CUDA error: an illegal memory access")

    record, sticky = Runner(Broken()).run(gemm_case(**FAST), 1)
    assert sticky
    assert isinstance(record.outcome, Failure)


def test_foreign_errors_are_known_by_their_words() -> None:
    import torch

    oom = translate_cuda(torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert oom is not None
    assert oom.kind == "out_of_memory"
    cpu_oom = translate_cuda(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert cpu_oom is not None
    assert cpu_oom.kind == "out_of_memory"
    cuda = translate_cuda(RuntimeError("CUDA error: device-side assert triggered\nmore"))
    assert cuda is not None
    assert str(cuda) == "CUDA error: device-side assert triggered"
    assert translate_cuda(ValueError("something else")) is None


def test_peaks_come_with_their_source() -> None:
    p = peaks.peaks_of(A100, "bf16")
    assert p.flops_per_s == pytest.approx(312e12)
    assert p.bytes_per_s == pytest.approx(1555e9)
    assert p.source is not None
    assert "a100-sxm4-40gb" in p.source
    assert peaks.peaks_of(A100, "fp32").flops_per_s == pytest.approx(19.5e12, rel=0.01)
    assert peaks.peaks_of(CPU, "fp32").flops_per_s is None
