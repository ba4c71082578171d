"""Run the command line as users do: in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

TINY = """\
schema: 1
suite: tiny
policy: {min_time_s: 0.005, max_time_s: 0.05, warmup_s: 0, min_samples: 3, target_rel_ci: 0.9}
benchmarks:
  - name: small
    workload: gemm
    matrix: {precision: [fp32, tf32, fp64], size: [16, 24]}
    baseline: {precision: fp32}
"""

HOSTILE = """\
schema: 1
suite: hostile
policy: {min_time_s: 0.005, max_time_s: 0.05, warmup_s: 0, min_samples: 3, target_rel_ci: 0.9}
benchmarks:
  - name: h
    workload: hostile
    cases: [%s]
"""


def gpubench(
    *arguments: str, cwd: Path | None = None, timeout: float = 120, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gpubench", *arguments], cwd=cwd, capture_output=True, text=True,
        timeout=timeout, check=False, input=stdin,
    )  # fmt: skip


def start(*arguments: str, cwd: Path | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gpubench", *arguments], cwd=cwd, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
        # A background job of a script ignores SIGINT, and so would what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def write(folder: Path, text: str, name: str = "s.yaml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)
