"""What measuring costs: per sample in the loop, and per run around the cases."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from saving import report

from gpubench.devices.cpu import CpuDevice
from gpubench.engine.timing import measure
from gpubench.spec import Policy
from gpubench.stopping import PolicyStop


def loop_overhead() -> dict[str, float]:
    """Time per sample that is not the sample, for a call of 1 ms.

    From two lengths of the same loop, so that what happens once a case (building the
    timer, collecting garbage) is not counted against the samples.
    """

    def busy() -> None:
        until = time.perf_counter() + 1e-3
        while time.perf_counter() < until:
            pass

    def outside(samples: int) -> tuple[float, float]:
        """(wall time that is no sample, floor of the method)."""
        policy = Policy(min_time_s=99, max_time_s=99, warmup_s=0.0, max_samples=samples)
        start = time.perf_counter()
        m, _ = measure(device, lambda _i: busy, policy=policy, stop=PolicyStop(policy))
        wall = time.perf_counter() - start
        return wall - sum(m.samples.times_s) * m.samples.calls_per_sample, m.floor_s or 0.0

    device, longs, shorts = CpuDevice(), [], []
    for _ in range(11):
        long, floor_s = outside(1000)
        longs.append(long)
        shorts.append(outside(200)[0])
    # Whatever interrupts the loop only adds, so the least of each is the cleanest.
    per_sample_s = (min(longs) - min(shorts)) / 800
    return {
        "per_sample_s": round(per_sample_s, 8),
        "share_of_a_1_ms_sample": round(per_sample_s / 1e-3, 5),
        "per_call_floor_s": floor_s,
    }


def run_share() -> dict[str, float]:
    """Share of a tensorcore run that is warm-up and sampling, after the worker has started."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "r.json"
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "gpubench", "run", "tensorcore", "--device", "cpu", "-q",
             "--no-report", "--json", str(out), "--store", str(Path(folder) / "s.db")],
            check=True, cwd=folder,
        )  # fmt: skip
        whole_s = time.perf_counter() - start
        body = json.loads(out.read_text())
    measured = [r for r in body["records"] if r["status"] == "measured"]
    measuring_s = sum(r["measurement"]["measuring_s"] for r in measured)
    begun = min(datetime.fromisoformat(r["started_at"]) for r in measured)
    ended = datetime.fromisoformat(body["run"]["finished_at"])
    wall_s = (ended - begun).total_seconds()
    return {
        "cases": len(measured),
        "measuring_s": round(measuring_s, 2),
        "wall_after_worker_start_s": round(wall_s, 2),
        "measuring_share": round(measuring_s / wall_s, 3),
        "whole_command_s": round(whole_s, 2),
        "bound_of_share": 0.8,
    }


if __name__ == "__main__":
    report("overhead", {"loop": loop_overhead(), "run": run_share()})
