"""What watching a meter costs the work beside it: with and without, in turn, in one run."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import torch
from saving import report

from gpubench.engine.profiling import POLL_S
from gpubench.telemetry.watch import Poller

ROUNDS = 30
CALLS = 20


def sampler_cost() -> dict[str, float]:
    """Time of a CPU-bound case beside a poller that reads three files, over without one.

    The reads stand for NVML's two calls and the clock: each enters the kernel once.
    """
    torch.set_num_threads(1)
    a = torch.randn(700, 700)
    files = [Path(f"/proc/self/{name}") for name in ("stat", "statm", "schedstat")]

    def look() -> None:
        for file in files:
            file.read_bytes()

    def work() -> float:
        start = time.perf_counter()
        for _ in range(CALLS):
            a @ a
        return time.perf_counter() - start

    work()
    ratios = []
    for turn in range(ROUNDS):
        times = {}
        for watched in (turn % 2 == 0, turn % 2 == 1):
            poller = Poller(look, POLL_S) if watched else None
            times[watched] = work()
            if poller:
                poller.stop()
        ratios.append(times[True] / times[False])
    return {
        "poll_every_s": POLL_S,
        "watched_over_unwatched": round(statistics.median(ratios), 5),
        "quartiles": [round(q, 5) for q in statistics.quantiles(ratios, n=4)],  # type: ignore[dict-item]
    }


if __name__ == "__main__":
    report("telemetry", {"sampler": sampler_cost()})
