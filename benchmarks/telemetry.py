"""What watching a meter costs the work beside it: with and without, in turn, in one run."""

from __future__ import annotations

import os
import signal
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from saving import report

from gpubench.engine.profiling import POLL_S
from gpubench.telemetry.host import process_cpu_s
from gpubench.telemetry.nsys import read
from gpubench.telemetry.ranges import span
from gpubench.telemetry.sampler import HOST_PERIOD_S, Sampler
from gpubench.telemetry.watch import Poller

ROUNDS = 120
CALLS = 20


def work_of(threads: int) -> Callable[[], float]:
    """A CPU-bound case, about a third of a second of products, on so many threads."""
    a = torch.randn(700, 700)

    def work() -> float:
        start = time.perf_counter()
        for _ in range(CALLS * threads):
            a @ a
        return time.perf_counter() - start

    torch.set_num_threads(threads)
    work()
    return work


def ratio_of(work: Callable[[], float], switch: Callable[[bool], None]) -> dict[str, Any]:
    """Time with over time without, in turn, the order changing from round to round."""
    ratios = []
    for turn in range(ROUNDS):
        times = {}
        for on in (turn % 2 == 0, turn % 2 == 1):
            switch(on)
            times[on] = work()
        ratios.append(times[True] / times[False])
    spread = statistics.stdev(ratios) / len(ratios) ** 0.5
    return {
        "with_over_without": round(statistics.median(ratios), 5),
        "standard_error": round(1.25 * spread, 5),  # of a median, for a normal spread
        "quartiles": [round(q, 5) for q in statistics.quantiles(ratios, n=4)],
    }


def sampler_cost(threads: int) -> dict[str, Any]:
    """What the sampler beside every run costs; it is stopped and continued by signals.

    Its own CPU time, over the time that passed, is what it can cost at most where every CPU is
    in use; unlike the ratio it does not depend on what else this machine does.
    """
    probe = Sampler()
    while not probe.between(0.0, float("inf")):
        time.sleep(0.05)
    work = work_of(threads)
    begun, spent = time.monotonic(), process_cpu_s(probe.pid)
    for _ in range(20):
        work()
    share = (process_cpu_s(probe.pid) - spent) / (time.monotonic() - begun)
    found = ratio_of(work, lambda on: os.kill(probe.pid, signal.SIGCONT if on else signal.SIGSTOP))
    os.kill(probe.pid, signal.SIGCONT)
    probe.close()
    return {"every_s": HOST_PERIOD_S, "threads": threads, "own_cpu_share": round(share, 5), **found}


def poller_cost() -> dict[str, Any]:
    """What the thread of the energy pass costs; it reads three files, as NVML's calls would.

    Headline times never run beside it.
    """
    files = [Path(f"/proc/self/{name}") for name in ("stat", "statm", "schedstat")]
    running: list[Poller] = []

    def look() -> None:
        for file in files:
            file.read_bytes()

    def switch(on: bool) -> None:
        while running:
            running.pop().stop()
        if on:
            running.append(Poller(look, POLL_S))

    found = ratio_of(work_of(1), switch)
    switch(False)
    return {"every_s": POLL_S, **found}


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
        {
            "sampler": [sampler_cost(1), sampler_cost(len(os.sched_getaffinity(0)))],
            "energy_poller": poller_cost(),
            "range": range_cost(),
            "nsys_import": nsys_import(),
        },
    )
