"""Every operator on a GPU, and cuDNN's engines. Run with ``python -m pytest -m gpu``."""

from __future__ import annotations

from typing import Any

import pytest

from gpubench import suite as suites
from gpubench.launch.local import LocalLauncher
from gpubench.plan import make_plan
from gpubench.record import Measurement, Record, Skip
from gpubench.spec import Plan

pytestmark = pytest.mark.gpu

POLICY = "policy: {min_time_s: 0.05, max_time_s: 0.5, target_rel_ci: 0.05, timeout_s: 120}\n"


def run(benchmark: str) -> tuple[Plan, list[Record]]:
    text = f"schema: 1\nsuite: gpu\n{POLICY}benchmarks:\n  - {{name: b, {benchmark}}}\n"
    with LocalLauncher("cuda") as launcher:
        info, _ = launcher.connect()
        plan = launcher.expand(make_plan(suites.parse(text), info, seed=1))
        return plan, list(launcher.run(plan))


def measured(records: list[Record]) -> list[tuple[Record, Measurement]]:
    found = []
    for r in records:
        if isinstance(r.outcome, Skip):
            continue
        assert isinstance(r.outcome, Measurement), (r.case.label, r.outcome)
        assert r.outcome.accuracy is not None
        assert r.outcome.accuracy.ok, (r.case.label, r.case.precision, r.outcome.accuracy)
        found.append((r, r.outcome))
    return found


ALL = "[fp64, fp32, tf32, fp16, bf16]"


@pytest.mark.parametrize(
    "benchmark",
    [
        f"workload: linear, params: {{m: 512, n: 512, k: 512}}, matrix: {{precision: {ALL}}}",
        "workload: conv2d, params: {batch: 8, c_in: 32, c_out: 64, size: 28, padding: 1}, matrix:"
        " {precision: [fp32, tf32, fp16], direction: [fprop, dgrad, wgrad], layout: [nchw, nhwc],"
        " algorithm: [auto, benchmark, deterministic]}",
        "workload: attention, params: {heads: 8, seq_len: 512}, matrix: {precision: [fp32, fp16],"
        " backend: [auto, math, flash, mem_efficient, cudnn], causal: [true, false],"
        " direction: [forward, forward_backward]}",
        "workload: rnn, params: {batch: 16, seq_len: 20, hidden: 256}, matrix: {precision: [fp32,"
        " fp16], cell: [lstm, gru, vanilla], direction: [forward, forward_backward]}",
        "workload: softmax, params: {rows: 4096, cols: 4096}, matrix: {precision: [fp32, fp16]}",
        "workload: layernorm, params: {rows: 4096, cols: 4096}, matrix: {precision: [fp32, bf16]}",
        "workload: elementwise, params: {rows: 4096, cols: 4096}, matrix: {precision: [fp32,"
        " fp16], function: [add, div, pow, relu, gelu, tanh, silu]}",
        "workload: reduction, params: {rows: 4096, cols: 4096}, matrix: {axis: [0, 1], function:"
        " [sum, mean, max]}",
        "workload: embedding, params: {tokens: 8192, dim: 256, vocab: 50000}",
        "workload: triad, params: {elements: 50000000}",
        "workload: memcpy, params: {bytes: 67108864}, matrix: {direction: [d2d, h2d, d2h],"
        " pinned: [true, false]}",
    ],
)
def test_results_are_right(benchmark: str) -> None:
    _, records = run(benchmark)
    assert measured(records)


@pytest.fixture(scope="module")
def engines() -> tuple[Plan, list[Record]]:
    pytest.importorskip("cudnn", reason="needs the cudnn extra")
    return run(
        "workload: conv2d, params: {batch: 16, c_in: 64, c_out: 64, size: 56, padding: 1,"
        " algorithm: all}, zip: {precision: [fp32, fp16], layout: [nchw, nhwc]}"
    )


def test_engines_of_cudnn_run_and_are_right(engines: tuple[Plan, list[Record]]) -> None:
    plan, records = engines
    found = measured(records)
    assert len(found) >= 6
    assert len(plan.skips) >= 2
    for _, m in found:
        assert isinstance(m.facts["cudnn.engine"], int)
        assert m.facts["cudnn.version"]
    assert any(m.facts["cudnn.heuristic_rank"] is not None for _, m in found)


def test_notes_agree_with_the_kernels(engines: tuple[Plan, list[Record]]) -> None:
    for r, m in measured(engines[1]):
        uses = m.tensor_cores
        if uses is None or uses.verdict == "unknown":
            continue
        noted = "TENSOR_CORE" in str(m.facts["cudnn.numerical_notes"])
        assert noted == (uses.verdict == "used"), (r.case.params["algorithm"], uses)


def test_tf32_is_asked_for_and_read_back() -> None:
    _, records = run("workload: gemm, params: {size: 1024}, matrix: {precision: [fp32, tf32]}")
    facts: dict[str, Any] = {
        r.case.precision: m.facts["switch.matmul.allow_tf32"] for r, m in measured(records)
    }
    assert facts in ({"fp32": False, "tf32": True}, {"fp32": False})
