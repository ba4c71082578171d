"""What only a GPU can show. Run with ``python -m pytest -m gpu`` where one is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpubench import suite as suites
from gpubench.launch.local import LocalLauncher
from gpubench.plan import make_plan
from gpubench.record import Failure, Measurement, Record
from gpubench.stats import summarize
from tests.cli.command import gpubench

pytestmark = pytest.mark.gpu

POLICY = "policy: {min_time_s: 0.2, max_time_s: 3, target_rel_ci: 0.02, timeout_s: 120}\n"


def run(body: str) -> list[Record]:
    text = f"schema: 1\nsuite: gpu\n{POLICY}benchmarks:\n  - name: b\n    workload: gemm\n{body}"
    with LocalLauncher("cuda") as launcher:
        info, _ = launcher.connect()
        plan = make_plan(suites.parse(text), info, seed=1)
        return list(launcher.run(plan))


def measured(found: list[Record]) -> dict[tuple[str, int], Measurement]:
    out = {}
    for r in found:
        if r.status == "skipped":
            continue
        assert isinstance(r.outcome, Measurement), r.outcome
        out[r.case.precision, int(r.case.params["m"])] = r.outcome
    return out


@pytest.fixture(scope="module")
def sweep() -> dict[tuple[str, int], Measurement]:
    return measured(
        run("    matrix: {precision: [fp64, fp32, tf32, fp16, bf16], size: [64, 512, 4096]}\n")
    )


def test_every_result_is_right(sweep: dict[tuple[str, int], Measurement]) -> None:
    for case, m in sweep.items():
        assert m.accuracy is not None
        assert m.accuracy.ok, (case, m.accuracy)


def test_fp32_is_not_tf32(sweep: dict[tuple[str, int], Measurement]) -> None:
    """The error tells: TF32 rounds inputs to 10 bits, a hundred times coarser."""
    fp32, tf32 = sweep["fp32", 4096], sweep.get(("tf32", 4096))
    assert fp32.accuracy is not None
    assert fp32.accuracy.rel_error < 1e-5
    if tf32 is not None:
        assert tf32.accuracy is not None
        assert tf32.accuracy.rel_error > 1e-4


def test_tensor_cores_are_used_where_asked_and_not_for_fp32(
    sweep: dict[tuple[str, int], Measurement],
) -> None:
    assert sweep["fp32", 4096].tensor_cores is not None
    assert sweep["fp32", 4096].tensor_cores.verdict == "not_used"
    for precision in ("tf32", "fp16", "bf16"):
        m = sweep.get((precision, 4096))
        if m is not None:
            assert m.tensor_cores is not None
            assert m.tensor_cores.verdict == "used", m.tensor_cores
            assert m.tensor_cores.kernels


def test_short_kernels_by_slope_and_long_ones_by_events(
    sweep: dict[tuple[str, int], Measurement],
) -> None:
    assert sweep["fp32", 64].method == "graph_slope"
    assert sweep["fp32", 64].input_sets > 1
    assert sweep["fp32", 4096].method == "events"
    assert sweep["fp32", 4096].cache == "cold"
    assert all(m.floor_s and m.floor_s < 20e-6 for m in sweep.values())
    assert all(m.samples.host_enqueue_s for m in sweep.values())


def test_no_rate_above_the_peak(sweep: dict[tuple[str, int], Measurement]) -> None:
    assert not [case for case, m in sweep.items() if "above_peak" in m.flags]


def test_clocks_are_read_during_the_measurement(
    sweep: dict[tuple[str, int], Measurement],
) -> None:
    readings = sweep["fp32", 4096].readings
    assert readings
    assert all(r.values["clock_hz"] > 1e8 for r in readings)


def test_agrees_with_triton_do_bench() -> None:
    """Cold event timing against Triton's, which zeroes 256 MB before each start event."""
    testing = pytest.importorskip("triton.testing")
    import torch

    size = 4096
    (m,) = measured(run(f"    params: {{precision: bf16, size: {size}}}\n")).values()
    a, b = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    out = torch.empty_like(a)
    theirs = testing.do_bench(lambda: torch.mm(a, b, out=out), return_mode="median") * 1e-3
    # Clocks move with load and temperature; two harnesses in two processes see that too.
    assert summarize(m.samples).median_s == pytest.approx(theirs, rel=0.10)


def test_methods_agree_with_each_other() -> None:
    """One size near the border, hot by events and hot by slope."""
    from gpubench.devices.cuda import CudaDevice
    from gpubench.devices.cuda_clock import EventTimer, SlopeTimer, event_floor_s
    from gpubench.stats import quantile
    from gpubench.workloads.gemm import Gemm

    device = CudaDevice(0)
    device.prepare("fp32")
    call = Gemm(m=1024, n=1024, k=1024).build(device, 1, "normal")
    estimate, _ = device.estimate(call)
    floor = event_floor_s(device.api)
    times = []
    for kind in (EventTimer, SlopeTimer):
        timer = kind(device.api, [call], "hot", estimate, floor)
        for _ in range(20):
            samples = timer.batch(64)
        times.append(quantile(sorted(t.time_s for t in samples), 0.5))
    assert times[0] - floor == pytest.approx(times[1], rel=0.10)


def test_out_of_memory_is_a_failed_case_and_the_next_one_runs() -> None:
    import torch

    free, _ = torch.cuda.mem_get_info()
    # Planning lets 90 % of the free memory pass; something else takes most of it now.
    hog = torch.empty(int(0.85 * free), dtype=torch.int8, device="cuda")
    try:
        size = int((0.5 * free / 12) ** 0.5)
        with LocalLauncher("cuda") as launcher:
            info, _ = launcher.connect()
            text = f"schema: 1\nsuite: gpu\n{POLICY}benchmarks:\n  - name: b\n    workload: gemm\n"
            text += f"    matrix: {{size: [{size}, 256]}}\n"
            from dataclasses import replace

            plan = make_plan(suites.parse(text), replace(info, memory_bytes=None), seed=1)
            found = {int(r.case.params["m"]): r.outcome for r in launcher.run(plan)}
    finally:
        del hog
        torch.cuda.empty_cache()
    assert isinstance(found[size], Failure)
    assert found[size].kind == "out_of_memory"
    assert isinstance(found[256], Measurement)


def test_the_suite_runs_quickly_from_the_command_line(tmp_path: Path) -> None:
    done = gpubench(
        "run", "tensorcore", "--quick", "--device", "cuda", "--json", "r.json", cwd=tmp_path,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    body = json.loads((tmp_path / "r.json").read_text())
    assert body["run"]["environment"]["gpu.name"]
    assert body["run"]["environment"]["gpu.driver"]
    assert not [r for r in body["records"] if r["status"] == "failed"]
    assert list((tmp_path / "reports").glob("*.html"))
