"""Fleets on paper and in the store: planted faults found, and 64 writers at once.

``rates`` plants faults of known size in simulated fleets and counts what is found and what is
named wrongly; ``writers`` lets processes write to one store, SQLite and PostgreSQL.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from saving import report

sys.path.insert(0, str(Path(__file__).parents[1]))

from gpubench.analysis.outliers import score
from gpubench.store import Store
from tests import postgres
from tests.builders import gemm_case, measurement, record
from tests.nightly import night

SEED = 20261
CASES = 24
SIZES = (0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.10, 0.20)
SAMPLES = tuple(float(x) for x in 1e-3 * np.exp(np.random.default_rng(1).normal(0, 0.01, 300)))
DEVICE_SCATTER, CASE_SCATTER, NOISE = 0.007, 0.003, 0.003
"""Relative: a device in everything, a device in one case, one measurement."""


def healthy(rng: np.random.Generator, devices: int, tail: str) -> np.ndarray:
    """Logs of times: good devices differ in everything at once and a little in each case.

    ``normal``, or ``heavy``: Student's t with five degrees of freedom for what a device is
    off in everything, of the same standard deviation.
    """
    if tail == "normal":
        device = rng.normal(0, DEVICE_SCATTER, (devices, 1))
    else:
        device = rng.standard_t(5, (devices, 1)) * DEVICE_SCATTER / np.sqrt(5 / 3)
    own = rng.normal(0, np.hypot(CASE_SCATTER, NOISE), (devices, CASES))
    return device + own


def plant(
    rng: np.random.Generator, logs: np.ndarray, faulty: np.ndarray, size: float, where: str
) -> None:
    """Slow some devices down: in everything, in a third of the cases, or in one."""
    affected = {"all": CASES, "third": CASES // 3, "one": 1}[where]
    for device in faulty:
        cases = rng.choice(CASES, affected, replace=False)
        logs[device, cases] += np.log1p(size)


def simulate(
    rng: np.random.Generator, size: float, where: str, tail: str, devices: int, share: float,
    fleets: int,
) -> dict[str, Any]:  # fmt: skip
    found = planted = false = named = 0
    for _ in range(fleets):
        logs = healthy(rng, devices, tail)
        faulty = rng.choice(devices, round(devices * share), replace=False)
        plant(rng, logs, faulty, size, where)
        slow = score(1e-3 * np.exp(logs)).slow
        found += int(slow[faulty].sum())
        planted += len(faulty)
        named += int(slow.sum())
        false += int(slow.sum() - slow[faulty].sum())
    return {
        "found": found / planted if planted else None,
        "false_a_fleet": false / fleets,
        "false_among_named": false / named if named else 0.0,
    }


def rates(devices: int = 1000, fleets: int = 50) -> dict[str, Any]:
    table: dict[str, Any] = {"devices": devices, "fleets": fleets, "planted": "1 %"}
    for tail in ("normal", "heavy"):
        for where in ("all", "third", "one"):
            for k, size in enumerate(SIZES):
                rng = np.random.default_rng([SEED, k, len(where), tail == "heavy"])
                cell = simulate(rng, size, where, tail, devices, 0.01, fleets)
                table.setdefault(tail, {}).setdefault(where, {})[f"{size:g}"] = cell
    for n in (8, 16, 64, 256, 1000):
        for tail in ("normal", "heavy"):
            rng = np.random.default_rng([SEED, 99, n, tail == "heavy"])
            runs = 100_000 // n
            cell = simulate(rng, 0.0, "all", tail, n, 0.0, runs)
            table.setdefault("healthy", {})[f"{n} {tail}"] = cell["false_a_fleet"]
            if tail == "normal":
                one = simulate(rng, 0.10, "all", tail, n, 1 / n, max(runs // 50, 50))
                table.setdefault("one of few, 10 %", {})[str(n)] = one["found"]
    return table


# ---- writers


def _write(url: str, index: int, count: int, ready: Any, go: Any) -> None:
    with Store(url) as store:
        head = night(index)
        store.begin(replace(head, settings={"fleet": "bench"}))
        given = record(gemm_case(), measurement(*SAMPLES))
        ready.release()
        go.wait()
        for i in range(count):
            store.put(head.id, replace(given, case=replace(given.case, key=f"k{i:04d}")), i)


def write_rate(url: str, writers: int, count: int) -> dict[str, float]:
    """Records a second over all writers, from the common start to the end of the last."""
    context = multiprocessing.get_context("spawn")
    ready, go = context.Semaphore(0), context.Event()
    Store(url).close()
    made = [context.Process(target=_write, args=(url, i, count, ready, go)) for i in range(writers)]
    for process in made:
        process.start()
    for _ in made:
        ready.acquire()
    began = time.perf_counter()
    go.set()
    for process in made:
        process.join()
    took = time.perf_counter() - began
    with Store(url) as store:
        stored = sum(sum(c.values()) for c in store.counts().values())
    failed = sum(p.exitcode != 0 for p in made)
    return {
        "writers": writers, "records": writers * count, "stored": stored, "failed_writers": failed,
        "seconds": took, "records_a_second": stored / took,
    }  # fmt: skip


def writers(count: int = 20) -> dict[str, Any]:
    found: dict[str, Any] = {"record": "300 samples"}
    with tempfile.TemporaryDirectory() as folder:
        for n, each in ((1, 20 * count), (64, count)):
            url = f"sqlite:///{folder}/{n}.db"
            found.setdefault("sqlite", []).append(write_rate(url, n, each))
        path = Path(folder) / "base.db"
        with Store(str(path)) as store:
            store.begin(night(0))
            given = record(gemm_case(), measurement(*SAMPLES))
            before = path.stat().st_size
            for i in range(200):
                store.put(night(0).id, replace(given, case=replace(given.case, key=f"k{i}")), i)
        found["bytes_a_record"] = (path.stat().st_size - before) / 200
    missing = postgres.missing()
    if missing:
        found["postgresql"] = missing
        return found
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as folder,
        postgres.running(Path(folder)) as server,
    ):
        for n, each in ((1, 20 * count), (64, count)):
            with_room = write_rate(server.url, n, each)
            found.setdefault("postgresql", []).append(with_room)
            _empty(server.url)
    return found


def _empty(url: str) -> None:
    with Store(url) as store:
        for run in store.runs():
            store.remove(run.id)


if __name__ == "__main__":
    what = [a for a in ("rates", "writers") if a in sys.argv] or ["rates", "writers"]
    figures: dict[str, Any] = {"seed": SEED, "cases": CASES}
    if "rates" in what:
        figures["rates"] = rates()
    if "writers" in what:
        figures["writers"] = writers()
    report("fleet", figures)
