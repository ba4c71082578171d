"""What watching a meter costs the work beside it: with and without, in turn, in one run."""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

import torch
from saving import report

from gpubench.engine.profiling import POLL_S
from gpubench.telemetry.nsys import read
from gpubench.telemetry.ranges import span
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


def nsys_import(kernels: int = 100_000) -> dict[str, float]:
    """Time to read an export of that many kernels in a tenth as many nested ranges."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.sqlite"
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT)")
            db.executemany("INSERT INTO StringIds VALUES (?, ?)",
                           ((i, f"kernel_{i}") for i in range(100)))  # fmt: skip
            db.execute("CREATE TABLE NVTX_EVENTS (start INTEGER, end INTEGER, eventType INTEGER,"
                       " text TEXT, globalTid INTEGER)")  # fmt: skip
            db.executemany(
                "INSERT INTO NVTX_EVENTS VALUES (?, ?, 59, ?, 1)",
                ((i * 1000 + d, i * 1000 + 990 - d, ("step", "layer")[d])
                 for i in range(kernels // 20) for d in (0, 1)),
            )  # fmt: skip
            db.execute("CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INTEGER, end INTEGER,"
                       " correlationId INTEGER, shortName INTEGER)")  # fmt: skip
            db.execute("CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INTEGER, end INTEGER,"
                       " correlationId INTEGER, globalTid INTEGER)")  # fmt: skip
            db.executemany("INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (?, ?, ?, ?)",
                           ((i * 50, i * 50 + 40, i, i % 100) for i in range(kernels)))  # fmt: skip
            db.executemany("INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (?, ?, ?, 1)",
                           ((i * 50 + 5, i * 50 + 9, i) for i in range(kernels)))  # fmt: skip
        start = time.perf_counter()
        found = read(path)
        took = time.perf_counter() - start
    assert sum(k.count for r in found.ranges for k in r.kernels) == kernels
    return {"kernels": kernels, "seconds": round(took, 3)}


def range_cost() -> dict[str, float]:
    """Time of one range of gpubench where no tool listens."""
    best = float("inf")
    for _ in range(7):
        start = time.perf_counter()
        for _ in range(20_000):
            with span("x"):
                pass
        best = min(best, (time.perf_counter() - start) / 20_000)
    return {"seconds": round(best, 9)}


if __name__ == "__main__":
    report(
        "telemetry",
        {"sampler": sampler_cost(), "range": range_cost(), "nsys_import": nsys_import()},
    )
