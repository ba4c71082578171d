"""The same GEMM by three harnesses in the same minutes: gpubench, torch.utils.benchmark, pyperf.

Every round runs each harness once, in processes of its own, in rotating order. Compared
are the median over the rounds and the run-to-run spread (interquartile range over the
rounds / median).
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from saving import report

ROUNDS = 20
SIZE = 512
SETUP = f"""
import torch
torch.set_num_threads({{threads}})
torch.manual_seed(0)
a, b = torch.randn({SIZE}, {SIZE}), torch.randn({SIZE}, {SIZE})
out = torch.empty({SIZE}, {SIZE})
"""
TORCH = """
from torch.utils.benchmark import Timer
t = Timer("torch.mm(a, b, out=out)", globals=dict(torch=torch, a=a, b=b, out=out),
          num_threads={threads})
print(t.blocked_autorange(min_run_time=0.5).median)
"""
PYPERF = """
import pyperf
runner = pyperf.Runner()
runner.bench_func("mm", lambda: torch.mm(a, b, out=out))
"""
SUITE = f"""
schema: 1
suite: harness
policy: {{{{min_time_s: 0.5, max_time_s: 2, target_rel_ci: 0.002, launches: {{launches}}}}}}
benchmarks:
  - {{{{name: mm, workload: gemm, params: {{{{size: {SIZE}}}}}}}}}
"""


def by_gpubench(folder: Path, threads: int, launches: int = 1) -> float:
    del threads
    suite = folder / "suite.yaml"
    suite.write_text(SUITE.format(launches=launches))
    text = _run(
        [sys.executable, "-m", "gpubench", "run", str(suite), "--device", "cpu", "--json", "-",
         "--no-report", "-q", "--store", str(folder / "store.db")]
    )  # fmt: skip
    return float(json.loads(text)["records"][0]["summary"]["median_s"])


def by_gpubench_spread(folder: Path, threads: int) -> float:
    """Over as many process launches as pyperf is given here."""
    return by_gpubench(folder, threads, launches=3)


def by_torch(folder: Path, threads: int) -> float:
    del folder
    return float(_run([sys.executable, "-c", (SETUP + TORCH).format(threads=threads)]))


def by_pyperf(folder: Path, threads: int) -> float:
    script, out = folder / "bench.py", folder / "pyperf.json"
    script.write_text((SETUP + PYPERF).format(threads=threads))
    out.unlink(missing_ok=True)
    # Three worker processes instead of twenty: torch takes seconds to import.
    _run([sys.executable, str(script), "-o", str(out), "--processes=3", "--values=5", "--quiet"])
    import pyperf

    return float(pyperf.BenchmarkSuite.load(str(out)).get_benchmarks()[0].median())


def _run(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def main() -> None:
    import os

    threads = len(os.sched_getaffinity(0))
    harnesses = [
        ("gpubench", by_gpubench), ("torch.utils.benchmark", by_torch),
        ("gpubench, 3 launches", by_gpubench_spread), ("pyperf", by_pyperf),
    ]  # fmt: skip
    times: dict[str, list[float]] = {name: [] for name, _ in harnesses}
    with tempfile.TemporaryDirectory() as name:
        for i in range(ROUNDS):
            for key, measure in harnesses[i % 4 :] + harnesses[: i % 4]:
                times[key].append(measure(Path(name), threads))
    medians = {k: statistics.median(t) for k, t in times.items()}
    quartiles = {k: statistics.quantiles(t, n=4) for k, t in times.items()}
    report(
        "harness",
        {
            "work": f"torch.mm of {SIZE} x {SIZE} FP32, {threads} threads",
            "rounds": ROUNDS,
            "median_s": medians,
            "gpubench_over": {
                k: round(medians["gpubench"] / medians[k], 4)
                for k in medians
                if "gpubench" not in k
            },
            # Of the same round, within half a minute: drift of the machine cancels.
            "paired_ratio": {
                ours: {
                    k: round(
                        statistics.median(
                            a / b for a, b in zip(times[ours], times[k], strict=True)
                        ),
                        4,
                    )
                    for k in ("torch.utils.benchmark", "pyperf")
                }
                for ours in ("gpubench", "gpubench, 3 launches")
            },
            "run_to_run_spread": {
                k: round((q[2] - q[0]) / medians[k], 4) for k, q in quartiles.items()
            },
            "medians_by_round_s": times,
        },
    )


if __name__ == "__main__":
    main()
